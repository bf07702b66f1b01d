"""The chest as implicit surfaces in reference coordinates: millimetres of a child, RAS, carina near z = 12."""

import dataclasses

import numpy as np

from tfp_bruno.phantoms import geometry

LEVEL_MM = 19.0
BODY_CENTRE_Y = -3.0
HEART = ((-13.0, 15.0, -20.0), (33.0, 26.0, 27.0))
# Chambers with blood: (centre, semi-axes) inside the heart.
CHAMBERS = (
    ((-24.0, 15.0, -24.0), (13.0, 9.5, 14.0)),  # left ventricle
    ((-10.0, 27.0, -22.0), (15.0, 8.0, 15.0)),  # right ventricle
    ((10.0, 12.0, -16.0), (9.5, 11.0, 14.0)),  # right atrium
    ((-4.0, -5.0, -10.0), (15.0, 7.0, 10.0)),  # left atrium
)
STERNUM = ((0.0, 51.0, 12.0), (12.0, 4.0, 52.0))
SPLEEN = ((-52.0, -22.0, -62.0), (15.0, 20.0, 26.0))
STOMACH = ((-34.0, 16.0, -62.0), (24.0, 20.0, 20.0))
SCAPULA = ((60.0, -43.0, 42.0), (22.0, 3.2, 42.0))


@dataclasses.dataclass(frozen=True)
class ChestShape:
    """What differs from child to child.

    Attributes:
        fat: thickness of the fat under the skin, mm.
        wall: thickness of the muscles outside the ribs, mm.
        heart: factor on the size of the heart.
        domes: heights of the right and left diaphragm, mm.
        rib_slope: how far a rib drops from the spine to the sternum, mm.
        rib_phase: height of the ribs and vertebrae, mm.
        great_vessels: pieces as vessels.segments returns them.
        airways: the same.
        lung_vessels: the same.
    """

    fat: float
    wall: float
    heart: float
    domes: tuple
    rib_slope: float
    rib_phase: float
    great_vessels: np.ndarray
    airways: np.ndarray
    lung_vessels: np.ndarray


def cavity_distance(points):
    """Returns the signed distance to the inside of the rib cage."""
    x, y, z = points
    # The back of the cavity reaches behind the vertebral bodies on both sides.
    return geometry.ellipsoid(
        [x, y + np.float32(0.0012) * (x * x) - np.float32(1.0), z], (0.0, 0.0, -45.0), (73.0, 51.0, 150.0)
    )


def body_distance(points, shape):
    """Returns the signed distance to the skin."""
    x, y, z = points
    width = np.float32(79.0 + shape.wall + shape.fat) + np.float32(5.0) * geometry.smooth_step(z, 0.0, 90.0)
    depth = np.float32(50.0 + shape.wall + shape.fat)
    across, along = x / width, (y - np.float32(BODY_CENTRE_Y)) / depth
    # A superellipse of exponent 4 blended with an ellipse: a trunk is squarer than an ellipse.
    across, along = across * across, along * along
    level = np.sqrt(
        np.sqrt(np.float32(0.55) * (across + along) ** 2 + np.float32(0.45) * (across * across + along * along))
    )
    return (level - np.float32(1.0)) * depth


def _heart(points, factor):
    """Returns the distances to the heart and to the blood in its chambers."""
    (cx, cy, cz), radii = HEART
    heart = geometry.ellipsoid(points, (cx, cy, cz), [factor * radius for radius in radii], -0.3, 12.0)
    blood = None
    for centre, semi_axes in CHAMBERS:
        moved = [middle + factor * (value - middle) for value, middle in zip(centre, (cx, cy, cz), strict=True)]
        chamber = geometry.ellipsoid(points, moved, [factor * axis for axis in semi_axes], -0.3, 8.0)
        blood = chamber if blood is None else np.minimum(blood, chamber)
    return heart, blood


def _diaphragm(points, domes):
    """Returns the distance to the abdomen: below two domes, the right one usually higher."""
    x, y, z = points
    right = np.float32(domes[0]) - np.float32(0.013) * (x - np.float32(36.0)) ** 2
    left = np.float32(domes[1]) - np.float32(0.013) * (x + np.float32(38.0)) ** 2
    height = -geometry.smooth_minimum(-right, -left, 14.0) - np.float32(0.014) * (y - np.float32(8.0)) ** 2
    return (z - height) * np.float32(0.75)


def _ribs(points, cavity, shape):
    """Returns (distance to the ribs, how far along each rib from spine 0 to sternum pi)."""
    x, y, z = points
    angle = np.arctan2(np.abs(x), -(y + np.float32(10.0)))
    drop = np.float32(shape.rib_slope) * geometry.smooth_step(angle, 0.0, 2.6)
    level = (z + drop - np.float32(shape.rib_phase)) * np.float32(1.0 / LEVEL_MM)
    across = (level - np.round(level)) * np.float32(LEVEL_MM / 1.5)
    return np.sqrt(across * across + (cavity - np.float32(3.6)) ** 2) - np.float32(2.7), angle


def _spine(points, phase):
    """Returns the distances to the vertebral bodies, discs, arches and to the spinal canal."""
    x, y, z = points
    level = (z - np.float32(phase)) * np.float32(1.0 / LEVEL_MM)
    along = (level - np.round(level)) * np.float32(LEVEL_MM)
    waist = np.float32(1.0) - np.float32(0.0022) * np.square(along)
    width = np.float32(13.5) / (waist + np.float32(0.15))
    column = np.sqrt(np.square(x / width) + np.square((y + np.float32(34.0)) / np.float32(10.5)))
    column = (column - np.float32(1.0)) * np.float32(10.5)
    body = np.maximum(column, np.abs(along) - np.float32(LEVEL_MM / 2.0 - 1.8))
    canal = np.sqrt(x * x + np.square(y + np.float32(50.0))) - np.float32(6.0)
    ring = np.maximum(np.abs(canal - np.float32(2.0)) - np.float32(1.8), np.abs(along) - np.float32(6.5))
    wing = geometry.ellipsoid([np.abs(x), y, along], (16.0, -48.0, 0.0), (9.0, 3.2, 4.0))
    spine = geometry.ellipsoid(
        [x, y, along + np.float32(0.6) * (y + np.float32(56.0))], (0.0, -59.0, 0.0), (2.2, 7.0, 5.0)
    )
    return body, column, np.minimum(np.minimum(ring, wing), spine), canal


def _mediastinum(points):
    """Returns the distance to the tissue between the lungs, wider below and around the great vessels."""
    x, y, z = points
    breadth = (
        np.float32(15.0)
        + np.float32(5.0) * geometry.smooth_step(z, -20.0, 20.0)
        - np.float32(7.0) * geometry.smooth_step(y, 15.0, 45.0)
    )
    return np.abs(x + np.float32(2.0)) - breadth


def signed_distances(points, shape):
    """Evaluates the anatomy in a box.

    Args:
        points: three float32 arrays [n] of reference coordinates, mm.
        shape: a ChestShape.

    Returns:
        A dictionary of float32 arrays [n] of signed distances, mm, negative inside, and `angle`, the position along the
        ribs from 0 at the spine to pi at the sternum.
    """
    mirrored = [np.abs(points[0]), points[1], points[2]]
    cavity = cavity_distance(points)
    heart, chambers = _heart(points, shape.heart)
    great = geometry.tubes(points, shape.great_vessels, 8.0)
    airways = geometry.tubes(points, shape.airways, 6.0)
    body_of_vertebra, column, arch, canal = _spine(points, shape.rib_phase)
    abdomen = _diaphragm(points, shape.domes)
    ribs, angle = _ribs(points, cavity, shape)
    centre = geometry.smooth_minimum(np.minimum(_mediastinum(points), column - 2.5), heart - 2.0, 4.0)
    centre = np.minimum(centre, great - 1.5)
    lungs = np.maximum(np.maximum(cavity + 1.0, -centre), -abdomen)
    (sx, sy, sz), sternum_radii = STERNUM
    scapula = [
        0.9 * (mirrored[0] - 60.0) + 0.45 * (points[1] + 43.0) + 60.0,
        0.9 * (points[1] + 43.0) - 0.45 * (mirrored[0] - 60.0) - 43.0,
        points[2],
    ]
    return {
        'skin': body_distance(points, shape),
        'cavity': cavity,
        'lungs': lungs,
        'heart': heart,
        'chambers': chambers,
        'great_vessels': great,
        'airways': airways,
        'lung_vessels': geometry.tubes(points, shape.lung_vessels, 3.0),
        'vertebrae': body_of_vertebra,
        'discs': column,
        'arches': arch,
        'canal': canal,
        'abdomen': np.maximum(abdomen, cavity + 2.0),
        'ribs': ribs,
        'sternum': geometry.ellipsoid(points, (sx, sy, sz), sternum_radii, 0.06, 8.0),
        'scapula': geometry.ellipsoid(scapula, *SCAPULA, reach=8.0),
        'spleen': geometry.ellipsoid(points, *SPLEEN, reach=8.0),
        'stomach': geometry.ellipsoid(points, *STOMACH, reach=8.0),
        'angle': angle,
    }
