"""The RealNVP architecture, the flow of the official code of Conditional BRUNO."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras
from pydantic.dataclasses import dataclass

from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import (
    Conditioner,
    MakeConditioner,
    MaskedAffineCoupling,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    create_weights,
)
from tfp_bruno.bijectors.multi_scale import FactorOut, Squeeze
from tfp_bruno.networks import DensePoseEncoder, WeightNormConvolutionalConditioner, WeightNormDenseConditioner
from tfp_bruno.settings import STRICT, Count, Fraction, Positive, WholeNumber


@dataclass(frozen=True, config=STRICT)
class RealNVPSettings:
    """Sizes of the RealNVP architecture; the defaults are those of the official code.

    Attributes:
        scales: Number of scales.
        filters: Number of filters of the convolutions.
        num_blocks: Number of residual blocks of each convolutional coupling.
        dense_couplings: Number of dense couplings on the whole latent.
        dense_units: Hidden units of each dense coupling.
        pose_units: Number of features of an encoded pose.
        alpha: Margin of the logit, in (0, 1).
        log_scale_bound: Bound of the log-scale of every coupling.
        pose_affine: Whether an affine map of every pixel at every pose precedes the couplings; the official code has
            none.
        recompute: Whether gradients evaluate the couplings again instead of keeping the hidden features of their
            networks, which takes less memory and more time; second derivatives are then not available.
        architecture: Name of the architecture.
    """

    scales: Count = 3
    filters: Count = 64
    num_blocks: WholeNumber = 6
    dense_couplings: WholeNumber = 6
    dense_units: Count = 256
    pose_units: Count = 32
    alpha: Fraction = 1e-5
    log_scale_bound: Positive = 1.0
    pose_affine: bool = False
    recompute: bool = False

    architecture: Literal['real_nvp'] = 'real_nvp'

    def make_pose_encoder(self, dtype: tf.DType) -> tf_keras.layers.Layer:
        """Returns the default encoder of poses."""
        return DensePoseEncoder(self.pose_units, dtype=dtype)

    def check_image_shape(self, image_shape: tuple[int, ...]) -> None:
        """Raises a `ValueError` if images `(H, W, C)` cannot be divided as often as the settings need."""
        height, width, _ = image_shape
        divisor = 2 ** (self.scales - 1)
        if height % divisor or width % divisor:
            raise ValueError(
                f'`image_shape` {list(image_shape)} must be divisible by {divisor} for {self.scales} scales; crop or '
                'pad the images, or use fewer scales.'
            )


def build_real_nvp(
    image_shape: tuple[int, ...],
    settings: RealNVPSettings,
    condition_size: int,
    make_conditioner: MakeConditioner | None,
    rng: np.random.Generator,
    dtype: tf.DType,
    network_dtype: Any,
) -> ConditionalChain:
    """Returns the flow between latent and logits; arguments and result are as those of `build_glow`.

    ```none
    image side -> (3 couplings by checkerboard, squeeze, 3 couplings by channel) at each scale but the last, half of the
    channels factored out -> 4 couplings by checkerboard -> dense couplings of every other number
    ```

    `make_conditioner` gets the shape of whole events. The order of the channels differs from the official code.
    """
    del rng
    settings.check_image_shape(image_shape)
    builder = _Builder(settings, condition_size, make_conditioner, dtype, network_dtype)
    parts = builder.scales(image_shape, 0)
    shape = parts[-1]._event_shape_of_x
    for index in range(settings.dense_couplings):
        conditioner = WeightNormDenseConditioner(settings.dense_units, condition_size, dtype=network_dtype)
        conditioner.build([None, *shape])
        parts.append(builder.coupling(alternating_mask(shape, index % 2), conditioner))
    return ConditionalChain(parts, condition_size)


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Builds the parts of the flow."""

    settings: RealNVPSettings
    condition_size: int
    make_conditioner: MakeConditioner | None
    dtype: Any
    network_dtype: Any

    def scales(self, shape: tuple[int, ...], scale: int) -> list[ConditionalBijector]:
        """Returns the parts of a scale; the last one holds the parts of the scales below."""
        if scale == self.settings.scales - 1:
            return self.convolutional(checkerboard_mask, shape, 4)
        squeeze = Squeeze(shape, 2, dtype=self.dtype)
        squeezed = squeeze._event_shape_of_x
        half = (*squeezed[:-1], squeezed[-1] // 2)
        inner = ConditionalChain(self.scales(half, scale + 1), self.condition_size)
        return [
            *self.convolutional(checkerboard_mask, shape, 3),
            squeeze,
            *self.convolutional(channel_mask, squeezed, 3),
            FactorOut(squeezed, inner, self.condition_size),
        ]

    def convolutional(
        self, mask: Callable[[tuple[int, ...], int], np.ndarray], shape: tuple[int, ...], count: int
    ) -> list[ConditionalBijector]:
        """Returns convolutional couplings of alternating parity."""
        return [self.coupling(mask(shape, index % 2), self.conditioner(shape)) for index in range(count)]

    def conditioner(self, shape: tuple[int, ...]) -> Conditioner:
        """Returns the conditioner of a convolutional coupling."""
        if self.make_conditioner is not None:
            return create_weights(self.make_conditioner(shape, self.condition_size), shape, self.condition_size)
        conditioner = WeightNormConvolutionalConditioner(
            self.settings.filters,
            self.settings.num_blocks,
            self.condition_size,
            dtype=self.network_dtype,
        )
        conditioner.build([None, *shape])
        return conditioner

    def coupling(self, mask: np.ndarray, conditioner: Conditioner) -> MaskedAffineCoupling:
        """Returns a coupling by a mask."""
        return MaskedAffineCoupling(
            mask,
            conditioner,
            self.condition_size,
            self.settings.log_scale_bound,
            dtype=self.dtype,
            recompute=self.settings.recompute,
        )
