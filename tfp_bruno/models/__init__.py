"""Models of whole subjects."""

from tfp_bruno.models.build import ModelSettings, build_model
from tfp_bruno.models.conditional_bruno import ConditionalBruno
from tfp_bruno.models.initialize import StartSettings, initialize_model

__all__ = ['ConditionalBruno', 'ModelSettings', 'StartSettings', 'build_model', 'initialize_model']
