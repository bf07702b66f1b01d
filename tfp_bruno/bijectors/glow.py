"""The Glow architecture: couplings by halves of the channels after a first squeeze."""

import dataclasses
from typing import Any, Literal

import numpy as np
import scipy.fft
import scipy.stats
import tensorflow as tf
import tf_keras
from pydantic.dataclasses import dataclass

from tfp_bruno.bijectors.actnorm import ActNorm
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import AffineCoupling, Conditioner, MakeConditioner, create_weights
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution
from tfp_bruno.bijectors.multi_scale import FactorOut, Squeeze
from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner, OneHotPoseEncoder
from tfp_bruno.settings import STRICT, Count, Fraction, NonNegative, Positive, WholeNumber


@dataclass(frozen=True, config=STRICT)
class GlowSettings:
    """Sizes of the Glow architecture.

    Attributes:
        first_squeeze: Side of the blocks of pixels that become channels before the first coupling.
        couplings: Number of convolutional couplings at each scale; its length is the number of scales.
        filters: Number of filters of the convolutions at each scale.
        num_blocks: Number of residual blocks of each convolutional coupling.
        dense_couplings: Number of dense couplings on the whole latent.
        dense_units: Hidden units of each dense coupling.
        pose_units: Number of features of an encoded pose.
        pose_width: Standard deviation, in slices, of the weights by which neighbouring slices share an encoding, see
            `OneHotPoseEncoder`.
        map_channels: Number of feature maps computed from the pose for each convolutional coupling.
        alpha: Margin of the logit, in (0, 1).
        log_scale_bound: Bound of the log-scale of every coupling.
        every_step: Whether ActNorm and a 1 x 1 convolution precede every coupling; otherwise there is no ActNorm, and
            a 1 x 1 convolution only at the start of a scale and before dense couplings.
        pose_affine: Whether an affine map of every pixel at every pose precedes the couplings.
        recompute: Whether gradients evaluate the couplings again instead of keeping the hidden features of their
            networks, which takes less memory and more time; second derivatives are then not available.
        architecture: Name of the architecture.
    """

    first_squeeze: Count = 4
    couplings: tuple[WholeNumber, ...] = (2, 4)
    filters: tuple[Count, ...] = (48, 96)
    num_blocks: WholeNumber = 1
    dense_couplings: WholeNumber = 2
    dense_units: Count = 512
    pose_units: Count = 64
    pose_width: NonNegative = 0.0
    map_channels: Count = 4
    alpha: Fraction = 0.2
    log_scale_bound: Positive = 2.0
    every_step: bool = True
    pose_affine: bool = True
    recompute: bool = False

    architecture: Literal['glow'] = 'glow'

    def make_pose_encoder(self, dtype: tf.DType) -> tf_keras.layers.Layer:
        """Returns the default encoder of poses."""
        return OneHotPoseEncoder(self.pose_units, self.pose_width, dtype=dtype)

    def check_image_shape(self, image_shape: tuple[int, ...]) -> None:
        """Raises a `ValueError` if images `(H, W, C)` cannot be divided as often as the settings need."""
        height, width, channels = image_shape
        scales = len(self.couplings)
        divisor = self.first_squeeze * 2 ** (scales - 1)
        if height % divisor or width % divisor:
            raise ValueError(
                f'`image_shape` {list(image_shape)} must be divisible by {divisor} for `first_squeeze` '
                f'{self.first_squeeze} and {scales} scales; crop or pad the images, or use fewer scales.'
            )
        if channels * self.first_squeeze**2 % 2:
            raise ValueError(
                f'`image_shape` {list(image_shape)} has an odd number of channels after `first_squeeze` '
                f'{self.first_squeeze}; couplings need two halves: squeeze by 2 or more.'
            )
        if len(self.filters) != scales:
            raise ValueError(
                f'`filters` {self.filters} and `couplings` {self.couplings} must have one entry per scale.'
            )


def build_glow(
    image_shape: tuple[int, ...],
    settings: GlowSettings,
    condition_size: int,
    make_conditioner: MakeConditioner | None,
    rng: np.random.Generator,
    dtype: tf.DType,
    network_dtype: Any,
) -> ConditionalChain:
    """Returns the flow between latent and logits, with couplings conditional on encoded poses.

    ```none
    image side -> squeeze -> (ActNorm, 1 x 1 convolution, coupling) at each scale, half of the channels factored out and
    a squeeze between scales -> (ActNorm, 1 x 1 convolution, dense coupling) on the whole latent
    ```

    Args:
        image_shape: `(H, W, C)`.
        settings: Sizes of the architecture.
        condition_size: Size of the encoded pose.
        make_conditioner: Returns the conditioner of a convolutional coupling, from the shape `(H, W, C)` of half an
            event and the condition's size; `None` for the default network.
        rng: Generator of the initial rotations of the 1 x 1 convolutions.
        dtype: Dtype of the events.
        network_dtype: Dtype or policy of the networks.

    Returns:
        A bijector from `[H', W', C']` to `[H, W, C]`.

    Raises:
        ValueError: If the image cannot be divided as often as the settings need.
    """
    settings.check_image_shape(image_shape)
    builder = _Builder(settings, condition_size, make_conditioner, rng, dtype, network_dtype)
    squeeze = Squeeze(image_shape, settings.first_squeeze, dtype=dtype)
    parts = [squeeze, *builder.scales(squeeze._event_shape_of_x, 0)]
    shape = parts[-1]._event_shape_of_x
    for _ in range(settings.dense_couplings):
        conditioner = DenseConditioner(settings.dense_units, condition_size, dtype=network_dtype)
        conditioner.build([None, *shape[:-1], shape[-1] // 2])
        parts += builder.step(shape, conditioner, builder.rotation(shape[-1]), False)
    return ConditionalChain(parts, condition_size)


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Builds the parts of the flow."""

    settings: GlowSettings
    condition_size: int
    make_conditioner: MakeConditioner | None
    rng: np.random.Generator
    dtype: Any
    network_dtype: Any

    def scales(self, shape: tuple[int, ...], scale: int) -> list[ConditionalBijector]:
        """Returns the parts of a scale; the last one holds the parts of the scales below."""
        channels = shape[-1]
        # After the first squeeze of grey-level images, a cosine transform sorts the pixels of a block by frequency.
        sorts = scale == 0 and channels == self.settings.first_squeeze**2
        first = _cosine_transform(self.settings.first_squeeze) if sorts else self.rotation(channels)
        parts: list[ConditionalBijector] = []
        if not self.settings.couplings[scale]:
            parts.append(InvertibleConvolution(shape, first, dtype=self.dtype))
        for index in range(self.settings.couplings[scale]):
            # Initially only the first rotates, so that the halves of the channels keep their meaning.
            matrix = first if index == 0 else np.eye(channels) if self.settings.every_step else None
            parts += self.step(shape, self.convolutional(shape, scale), matrix, index % 2 == 1)
        if scale + 1 < len(self.settings.couplings):
            height, width, _ = shape
            squeeze = Squeeze((height, width, channels // 2), 2, dtype=self.dtype)
            inner = ConditionalChain([squeeze, *self.scales(squeeze._event_shape_of_x, scale + 1)], self.condition_size)
            parts.append(FactorOut(shape, inner, self.condition_size))
        return parts

    def step(
        self, shape: tuple[int, ...], conditioner: Conditioner, matrix: np.ndarray | None, swap: bool
    ) -> list[ConditionalBijector]:
        """Returns ActNorm, 1 x 1 convolution (if a matrix is given) and coupling."""
        bound = self.settings.log_scale_bound
        parts: list[ConditionalBijector] = []
        if self.settings.every_step:
            parts.append(ActNorm(shape, dtype=self.dtype))
        if matrix is not None:
            parts.append(InvertibleConvolution(shape, matrix, dtype=self.dtype))
        coupling = AffineCoupling(
            shape,
            conditioner,
            self.condition_size,
            swap,
            bound,
            dtype=self.dtype,
            recompute=self.settings.recompute,
        )
        return [*parts, coupling]

    def convolutional(self, shape: tuple[int, ...], scale: int) -> Conditioner:
        """Returns the conditioner of a convolutional coupling."""
        half = (*shape[:-1], shape[-1] // 2)
        if self.make_conditioner is not None:
            return create_weights(self.make_conditioner(half, self.condition_size), half, self.condition_size)
        conditioner = ConvolutionalConditioner(
            self.settings.filters[scale],
            self.settings.num_blocks,
            self.condition_size,
            self.settings.map_channels,
            dtype=self.network_dtype,
        )
        conditioner.build([None, *half])
        return conditioner

    def rotation(self, size: int) -> np.ndarray:
        """Returns a random rotation."""
        return scipy.stats.special_ortho_group.rvs(size, random_state=self.rng)


def _cosine_transform(side: int) -> np.ndarray:
    """Returns the orthonormal cosine transform of blocks of `side` x `side` pixels."""
    one = scipy.fft.dct(np.eye(side), axis=0, norm='ortho')
    return np.kron(one, one).T
