"""Settings of the deep baselines."""

from typing import Literal

from pydantic.dataclasses import dataclass

from tfp_bruno.settings import STRICT, Count


@dataclass(frozen=True, config=STRICT)
class _ContextSettings:
    """Settings that both baselines have.

    Attributes:
        image_shape: `(H, W, C)`, H and W multiples of 8.
        num_slices: K, the size of the one-hot pose.
        representation: Network that encodes a context: 'tower', 'pool' or 'pyramid'.
        aggregation: Whether encoded contexts are added up ('sum') or averaged ('mean'); both are 0 without contexts.
        representation_channels: Features of an encoded context.
        pose_encoding: 'plain', the vector as it is, or 'fourier': sines and cosines of a slice's position in its stack,
            for one-hot poses.
        pose_channels: Channels of the spatial map that a pose becomes before it is joined to a grid of features.
        centred: Whether images are deviations from the mean image of the training data at their pose; generated ones
            in units of each pixel's standard deviation.
    """

    image_shape: tuple[Count, Count, Count]
    num_slices: Count
    representation: Literal['tower', 'pool', 'pyramid'] = 'tower'
    aggregation: Literal['sum', 'mean'] = 'sum'
    representation_channels: Count = 256
    pose_encoding: Literal['plain', 'fourier'] = 'plain'
    pose_channels: Count = 8
    centred: bool = False

    def __post_init__(self) -> None:
        if any(size % 8 for size in self.image_shape[:2]):
            raise ValueError(f'`image_shape` must be (H, W, C) with multiples of 8, got {self.image_shape}.')
        if self.representation == 'pyramid' and self.representation_channels % 8:
            raise ValueError(
                f'`representation_channels` of a pyramid must be a multiple of 8, got {self.representation_channels}.'
            )


@dataclass(frozen=True, config=STRICT)
class GenerativeQueryNetworkSettings(_ContextSettings):
    """Settings of a `GenerativeQueryNetwork`; the defaults are those of its paper.

    Attributes:
        steps: Steps of the recurrent cores, each with its own latent variables.
        shared_cores: Whether all steps have the same weights.
        hidden_channels: Channels of the states of the generator and the inference core.
        canvas_channels: Channels of the canvas, at the image's resolution.
        latent_channels: Channels of the latent variables of a step, on a quarter of the image's grid.
        kernel_size: Size of the cores' convolutions, odd.
    """

    steps: Count = 12
    shared_cores: bool = False
    hidden_channels: Count = 128
    canvas_channels: Count = 128
    latent_channels: Count = 3
    kernel_size: Count = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ValueError(f'`kernel_size` must be odd, got {self.kernel_size}.')


@dataclass(frozen=True, config=STRICT)
class ConditionalVAESettings(_ContextSettings):
    """Settings of a `ConditionalVAE`.

    Attributes:
        filters: Filters of the two convolutions at each resolution, from the image's to an eighth of it.
        latent_size: Size of the latent vector.
    """

    aggregation: Literal['sum', 'mean'] = 'mean'
    filters: tuple[Count, Count, Count, Count] = (32, 64, 128, 256)
    latent_size: Count = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.representation != 'tower':
            raise ValueError(f'`representation` of a conditional VAE must be tower, got {self.representation}.')
