"""The fetal brain in T2 contrast, 21 to 38 weeks of gestation."""

import dataclasses

import numpy as np

from tfp_bruno.phantoms import brain, brain_parts, folding, geometry, rendering

SHAPE = (108, 150, 124)
YOUNGEST, OLDEST = 21.0, 38.0
# Length of the brain relative to 30 weeks: cube root of the volumes 130, 283 and 430 ml at 24, 30 and 36 weeks.
GROWTH = ((21.0, 24.0, 27.0, 30.0, 33.0, 36.0, 38.0), (0.68, 0.79, 0.90, 1.0, 1.08, 1.145, 1.175))


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Intensities of the tissues, cerebrospinal fluid near 1."""

    fluid: float
    cortex: float
    white: float
    subplate: float
    intermediate: float
    deep: float
    stem: float
    cerebellum: float


def draw_age(rng: np.random.Generator) -> float:
    """Returns a gestational age in weeks, uniform between 21 and 38, to one decimal."""
    return round(float(rng.uniform(YOUNGEST, OLDEST)), 1)


def draw_shape(age: float, rng: np.random.Generator) -> brain.BrainShape:
    """Draws the anatomy of one fetus.

    Args:
        age: Weeks of gestation, 21 to 38.
        rng: Random generator of the subject.

    Returns:
        The shape of the brain.
    """
    young = float(np.clip((32.0 - age) / 11.0, 0.0, 1.0))
    old = float(np.clip((age - 24.0) / 14.0, 0.0, 1.0))
    scale = float(np.interp(age, *GROWTH))

    def vary(mean: float, deviation: float) -> float:
        return float(mean * np.exp(deviation * rng.standard_normal()))

    surface = (brain_parts.FOLD_CENTRE, brain_parts.FOLD_RADII)
    return brain.BrainShape(
        maturity=age + rng.normal(0.0, 0.7),
        primary=vary(8.5 / scale, 0.10),
        depths=(
            vary(8.0 * np.clip((age - 25.0) / 11.0, 0.0, 1.0) / scale, 0.12),
            vary(6.0 * np.clip((age - 29.0) / 9.0, 0.0, 1.0) / scale, 0.15),
        ),
        sulcal_gap=rng.normal(0.15, 0.1) / scale,
        cortex=vary(2.5, 0.06) / scale,
        fluid=vary(2.2 + 0.9 * young, 0.15) / scale,
        fissure=vary(1.3, 0.15) / scale,
        sylvian=(vary(1.25 - 1.0 * old, 0.10), vary(0.85 + 0.35 * old, 0.07)),
        ventricles=rng.normal(0.5 * young - 0.7 * old, 0.45),
        horns=rng.normal(0.2 + 0.8 * young, 0.4),
        third_ventricle=vary(1.0, 0.2),
        cavum=rng.normal(0.3 - 1.2 * old, 0.35),
        cerebellum=vary(0.86 + 0.18 * old, 0.05),
        temporal=vary(0.97 + 0.04 * old, 0.03),
        frontal=vary(0.98 + 0.04 * old, 0.025),
        folds=(
            folding.make_pattern(34.0, 0.2, *surface, 1, rng),
            folding.make_pattern(21.0, 0.3, *surface, 2, rng),
        ),
        depth_range=7.0,
    )


def _draw_contrast(age: float, rng: np.random.Generator) -> Contrast:
    """Draws the intensities of one scan."""
    old = float(np.clip((age - 24.0) / 14.0, 0.0, 1.0))
    white = rng.normal(0.62 - 0.06 * old, 0.015)
    return Contrast(
        fluid=rng.normal(0.91, 0.015),
        cortex=white - rng.normal(0.195 - 0.03 * old, 0.012),
        white=white,
        subplate=rng.normal(0.06, 0.01) * (1.0 - old),
        intermediate=rng.normal(0.07, 0.01) * (1.0 - 0.6 * old),
        deep=white - rng.normal(0.07, 0.01),
        stem=white - rng.normal(0.08, 0.012),
        cerebellum=white - rng.normal(0.03, 0.012),
    )


def _paint(
    distance: dict[str, np.ndarray],
    points: geometry.Points,
    shape: brain.BrainShape,
    contrast: Contrast,
    softness: float,
) -> np.ndarray:
    """Returns the intensities [n] at points [n] of the reference anatomy."""

    def cover(name: str, offset: float = 0.0) -> np.ndarray:
        return geometry.coverage(distance[name] + np.float32(offset), softness)

    image = np.full_like(distance['hull'], contrast.fluid)
    depth = -distance['cerebrum']
    # The transient layers of the fetal cerebral wall, by position between cortex (0) and ventricle (1).
    inner = np.maximum(depth - np.float32(shape.cortex), np.float32(0.0))
    layer = inner / (inner + np.maximum(distance['ventricles'], np.float32(0.0)) + np.float32(1.0))
    white = contrast.white + contrast.subplate * np.exp(-(((layer - 0.12) / 0.14) ** 2))
    white -= contrast.intermediate * np.exp(-(((layer - 0.55) / 0.16) ** 2))
    white += contrast.intermediate * 0.4 * np.exp(-(((layer - 0.9) / 0.12) ** 2))
    geometry.paint(image, contrast.cortex, cover('cerebrum'))
    geometry.paint(image, white, geometry.coverage(shape.cortex - depth, 1.4 * softness))
    folia = brain.foliage(points, 3.2)
    rim = np.exp(-np.square(distance['cerebellum'] / 3.5))
    folia_intensity = contrast.cerebellum - rim * (0.12 + 0.12 * min(shape.depths[1] / 4.0, 1.0) * folia)
    geometry.paint(image, folia_intensity.astype(np.float32), cover('cerebellum'))
    geometry.paint(image, contrast.stem, cover('stem'))
    for name, value in (
        ('callosum', contrast.cortex + 0.05),
        ('thalamus', contrast.deep),
        ('lentiform', contrast.deep + 0.015),
        ('caudate', contrast.deep - 0.05),
        ('hippocampus', contrast.cortex + 0.03),
    ):
        geometry.paint(image, np.float32(value), geometry.coverage(distance[name], 2.0 * softness))
    for name in ('ventricles', 'cavum', 'third', 'fourth'):
        geometry.paint(image, np.float32(contrast.fluid + 0.04), cover(name))
    return image


def make_fetal(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Makes one fetal brain.

    Args:
        seed: At least 0; the same seed gives the same subject.

    Returns:
        image: float32 array [108, 150, 124] in [0, 1], RAS, 1 mm, background exactly 0.
        mask: bool array of the same shape.
        facts: `age`, weeks of gestation.
    """
    rng = np.random.default_rng(seed)
    age = draw_age(rng)
    scale = float(np.interp(age, *GROWTH) * np.exp(0.04 * rng.standard_normal()))
    placement = rendering.Placement(
        scale=tuple(scale * np.exp(0.03 * rng.standard_normal(3))),
        angles=tuple(0.05 * rng.standard_normal(3)),
        shift=tuple(1.5 * rng.standard_normal(3) + (0.0, 0.0, 3.0)),
        bend=2.2 * scale,
        bend_length=30.0 * scale,
    )
    shape, contrast = draw_shape(age, rng), _draw_contrast(age, rng)
    softness = 1.9 / scale

    def paint(distance: dict[str, np.ndarray], points: geometry.Points) -> np.ndarray:
        return _paint(distance, points, shape, contrast, softness)

    image, mask = brain.scan(SHAPE, placement, shape, paint, softness, rng)
    return image, mask, {'age': age}
