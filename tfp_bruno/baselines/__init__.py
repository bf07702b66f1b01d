"""Classical ways of completing a volume, with the `predict` of a completion model. NumPy only."""

from tfp_bruno.baselines.linear_interpolation import LinearInterpolation
from tfp_bruno.baselines.nearest_subject import NearestSubject
from tfp_bruno.baselines.training_mean import TrainingMean

__all__ = ['LinearInterpolation', 'NearestSubject', 'TrainingMean']
