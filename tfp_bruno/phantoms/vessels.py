"""Tubes in the chest: great vessels, airways and the branching vessels of the lungs, as lists of round cones."""

import numpy as np

from tfp_bruno.phantoms import geometry

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
# Where the vessels of each lung start: (point, direction).
HILA = (((33.0, -10.0, 2.0), 1.0), ((-34.0, -12.0, 4.0), -1.0))
TREE_SEED = 11


def segments(tubes, jitter, rng):
    """Cuts tubes into straight pieces, each tube moved as a whole and its radius changed for this individual.

    Args:
        tubes: chains of rows (x, y, z, radius).
        jitter: standard deviation of the nodes' displacement, mm.
        rng: numpy random generator.

    Returns:
        float32 array [n, 2, 4]: start and end (x, y, z, radius) of every piece.
    """
    pieces = []
    for nodes in tubes:
        nodes = np.array(nodes, np.float64)
        nodes[:, :3] += jitter * (0.7 * rng.standard_normal(3) + 0.7 * rng.standard_normal((len(nodes), 3)))
        nodes[:, 3] *= np.exp(0.08 * rng.standard_normal())
        pieces.append(geometry.chain(nodes))
    return np.concatenate(pieces)


def lung_tree(jitter, rng):
    """Grows the vessels of both lungs: a tree that all subjects share, each branch bent for the individual.

    Args:
        jitter: standard deviation of a branch's change of direction and relative length.
        rng: numpy random generator of the individual.

    Returns:
        float32 array [n, 2, 4] of pieces as `segments` returns them.
    """
    common = np.random.default_rng(TREE_SEED)
    pieces: list[list[list[float]]] = []
    for start, side in HILA:
        for _ in range(14):
            direction = common.standard_normal(3) * (0.4, 1.0, 1.2) + (0.45 * side, 0.0, 0.0)
            _grow(pieces, np.array(start), direction, 26.0, 2.9, 5, common, rng, jitter)
    return np.asarray(pieces, np.float32)


def _grow(pieces, start, direction, length, radius, generations, common, rng, jitter):
    """Adds a branch and, recursively, its two children."""
    direction = direction / np.linalg.norm(direction) + jitter * rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    end = start + direction * length * np.exp(jitter * rng.standard_normal())
    pieces.append([[*start, radius], [*end, 0.78 * radius]])
    if generations == 1:
        return
    turn = np.cross(direction, common.standard_normal(3))
    turn *= common.uniform(0.5, 0.8) / max(np.linalg.norm(turn), 1e-6)
    for sign in (1.0, -0.8):
        child = direction + sign * turn
        _grow(pieces, end, child, 0.76 * length, 0.76 * radius, generations - 1, common, rng, jitter)
