"""Finds the maps of new subjects: everything that this needs of the training subjects, in one file."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import zipfile
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import threadpoolctl

from tfp_bruno.errors import UserError
from tfp_bruno.registration.appearance_fields import AppearanceFields
from tfp_bruno.registration.canonical_model import CanonicalModel
from tfp_bruno.registration.frames import Frame
from tfp_bruno.registration.groupwise import Registration
from tfp_bruno.registration.map_prior import MapPrior
from tfp_bruno.registration.map_search import FoundMap, MapSearch
from tfp_bruno.registration.smooth_basis import SmoothBasis
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

# Components that the search uses.
_RANK = 15
_FOREGROUND = 0.02
# Training subjects that a coarse comparison tries.
_COARSE = 50
# Grey levels and components are stored with this precision.
_STORED = np.float16
# Context sets whose misfits are measured, at most, and quantiles of them.
_MEASURED = 300
_QUANTILES = 21


@dataclasses.dataclass(frozen=True)
class MapFinder:
    """Finds the map of a subject from slices of it.

    Attributes:
        model: Appearance in the canonical volume, with the components that the search uses.
        prior: Prior of map and component scores.
        search: Settings of the search.
        misfits: Evenly spaced quantiles, from least to largest, of the misfits of contexts of training subjects, see
            `FoundMap.misfit`; `None` if unknown.
    """

    model: CanonicalModel
    prior: MapPrior
    search: MapSearch = dataclasses.field(default_factory=MapSearch)
    misfits: np.ndarray | None = None

    @classmethod
    def fit(cls, registration: Registration) -> MapFinder:
        """Returns the finder of new subjects like those that were registered."""
        model = CanonicalModel.fit(registration.space, registration.volumes, _RANK)
        prior = MapPrior.fit(registration.space, registration.maps, model.scores(registration.volumes))
        # As after saving and loading: a training and its run find the same maps.
        return cls.from_arrays(cls(model, prior).to_arrays())

    @property
    def space(self) -> CanonicalSpace:
        """The canonical space."""
        return self.model.space

    @functools.cached_property
    def fields(self) -> AppearanceFields:
        """Appearance as the search takes it."""
        return AppearanceFields.of(self.model, self.search.block)

    def with_starts(self, count: int) -> MapFinder:
        """Returns the finder that searches from so many starts."""
        return dataclasses.replace(self, search=dataclasses.replace(self.search, num_starts=count))

    def find(self, images: np.ndarray, slices: Sequence[int] | np.ndarray, alignment: str = 'deformable') -> FoundMap:
        """Returns the map of a subject.

        Args:
            images: `[n, H, W]`, slices in [0, 1]. Without slices, or if all are black, the map is that of a subject
                that lies as the canonical volume does, with the prior's covariance.
            slices: `[n]`, their positions in the stack.
            alignment: 'none' for a subject that lies as the canonical volume does, or one of `MapPrior.directions`. The
                covariance of what is not found is 0.
        """
        images, slices = np.asarray(images, np.float32), np.asarray(slices, float).reshape(-1)
        if alignment == 'none':
            return self.at(images, slices, self.space.identity)
        if not np.any(images > _FOREGROUND):
            return FoundMap(self.space.identity, np.zeros(self.model.rank), self.prior.map_covariance(alignment))
        directions = None if alignment == 'deformable' else self.prior.directions(alignment)
        with _one_thread():
            return self.search.find(self.fields, self.prior, images, slices, directions)

    def at(self, images: np.ndarray, slices: np.ndarray, subject: SubjectMap) -> FoundMap:
        """Returns scores, error and objective of slices at a map that is known; arguments as `find`."""
        return self.search.at(self.fields, self.prior, images, slices, subject)

    def coarse_log_posterior(self, images: np.ndarray, slices: np.ndarray) -> float:
        """Returns the log-posterior of the nearest of some training subjects, without a search, nats up to a constant.

        It takes a few hundredths of a second, and tells which of several turns of the same slices is worth a search.

        Args:
            images: `[n, H, W]`, slices in [0, 1].
            slices: `[n]`, their positions in the stack.
        """
        kept = np.unique(np.linspace(0, len(self.prior.subjects) - 1, _COARSE).astype(int))
        prior = dataclasses.replace(self.prior, subjects=self.prior.subjects[kept])
        with _one_thread():
            _, errors = self.search.starts(self.fields, prior, images, slices)
        return -float(errors[0]) / (2 * self.search.noise**2)

    def to_arrays(self, with_misfits: bool = False) -> dict[str, Any]:
        """Returns what maps depend on as arrays by name, and the misfits if they are wanted and known."""
        basis = self.space.basis
        return {
            'frame': np.stack(self.space.frame),
            'voxel_size': basis.voxel_size,
            'length_and_std': np.array([basis.length, basis.std]),
            'num_modes': np.array(basis.num_modes),
            'mean': self.model.mean.astype(_STORED),
            'loadings': self.model.loadings.astype(_STORED),
            'prior_scale': self.prior.scale,
            'prior_covariance': self.prior.covariance,
            'prior_subjects': self.prior.subjects,
            **({'misfits': self.misfits} if with_misfits and self.misfits is not None else {}),
        }

    @classmethod
    def from_arrays(cls, arrays: Any) -> MapFinder:
        """Returns the finder of arrays by name, see `to_arrays`."""
        mean = np.asarray(arrays['mean'], np.float32)
        length, std = map(float, arrays['length_and_std'])
        basis = SmoothBasis(mean.shape, arrays['voxel_size'], length, std, int(arrays['num_modes']))
        space = CanonicalSpace(Frame(*np.asarray(arrays['frame'], float)), basis)
        model = CanonicalModel(space, mean, np.asarray(arrays['loadings'], np.float32))
        prior = MapPrior(space, *(arrays[f'prior_{name}'] for name in ('scale', 'covariance', 'subjects')))
        return cls(model, prior, misfits=arrays.get('misfits'))

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
    # Computed here, once for all processes.
    _ = finder.fields
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
    misfits = [finder.at(images[i % len(images)][slices[i]], slices[i], maps[i]).misfit for i in chosen]
    return np.quantile(misfits, np.linspace(0, 1, _QUANTILES))


@functools.cache
def _thread_pools() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def _one_thread() -> contextlib.AbstractContextManager:
    """Returns a context in which NumPy computes in one thread.

    The matrices of a search are small: a second thread gains nothing, and beside other work the two wait for each
    other, which takes many times as long.
    """
    return _thread_pools().limit(limits=1, user_api='blas')


def _find(finder: MapFinder, images: np.ndarray, slices: np.ndarray) -> SubjectMap:
    return finder.find(images, slices).subject
