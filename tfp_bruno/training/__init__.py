"""Training: settings and presets, the pipeline of sequences, losses, and the loop."""

from tfp_bruno.runs.training_settings import AugmentationSettings, BoundSettings, ObjectiveSettings, TrainingSettings
from tfp_bruno.training.presets import make_settings, preset_names, read_preset
from tfp_bruno.training.run import train_run
from tfp_bruno.training.stopping import TrainingStoppedError
from tfp_bruno.training.strategy import Workers, choose_strategy, wait_for_file
from tfp_bruno.training.trainer import Trainer

__all__ = [
    'AugmentationSettings',
    'BoundSettings',
    'ObjectiveSettings',
    'Trainer',
    'TrainingSettings',
    'TrainingStoppedError',
    'Workers',
    'choose_strategy',
    'make_settings',
    'preset_names',
    'read_preset',
    'train_run',
    'wait_for_file',
]
