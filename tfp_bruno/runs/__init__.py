"""Runs on disk: settings, weights, and the trained model they make."""

from tfp_bruno.runs.kinds import KINDS
from tfp_bruno.runs.loading import load
from tfp_bruno.runs.prior import Modes, prior_modes
from tfp_bruno.runs.run_folder import Run, read_run, write_run
from tfp_bruno.runs.slice_scores import SliceScorer, make_scorer
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = [
    'KINDS',
    'Modes',
    'Run',
    'SliceScorer',
    'TrainedBaseline',
    'TrainedModel',
    'load',
    'make_scorer',
    'prior_modes',
    'read_run',
    'write_run',
]
