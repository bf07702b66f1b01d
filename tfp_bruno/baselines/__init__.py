"""Classical ways of completing a volume, with the `predict` of a completion model. No TensorFlow."""

from tfp_bruno.baselines.components import ComponentPopulation
from tfp_bruno.baselines.linear_interpolation import LinearInterpolation
from tfp_bruno.baselines.nearest_subject import NearestSubject
from tfp_bruno.baselines.principal_components import KrigedComponents, PrincipalComponents
from tfp_bruno.baselines.training_mean import TrainingMean

__all__ = [
    'ComponentPopulation',
    'KrigedComponents',
    'LinearInterpolation',
    'NearestSubject',
    'PrincipalComponents',
    'TrainingMean',
]
