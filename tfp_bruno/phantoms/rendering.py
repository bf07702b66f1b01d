"""From an anatomy in reference coordinates to voxels: placement and deformation of a subject, and rendering."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from tfp_bruno.phantoms.geometry import Points

# Every fourth voxel decides whether its surroundings are rendered, in bricks of 40 voxels.
COARSE = 4
BRICK = 40


@dataclasses.dataclass(frozen=True)
class Placement:
    """Size, pose and deformation of a subject relative to the reference anatomy.

    Attributes:
        scale: Three factors from the reference anatomy to the subject.
        angles: Rotation about x, y, z, radians.
        shift: Translation, mm.
        bend: Standard deviation of the smooth random displacement, mm.
        bend_length: Its correlation length, mm.
    """

    scale: tuple[float, ...]
    angles: tuple[float, ...]
    shift: tuple[float, ...]
    bend: float
    bend_length: float


def _kernel(coordinates: np.ndarray, nodes: np.ndarray, correlation_length: float) -> np.ndarray:
    """Returns the weights [coordinates, nodes] of Gaussian bumps at the nodes, scaled to unit variance."""
    weights = np.exp(-(((coordinates[:, None] - nodes[None, :]) / correlation_length) ** 2))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def smooth_field(axes: Sequence[np.ndarray], correlation_length: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a smooth Gaussian random field of unit variance and Gaussian covariance.

    Args:
        axes: Three 1-D arrays of coordinates, mm; the field is evaluated on their product.
        correlation_length: Distance at which the correlation has fallen to exp(-1/2), mm.
        rng: Random generator.

    Returns:
        float32 array [len(axes[0]), len(axes[1]), len(axes[2])].
    """
    spacing = correlation_length / 1.5
    kernels = []
    for axis in axes:
        nodes = np.arange(axis[0] - 2.0 * correlation_length, axis[-1] + 2.0 * correlation_length + spacing, spacing)
        kernels.append(_kernel(axis, nodes, correlation_length))
    noise = rng.standard_normal([kernel.shape[1] for kernel in kernels], dtype=np.float32)
    field = np.tensordot(kernels[0], noise, axes=(1, 0))
    field = np.matmul(kernels[1], field)
    return np.matmul(field, kernels[2].T)


def voxel_axes(shape: Sequence[int]) -> list[np.ndarray]:
    """Returns the three 1-D arrays of world coordinates (RAS, mm) of a lattice of 1 mm centred on the origin."""
    return [np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2.0) for size in shape]


def bent_coordinates(axes: Sequence[np.ndarray], placement: Placement, rng: np.random.Generator) -> list[np.ndarray]:
    """Maps every voxel to the reference anatomy.

    Args:
        axes: Three 1-D arrays of world coordinates, mm.
        placement: Placement of the subject.
        rng: Random generator of the displacement.

    Returns:
        Three float32 arrays (x, y, z) of the lattice's shape: the point of the reference anatomy at each voxel.
    """
    rotation = Rotation.from_euler('xyz', placement.angles).as_matrix().astype(np.float32)
    sparse = np.meshgrid(*axes, indexing='ij', sparse=True)
    grid = [axis - np.float32(offset) for axis, offset in zip(sparse, placement.shift, strict=True)]
    points = []
    for row, scale in zip(rotation, placement.scale, strict=True):
        field = smooth_field(axes, placement.bend_length, rng)
        field *= np.float32(placement.bend)
        field += row[0] * grid[0] + row[1] * grid[1] + row[2] * grid[2]
        field *= np.float32(1.0 / scale)
        points.append(field)
    return points


def render(
    points: Points,
    hull: Callable[..., np.ndarray],
    painter: Callable[..., tuple[np.ndarray, np.ndarray]],
    background: float,
    extra: Sequence[np.ndarray] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Renders a subject brick by brick, without the voxels outside it.

    Args:
        points: Three float32 arrays [X, Y, Z], the point of the reference anatomy at each voxel.
        hull: Function of three arrays that returns the signed distance to the subject's outer surface, mm.
        painter: Function of three arrays [n], then those of `extra`, that returns (values [n], hull distances [n]).
        background: Value outside the hull.
        extra: Further float32 arrays [X, Y, Z] for the painter.

    Returns:
        image: float32 array [X, Y, Z]; exactly the background outside the mask.
        mask: bool array [X, Y, Z], inside the hull.
    """
    size = points[0].shape
    near = _near(points, hull)
    image, mask = np.full(size, background, np.float32), np.zeros(size, bool)
    for corner in np.ndindex(*(-(-length // BRICK) for length in size)):
        brick = tuple(slice(index * BRICK, (index + 1) * BRICK) for index in corner)
        chosen = near[brick]
        if chosen.any():
            values, distance = painter(*(field[brick][chosen] for field in (*points, *extra)))
            inside = distance < 0.0
            image[brick][chosen] = np.where(inside, values, np.float32(background))
            mask[brick][chosen] = inside
    return image, mask


def _near(points: Points, hull: Callable[..., np.ndarray]) -> np.ndarray:
    """Returns the voxels [X, Y, Z] that may lie inside the hull, evaluated at every fourth voxel."""
    size = points[0].shape
    near = hull(*(axis[::COARSE, ::COARSE, ::COARSE] for axis in points)) < 2.0 * COARSE
    for axis in range(3):
        near = np.repeat(near, COARSE, axis=axis)
    return near[: size[0], : size[1], : size[2]]
