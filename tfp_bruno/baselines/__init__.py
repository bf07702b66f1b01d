"""Other models that complete volumes: classical baselines, without TensorFlow, and the deep baselines of the paper."""

from typing import Any

from tfp_bruno.baselines.deformed_neighbours import DeformedComponents, DeformedNeighbours, NeighbourPopulation
from tfp_bruno.baselines.principal_components import ComponentPopulation, KrigedComponents, PrincipalComponents
from tfp_bruno.baselines.simple import LinearInterpolation, NearestSubject, TrainingMean

_DEEP = ('ConditionalVAE', 'ConditionalVAESettings', 'GenerativeQueryNetwork', 'GenerativeQueryNetworkSettings')

__all__ = [
    'ComponentPopulation',
    'DeformedComponents',
    'DeformedNeighbours',
    'KrigedComponents',
    'LinearInterpolation',
    'NearestSubject',
    'NeighbourPopulation',
    'PrincipalComponents',
    'TrainingMean',
    *_DEEP,
]


def __getattr__(name: str) -> Any:
    # TensorFlow is imported with the first deep baseline.
    if name in _DEEP:
        import importlib

        return getattr(importlib.import_module('tfp_bruno.baselines.deep'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
