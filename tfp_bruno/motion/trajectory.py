"""Random rigid motion over time, one transform for each batch of slices."""

import dataclasses

import numpy as np
from scipy import interpolate

from tfp_bruno.errors import UserError
from tfp_bruno.motion.rigid import rigid_matrix

COURSES = ('independent', 'smooth', 'sudden')
# Batches between the points of a smooth trajectory, and on average between sudden movements.
SMOOTH_LENGTH, SUDDEN_LENGTH = 4, 6


@dataclasses.dataclass(frozen=True)
class MotionSettings:
    """Range and course of the motion.

    Attributes:
        translation: Largest translation along each axis, mm; uniformly distributed, as in section 3.3 of Hou et al.
            2019 (10 mm there).
        rotation: Largest rotation about each axis, degrees; uniformly distributed.
        course: 'independent' draws every batch anew, as the paper does; 'smooth' moves steadily between random
            positions; 'sudden' keeps still and moves at random moments.

    Raises:
        UserError: If a value is out of range.
    """

    translation: float = 10.0
    rotation: float = 0.0
    course: str = 'independent'

    def __post_init__(self) -> None:
        if not 0.0 <= self.translation <= 1000.0:
            raise UserError(f'`translation={self.translation:g}`: give 0 to 1000 mm.')
        if not 0.0 <= self.rotation <= 180.0:
            raise UserError(f'`rotation={self.rotation:g}`: give 0 to 180 degrees.')
        if self.course not in COURSES:
            raise UserError(f'`course={self.course}`: there is no such course; give {", ".join(COURSES)}.')


def draw_motion(num_batches: int, settings: MotionSettings, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws the motion of the anatomy during each batch.

    Args:
        num_batches: In order of time.
        settings: Range and course.
        centre: World point about which the anatomy rotates, `[3]` mm.
        rng: Random generator.

    Returns:
        float64 `[num_batches, 4, 4]`: where a world point of the resting anatomy lies during the batch.
    """
    limits = np.repeat([settings.translation, settings.rotation], 3)
    if settings.course == 'independent':
        values = rng.uniform(-1.0, 1.0, (num_batches, 6))
    elif settings.course == 'smooth':
        points = rng.uniform(-1.0, 1.0, (num_batches // SMOOTH_LENGTH + 2, 6))
        # This interpolation does not exceed the points that it joins.
        course = interpolate.PchipInterpolator(np.arange(len(points)) * SMOOTH_LENGTH, points)
        values = course(np.arange(num_batches))
    else:
        moves = rng.random(num_batches) < 1.0 / SUDDEN_LENGTH
        positions = rng.uniform(-1.0, 1.0, (num_batches + 1, 6))
        values = positions[np.cumsum(moves)]
    return rigid_matrix((values * limits)[:, 3:], (values * limits)[:, :3], centre)
