"""All that a deep baseline is made of."""

import dataclasses

__all__ = ['ConditionalVAESettings', 'GenerativeQueryNetworkSettings']

_KNOWN = {
    'representation': ('tower', 'pool', 'pyramid'),
    'aggregation': ('sum', 'mean'),
    'pose_encoding': ('plain', 'fourier'),
}


@dataclasses.dataclass(frozen=True)
class _ContextSettings:
    """What both baselines have.

    Attributes:
        image_shape: `(H, W, C)`, H and W multiples of 8.
        pose_size: Size of a pose vector.
        representation: Network that encodes a context: 'tower', 'pool' or 'pyramid'.
        aggregation: Whether the contexts' encodings are added up ('sum') or averaged ('mean'); both are 0 without any.
        representation_channels: Features of an encoded context.
        pose_encoding: 'plain', the vector as it is, or 'fourier': sines and cosines of a slice's position in its stack,
            for one-hot poses.
        pose_channels: Channels of the map that a pose is spread out to, where it joins a grid.
        centred: Whether images are taken as deviations from the training data's mean image at their pose.
    """

    image_shape: tuple
    pose_size: int
    representation: str = 'tower'
    aggregation: str = 'sum'
    representation_channels: int = 256
    pose_encoding: str = 'plain'
    pose_channels: int = 8
    centred: bool = False

    def __post_init__(self):
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                raise ValueError(f'`{name}` must be one of {", ".join(known)}, got {getattr(self, name)!r}.')
        if len(self.image_shape) != 3 or any(size < 8 or size % 8 for size in self.image_shape[:2]):
            raise ValueError(f'`image_shape` must be (H, W, C) with multiples of 8, got {self.image_shape}.')
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise ValueError(f'`{field.name}` must be a whole number above 0, got {value!r}.')
        if self.representation == 'pyramid' and self.representation_channels % 8:
            raise ValueError('`representation_channels` of a pyramid must be a multiple of 8.')

    def to_json(self):
        """Returns the settings as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """Returns the settings that `to_json` described."""
        return cls(**{**values, 'image_shape': tuple(values['image_shape'])})


@dataclasses.dataclass(frozen=True)
class GenerativeQueryNetworkSettings(_ContextSettings):
    """All that a `GenerativeQueryNetwork` is made of; the defaults are those of its paper.

    Attributes:
        steps: Steps of the recurrent cores, each with latent variables of its own.
        shared_cores: Whether all steps have the same weights.
        hidden_channels: Channels of the states of the generator and the inference core.
        canvas_channels: Channels of the canvas, at the image's resolution.
        latent_channels: Channels of the latent variables of a step, on a quarter of the image's grid.
        kernel_size: Size of the cores' convolutions, odd.
    """

    steps: int = 12
    shared_cores: bool = False
    hidden_channels: int = 128
    canvas_channels: int = 128
    latent_channels: int = 3
    kernel_size: int = 5

    def __post_init__(self):
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ValueError(f'`kernel_size` must be odd, got {self.kernel_size}.')


@dataclasses.dataclass(frozen=True)
class ConditionalVAESettings(_ContextSettings):
    """All that a `ConditionalVAE` is made of.

    Attributes:
        filters: Filters of the two convolutions at each resolution, from the image's to an eighth of it.
        latent_size: Size of the latent vector.
    """

    aggregation: str = 'mean'
    filters: tuple = (32, 64, 128, 256)
    latent_size: int = 128

    def __post_init__(self):
        super().__post_init__()
        if len(self.filters) != 4 or any(not isinstance(size, int) or size < 1 for size in self.filters):
            raise ValueError(f'`filters` must be four whole numbers above 0, got {self.filters}.')
        if self.representation != 'tower':
            raise ValueError('`representation` of a conditional VAE must be tower.')

    @classmethod
    def from_json(cls, values):
        """Returns the settings that `to_json` described."""
        return super().from_json({**values, 'filters': tuple(values['filters'])})
