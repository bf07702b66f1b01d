"""The training subjects as a training takes them: the volumes of the start, and sequences of slices."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from tfp_bruno.data.atomic import replacing
from tfp_bruno.data.encoding import add_level_noise, one_hot_poses
from tfp_bruno.errors import UserError
from tfp_bruno.registration import (
    Frame,
    MapFinder,
    Registration,
    SubjectMap,
    find_maps,
    find_misfits,
    register_subjects,
)
from tfp_bruno.runs import AugmentationSettings, Run
from tfp_bruno.runs.slice_places import slice_poses
from tfp_bruno.training.context_sets import ContextSets, RigidPlanes, draw_contexts, make_mapped_sequences
from tfp_bruno.training.sequences import WHOLE, make_sequences
from tfp_bruno.training.start import starting_volumes
from tfp_bruno.training.tasks import make_task

_HELD_OUT_SEED = 12345
# What reading a damaged file raises.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
# To be raised whenever registration or search of maps change.
_FORMAT = 5


class TrainingSubjects(Protocol):
    """Subjects of a training."""

    @property
    def poses(self) -> np.ndarray:
        """Poses of the slices of a volume of the start, float32 `[K, P]`."""
        ...

    def volumes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the volumes of the closed-form start `[N, K, H, W, 1]`, and the subject of each, `[N]`."""
        ...

    def sequences(self, first_step: int, share: tuple[int, int] = WHOLE) -> tf.data.Dataset:
        """Returns the batches of the training from a step on, or a share of each, see `draw_batches`."""
        ...

    def held_out(self, images: np.ndarray) -> tf.data.Dataset:
        """Returns batches of sequences of other subjects `[S, K, H, W]`, not augmented."""
        ...


def make_subjects(run: Run, images: np.ndarray, cache_dir: str | os.PathLike | None) -> TrainingSubjects:
    """Returns the training subjects of a run.

    Args:
        run: The run.
        images: float32 `[S, K, H, W]` in [0, 1].
        cache_dir: Folder in which a registration is kept for the next run; `None` keeps none.
    """
    if not run.has_places:
        return StackSubjects(run, images)
    return MappedSubjects(run, images, None if cache_dir is None else pathlib.Path(cache_dir))


class StackSubjects:
    """Subjects whose slices are known by their numbers in the stack."""

    def __init__(self, run: Run, images: np.ndarray) -> None:
        """Takes the subjects `[S, K, H, W]` of a run."""
        self._settings, self._images = run.training, images
        self._spacing = _voxel_size(run)
        num_slices = run.definition.num_slices
        self.poses = one_hot_poses(np.arange(num_slices), num_slices)

    def volumes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the subjects and augmented copies of them, see `starting_volumes`."""
        settings = self._settings
        return starting_volumes(
            self._images, settings.start_volumes, self._spacing, settings.augmentation, settings.seed
        )

    def sequences(self, first_step: int, share: tuple[int, int] = WHOLE) -> tf.data.Dataset:
        """Returns the batches of the training from a step on, or a share of each."""
        settings = self._settings
        return make_sequences(
            self._images,
            settings.sequence_length,
            settings.batch_size,
            self._spacing,
            settings.augmentation,
            settings.seed,
            settings.common_slices,
            plain_every=make_task(settings).prior_every,
            first_step=first_step,
            share=share,
        )

    def held_out(self, images: np.ndarray) -> tf.data.Dataset:
        """Returns batches of sequences of other subjects, not augmented."""
        length, size = self._settings.sequence_length, self._settings.batch_size
        return make_sequences(images, length, size, self._spacing, AugmentationSettings(), _HELD_OUT_SEED)


class MappedSubjects:
    """Subjects that are registered to one canonical volume; what finds the map of a new one is written to the run."""

    def __init__(self, run: Run, images: np.ndarray, cache_dir: pathlib.Path | None) -> None:
        """Takes the subjects `[S, K, H, W]` of a run, and registers them unless the run knows how to find maps."""
        self._settings, self._images, self._model = run.training, images, run.model
        self._voxel_size = _voxel_size(run)
        self._path = run.registration
        self._cache = None if cache_dir is None else cache_dir / 'maps'
        self._jobs = os.cpu_count() or 1
        if run.registration.exists():
            self._finder = MapFinder.load(run.registration)
        else:
            self._finder = MapFinder.fit(self.registration)
            self._write_finder()
        self._task: Any = make_task(run.training)
        space, planes = self._finder.space, np.arange(run.definition.num_slices)
        self.poses = slice_poses(space, space.identity, planes, run.model.pose.control_size)

    @functools.cached_property
    def registration(self) -> Registration:
        """The registration of the subjects, with their maps from the cache if it has them."""
        images, voxel_size = self._images, self._voxel_size
        logging.info('Registering %d subjects.', len(images))
        maps = self._cached(
            f'registration-{_fingerprint(voxel_size, images)}',
            lambda: register_subjects(images, voxel_size, self._jobs),
        )
        return Registration.of_maps(images, voxel_size, maps, self._jobs)

    def volumes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the subjects in the canonical volume."""
        noise = np.random.default_rng(self._settings.seed).random(self._images.shape, np.float32)
        volumes = add_level_noise(self.registration.volumes, noise)
        # It is large, and a training that begins needs it no more.
        del self.registration
        return volumes[..., np.newaxis], np.arange(len(volumes))

    def sequences(self, first_step: int, share: tuple[int, int] = WHOLE) -> tf.data.Dataset:
        """Returns the batches of the training from a step on, or a share of each."""
        steps = (self._task.num_contexts_at(step) for step in range(10 * self._settings.context_sets))
        counts = [count for count in steps if count][: self._settings.context_sets]
        num_contexts_at = self._task.num_contexts_at
        return self._sequences(self._images, counts, self._settings.seed, num_contexts_at, first_step, share)

    def held_out(self, images: np.ndarray) -> tf.data.Dataset:
        """Returns batches of sequences of other subjects, with four contexts."""
        count = self._task.num_held_out_contexts
        return self._sequences(images, [count] * 2 * len(images), _HELD_OUT_SEED, lambda step: count, 0, WHOLE)

    def _sequences(
        self,
        images: np.ndarray,
        counts: list[int],
        seed: int,
        num_contexts_at: Any,
        first_step: int,
        share: tuple[int, int],
    ) -> tf.data.Dataset:
        logging.info('Finding maps from %d sets of contexts.', len(counts))
        slices = draw_contexts(images.shape[1], counts, seed)
        # A training subject is itself among the starts, and nearly always the best of them.
        finder = self._finder.with_starts(1) if images is self._images else self._finder
        find = functools.partial(find_maps, images, slices, finder, self._jobs)
        # The maps depend also on the subjects that were registered.
        key = _fingerprint(None, images, *slices, *self._finder.to_arrays().values())
        sets = ContextSets(slices, self._cached(f'contexts-{key}', find))
        if images is self._images and sets.maps and self._finder.misfits is None:
            misfits = find_misfits(images, sets.slices, sets.maps, self._finder)
            self._finder = dataclasses.replace(self._finder, misfits=misfits)
            self._write_finder()
        settings = self._settings
        return make_mapped_sequences(
            images,
            sets,
            self._finder.space,
            self._model.pose.control_size,
            settings.sequence_length,
            settings.batch_size,
            num_contexts_at,
            seed,
            first_step,
            share,
            RigidPlanes(self._voxel_size, self._model.pose.offsets) if settings.poses == 'rigid' else None,
        )

    def _write_finder(self) -> None:
        with replacing(self._path) as path:
            self._finder.save(path)

    def _cached(self, name: str, find: Callable[[], Sequence[SubjectMap]]) -> Sequence[SubjectMap]:
        """Returns maps from the cache, or finds them."""
        path = None if self._cache is None else self._cache / f'{name}.npz'
        if path is not None and path.exists():
            with contextlib.suppress(*_UNREADABLE), np.load(path) as arrays:
                pairs = zip(arrays['frames'], arrays['coefficients'], strict=True)
                return [SubjectMap(Frame(*frame), coefficients) for frame, coefficients in pairs]
        maps = find()
        if path is not None and maps:
            frames, coefficients = np.stack([each.frame for each in maps]), np.stack([each[1] for each in maps])
            try:
                with replacing(path) as temporary:
                    np.savez(temporary, frames=frames, coefficients=coefficients)
            except UserError as error:
                logging.warning('The maps of the subjects are not cached: %s', error)
        return maps


def _voxel_size(run: Run) -> tuple[float, float, float]:
    definition = run.definition
    return definition.slice_spacing, definition.pixel_spacing, definition.pixel_spacing


def _fingerprint(settings: Any, *arrays: np.ndarray) -> str:
    """Returns a hash of settings and arrays that maps depend on."""
    content = hashlib.blake2b(repr([_FORMAT, settings]).encode(), digest_size=16)
    for values in arrays:
        content.update(repr(values.shape).encode())
        content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()
