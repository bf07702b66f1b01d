"""What spoils slices besides motion: noise, a bias field, loss of signal."""

import dataclasses

import numpy as np

from tfp_bruno.errors import UserError


@dataclasses.dataclass(frozen=True)
class ArtefactSettings:
    """Strength of the artefacts.

    Attributes:
        noise: Standard deviation of the noise in each channel, as a share of the mean intensity of the anatomy; the
            magnitude of signal and noise has a Rician distribution.
        bias: Largest deviation from 1 of the bias field, which is the same for all slices of a stack.
        dropout: Share of the slices that lose signal, by 30 to 90 % in a blurred half-plane, as when the anatomy moves
            while the slice is excited.

    Raises:
        UserError: If a value is out of range.
    """

    noise: float = 0.0
    bias: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (('noise', 10.0), ('bias', 0.9), ('dropout', 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise UserError(f'`{name}={value:g}`: give 0 to {most:g}.')


def spoil(data: np.ndarray, mean: float, settings: ArtefactSettings, rng: np.random.Generator) -> np.ndarray:
    """Adds bias, loss of signal and noise to a stack, in this order.

    Args:
        data: float32 `[X, Y, N]`, not negative, the slices along the last axis.
        mean: Mean intensity of the anatomy.
        settings: Strength of the artefacts.
        rng: Random generator; what it draws for one artefact does not depend on the strength of the others.

    Returns:
        float32 `[X, Y, N]`, not negative; the same data if all strengths are 0.
    """
    bias_rng, dropout_rng, noise_rng = rng.spawn(3)
    data = data * bias_field(data.shape, settings.bias, bias_rng)
    for index in np.flatnonzero(dropout_rng.random(data.shape[2]) < settings.dropout):
        data[:, :, index] *= _attenuation(data.shape[:2], dropout_rng)
    if settings.noise:
        real, imaginary = settings.noise * mean * noise_rng.standard_normal((2, *data.shape), dtype=np.float32)
        data = np.hypot(data + real, imaginary)
    return data.astype(np.float32)


def bias_field(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a smooth random factor, float32 `[X, Y, N]`, from 1 - strength to 1 + strength.

    It is a quadratic polynomial of the position with random coefficients.
    """
    axes = np.meshgrid(*[np.linspace(-1.0, 1.0, length) for length in shape], indexing='ij', sparse=True)
    linear, products = rng.standard_normal(3), rng.standard_normal((3, 3))
    field = np.zeros(shape)
    for first in range(3):
        field += linear[first] * axes[first]
        for second in range(first + 1):
            field += 0.5 * products[first, second] * axes[first] * axes[second]
    return (1.0 + strength * field / np.abs(field).max()).astype(np.float32)


def _attenuation(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Returns a factor [X, Y] that falls from 1 to 0.1 to 0.7 across a random line near the middle."""
    angle, offset, left = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.1, 0.7)
    x, y = np.meshgrid(*[np.linspace(-1.0, 1.0, length) for length in shape], indexing='ij', sparse=True)
    beyond = 1.0 / (1.0 + np.exp(-(np.cos(angle) * x + np.sin(angle) * y - offset) / 0.1))
    return (1.0 - (1.0 - left) * beyond).astype(np.float32)
