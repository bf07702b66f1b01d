"""Builds a trainable `ConditionalBruno` from settings."""

import dataclasses
import functools
from typing import Annotated, Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from annotated_types import Gt, Le
from pydantic import Field
from pydantic.dataclasses import dataclass

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings, RealNVPSettings
from tfp_bruno.bijectors.conditional_real_nvp import LatentOrder
from tfp_bruno.distributions import (
    SLICE_KERNELS,
    ExchangeableGaussianProcess,
    ExchangeableStudentTProcess,
    FactorGaussianProcess,
    FactorStudentTProcess,
    PoseGaussianProcess,
    PoseStudentTProcess,
    pose_kernel,
    slice_kernel,
)
from tfp_bruno.distributions.base import Process
from tfp_bruno.models.conditional_bruno import ConditionalBruno
from tfp_bruno.models.pose_settings import AffinePoses, DisplacedPoses, OneHotPoses
from tfp_bruno.models.volume_loadings import VolumeLoadings
from tfp_bruno.networks import Grid, Landmarks, PlacePoseEncoder
from tfp_bruno.settings import STRICT, TAG, Count, Fraction, Positive

FlowSettings = Annotated[GlowSettings | RealNVPSettings, Field(discriminator=TAG)]
PoseSettings = Annotated[OneHotPoses | AffinePoses | DisplacedPoses, Field(discriminator=TAG)]


@dataclass(frozen=True, config=STRICT)
class ModelSettings:
    """Settings of a `ConditionalBruno`.

    Attributes:
        image_shape: `(H, W, C)`.
        num_slices: K, the size of the one-hot pose, or the number of planes of the canonical volume.
        process: 'factor' (factors of the subject), 'pose' (neighbouring slices resemble each other), 'exchangeable'
            (the process of the paper), or 'average', whose predictive mean is the plain average of the contexts.
        flow: Architecture and sizes of the flow.
        pose: What a pose is: the number of a slice, or its place in a canonical volume.
        latents: What a number of a latent vector belongs to: 'flow', the order of the flow's core; 'pixels'; or
            'frequencies' of the image. Places in a canonical volume need one of the last two.
        network_dtype: 'float32', or the tf_keras policy of the networks inside the flow, such as 'mixed_bfloat16'.
        factors: Number of factors of the subject, for 'factor'.
        kernel: Name of the residual's kernel over slices in `distributions.SLICE_KERNELS`, for 'factor' and 'pose'.
        length: Length scale of the kernel, in slices, before it is fitted to data.
        df: Degrees of freedom of a Student-t process at the start of training, above 2; None for a Gaussian process.
        correlation: Correlation of two slices at the start of training, in (0, 1), for 'exchangeable' and 'pose'.
        constant_share: Share of the correlation that does not depend on the distance, at the start of training, in
            (0, 1), for 'pose'.
        narrows_factors: Whether, in samples that evaluation and reconstruction draw, the posterior of the radius
            narrows the factors, as in the density, or the residual alone; for 'factor' with `df`.
        factor_scale: Factor of the factors' standard deviations in those samples, for 'factor'.
        factor_evidence: Weight of the contexts' evidence on the factors in the spread of those samples, in (0, 1], for
            'factor'; 1 as in the density.
    """

    image_shape: tuple[Count, Count, Count]
    num_slices: Count
    process: Literal['average', 'exchangeable', 'pose', 'factor'] = 'factor'
    flow: FlowSettings = dataclasses.field(default_factory=GlowSettings)
    pose: PoseSettings = dataclasses.field(default_factory=OneHotPoses)
    latents: LatentOrder = 'flow'
    network_dtype: Literal['float32', 'mixed_bfloat16', 'mixed_float16'] = 'float32'
    factors: Count = 80
    kernel: str = 'exponential'
    length: Positive = 8.0
    df: Annotated[float, Gt(2)] | None = None
    correlation: Fraction = 0.3
    constant_share: Fraction = 0.3
    narrows_factors: bool = True
    factor_scale: Positive = 1.0
    factor_evidence: Annotated[float, Gt(0), Le(1)] = 1.0

    def __post_init__(self) -> None:
        if self.process == 'average' and self.df is not None:
            raise ValueError(f'`df` must be None for an average, which is Gaussian, got {self.df}.')
        if self.kernel not in SLICE_KERNELS:
            raise ValueError(f'`kernel` must be one of {", ".join(SLICE_KERNELS)}, got {self.kernel!r}.')
        self.flow.check_image_shape(self.image_shape)
        if self.process == 'factor' and not self.flow.pose_affine:
            raise ValueError(
                f'`process` factor starts from principal components, which the {self.flow.architecture} flow takes '
                'only with `pose_affine=True`; choose exchangeable or pose.'
            )
        is_place = not isinstance(self.pose, OneHotPoses)
        if is_place and (self.process, self.flow.architecture, self.image_shape[2]) != ('factor', 'glow', 1):
            raise ValueError(
                f'`pose` {self.pose.architecture} needs `process` factor, `flow` glow and images of one channel, got '
                f'{self.process}, {self.flow.architecture} and {self.image_shape[2]}; choose `pose` one_hot otherwise.'
            )
        if self.latents != 'flow' and self.flow.architecture != 'glow':
            raise ValueError(f'`latents` {self.latents} needs `flow` glow, not {self.flow.architecture}.')
        if is_place and self.latents == 'flow':
            raise ValueError(f'`latents` flow needs `pose` one_hot, not {self.pose.architecture}; give frequencies.')

    @property
    def grid(self) -> Grid | None:
        """The grid of poses; None where they are one-hot."""
        return self.pose.grid(self.image_shape[:2])

    @property
    def pose_size(self) -> int:
        """Size of a pose."""
        grid = self.grid
        return self.num_slices if grid is None else grid.pose_size

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of the process' `sample` in evaluation and reconstruction."""
        if self.process != 'factor':
            return {}
        return {name: getattr(self, name) for name in ('narrows_factors', 'factor_scale', 'factor_evidence')}


def build_model(
    settings: ModelSettings, num_steps: int, seed: int = 0, share_weights_with: ConditionalBruno | None = None
) -> ConditionalBruno:
    """Builds a model with a trainable flow.

    Args:
        settings: Settings of the model.
        num_steps: Number of slices of the event.
        seed: Seed of the initial weights.
        share_weights_with: A model of the same settings, whose process is shared if it is not trained; `None` shares
            nothing.

    Returns:
        A model whose process is trainable, except for a factor process, which `initialize_model` fits.
    """
    tf_keras.utils.set_random_seed(seed)
    flow = ConditionalRealNVP(
        settings.image_shape,
        settings.pose_size,
        settings.flow,
        network_dtype=settings.network_dtype,
        seed=seed,
        latents=settings.latents,
        **_place_arguments(settings),
    )
    if share_weights_with is not None and not share_weights_with.distribution.trainable_variables:
        process = share_weights_with.distribution
    else:
        process = _PROCESSES[settings.process](settings, int(np.prod(settings.image_shape)), num_steps)
    return ConditionalBruno(process, flow)


def _place_arguments(settings: ModelSettings) -> dict[str, Any]:
    """Returns the arguments of a flow of slices in a canonical volume; none where poses are one-hot."""
    grid, flow = settings.grid, settings.flow
    if grid is None or not isinstance(flow, GlowSettings):
        return {}
    make_pose_encoder = functools.partial(PlacePoseEncoder, flow.pose_units, grid, settings.num_slices, flow.pose_width)
    return {'make_pose_encoder': make_pose_encoder}


def _average_process(settings: ModelSettings, size: int, num_steps: int) -> Process:
    # Its predictive mean is the plain average of the contexts, within a thousandth.
    return ExchangeableGaussianProcess(
        loc=tf.Variable(tf.zeros([size]), name='loc'),
        marginal_variance=_trainable(ExchangeableGaussianProcess, 'marginal_variance', tf.ones([size])),
        correlation=tf.fill([size], 0.999),
        num_steps=num_steps,
    )


def _exchangeable_process(settings: ModelSettings, size: int, num_steps: int) -> Process:
    process, parameters = _with_df(settings, ExchangeableStudentTProcess, ExchangeableGaussianProcess, [size])
    return process(num_steps=num_steps, **parameters, **_dimension_parameters(process, settings, size))


def _pose_process(settings: ModelSettings, size: int, num_steps: int) -> Process:
    process, parameters = _with_df(settings, PoseStudentTProcess, PoseGaussianProcess, [size])
    length_scale = tfp.util.TransformedVariable(settings.length, tfp.bijectors.Softplus(low=0.1), name='length_scale')
    return process(
        kernel=slice_kernel(length_scale, settings.num_slices, settings.kernel),
        constant_share=_trainable(process, 'constant_share', settings.constant_share),
        num_steps=num_steps,
        **parameters,
        **_dimension_parameters(process, settings, size),
    )


def _factor_process(settings: ModelSettings, size: int, num_steps: int) -> Process:
    # Fitted to the training data once, by `initialize_model`, and then fixed: the flow learns around it, and a step
    # costs a third.
    process, parameters = _with_df(settings, FactorStudentTProcess, FactorGaussianProcess, [], trainable=False)
    return process(
        loc=_fitted(tf.zeros([size]), 'loc'),
        loadings=_loadings(settings, size),
        residual_variance=_fitted(tf.ones([size]), 'residual_variance'),
        correlation=_fitted(0.9, 'correlation'),
        kernel=_residual_kernel(settings),
        num_steps=num_steps,
        **parameters,
    )


def _loadings(settings: ModelSettings, size: int) -> tf.Variable | VolumeLoadings:
    if settings.grid is None:
        return _fitted(tf.zeros([settings.num_slices, size, settings.factors]), 'loadings')
    shape = [settings.num_slices, *settings.image_shape[:2], settings.factors]
    return VolumeLoadings(_fitted(tf.zeros(shape), 'loadings'), settings.grid, settings.latents == 'frequencies')


def _residual_kernel(settings: ModelSettings) -> tfp.math.psd_kernels.FeatureTransformed:
    length_scale, grid = _fitted(settings.length, 'length_scale'), settings.grid
    if grid is None or isinstance(settings.pose, OneHotPoses):
        return slice_kernel(length_scale, settings.num_slices, settings.kernel)
    return pose_kernel(length_scale, Landmarks(grid, settings.pose.pixel_size), settings.kernel)


def _with_df(
    settings: ModelSettings, student_t: type, gaussian: type, df_shape: list[int], trainable: bool = True
) -> tuple[Any, dict[str, Any]]:
    """Returns the Student-t class with its degrees of freedom, or the Gaussian class."""
    if settings.df is None:
        return gaussian, {}
    df = tf.fill(df_shape, settings.df)
    return student_t, {'df': _trainable(student_t, 'df', df) if trainable else _fitted(df, 'df')}


def _dimension_parameters(process: type, settings: ModelSettings, size: int) -> dict[str, Any]:
    return {
        'loc': tf.Variable(tf.zeros([size]), name='loc'),
        'marginal_variance': _trainable(process, 'marginal_variance', tf.ones([size])),
        'correlation': _trainable(process, 'correlation', tf.fill([size], settings.correlation)),
    }


def _trainable(process: Any, name: str, value: tf.Tensor | float) -> tfp.util.TransformedVariable:
    constraint = process.parameter_properties(tf.float32)[name].default_constraining_bijector_fn()
    return tfp.util.TransformedVariable(value, constraint, name=name)


def _fitted(value: tf.Tensor | float, name: str) -> tf.Variable:
    return tf.Variable(value, trainable=False, dtype=tf.float32, name=name)


_PROCESSES = {
    'average': _average_process,
    'exchangeable': _exchangeable_process,
    'pose': _pose_process,
    'factor': _factor_process,
}
