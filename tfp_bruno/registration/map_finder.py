"""Finds the maps of new subjects: everything that this needs of the training subjects, in one file."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np

from tfp_bruno.errors import UserError
from tfp_bruno.registration.canonical_model import CanonicalModel
from tfp_bruno.registration.frames import Frame, FrameFinder
from tfp_bruno.registration.groupwise import Registration
from tfp_bruno.registration.map_search import FoundMap, MapSearch
from tfp_bruno.registration.smooth_basis import SmoothBasis
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

__all__ = ['MapFinder', 'find_maps']

# Grey levels and components are stored with this precision.
_STORED = np.float16
# Context sets whose misfits are measured, at most, and quantiles of them.
_MEASURED = 300
_QUANTILES = 21


@dataclasses.dataclass(frozen=True)
class MapFinder:
    """Finds the map of a subject from slices of it: first its frame, then its displacement.

    Attributes:
        frames: Finds the frame.
        model: Appearance in the canonical volume, with the components that the search uses.
        search: Finds the displacement.
        misfits: Evenly spaced quantiles, from least to largest, of the misfits of contexts of training subjects, see
            `FoundMap.misfit`; `None` if unknown.
    """

    frames: FrameFinder
    model: CanonicalModel
    search: MapSearch
    misfits: np.ndarray | None = None

    @classmethod
    def fit(cls, images: np.ndarray, registration: Registration) -> MapFinder:
        """Returns the finder of new subjects like those that were registered.

        Args:
            images: `[S, K, H, W]`, stacks of the registered subjects.
            registration: Their registration.
        """
        search = MapSearch()
        model = CanonicalModel.fit(registration.space, registration.volumes, max(search.ranks))
        frames = FrameFinder.fit(images, [subject.frame for subject in registration.maps])
        # As after saving and loading: a training and its run find the same maps.
        return cls.from_arrays(cls(frames, model, search).to_arrays())

    @property
    def space(self) -> CanonicalSpace:
        """The canonical space."""
        return self.model.space

    def find(self, images: np.ndarray, slices: Sequence[int] | np.ndarray, alignment: str = 'deformable') -> FoundMap:
        """Returns the map of a subject.

        Args:
            images: `[n, H, W]`, slices in [0, 1]. Without slices, or if all are black, the map is that of a subject
                that lies as the canonical volume does, with the prior's covariance.
            slices: `[n]`, their positions in the stack.
            alignment: 'deformable', 'frame' for no displacement, or 'none' for a subject that lies as the canonical
                volume does. Without a displacement, the covariance is 0.
        """
        images, slices = np.asarray(images, np.float32), np.asarray(slices, float).reshape(-1)
        subject = self.space.identity
        frame = self.frames.mean_frame if alignment == 'none' else self.frames.find(images, slices)
        if alignment != 'deformable':
            return self.search.at(self.model, images, slices, subject._replace(frame=frame))
        if frame is self.frames.mean_frame:
            return FoundMap(subject, np.zeros(0), np.eye(subject.coefficients.size), 0.0)
        return self.search.find(self.model, images, slices, frame)

    def to_arrays(self, with_misfits: bool = False) -> dict[str, Any]:
        """Returns what maps depend on as arrays by name, and the misfits if they are wanted and known."""
        space, frames = self.space, self.frames
        basis = space.basis
        return {
            'frame': np.stack(space.frame),
            'voxel_size': basis.voxel_size,
            'length_and_std': np.array([basis.length, basis.std]),
            'num_modes': np.array(basis.num_modes),
            'frame_root': frames.root,
            'frame_volumes': frames.volumes.astype(_STORED),
            'mean': self.model.mean.astype(_STORED),
            'loadings': self.model.loadings.astype(_STORED),
            **({'misfits': self.misfits} if with_misfits and self.misfits is not None else {}),
        }

    @classmethod
    def from_arrays(cls, arrays: Any) -> MapFinder:
        """Returns the finder of arrays by name, see `to_arrays`."""
        mean = np.asarray(arrays['mean'], np.float32)
        frame = Frame(*np.asarray(arrays['frame'], float))
        length, std = map(float, arrays['length_and_std'])
        basis = SmoothBasis(mean.shape, arrays['voxel_size'], length, std, int(arrays['num_modes']))
        finder = FrameFinder(
            frame, arrays['frame_root'], np.asarray(arrays['frame_volumes'], np.float32), mean.shape[1:]
        )
        model = CanonicalModel(CanonicalSpace(frame, basis), mean, np.asarray(arrays['loadings'], np.float32))
        return cls(finder, model, MapSearch(), arrays.get('misfits'))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the finder to a file that `load` reads."""
        np.savez(path, **self.to_arrays(with_misfits=True))

    @classmethod
    def load(cls, path: str | os.PathLike) -> MapFinder:
        """Reads a finder from a file that `save` wrote.

        Raises:
            UserError: If the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls.from_arrays(dict(arrays))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f'{path}: cannot be read ({error!s:.100}); train the run again.') from error


def find_maps(images: np.ndarray, slices: Sequence[np.ndarray], finder: MapFinder, jobs: int = 1) -> list[SubjectMap]:
    """Returns the map that is found from each set of contexts.

    Args:
        images: `[S, K, H, W]` in [0, 1].
        slices: Slice numbers of each set, arrays of integers; set i is of subject i modulo S.
        finder: Finds the maps.
        jobs: Number of processes.
    """
    return joblib.Parallel(jobs)(
        joblib.delayed(_find)(finder, images[number % len(images)][chosen], chosen)
        for number, chosen in enumerate(slices)
    )


def find_misfits(
    images: np.ndarray, slices: Sequence[np.ndarray], maps: Sequence[SubjectMap], finder: MapFinder
) -> np.ndarray:
    """Returns quantiles of the misfits of sets of contexts at their maps, see `MapFinder.misfits`.

    Args:
        images: `[S, K, H, W]` in [0, 1].
        slices: Slice numbers of each set; set i is of subject i modulo S.
        maps: The map that was found from each set.
        finder: Found the maps.
    """
    chosen = np.unique(np.linspace(0, len(maps) - 1, _MEASURED).astype(int))
    misfits = [
        finder.search.at(finder.model, images[i % len(images)][slices[i]], slices[i], maps[i]).misfit for i in chosen
    ]
    return np.quantile(misfits, np.linspace(0, 1, _QUANTILES))


def _find(finder: MapFinder, images: np.ndarray, slices: np.ndarray) -> SubjectMap:
    return finder.find(images, slices).subject
