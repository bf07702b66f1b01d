"""Runs on disk: settings, weights, and the trained model they make."""

from tfp_bruno.runs.kinds import KINDS
from tfp_bruno.runs.loading import load
from tfp_bruno.runs.prior import Modes, prior_modes
from tfp_bruno.runs.run_folder import Run, lock_run, read_run, write_run
from tfp_bruno.runs.slice_scores import SliceScorer, make_scorer
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel
from tfp_bruno.runs.training_settings import AugmentationSettings, BoundSettings, ObjectiveSettings, TrainingSettings

__all__ = [
    'KINDS',
    'AugmentationSettings',
    'BoundSettings',
    'Modes',
    'ObjectiveSettings',
    'Run',
    'SliceScorer',
    'TrainedBaseline',
    'TrainedModel',
    'TrainingSettings',
    'load',
    'lock_run',
    'make_scorer',
    'prior_modes',
    'read_run',
    'write_run',
]
