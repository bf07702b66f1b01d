"""Runs on disk: settings, weights, and the trained model they make."""

from tfp_bruno.runs.kinds import KINDS
from tfp_bruno.runs.loading import load
from tfp_bruno.runs.run_folder import Run, read_run, write_run
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = ['KINDS', 'Run', 'TrainedBaseline', 'TrainedModel', 'load', 'read_run', 'write_run']
