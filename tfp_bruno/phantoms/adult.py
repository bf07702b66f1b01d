"""The adult brain in T1 contrast, skull stripped, with a random degree of atrophy."""

import dataclasses

import numpy as np

from tfp_bruno.phantoms import brain, brain_parts, folding, geometry, rendering

SHAPE = (180, 218, 180)
YOUNGEST, OLDEST = 55.0, 90.0
# Length of the adult brain relative to the fetus of 30 weeks.
GROWTH = 1.74
MATURITY_WEEKS = 40.0


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Intensities of the tissues, white matter near 0.85."""

    fluid: float
    cortex: float
    white: float
    deep: float
    stem: float
    cerebellum: float


def _draw_shape(atrophy: float, scale: float, rng: np.random.Generator) -> brain.BrainShape:
    """Draws the anatomy of one adult; `atrophy` is from 0 (none) to 1 (severe)."""

    def vary(mean: float, deviation: float) -> float:
        return float(mean * np.exp(deviation * rng.standard_normal()))

    surface = (brain_parts.FOLD_CENTRE, brain_parts.FOLD_RADII)
    return brain.BrainShape(
        maturity=MATURITY_WEEKS,
        primary=vary(15.0 / scale, 0.08),
        depths=(vary(14.0 / scale, 0.08), vary(11.0 / scale, 0.10)),
        sulcal_gap=(0.1 + 0.9 * atrophy + rng.normal(0.0, 0.1)) / scale,
        cortex=vary(2.9 - 0.4 * atrophy, 0.05) / scale,
        fluid=vary(1.0 + 2.0 * atrophy, 0.15) / scale,
        fissure=vary(0.8 + 1.0 * atrophy, 0.15) / scale,
        sylvian=(vary(0.15 + 0.45 * atrophy, 0.12), vary(1.25, 0.06)),
        ventricles=rng.normal(1.6 * atrophy - 0.75, 0.25),
        horns=rng.normal(0.9 * atrophy - 0.5, 0.3),
        third_ventricle=vary(0.8 + 0.9 * atrophy, 0.15),
        cavum=-9.0,
        cerebellum=vary(1.12, 0.04),
        temporal=vary(1.03, 0.03),
        frontal=vary(1.03, 0.025),
        folds=(
            folding.make_pattern(29.0, 0.3, *surface, 3, rng),
            folding.make_pattern(18.0, 0.4, *surface, 4, rng),
        ),
        depth_range=3.5,
    )


def _draw_contrast(rng: np.random.Generator) -> Contrast:
    """Draws the intensities of one scan."""
    white = rng.normal(0.85, 0.02)
    cortex = white - rng.normal(0.29, 0.02)
    return Contrast(
        fluid=rng.normal(0.13, 0.015),
        cortex=cortex,
        white=white,
        deep=cortex + rng.normal(0.09, 0.015),
        stem=white - rng.normal(0.06, 0.01),
        cerebellum=cortex - rng.normal(0.02, 0.01),
    )


def _paint(
    distance: dict[str, np.ndarray],
    points: geometry.Points,
    shape: brain.BrainShape,
    contrast: Contrast,
    softness: float,
) -> np.ndarray:
    """Returns the intensities [n] at points [n] of the reference anatomy."""

    def cover(name: str, offset: float = 0.0, blur: float = 1.0) -> np.ndarray:
        return geometry.coverage(distance[name] + np.float32(offset), blur * softness)

    image = np.full_like(distance['hull'], contrast.fluid)
    geometry.paint(image, np.float32(contrast.cortex), cover('cerebrum'))
    geometry.paint(image, np.float32(contrast.white), cover('cerebrum', shape.cortex, 1.2))
    geometry.paint(image, np.float32(contrast.stem), cover('stem'))
    # White matter branches into the folia of the cerebellum.
    tree = 2.6 + 1.8 * brain.foliage(points, 4.4)
    geometry.paint(image, np.float32(contrast.cerebellum), cover('cerebellum'))
    geometry.paint(
        image, np.float32(contrast.white - 0.02), 0.9 * geometry.coverage(distance['cerebellum'] + tree, 2.0)
    )
    for name, value in (
        ('thalamus', contrast.deep + 0.03),
        ('lentiform', contrast.deep + 0.02),
        ('caudate', contrast.deep - 0.04),
        ('hippocampus', contrast.cortex + 0.02),
    ):
        geometry.paint(image, np.float32(value), cover(name, 0.0, 1.4))
    geometry.paint(image, np.float32(contrast.white + 0.02), cover('callosum'))
    for name in ('ventricles', 'third', 'fourth'):
        geometry.paint(image, np.float32(contrast.fluid), cover(name))
    return image


def make_adult(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Makes one adult brain.

    Args:
        seed: At least 0; the same seed gives the same subject.

    Returns:
        image: float32 array [180, 218, 180] in [0, 1], RAS, 1 mm, background exactly 0.
        mask: bool array of the same shape.
        facts: `age` in years, `atrophy` in [0, 1].
    """
    rng = np.random.default_rng(seed)
    age = rng.uniform(YOUNGEST, OLDEST)
    atrophy = float(np.clip((age - YOUNGEST) / (OLDEST - YOUNGEST) * 0.8 + rng.normal(0.1, 0.15), 0.0, 1.0))
    scale = float(GROWTH * np.exp(0.03 * rng.standard_normal()))
    placement = rendering.Placement(
        scale=tuple(scale * np.exp(0.025 * rng.standard_normal(3))),
        angles=tuple(0.05 * rng.standard_normal(3)),
        shift=tuple(2.0 * rng.standard_normal(3) + (0.0, 0.0, 8.0)),
        bend=2.6,
        bend_length=45.0,
    )
    shape, contrast = _draw_shape(atrophy, scale, rng), _draw_contrast(rng)
    softness = 1.6 / scale

    def paint(distance: dict[str, np.ndarray], points: geometry.Points) -> np.ndarray:
        return _paint(distance, points, shape, contrast, softness)

    image, mask = brain.scan(SHAPE, placement, shape, paint, softness, rng)
    return image, mask, {'age': round(float(age), 1), 'atrophy': round(atrophy, 2)}
