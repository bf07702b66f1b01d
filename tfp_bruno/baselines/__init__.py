"""Other ways of completing a volume: classical ones with `predict`, NumPy only, and the paper's deep baselines."""

from tfp_bruno.baselines.linear_interpolation import LinearInterpolation
from tfp_bruno.baselines.nearest_subject import NearestSubject
from tfp_bruno.baselines.training_mean import TrainingMean

_DEEP = ('ConditionalVAE', 'ConditionalVAESettings', 'GenerativeQueryNetwork', 'GenerativeQueryNetworkSettings')

__all__ = ['LinearInterpolation', 'NearestSubject', 'TrainingMean', *_DEEP]


def __getattr__(name):
    # TensorFlow only for those who ask for it.
    if name in _DEEP:
        import importlib

        return getattr(importlib.import_module('tfp_bruno.baselines.deep'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
