"""Models of whole subjects."""

from tfp_bruno.models.build import ModelSettings, build_model
from tfp_bruno.models.conditional_bruno import ConditionalBruno
from tfp_bruno.models.initialize import StartSettings, initialize_model
from tfp_bruno.models.pose_settings import AffinePoses, DisplacedPoses, OneHotPoses
from tfp_bruno.models.volume_loadings import VolumeLoadings

__all__ = [
    'AffinePoses',
    'ConditionalBruno',
    'DisplacedPoses',
    'ModelSettings',
    'OneHotPoses',
    'StartSettings',
    'VolumeLoadings',
    'build_model',
    'initialize_model',
]
