"""Training: settings, data pipeline, objectives, loop."""

from tfp_bruno.training.run import train_run
from tfp_bruno.training.settings import PRESETS, Preset, TrainingSettings
from tfp_bruno.training.trainer import Trainer

__all__ = ['PRESETS', 'Preset', 'Trainer', 'TrainingSettings', 'train_run']
