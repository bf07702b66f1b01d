"""From an anatomy in reference coordinates to voxels, brick by brick, leaving out what lies outside the subject."""

import numpy as np

COARSE = 4
BRICK = 40


def _near(points, hull):
    """Returns a bool volume: the voxels that may lie inside the hull, found on every fourth voxel."""
    size = points[0].shape
    near = hull(*(axis[::COARSE, ::COARSE, ::COARSE] for axis in points)) < 2.0 * COARSE
    for axis in range(3):
        near = np.repeat(near, COARSE, axis=axis)
    return near[: size[0], : size[1], : size[2]]


def render(points, hull, painter, background, extra=()):
    """Renders a subject.

    Args:
        points: three float32 arrays [X, Y, Z], the point of the reference anatomy at each voxel.
        hull: function of three arrays that returns the signed distance to the subject's outer surface, mm.
        painter: function of three arrays [n], then those of `extra`, that returns (values [n], hull distances [n]).
        background: value outside the hull.
        extra: more float32 arrays [X, Y, Z] that the painter needs.

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
