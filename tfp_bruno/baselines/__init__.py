"""Other ways of completing a volume: classical ones, without TensorFlow, and the deep baselines of the paper."""

from tfp_bruno.baselines.components import ComponentPopulation
from tfp_bruno.baselines.linear_interpolation import LinearInterpolation
from tfp_bruno.baselines.nearest_subject import NearestSubject
from tfp_bruno.baselines.principal_components import KrigedComponents, PrincipalComponents
from tfp_bruno.baselines.training_mean import TrainingMean

_DEEP = ('ConditionalVAE', 'ConditionalVAESettings', 'GenerativeQueryNetwork', 'GenerativeQueryNetworkSettings')

__all__ = [
    'ComponentPopulation',
    'KrigedComponents',
    'LinearInterpolation',
    'NearestSubject',
    'PrincipalComponents',
    'TrainingMean',
    *_DEEP,
]


def __getattr__(name):
    # TensorFlow only for those who ask for it.
    if name in _DEEP:
        import importlib

        return getattr(importlib.import_module('tfp_bruno.baselines.deep'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
