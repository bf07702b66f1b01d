"""The Glow architecture: squeezed first, halves of the channels, cheap for what it can do."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import scipy.fft
import scipy.stats
from pydantic.dataclasses import dataclass

from tfp_bruno.bijectors.actnorm import ActNorm
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.coupling import AffineCoupling, create_weights
from tfp_bruno.bijectors.factor_out import FactorOut
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution
from tfp_bruno.bijectors.squeeze import Squeeze
from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner, OneHotPoseEncoder
from tfp_bruno.settings import STRICT, Count, Fraction, NonNegative, Positive, WholeNumber

__all__ = ['GlowSettings', 'build_glow']


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
        pose_units: Number of features that the pose is encoded to.
        pose_width: Standard deviation, in slices, of the weights by which neighbouring slices share an encoding, see
            `OneHotPoseEncoder`.
        map_channels: Number of feature maps that the pose draws for each convolutional coupling.
        alpha: Margin of the logit, in (0, 1).
        log_scale_bound: Bound of the log-scale of every coupling.
        every_step: Whether ActNorm and a 1 x 1 convolution stand before every coupling; otherwise there is no ActNorm,
            and a 1 x 1 convolution at the start of a scale and before dense couplings only.
        pose_affine: Whether every pixel has a mean and a scale of its own at every pose, before the couplings.
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

    architecture: Literal['glow'] = 'glow'

    def make_pose_encoder(self, dtype):
        """Returns the layer that encodes poses, where the user gives none."""
        return OneHotPoseEncoder(self.pose_units, self.pose_width, dtype=dtype)

    def check_image_shape(self, image_shape):
        """Raises a `ValueError` if images `(H, W, C)` cannot be divided as often as the settings ask for."""
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
            raise ValueError(f'`filters` {self.filters} and `couplings` {self.couplings} must have one entry a scale.')


def build_glow(image_shape, settings, condition_size, make_conditioner, rng, dtype):
    """Returns the flow between latent and logits, with couplings on encoded poses.

    ```none
    image side -> squeeze -> (ActNorm, 1 x 1 convolution, coupling) at each scale, half of the channels factored out and
    a squeeze between scales -> (ActNorm, 1 x 1 convolution, dense coupling) on the whole latent
    ```

    Args:
        image_shape: `(H, W, C)`.
        settings: `GlowSettings`.
        condition_size: `int`, size of the encoded pose.
        make_conditioner: Callable from the shape of half an event, `(H, W, C)`, and the condition's size to a
            conditioner for convolutional couplings, or `None` for the default one.
        rng: NumPy generator, for the rotations that the 1 x 1 convolutions start from.
        dtype: Pair of the events' dtype and the networks' dtype or policy.

    Returns:
        A `ConditionalChain` from `[H', W', C']` to `[H, W, C]`.

    Raises:
        ValueError: if the image cannot be divided as often as the settings ask for.
    """
    settings.check_image_shape(image_shape)
    builder = _Builder(settings, condition_size, make_conditioner, rng, *dtype)
    squeeze = Squeeze(image_shape, settings.first_squeeze, dtype=builder.dtype)
    parts = [squeeze, *builder.scales(squeeze._event_shape_of_x, 0)]
    shape = parts[-1]._event_shape_of_x
    for _ in range(settings.dense_couplings):
        conditioner = DenseConditioner(settings.dense_units, condition_size, dtype=builder.network_dtype)
        conditioner.build([None, *shape[:-1], shape[-1] // 2])
        parts += builder.step(shape, conditioner, builder.rotation(shape[-1]), False)
    return ConditionalChain(parts, condition_size)


@dataclasses.dataclass(frozen=True)
class _Builder:
    """What every step of the flow is made with."""

    settings: GlowSettings
    condition_size: int
    make_conditioner: Callable | None
    rng: np.random.Generator
    dtype: Any
    network_dtype: Any

    def scales(self, shape, scale):
        """Returns the parts of a scale and, inside the last one, of those below it."""
        channels = shape[-1]
        # After the first squeeze a cosine transform sorts the pixels of a block by frequency.
        sorts = scale == 0 and channels == self.settings.first_squeeze**2
        first = _cosine_transform(self.settings.first_squeeze) if sorts else self.rotation(channels)
        parts = [] if self.settings.couplings[scale] else [InvertibleConvolution(shape, first, dtype=self.dtype)]
        for index in range(self.settings.couplings[scale]):
            # Only the first rotates at the start: the halves of the channels keep their meaning.
            matrix = first if index == 0 else np.eye(channels) if self.settings.every_step else None
            parts += self.step(shape, self.convolutional(shape, scale), matrix, index % 2 == 1)
        if scale + 1 < len(self.settings.couplings):
            height, width, _ = shape
            squeeze = Squeeze((height, width, channels // 2), 2, dtype=self.dtype)
            inner = ConditionalChain([squeeze, *self.scales(squeeze._event_shape_of_x, scale + 1)], self.condition_size)
            parts.append(FactorOut(shape, inner, self.condition_size))
        return parts

    def step(self, shape, conditioner, matrix, swap):
        """Returns ActNorm, 1 x 1 convolution (where there is a matrix) and coupling."""
        bound = self.settings.log_scale_bound
        parts = [ActNorm(shape, dtype=self.dtype)] if self.settings.every_step else []
        if matrix is not None:
            parts.append(InvertibleConvolution(shape, matrix, dtype=self.dtype))
        return [*parts, AffineCoupling(shape, conditioner, self.condition_size, swap, bound, dtype=self.dtype)]

    def convolutional(self, shape, scale):
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

    def rotation(self, size):
        """Returns a random rotation."""
        return scipy.stats.special_ortho_group.rvs(size, random_state=self.rng)


def _cosine_transform(side):
    one = scipy.fft.dct(np.eye(side), axis=0, norm='ortho')
    return np.kron(one, one).T
