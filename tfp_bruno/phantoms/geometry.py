"""Implicit shapes: signed distances, negative inside, evaluated at arrays of points, and how they are blended.

The distances are approximations, exact to first order at the surface, as anti-aliased painting requires. All arrays are
float32 and broadcast; lengths are millimetres.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

# Coordinates (x, y, z), three arrays of one shape.
Points: TypeAlias = Sequence[np.ndarray]


def _gap(points: Points, centre: Sequence[float]) -> float:
    """Returns the distance from a centre to the box around the points, 0 inside it."""
    gaps = [max(axis.min() - middle, middle - axis.max(), 0.0) for axis, middle in zip(points, centre, strict=True)]
    return float(np.hypot(np.hypot(gaps[0], gaps[1]), gaps[2]))


def ellipsoid(
    points: Points,
    centre: Sequence[float],
    radii: Sequence[float],
    tilt: float = 0.0,
    reach: float | None = None,
) -> np.ndarray:
    """Returns the approximate signed distance to an ellipsoid.

    Args:
        points: Three float32 arrays (x, y, z) of one shape.
        centre: Centre of the ellipsoid.
        radii: Its three semi-axes.
        tilt: Rotation about the x axis, radians; positive lifts the anterior end.
        reach: If all points are farther away than this, it is returned for all of them, which saves time.

    Returns:
        float32 array of the points' shape.
    """
    if reach is not None and _gap(points, centre) > max(radii) + reach:
        return np.full_like(points[0], reach)
    x, y, z = (axis - np.float32(middle) for axis, middle in zip(points, centre, strict=True))
    if tilt:
        cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        y, z = cosine * y + sine * z, cosine * z - sine * y
    first, second, third = (np.float32(1.0 / radius) for radius in radii)
    x, y, z = x * first, y * second, z * third
    level = np.sqrt(x * x + y * y + z * z)
    x *= first
    y *= second
    z *= third
    slope = np.sqrt(x * x + y * y + z * z)
    return level * (level - np.float32(1.0)) / np.maximum(slope, np.float32(1e-6))


def chain(nodes: ArrayLike) -> np.ndarray:
    """Cuts a chain of nodes (x, y, z, radius) into straight pieces, float32 [n - 1, 2, 4], for `tubes`."""
    nodes = np.asarray(nodes, np.float32)
    return np.stack([nodes[:-1], nodes[1:]], axis=1)


def tubes(points: Points, pieces: np.ndarray, reach: float) -> np.ndarray:
    """Returns the signed distance to the nearest of many round cones.

    Args:
        points: Three float32 arrays [n]; the closer together they are, the more pieces can be left out.
        pieces: float32 array [m, 2, 4], start and end (x, y, z, radius) of each piece; the radius varies linearly.
        reach: Upper bound of the returned distances.

    Returns:
        float32 array [n].
    """
    nearest = np.full_like(points[0], reach)
    low, high = ([pick(axis) for axis in points] for pick in (np.min, np.max))
    margin = reach + pieces[..., 3].max(axis=1, keepdims=True)
    close = (pieces[..., :3].min(axis=1) - margin < high) & (pieces[..., :3].max(axis=1) + margin > low)
    for start, end in pieces[close.all(axis=1)]:
        along = end[:3] - start[:3]
        x, y, z = (axis - value for axis, value in zip(points, start[:3], strict=True))
        share = (x * along[0] + y * along[1] + z * along[2]) * np.float32(1.0 / max(float(along @ along), 1e-6))
        np.clip(share, 0.0, 1.0, out=share)
        x -= share * along[0]
        y -= share * along[1]
        z -= share * along[2]
        share *= end[3] - start[3]
        share += start[3]
        np.minimum(nearest, np.sqrt(x * x + y * y + z * z) - share, out=nearest)
    return nearest


def smooth_minimum(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray:
    """Returns the minimum, rounded off where the two differ by less than `width` (a quadratic polynomial blend)."""
    overlap = np.maximum(np.float32(width) - np.abs(first - second), np.float32(0.0))
    return np.minimum(first, second) - overlap * overlap * (np.float32(0.25) / np.float32(width))


def coverage(distance: np.ndarray, width: float) -> np.ndarray:
    """Returns the share in [0, 1] of a voxel inside a surface at this signed distance.

    Args:
        distance: Signed distance, negative inside.
        width: Width of the transition, about one voxel or more.

    Returns:
        float32 array of the distance's shape.
    """
    return np.clip(np.float32(0.5) - distance * np.float32(1.0 / width), np.float32(0.0), np.float32(1.0))


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns the cubic step from 0 at `low` to 1 at `high`."""
    share = np.clip((values - np.float32(low)) * np.float32(1.0 / (high - low)), np.float32(0.0), np.float32(1.0))
    return share * share * (np.float32(3.0) - np.float32(2.0) * share)


def paint(image: np.ndarray, value: ArrayLike, share: np.ndarray) -> None:
    """Mixes a tissue into an image in place.

    Args:
        image: float32 array, changed.
        value: Intensity of the tissue, a number or an array of the image's shape.
        share: Share of each voxel that the tissue takes, in [0, 1].
    """
    image += share * (value - image)
