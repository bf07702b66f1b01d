"""The brain as implicit surfaces in the reference coordinates of `brain_parts`, and its scan.

Fetal and adult phantoms share this anatomy; a `BrainShape` sets its growth, folding and fluid, and painters assign
intensities from the signed distances of `signed_distances`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tfp_bruno.phantoms import brain_parts as parts
from tfp_bruno.phantoms import folding, geometry, rendering
from tfp_bruno.phantoms.geometry import Points

# Beyond this distance, mm, a small structure has no effect.
FAR = 8.0
# The same for structures that limit the depth of sulci: deeper than any sulcus by FAR.
DEEP = 20.0
# Relative standard deviation of the bias field, and its correlation length.
BIAS, BIAS_LENGTH_MM = 0.05, 50.0


@dataclasses.dataclass(frozen=True)
class BrainShape:
    """Growth, folding and fluid of the reference anatomy.

    Attributes:
        maturity: Weeks of gestation, which decide which sulci have appeared; 40 for an adult.
        primary: Depth of the primary sulci that every brain has, mm of the reference.
        depths: Depth of the sulci of the coarse and of the fine fold pattern.
        sulcal_gap: Half the width of an open sulcus.
        cortex: Thickness of the cortical ribbon.
        fluid: Thickness of the fluid around the brain.
        fissure: Half the width of the interhemispheric fissure.
        sylvian: (opening, depth) of the Sylvian fissure, factors.
        ventricles: Radius added to the lateral ventricles.
        horns: Radius added to the occipital and temporal horns, beyond `ventricles`.
        third_ventricle: Factor on the width of the third ventricle.
        cavum: Radius added to the cavum; strongly negative closes it.
        cerebellum: Factor on the size of the cerebellum.
        temporal: Factor on the size of the temporal lobe.
        frontal: Factor on the size of the frontal lobe.
        folds: Coarse and fine fold pattern.
        depth_range: Depth under the cortical surface, mm of the reference, up to which it is computed; at most 7.
    """

    maturity: float
    primary: float
    depths: tuple[float, float]
    sulcal_gap: float
    cortex: float
    fluid: float
    fissure: float
    sylvian: tuple[float, float]
    ventricles: float
    horns: float
    third_ventricle: float
    cavum: float
    cerebellum: float
    temporal: float
    frontal: float
    folds: tuple[folding.FoldPattern, folding.FoldPattern]
    depth_range: float


def _scaled(part: parts.Ellipsoid, factor: float) -> parts.Ellipsoid:
    """Returns an ellipsoid with its semi-axes multiplied."""
    centre, (x, y, z), tilt = part
    return centre, (x * factor, y * factor, z * factor), tilt


def _cerebrum(mirrored: Points, shape: BrainShape) -> np.ndarray:
    """Returns the distance to the cerebrum and the fluid around it."""
    distance = geometry.ellipsoid(mirrored, *parts.PARIETAL)
    for part in (
        parts.MIDLINE,
        _scaled(parts.FRONTAL, shape.frontal),
        parts.OCCIPITAL,
        _scaled(parts.TEMPORAL, shape.temporal),
    ):
        distance = geometry.smooth_minimum(distance, geometry.ellipsoid(mirrored, *part), 5.0)
    return distance


def _below(mirrored: Points, shape: BrainShape) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distances to the cerebellum and to the brain stem."""
    hemispheres = geometry.ellipsoid(mirrored, *_scaled(parts.CEREBELLUM, shape.cerebellum), reach=DEEP)
    cerebellum = geometry.smooth_minimum(hemispheres, geometry.ellipsoid(mirrored, *parts.VERMIS, reach=DEEP), 2.0)
    stem = geometry.smooth_minimum(
        geometry.tubes(mirrored, geometry.chain(parts.STEM), DEEP),
        geometry.tubes(mirrored, geometry.chain(parts.PEDUNCLE), DEEP),
        1.5,
    )
    stem = geometry.smooth_minimum(stem, geometry.ellipsoid(mirrored, *parts.PONS, reach=DEEP), 3.0)
    return cerebellum, stem


def _hull(
    mirrored: Points, cerebrum: np.ndarray, cerebellum: np.ndarray, stem: np.ndarray, shape: BrainShape
) -> np.ndarray:
    """Returns the distance to the inside of the skull from the distances to its contents."""
    below = geometry.smooth_minimum(cerebellum, stem, 8.0) - np.float32(1.1 * shape.fluid)
    whole = geometry.smooth_minimum(cerebrum, below, 8.0)
    return -geometry.smooth_minimum(-whole, geometry.ellipsoid(mirrored, *parts.SELLA, reach=FAR), 4.0)


def hull_distance(points: Points, shape: BrainShape) -> np.ndarray:
    """Returns the signed distance to the inside of the skull.

    Args:
        points: Three float32 arrays of reference coordinates, mm.
        shape: Shape of the brain.

    Returns:
        float32 array of the points' shape.
    """
    mirrored = [np.abs(points[0]), points[1], points[2]]
    return _hull(mirrored, _cerebrum(mirrored, shape), *_below(mirrored, shape), shape)


def _sulcal_wall(
    mirrored: Points, outer: np.ndarray, core: np.ndarray, shape: BrainShape, sulcus: parts.Sulcus
) -> np.ndarray | None:
    """Returns the distance to the fluid in a primary sulcus, or None if it is far or has not appeared yet."""
    centre, normal, reach, factor, onset = sulcus
    grown = float(geometry.smooth_step(np.asarray(shape.maturity, np.float32), onset, onset + 9.0))
    if grown < 0.08:
        return None
    extent = np.float32(reach * (0.4 + 0.6 * grown))
    x, y, z = (axis - np.float32(value) for axis, value in zip(mirrored, centre, strict=True))
    beyond = np.sqrt(x * x + y * y + z * z) - extent
    if beyond.min() > shape.depth_range + 1.0:
        return None
    across = np.float32(1.3) * np.sin((x + y - z) * np.float32(0.22))
    for value, axis in zip(normal, (x, y, z), strict=True):
        if value:
            across += np.float32(value) * axis
    beyond = np.maximum(beyond, np.float32(0.0))
    under = np.maximum(outer - np.float32(factor * grown * shape.primary), np.float32(0.0)) + 2.0 * core
    return np.sqrt(across * across + beyond * beyond + under * under) - np.float32(shape.sulcal_gap)


def _cortical_depth(
    points: Points, mirrored: Points, cerebrum: np.ndarray, below: np.ndarray, shape: BrainShape
) -> np.ndarray:
    """Returns the depth under the nearest cortical surface, sulcal walls included; negative in the fluid."""
    core = np.maximum(-geometry.ellipsoid(mirrored, *parts.CORE, reach=FAR), np.float32(0.0))
    depth = -cerebrum - np.float32(shape.fluid)
    depth = geometry.smooth_minimum(depth, mirrored[0] - np.float32(shape.fissure) + 2.5 * core, 1.5)
    depth = geometry.smooth_minimum(depth, below - np.float32(1.6) + 3.0 * core, 2.0)
    depth = geometry.smooth_minimum(depth, geometry.ellipsoid(mirrored, *parts.SUPRASELLAR_CISTERN, reach=DEEP), 2.0)
    outer = depth
    opening, reach = shape.sylvian
    centre, radii, tilt = parts.SYLVIAN_PIT
    pit = geometry.ellipsoid(mirrored, centre, (radii[0] * reach, radii[1], radii[2] * opening), tilt, FAR)
    depth = geometry.smooth_minimum(depth, pit, 3.0)
    for sulcus in parts.PRIMARY_SULCI:
        wall = _sulcal_wall(mirrored, outer, core, shape, sulcus)
        if wall is not None:
            depth = geometry.smooth_minimum(depth, wall, 1.5)
    for pattern, length in zip(shape.folds, shape.depths, strict=True):
        near = np.flatnonzero(outer < length + shape.depth_range + 1.0)
        if length > 1.5 and len(near):
            under = np.maximum(outer[near] - np.float32(length), np.float32(0.0)) + 2.0 * core[near]
            sheet = folding.sheet_distance([axis[near] for axis in points], pattern)
            wall = np.sqrt(sheet * sheet + under * under) - np.float32(shape.sulcal_gap)
            depth[near] = geometry.smooth_minimum(depth[near], wall, 1.5)
    return np.minimum(depth, np.float32(shape.depth_range))


def signed_distances(points: Points, shape: BrainShape) -> dict[str, np.ndarray]:
    """Evaluates the anatomy.

    Args:
        points: Three float32 arrays [n] of reference coordinates, mm, x signed.
        shape: Shape of the brain.

    Returns:
        float32 arrays [n] of signed distances by name, mm of the reference, negative inside: hull, cerebrum (cortex and
        white matter), cerebellum, stem, ventricles, cavum, third, fourth, thalamus, lentiform, caudate, hippocampus,
        callosum.
    """
    mirrored = [np.abs(points[0]), points[1], points[2]]
    cerebrum = _cerebrum(mirrored, shape)
    cerebellum, stem = _below(mirrored, shape)
    below = np.minimum(cerebellum, stem)
    depth = _cortical_depth(points, mirrored, cerebrum, below, shape)
    horns = geometry.smooth_minimum(
        geometry.tubes(mirrored, geometry.chain(parts.OCCIPITAL_HORN), 25.0),
        geometry.tubes(mirrored, geometry.chain(parts.TEMPORAL_HORN), 25.0),
        2.0,
    )
    sheared = [0.5 * mirrored[0], mirrored[1], mirrored[2] - np.float32(0.35) * mirrored[0]]
    lateral = geometry.smooth_minimum(
        geometry.tubes(sheared, geometry.chain(parts.FRONTAL_HORN), 25.0), horns - np.float32(shape.horns), 2.0
    )
    centre, radii, tilt = parts.THIRD_VENTRICLE
    third = geometry.ellipsoid(mirrored, centre, (radii[0] * shape.third_ventricle, *radii[1:]), tilt, FAR)
    return {
        'hull': _hull(mirrored, cerebrum, cerebellum, stem, shape),
        'cerebrum': -depth,
        'cerebellum': cerebellum,
        'stem': stem,
        'ventricles': lateral - np.float32(shape.ventricles),
        'cavum': geometry.tubes(mirrored, geometry.chain(parts.CAVUM), 8.0) - np.float32(shape.cavum),
        'third': third,
        'fourth': np.minimum(
            geometry.ellipsoid(mirrored, *parts.FOURTH_VENTRICLE, reach=FAR),
            geometry.tubes(mirrored, geometry.chain(parts.AQUEDUCT), 8.0),
        ),
        'thalamus': geometry.ellipsoid(mirrored, *parts.THALAMUS, reach=FAR),
        'lentiform': geometry.ellipsoid(mirrored, *parts.LENTIFORM, reach=FAR),
        'caudate': geometry.ellipsoid(mirrored, *parts.CAUDATE, reach=FAR),
        'hippocampus': geometry.ellipsoid(mirrored, *parts.HIPPOCAMPUS, reach=FAR),
        'callosum': geometry.tubes([0.35 * mirrored[0], mirrored[1], mirrored[2]], geometry.chain(parts.CALLOSUM), 8.0),
    }


def foliage(points: Points, period: float) -> np.ndarray:
    """Returns the pattern of the cerebellum's folia in [-1, 1], fanned about the transverse axis.

    Args:
        points: Three float32 arrays of reference coordinates, mm.
        period: Distance between folia at the surface, mm.

    Returns:
        float32 array of the points' shape.
    """
    y, z = points[1] - np.float32(-8.0), points[2] - np.float32(-22.0)
    angle = np.arctan2(z, -y)
    bow = np.float32(0.018) * points[0] * points[0]
    return np.cos((angle * np.float32(11.0) + bow) * np.float32(2.0 * np.pi / period))


def scan(
    size: Sequence[int],
    placement: rendering.Placement,
    shape: BrainShape,
    paint: Callable[[dict[str, np.ndarray], Points], np.ndarray],
    softness: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders a brain with a soft outer edge and a bias field.

    Args:
        size: Number of voxels along x, y, z.
        placement: Placement of the subject.
        shape: Shape of the brain.
        paint: Function of the result of `signed_distances` and of the reference coordinates, three arrays [n], that
            returns intensities [n].
        softness: Width of the transition between tissues, mm of the reference.
        rng: Random generator of the displacement and the bias field.

    Returns:
        image: float32 array [size] in [0, 1], exactly 0 outside the mask.
        mask: bool array [size].
    """

    def painter(*points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance = signed_distances(points, shape)
        edge = geometry.smooth_step(-distance['hull'], 0.0, 1.2 * softness)
        return paint(distance, points) * edge, distance['hull']

    axes = rendering.voxel_axes(size)
    points = rendering.bent_coordinates(axes, placement, rng)
    image, mask = rendering.render(points, lambda *part: hull_distance(part, shape), painter, 0.0)
    image *= np.exp(np.float32(BIAS) * rendering.smooth_field(axes, BIAS_LENGTH_MM, rng))
    return np.clip(image, 0.0, 1.0), mask
