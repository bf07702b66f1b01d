"""Runs on disk: their settings, and the trained models in them."""

from tfp_bruno.runs.export import export_model
from tfp_bruno.runs.kinds import KINDS
from tfp_bruno.runs.loading import load
from tfp_bruno.runs.model_file import read_card
from tfp_bruno.runs.prior import prior_modes
from tfp_bruno.runs.run_folder import Run, lock_run, read_run, write_run
from tfp_bruno.runs.slice_scores import SliceScorer, make_scorer
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel
from tfp_bruno.runs.training_settings import AugmentationSettings, BoundSettings, ObjectiveSettings, TrainingSettings

__all__ = [
    'KINDS',
    'AugmentationSettings',
    'BoundSettings',
    'ObjectiveSettings',
    'Run',
    'SliceScorer',
    'TrainedBaseline',
    'TrainedModel',
    'TrainingSettings',
    'export_model',
    'load',
    'lock_run',
    'make_scorer',
    'prior_modes',
    'read_card',
    'read_run',
    'write_run',
]
