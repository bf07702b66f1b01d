"""Brings training subjects into one canonical space: their maps, and their volumes there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import joblib
import numpy as np
from scipy import ndimage

from tfp_bruno.registration.appearance_fields import AppearanceFields
from tfp_bruno.registration.canonical_model import CanonicalModel
from tfp_bruno.registration.frames import Frame, mean_frame
from tfp_bruno.registration.map_prior import MapPrior
from tfp_bruno.registration.map_search import MapSearch
from tfp_bruno.registration.smooth_basis import SmoothBasis
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

# Length scale and standard deviation of displacements, as shares of the side of a slice.
_LENGTH = 0.16
_STD = 0.019
# Components of the target that a subject is registered to, in each round; 0 for the mean alone.
_ROUNDS = (0, 0, 3)
# Whole volumes are registered at every such slice, and at blocks of such a side.
_THINNING = 4
_ITERATIONS = 5
_NOISE = 0.1


@dataclasses.dataclass(frozen=True)
class Registration:
    """Subjects in one canonical space.

    Attributes:
        space: The canonical space.
        maps: Map of each subject.
        volumes: float32 `[S, K, H, W]`, the subjects in the canonical space.
    """

    space: CanonicalSpace
    maps: Sequence[SubjectMap]
    volumes: np.ndarray

    @classmethod
    def of_maps(
        cls, images: np.ndarray, voxel_size: Sequence[float], maps: Sequence[SubjectMap], jobs: int = 1
    ) -> Registration:
        """Brings subjects `[S, K, H, W]` to the canonical space by maps from `register_subjects`."""
        space = make_space([subject.frame for subject in maps], images.shape[1:], voxel_size)
        with joblib.Parallel(jobs) as parallel:
            return cls(space, maps, _filled(_warp(parallel, space, images, maps)))


def make_space(frames: Sequence[Frame], shape: Sequence[int], voxel_size: Sequence[float]) -> CanonicalSpace:
    """Returns the canonical space of subjects with given frames.

    Args:
        frames: Frames of the subjects.
        shape: `(K, H, W)` of the stacks.
        voxel_size: Sides of a voxel along (K, H, W), mm.
    """
    side = max(size * length for size, length in zip(shape[1:], voxel_size[1:], strict=True))
    return CanonicalSpace(mean_frame(frames), SmoothBasis(shape, voxel_size, _LENGTH * side, _STD * side))


def register_subjects(images: np.ndarray, voxel_size: Sequence[float], jobs: int = 1) -> list[SubjectMap]:
    """Registers subjects to their growing mean: size and place, then a smooth displacement.

    Args:
        images: `[S, K, H, W]`, stacks in [0, 1].
        voxel_size: Sides of a voxel along (K, H, W), mm.
        jobs: Number of processes.

    Returns:
        The map of each subject into the space that `make_space` gives for their frames.
    """
    frames = [Frame.measure(stack) for stack in images]
    space = make_space(frames, images.shape[1:], voxel_size)
    maps = [SubjectMap(frame, space.identity.coefficients) for frame in frames]
    search = MapSearch(_NOISE, _THINNING, _ITERATIONS)
    with joblib.Parallel(jobs) as parallel:
        for rank in _ROUNDS:
            # Outside a stack, 0 holds the anatomy in its place; filled volumes gave worse maps.
            volumes = np.nan_to_num(_warp(parallel, space, images, maps), copy=False)
            model = CanonicalModel.fit(space, volumes, rank)
            fields, prior = AppearanceFields.of(model, search.block), MapPrior.standard(space, model.rank)
            maps = parallel(
                joblib.delayed(_register)(search, fields, prior, stack, subject)
                for stack, subject in zip(images, maps, strict=True)
            )
    return maps


def _register(
    search: MapSearch, fields: AppearanceFields, prior: MapPrior, stack: np.ndarray, subject: SubjectMap
) -> SubjectMap:
    """Returns the map of a whole stack `[K, H, W]`, found from every few of its slices; the frame stays."""
    slices = np.arange(_THINNING // 2, len(stack), _THINNING)
    frame = np.arange(prior.map_size - 6, prior.map_size)
    all_else = np.delete(np.eye(len(prior.covariance)), frame, axis=1)
    return search.refine(fields, prior, stack[slices], slices, subject, np.zeros(fields.rank), all_else).subject


def _warp(
    parallel: joblib.Parallel, space: CanonicalSpace, images: np.ndarray, maps: Sequence[SubjectMap]
) -> np.ndarray:
    """Returns subjects in the canonical space, NaN outside their stacks."""
    pairs = zip(images, maps, strict=True)
    return np.stack(parallel(joblib.delayed(space.warp)(stack, subject) for stack, subject in pairs))


def _filled(volumes: np.ndarray) -> np.ndarray:
    """Replaces voxels outside a subject's stack by the mean of the other subjects, in place.

    Outside all stacks, as at the ends of an anatomy that every stack cuts, the nearest voxel counts.
    """
    unknown = np.isnan(volumes)
    volumes[unknown] = 0
    known = len(volumes) - unknown.sum(axis=0)
    mean = volumes.sum(axis=0) / np.maximum(1, known).astype(np.float32)
    if not known.all():
        nearest = ndimage.distance_transform_edt(known == 0, return_distances=False, return_indices=True)
        mean = mean[tuple(nearest)]
    for volume, outside in zip(volumes, unknown, strict=True):
        volume[outside] = mean[outside]
    return volumes
