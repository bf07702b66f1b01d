"""Rigid registration of one slice to a volume.

The correlation coefficient of the slice and the target, sampled at the moved pixels, is maximised from coarse to fine
by the Levenberg-Marquardt method. For images of mean 0 and norm 1, half the squared distance is 1 minus the
correlation, so the maximum is a least-squares problem (compare Evangelidis and Psarakis 2008, Parametric image
alignment using enhanced correlation coefficient maximization).
"""

import dataclasses

import nibabel
import numpy as np
from scipy import optimize
from scipy.spatial.transform import Rotation

from tfp_bruno.errors import UserError

# Added to the squared norm of an image, so that one without contrast has correlation 0.
TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Target:
    """A volume and its gradient.

    Attributes:
        values: float32 `[X, Y, Z, 4]`: intensity, and its derivatives along the three world axes per mm.
        to_voxel: From world to voxels, `[4, 4]`.
    """

    values: np.ndarray
    to_voxel: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The pixels of a slice that are compared with a target.

    Attributes:
        points: World points where they were acquired, `[P, 3]`.
        values: Intensities, `[P]`.
    """

    points: np.ndarray
    values: np.ndarray


def make_target(volume: np.ndarray, affine: np.ndarray) -> Target:
    """Prepares a volume `[X, Y, Z]`, at least 2 voxels along each axis, for `register_slice`."""
    to_voxel = np.linalg.inv(affine)
    # Of the voxel indices; the chain rule makes them derivatives along the world axes.
    gradient = np.stack(np.gradient(volume), axis=-1) @ to_voxel[:3, :3]
    return Target(np.concatenate([volume[..., None], gradient], axis=-1).astype(np.float32), to_voxel)


def sample(target: Target, points: np.ndarray) -> np.ndarray:
    """Interpolates a target linearly at world points `[P, 3]`; returns `[P, 4]`, 0 outside."""
    shape = np.array(target.values.shape[:3])
    # The optimiser may try a step beyond the range of integers.
    voxels = np.clip(np.nan_to_num(nibabel.affines.apply_affine(target.to_voxel, points), nan=-1.0), -1.0, shape)
    lower = np.clip(np.floor(voxels).astype(np.intp), 0, shape - 2)
    inside = ((voxels >= 0) & (voxels <= shape - 1)).all(axis=1)
    shares = np.where(inside[:, None], voxels - lower, 0.0).astype(np.float32)
    flat = target.values.reshape(-1, 4)
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    base = lower @ steps
    found = np.zeros((len(points), 4), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.array(corner, bool), shares, 1 - shares), axis=1)
        found += weight[:, None] * flat[base + np.array(corner) @ steps]
    return found * inside[:, None]


def correlation(target: Target, pixels: Pixels, transform: np.ndarray) -> float:
    """Returns the correlation of a slice with the target where the transform `[4, 4]` places it; 0 without contrast."""
    values = sample(target, nibabel.affines.apply_affine(transform, pixels.points))[:, 0]
    return float(_normalised(pixels.values) @ _normalised(values))


def register_slice(
    target: Target, pixels: Pixels, transform: np.ndarray, max_evaluations: int = 30
) -> tuple[np.ndarray, float]:
    """Improves the transform of a slice to the nearest maximum of the correlation.

    Args:
        target: The volume.
        pixels: At least 6 pixels of the slice.
        transform: Where the slice lies so far, `[4, 4]` from its world to that of the volume.
        max_evaluations: Upper limit of evaluations of the target.

    Returns:
        The transform, rigid relative to the given one, and the correlation that it reaches; the given one if the slice
        or the target has no contrast there.

    Raises:
        UserError: If there are fewer than 6 pixels.
    """
    if len(pixels.values) < 6:
        raise UserError(f'`pixels`: {len(pixels.values)} do not determine a rigid transform; give at least 6.')
    problem = _Problem(target, pixels, transform)
    solution = optimize.least_squares(
        problem.residuals, np.zeros(6), problem.jacobian, method='lm', xtol=1e-4, ftol=1e-6, max_nfev=max_evaluations
    )
    found = problem.transform(solution.x)
    return found, correlation(target, pixels, found)


class _Problem:
    """Residuals of a slice against a target, by rotation vector (in units of mm) and translation of the slice."""

    def __init__(self, target: Target, pixels: Pixels, start: np.ndarray) -> None:
        self._target, self._start = target, start
        placed = nibabel.affines.apply_affine(start, pixels.points)
        self._centre = placed.mean(axis=0)
        self._arms = placed - self._centre
        # One unit of a rotation moves the pixels about as far as one of a translation.
        self._radius = np.sqrt(np.mean(self._arms**2) * 3) + TINY
        self._values = _normalised(pixels.values)

    def transform(self, parameters: np.ndarray) -> np.ndarray:
        matrix = Rotation.from_rotvec(parameters[:3] / self._radius).as_matrix()
        return nibabel.affines.from_matvec(matrix, self._centre + parameters[3:] - matrix @ self._centre) @ self._start

    def residuals(self, parameters: np.ndarray) -> np.ndarray:
        return _normalised(self._sample(parameters)[1][:, 0]) - self._values

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        arms, sampled = self._sample(parameters)
        gradient = sampled[:, 1:].astype(np.float64)
        turning = np.cross(arms, gradient) @ rotation_jacobian(parameters[:3] / self._radius) / self._radius
        slopes = np.concatenate([turning, gradient], axis=1)
        slopes -= slopes.mean(axis=0)
        values = sampled[:, 0] - sampled[:, 0].mean(dtype=np.float64)
        norm = np.sqrt(values @ values + TINY)
        unit = values / norm
        return (slopes - np.outer(unit, unit @ slopes)) / norm

    def _sample(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pixels relative to the centre of rotation, [P, 3], and the target there, [P, 4]."""
        arms = Rotation.from_rotvec(parameters[:3] / self._radius).apply(self._arms)
        return arms, sample(self._target, arms + self._centre + parameters[3:])


def rotation_jacobian(rotvec: np.ndarray) -> np.ndarray:
    """Returns the left Jacobian of a rotation vector `[3]`: a small change d of it turns the result by J d.

    Formula 145 of Sola et al. 2018, A micro Lie theory for state estimation in robotics.
    """
    angle = float(np.linalg.norm(rotvec))
    x, y, z = rotvec
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    if angle < 1e-6:
        return np.eye(3) + cross / 2
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * cross @ cross


def _normalised(values: np.ndarray) -> np.ndarray:
    """Returns values `[P]` with mean 0 and norm 1; about 0 if they are constant."""
    centred = values - values.mean(dtype=np.float64)
    return centred / np.sqrt(centred @ centred + TINY)
