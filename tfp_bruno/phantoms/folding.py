"""Cortical folds: sulci are sheets below the zero lines of a random pattern on the brain's surface.

A band-limited sum of plane waves is evaluated on an ellipsoid around each hemisphere and extended inwards along the
radius. Its zero lines meander over the surface at half a wavelength from each other, like sulci, and the sheets below
them cut straight into the hemisphere. Most of the pattern is common to all subjects, like primary sulci; the rest is
individual.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfp_bruno.phantoms.geometry import Points

# Share of the ellipsoid's radius at which the sheets end.
INNERMOST = 0.62


@dataclasses.dataclass(frozen=True)
class FoldPattern:
    """A random pattern over the surface of a hemisphere.

    Attributes:
        common: float32 [n, 5], rows (wave vector x, y, z, phase, amplitude), mirrored between the hemispheres.
        individual: float32 [n, 5], such rows, not mirrored.
        centre: Centre of the ellipsoid on which the pattern is evaluated (x positive).
        radii: Its semi-axes, mm.
        wave_number: Typical length of the wave vectors, radians per mm.
    """

    common: np.ndarray
    individual: np.ndarray
    centre: tuple[float, ...]
    radii: tuple[float, ...]
    wave_number: float


def _waves(count: int, wave_number: float, amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Returns rows (wave vector, phase, amplitude) with directions uniform on the sphere."""
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = wave_number * rng.uniform(0.65, 1.35, (count, 1))
    phases = rng.uniform(0.0, 2.0 * np.pi, (count, 1))
    amplitudes = np.full((count, 1), amplitude * np.sqrt(2.0 / count))
    return np.concatenate([directions * lengths, phases, amplitudes], axis=1).astype(np.float32)


def make_pattern(
    wavelength: float,
    individuality: float,
    centre: Sequence[float],
    radii: Sequence[float],
    common_seed: int,
    rng: np.random.Generator,
) -> FoldPattern:
    """Draws a subject's fold pattern.

    Args:
        wavelength: Twice the typical distance between neighbouring sulci, mm.
        individuality: Share of the variance that is individual, in [0, 1].
        centre: Centre of the hemisphere's ellipsoid.
        radii: Its semi-axes, mm.
        common_seed: Seed of the part that all subjects share.
        rng: Random generator of the subject.

    Returns:
        The pattern, of unit variance.
    """
    wave_number = 2.0 * np.pi / wavelength
    common = _waves(14, wave_number, np.sqrt(1.0 - individuality), np.random.default_rng(common_seed))
    individual = _waves(8, wave_number, np.sqrt(individuality), rng)
    return FoldPattern(common, individual, tuple(centre), tuple(radii), wave_number)


def sheet_distance(points: Points, pattern: FoldPattern) -> np.ndarray:
    """Returns the distance to the nearest sulcal sheet.

    Args:
        points: Three float32 arrays [n] of coordinates, mm, x signed.
        pattern: The fold pattern.

    Returns:
        float32 array [n], mm, not negative.
    """
    side = np.where(points[0] < 0.0, np.float32(-1.0), np.float32(1.0))
    mirrored = [np.abs(points[0]), points[1], points[2]]
    centre, radii = (np.asarray(values, np.float32)[:, None] for values in (pattern.centre, pattern.radii))
    scaled = (np.stack(mirrored) - centre) / radii
    level = np.maximum(np.sqrt((scaled**2).sum(axis=0)), np.float32(0.2))
    surface = scaled / level * radii
    value, slope = _evaluate(pattern.common, surface)
    surface = surface + centre
    surface[0] *= side
    own_value, own_slope = _evaluate(pattern.individual, surface)
    slope[0] *= side
    slope = np.sqrt(((slope + own_slope) ** 2).sum(axis=0) + np.float32((0.35 * pattern.wave_number) ** 2))
    sheet = np.abs(value + own_value) / slope * np.minimum(level, np.float32(1.2))
    # The sheets end before they would crowd together at the centre.
    crowded = np.maximum(np.float32(INNERMOST) - level, np.float32(0.0)) * np.float32(min(pattern.radii))
    return np.sqrt(sheet * sheet + crowded * crowded)


def _evaluate(waves: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum of the waves [n] and its gradient [3, n] at positions [3, n]."""
    # einsum rather than matmul: BLAS would start threads, which takes longer than these small products.
    phase = np.einsum('wc,cn->wn', waves[:, :3], positions)
    phase += waves[:, 3:4]
    value = np.einsum('w,wn->n', waves[:, 4], np.cos(phase))
    slope = np.einsum('wc,wn->cn', -waves[:, :3] * waves[:, 4:5], np.sin(phase))
    return value, slope
