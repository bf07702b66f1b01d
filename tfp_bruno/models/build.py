"""Builds a trainable `ConditionalBruno` from settings."""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno.bijectors import ConditionalRealNVP, FlowSettings
from tfp_bruno.distributions import ExchangeableStudentTProcess, FactorGaussianProcess
from tfp_bruno.models.conditional_bruno import ConditionalBruno

__all__ = ['ModelSettings', 'build_model']


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """All that a model is made of.

    Attributes:
        image_shape: `(H, W, C)`.
        num_slices: K, the size of the one-hot pose.
        process: 'factor' (`FactorGaussianProcess`) or 'exchangeable' (`ExchangeableStudentTProcess`).
        flow: `FlowSettings`.
        factors: Number of factors of the subject, for 'factor'.
        length: Length scale of the residual's kernel, in slices, before it is fitted to data, for 'factor'.
        smooth_share: Share of the residual that follows the kernel, before it is fitted, for 'factor'.
        df: Degrees of freedom that training starts from, above 2, for 'exchangeable'.
        correlation: Correlation that training starts from, in (0, 1), for 'exchangeable'.
    """

    image_shape: tuple
    num_slices: int
    process: str = 'factor'
    flow: FlowSettings = dataclasses.field(default_factory=FlowSettings)
    factors: int = 80
    length: float = 8.0
    smooth_share: float = 0.9
    df: float = 20.0
    correlation: float = 0.3

    def __post_init__(self):
        if self.process not in ('factor', 'exchangeable'):
            raise ValueError(f"`process` must be 'factor' or 'exchangeable', got {self.process!r}.")

    def to_json(self):
        """Returns the settings as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """Returns the settings that `to_json` described."""
        flow = {key: tuple(value) if isinstance(value, list) else value for key, value in values['flow'].items()}
        return cls(**{**values, 'image_shape': tuple(values['image_shape']), 'flow': FlowSettings(**flow)})


def build_model(settings, num_steps, seed=0):
    """Returns a `ConditionalBruno` with a trainable flow.

    Args:
        settings: `ModelSettings`.
        num_steps: `int`, number of slices of the event.
        seed: `int`, for the initial weights.

    Returns:
        A `ConditionalBruno`. An exchangeable process is trainable; a factor process is fitted by `initialize_model`.
    """
    tf.keras.utils.set_random_seed(seed)
    flow = ConditionalRealNVP(settings.image_shape, settings.num_slices, settings.flow, seed)
    size = int(np.prod(settings.image_shape))
    process = _factor_process if settings.process == 'factor' else _exchangeable_process
    return ConditionalBruno(process(settings, size, num_steps), flow)


def _exchangeable_process(settings, size, num_steps):
    constraints = ExchangeableStudentTProcess.parameter_properties(tf.float32)
    starts = {'df': settings.df, 'variance': 1.0, 'correlation': settings.correlation}
    trainable = {
        name: tfp.util.TransformedVariable(
            tf.fill([size], value), constraints[name].default_constraining_bijector_fn(), name=name
        )
        for name, value in starts.items()
    }
    return ExchangeableStudentTProcess(loc=tf.Variable(tf.zeros([size]), name='loc'), num_steps=num_steps, **trainable)


def _factor_process(settings, size, num_steps):
    # Fitted to the training data once, by `initialize_model`, and then left alone: the flow learns around it, and a
    # step costs a third.
    def fitted(value, name):
        return tf.Variable(value, trainable=False, dtype=tf.float32, name=name)

    positions = tf.range(settings.num_slices, dtype=tf.float32)[:, tf.newaxis]
    kernel = tfp.math.psd_kernels.FeatureTransformed(
        tfp.math.psd_kernels.MaternOneHalf(length_scale=fitted(settings.length, 'length')),
        lambda poses, *_: poses @ positions,
    )
    return FactorGaussianProcess(
        loadings=fitted(tf.zeros([settings.num_slices, size, settings.factors]), 'loadings'),
        scale=fitted(tf.ones([size]), 'scale'),
        kernel=kernel,
        smooth_share=fitted(settings.smooth_share, 'smooth_share'),
        num_steps=num_steps,
    )
