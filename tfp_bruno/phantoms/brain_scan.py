"""What scans of fetal and adult brains have in common: where the brain lies, the soft outer edge, the bias field."""

import numpy as np

from tfp_bruno.phantoms import brain, fields, geometry, rendering

# The bias field, relative, and its correlation length.
BIAS, BIAS_LENGTH_MM = 0.05, 50.0


def scan(size, placement, shape, paint, softness, rng):
    """Scans a brain.

    Args:
        size: number of voxels along x, y, z.
        placement: the individual's fields.Placement.
        shape: its brain.BrainShape.
        paint: function of the dictionary that brain.signed_distances returns and of the three arrays [n] of reference
            coordinates, that returns intensities [n].
        softness: breadth of the transition between tissues, mm of the reference.
        rng: numpy random generator, for the bending and the bias field.

    Returns:
        image: float32 array [size] in [0, 1], exactly 0 outside the mask.
        mask: bool array [size].
    """

    def painter(*points):
        distance = brain.signed_distances(points, shape)
        edge = geometry.smooth_step(-distance['hull'], 0.0, 1.2 * softness)
        return paint(distance, points) * edge, distance['hull']

    axes = fields.voxel_axes(size)
    points = fields.bent_coordinates(axes, placement, rng)
    image, mask = rendering.render(points, lambda *part: brain.hull_distance(part, shape), painter, 0.0)
    image *= np.exp(np.float32(BIAS) * fields.smooth_field(axes, BIAS_LENGTH_MM, rng))
    return np.clip(image, 0.0, 1.0), mask
