"""The chest as implicit surfaces in reference coordinates: millimetres of a child, RAS, carina near z = 12.

Great vessels, airways and the branching vessels of the lungs are lists of round cones.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfp_bruno.phantoms import geometry
from tfp_bruno.phantoms.geometry import Points

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
# Rows (x, y, z, radius) along each tube, mm, RAS: the aortic arch turns to the left, which is negative x.
AORTA = (
    (4, 10, -8, 10),
    (7, 14, 8, 9.5),
    (5, 12, 24, 9.5),
    (-3, 4, 36, 9),
    (-12, -10, 38, 8.5),
    (-17, -23, 28, 8),
    (-18, -27, 10, 7.5),
    (-15, -27, -30, 7),
    (-9, -24, -105, 6.5),
)
CAVAL_VEINS = (
    ((15, 8, 105, 5), (15, 8, 40, 6), (16, 5, -5, 7)),
    ((17, 0, -14, 8), (14, -4, -40, 8), (13, -8, -105, 8)),
    ((15, 10, 44, 5), (0, 20, 50, 4.5), (-20, 14, 62, 4.5), (-30, 8, 105, 4.5)),
)
NECK_ARTERIES = (
    ((0, 8, 38, 4.5), (9, 6, 60, 4), (16, 2, 105, 4)),
    ((-7, 0, 40, 3.5), (-11, 0, 65, 3.2), (-13, -2, 105, 3.2)),
    ((-13, -9, 40, 3.8), (-19, -9, 65, 3.5), (-26, -8, 105, 3.5)),
)
PULMONARY_ARTERIES = (
    ((-12, 24, -8, 9), (-14, 18, 8, 9), (-14, 4, 16, 8.5), (-28, -10, 16, 6), (-36, -16, 6, 5)),
    ((-14, 6, 14, 8), (2, 1, 9, 7.5), (20, -6, 8, 6.5), (34, -10, 4, 5)),
)
PULMONARY_VEINS = (
    ((0, -8, -10, 7), (20, -10, -14, 5), (34, -14, -22, 3.5)),
    ((0, -8, -8, 7), (22, -4, -2, 4.5), (34, 6, 6, 3.5)),
    ((-6, -9, -10, 7), (-24, -14, -14, 5), (-36, -20, -22, 3.5)),
    ((-8, -8, -6, 7), (-26, -2, 0, 4.5), (-36, 8, 8, 3.5)),
)
AIRWAYS = (
    ((1, 2, 105, 6.5), (1, -6, 60, 6.5), (1, -10, 20, 6.5), (0, -12, 14, 6.5)),
    ((0, -12, 16, 6), (14, -14, 6, 5), (24, -15, 0, 4.2), (32, -20, -18, 3), (36, -24, -38, 2)),
    ((18, -14, 6, 3.8), (30, -14, 16, 3), (38, -10, 30, 2)),
    ((0, -12, 16, 5.5), (-18, -16, 4, 4.5), (-28, -18, -2, 4), (-34, -22, -20, 3), (-38, -25, -36, 2)),
    ((-27, -17, 0, 3.4), (-36, -8, 10, 2.6), (-42, 0, 22, 1.8)),
)
GREAT_VESSELS = (AORTA, *CAVAL_VEINS, *NECK_ARTERIES, *PULMONARY_ARTERIES, *PULMONARY_VEINS)
# Start of the vessels of each lung: (point, direction).
HILA = (((33.0, -10.0, 2.0), 1.0), ((-34.0, -12.0, 4.0), -1.0))
TREE_SEED = 11


@dataclasses.dataclass(frozen=True)
class ChestShape:
    """The anatomy of one child.

    Attributes:
        fat: Thickness of the fat under the skin, mm.
        wall: Thickness of the muscles outside the ribs, mm.
        heart: Factor on the size of the heart.
        domes: Heights of the right and left diaphragm, mm.
        rib_slope: Drop of a rib from the spine to the sternum, mm.
        rib_phase: Height of the ribs and vertebrae, mm.
        great_vessels: Pieces from `segments`.
        airways: Pieces from `segments`.
        lung_vessels: Pieces from `lung_tree`.
    """

    fat: float
    wall: float
    heart: float
    domes: tuple[float, float]
    rib_slope: float
    rib_phase: float
    great_vessels: np.ndarray
    airways: np.ndarray
    lung_vessels: np.ndarray


def cavity_distance(points: Points) -> np.ndarray:
    """Returns the signed distance to the inside of the rib cage."""
    x, y, z = points
    # The back of the cavity reaches behind the vertebral bodies on both sides.
    return geometry.ellipsoid(
        [x, y + np.float32(0.0012) * (x * x) - np.float32(1.0), z], (0.0, 0.0, -45.0), (73.0, 51.0, 150.0)
    )


def body_distance(points: Points, shape: ChestShape) -> np.ndarray:
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


def _heart(points: Points, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distances to the heart and to the blood in its chambers."""
    (cx, cy, cz), radii = HEART
    heart = geometry.ellipsoid(points, (cx, cy, cz), [factor * radius for radius in radii], -0.3, 12.0)
    blood = []
    for centre, semi_axes in CHAMBERS:
        moved = [middle + factor * (value - middle) for value, middle in zip(centre, (cx, cy, cz), strict=True)]
        blood.append(geometry.ellipsoid(points, moved, [factor * axis for axis in semi_axes], -0.3, 8.0))
    return heart, np.minimum.reduce(blood)


def _diaphragm(points: Points, domes: tuple[float, float]) -> np.ndarray:
    """Returns the distance to the abdomen: below two domes, the right one usually higher."""
    x, y, z = points
    right = np.float32(domes[0]) - np.float32(0.013) * (x - np.float32(36.0)) ** 2
    left = np.float32(domes[1]) - np.float32(0.013) * (x + np.float32(38.0)) ** 2
    height = -geometry.smooth_minimum(-right, -left, 14.0) - np.float32(0.014) * (y - np.float32(8.0)) ** 2
    return (z - height) * np.float32(0.75)


def _ribs(points: Points, cavity: np.ndarray, shape: ChestShape) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance to the ribs, and the position along each rib from 0 at the spine to pi at the sternum."""
    x, y, z = points
    angle = np.arctan2(np.abs(x), -(y + np.float32(10.0)))
    drop = np.float32(shape.rib_slope) * geometry.smooth_step(angle, 0.0, 2.6)
    level = (z + drop - np.float32(shape.rib_phase)) * np.float32(1.0 / LEVEL_MM)
    across = (level - np.round(level)) * np.float32(LEVEL_MM / 1.5)
    return np.sqrt(across * across + (cavity - np.float32(3.6)) ** 2) - np.float32(2.7), angle


def _spine(points: Points, phase: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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


def _mediastinum(points: Points) -> np.ndarray:
    """Returns the distance to the tissue between the lungs, wider below and around the great vessels."""
    x, y, z = points
    breadth = (
        np.float32(15.0)
        + np.float32(5.0) * geometry.smooth_step(z, -20.0, 20.0)
        - np.float32(7.0) * geometry.smooth_step(y, 15.0, 45.0)
    )
    return np.abs(x + np.float32(2.0)) - breadth


def signed_distances(points: Points, shape: ChestShape) -> dict[str, np.ndarray]:
    """Evaluates the anatomy.

    Args:
        points: Three float32 arrays [n] of reference coordinates, mm.
        shape: Shape of the chest.

    Returns:
        float32 arrays [n] of signed distances by name, mm, negative inside, and `angle`, the position along the ribs
        from 0 at the spine to pi at the sternum.
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


def segments(tubes: Sequence[Sequence[Sequence[float]]], jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Cuts tubes into straight pieces, with random shifts of each tube and its nodes, and a random radius.

    Args:
        tubes: Chains of rows (x, y, z, radius).
        jitter: Standard deviation of the nodes' displacement, mm.
        rng: Random generator of the subject.

    Returns:
        float32 array [n, 2, 4]: start and end (x, y, z, radius) of every piece.
    """
    pieces = []
    for rows in tubes:
        nodes = np.array(rows, np.float64)
        nodes[:, :3] += jitter * (0.7 * rng.standard_normal(3) + 0.7 * rng.standard_normal((len(nodes), 3)))
        nodes[:, 3] *= np.exp(0.08 * rng.standard_normal())
        pieces.append(geometry.chain(nodes))
    return np.concatenate(pieces)


def lung_tree(jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Grows the vessels of both lungs: a tree that all subjects share, with a random bend of each branch.

    Args:
        jitter: Standard deviation of a branch's change of direction and relative length.
        rng: Random generator of the subject.

    Returns:
        float32 array [n, 2, 4] of pieces as in `segments`.
    """
    common = np.random.default_rng(TREE_SEED)
    pieces: list[list[list[float]]] = []
    for start, side in HILA:
        for _ in range(14):
            direction = common.standard_normal(3) * (0.4, 1.0, 1.2) + (0.45 * side, 0.0, 0.0)
            _grow(pieces, np.array(start), direction, 26.0, 2.9, 5, common, rng, jitter)
    return np.asarray(pieces, np.float32)


def _grow(
    pieces: list[list[list[float]]],
    start: np.ndarray,
    direction: np.ndarray,
    length: float,
    radius: float,
    generations: int,
    common: np.random.Generator,
    rng: np.random.Generator,
    jitter: float,
) -> None:
    """Adds a branch and, recursively, its two children."""
    direction = direction / np.linalg.norm(direction) + jitter * rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    end = start + direction * length * np.exp(jitter * rng.standard_normal())
    pieces.append([[*start, radius], [*end, 0.78 * radius]])
    if generations == 1:
        return
    turn = np.cross(direction, common.standard_normal(3))
    turn *= common.uniform(0.5, 0.8) / max(float(np.linalg.norm(turn)), 1e-6)
    for sign in (1.0, -0.8):
        child = direction + sign * turn
        _grow(pieces, end, child, 0.76 * length, 0.76 * radius, generations - 1, common, rng, jitter)
