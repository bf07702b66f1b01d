"""Runs on disk: settings, weights, and the trained model they make."""

from tfp_bruno.runs.prior import Modes, prior_modes
from tfp_bruno.runs.run_folder import Run, read_run, write_run
from tfp_bruno.runs.slice_scores import SliceScorer, make_scorer
from tfp_bruno.runs.trained_model import TrainedModel, load

__all__ = ['Modes', 'Run', 'SliceScorer', 'TrainedModel', 'load', 'make_scorer', 'prior_modes', 'read_run', 'write_run']
