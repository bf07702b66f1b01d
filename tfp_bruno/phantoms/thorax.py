"""The chest of a child in CT, Hounsfield units."""

import dataclasses

import numpy as np

from tfp_bruno.phantoms import chest, geometry, rendering

SHAPE = (204, 152, 200)
AIR, FAT, SKIN, MUSCLE, MARROW, CORTICAL_BONE = -1000.0, -100.0, 35.0, 45.0, 280.0, 750.0
DISC, CARTILAGE, CORD, STOMACH, BOWEL_GAS = 85.0, 110.0, 30.0, 35.0, -920.0
# The lung of a supine child is denser posteriorly: Hounsfield units per mm.
LUNG_GRADIENT = 0.7


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Hounsfield units that differ from scan to scan."""

    lung: float
    blood: float
    heart: float
    liver: float


def _draw_shape(rng: np.random.Generator) -> chest.ChestShape:
    """Draws the anatomy of one child."""
    breath = 7.0 * rng.standard_normal()
    return chest.ChestShape(
        fat=5.0 * np.exp(0.35 * rng.standard_normal()),
        wall=10.0 * np.exp(0.1 * rng.standard_normal()),
        heart=np.exp(0.07 * rng.standard_normal()),
        domes=(-22.0 + breath + 2.0 * rng.standard_normal(), -30.0 + breath + 3.0 * rng.standard_normal()),
        rib_slope=40.0 + 5.0 * rng.standard_normal(),
        rib_phase=chest.LEVEL_MM * 0.25 * rng.standard_normal(),
        great_vessels=chest.segments(chest.GREAT_VESSELS, 1.5, rng),
        airways=chest.segments(chest.AIRWAYS, 1.0, rng),
        lung_vessels=chest.lung_tree(0.12, rng),
    )


def _paint_trunk(
    image: np.ndarray,
    distance: dict[str, np.ndarray],
    shape: chest.ChestShape,
    contrast: Contrast,
    points: geometry.Points,
    streaks: np.ndarray,
) -> None:
    """Paints fat, muscles, the tissue between the lungs and the organs under the diaphragm."""
    muscle = np.maximum(distance['skin'] + np.float32(shape.fat), 6.0 * (0.11 - np.abs(streaks)))
    geometry.paint(image, np.float32(MUSCLE), geometry.coverage(muscle, 2.0))
    geometry.paint(image, np.float32(FAT + 60.0), geometry.coverage(distance['cavity'] + 3.0, 3.0))
    # The liver fills the right of the abdomen; fat, spleen and stomach share the left.
    liver = np.maximum(
        distance['abdomen'], -np.float32(0.8) * points[0] - np.float32(22.0) - np.float32(0.3) * points[1]
    )
    spleen, stomach = (np.maximum(distance[organ], distance['abdomen']) for organ in ('spleen', 'stomach'))
    for organ, value in ((liver, contrast.liver), (spleen, contrast.liver + 10.0), (stomach, STOMACH)):
        geometry.paint(image, np.float32(value), geometry.coverage(organ, 2.0))
    # Gas collects anteriorly in a supine child.
    gas = np.maximum(stomach + 3.0, 18.0 - points[1])
    geometry.paint(image, np.float32(BOWEL_GAS), geometry.coverage(gas, 2.0))


def _paint_bones(image: np.ndarray, distance: dict[str, np.ndarray]) -> None:
    """Paints ribs, sternum, scapulae and spine, each a bright shell around marrow."""
    calcified = geometry.smooth_step(distance['angle'], 2.35, 2.5)
    shell = np.float32(CORTICAL_BONE) + (np.float32(CARTILAGE - CORTICAL_BONE)) * calcified
    core = np.float32(MARROW) + np.float32(CARTILAGE - MARROW) * calcified
    geometry.paint(image, shell, geometry.coverage(distance['ribs'], 1.5))
    geometry.paint(image, core, geometry.coverage(distance['ribs'] + 1.6, 1.5))
    geometry.paint(image, np.float32(DISC), geometry.coverage(distance['discs'], 1.5))
    geometry.paint(image, np.float32(CORD), geometry.coverage(distance['canal'], 1.5))
    for bone, thickness in (('vertebrae', 1.3), ('arches', 1.2), ('sternum', 1.3), ('scapula', 1.1)):
        geometry.paint(image, np.float32(CORTICAL_BONE * 0.8), geometry.coverage(distance[bone], 1.5))
        geometry.paint(image, np.float32(MARROW), geometry.coverage(distance[bone] + np.float32(thickness), 1.5))


def _paint_lungs_and_heart(
    image: np.ndarray, distance: dict[str, np.ndarray], contrast: Contrast, points: geometry.Points
) -> None:
    """Paints lungs, heart, great vessels and airways."""
    lung = np.float32(contrast.lung) - np.float32(LUNG_GRADIENT) * points[1]
    twigs = np.maximum(distance['lung_vessels'], distance['lungs'] + 2.5)
    chambers = np.maximum(distance['chambers'], distance['heart'] + 2.0)
    for inside, value, width in (
        (distance['lungs'], lung, 1.6),
        (twigs, np.float32(contrast.blood - 30.0), 1.6),
        (distance['heart'] - 2.0, np.float32(FAT), 2.0),
        (distance['heart'], np.float32(contrast.heart), 2.0),
        (chambers, np.float32(contrast.blood), 2.5),
        (distance['great_vessels'], np.float32(contrast.blood), 1.6),
        (distance['airways'] - 1.2, np.float32(MUSCLE), 1.5),
        (distance['airways'], np.float32(AIR), 1.5),
    ):
        geometry.paint(image, value, geometry.coverage(inside, width))


def _paint(
    points: geometry.Points, shape: chest.ChestShape, contrast: Contrast, streaks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the image [n] in Hounsfield units and the distance to the skin [n]."""
    distance = chest.signed_distances(points, shape)
    image = np.full_like(points[0], FAT)
    skin = geometry.coverage(distance['skin'], 1.5) - geometry.coverage(distance['skin'] + 1.8, 1.5)
    geometry.paint(image, np.float32(SKIN), skin)
    _paint_trunk(image, distance, shape, contrast, points, streaks)
    _paint_lungs_and_heart(image, distance, contrast, points)
    _paint_bones(image, distance)
    geometry.paint(image, np.float32(AIR), geometry.coverage(-distance['skin'] - np.float32(0.7), 1.4))
    return image, distance['skin']


def make_thorax(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Makes one chest.

    Args:
        seed: At least 0; the same seed gives the same subject.

    Returns:
        image: float32 array [204, 152, 200], Hounsfield units, RAS, 1 mm; exactly -1000 outside the body.
        mask: bool array of the same shape, the body.
        facts: Empty.
    """
    rng = np.random.default_rng(seed)
    scale = 0.96 * np.exp(0.03 * rng.standard_normal())
    placement = rendering.Placement(
        scale=tuple(scale * np.exp(0.03 * rng.standard_normal(3))),
        angles=tuple(0.03 * rng.standard_normal(3)),
        shift=tuple(2.0 * rng.standard_normal(3)),
        bend=2.5,
        bend_length=40.0,
    )
    shape = _draw_shape(rng)
    contrast = Contrast(
        lung=rng.normal(-800.0, 20.0),
        blood=rng.normal(150.0, 25.0),
        heart=rng.normal(85.0, 10.0),
        liver=rng.normal(75.0, 10.0),
    )
    axes = rendering.voxel_axes(SHAPE)
    points = rendering.bent_coordinates(axes, placement, rng)
    streaks = rendering.smooth_field(axes, 14.0, rng)
    image, mask = rendering.render(
        points,
        lambda *part: chest.body_distance(part, shape),
        lambda x, y, z, streak: _paint((x, y, z), shape, contrast, streak),
        AIR,
        [streaks],
    )
    return image, mask, {}
