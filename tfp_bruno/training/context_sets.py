"""Sets of contexts of the training subjects, with the map that is found from each, and sequences drawn from them.

A model is trained on the maps that it will have later: those found from a few contexts.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import add_level_noise
from tfp_bruno.registration import CanonicalSpace, SubjectMap
from tfp_bruno.runs.slice_places import plane_poses, slice_poses
from tfp_bruno.training.rigid_planes import draw_planes, sample_planes
from tfp_bruno.training.sequences import WHOLE, draw_batches


class RigidPlanes(NamedTuple):
    """Slices in random planes of any direction.

    Attributes:
        voxel_size: Sides of a voxel of the subjects along (K, H, W), mm.
        offsets: Positions of the parallel planes whose mean is a slice, in units of its thickness.
    """

    voxel_size: Sequence[float]
    offsets: Sequence[float]


@dataclasses.dataclass(frozen=True)
class ContextSets:
    """Sets of contexts; the subjects, in order, take turns.

    Attributes:
        slices: Slice numbers of the contexts of each set.
        maps: The map that is found from each set.
    """

    slices: Sequence[np.ndarray]
    maps: Sequence[SubjectMap]

    def of_size(self, count: int) -> np.ndarray:
        """Returns the indices of the sets of so many contexts, or else of those with the nearest number."""
        sizes = np.array([len(slices) for slices in self.slices])
        return np.flatnonzero(np.abs(sizes - count) == np.abs(sizes - count).min())


def draw_contexts(num_slices: int, counts: Sequence[int], seed: int) -> list[np.ndarray]:
    """Draws sets of contexts at random: distinct, one in each of as many equal parts of the stack, in random order.

    Args:
        num_slices: K.
        counts: Number of contexts of each set, K at most.
        seed: Seed of all sets.

    Returns:
        Slice numbers of each set.
    """
    sets = []
    for number, count in enumerate(counts):
        rng = np.random.default_rng([seed, number])
        # Parts between whole numbers, so that no slice is in two of them.
        edges = np.floor(np.linspace(0, num_slices, count + 1) + rng.random()).astype(int)
        sets.append(rng.permutation(rng.integers(edges[:-1], edges[1:])))
    return sets


def make_mapped_sequences(
    images: np.ndarray,
    sets: ContextSets,
    space: CanonicalSpace,
    control_size: int,
    sequence_length: int,
    batch_size: int,
    num_contexts_at: Callable[[int], int],
    seed: int,
    first_step: int = 0,
    share: tuple[int, int] = WHOLE,
    rigid: RigidPlanes | None = None,
) -> tf.data.Dataset:
    """Draws endless batches of sequences: the contexts of a set first, then other slices of the subject at random.

    Intensities have uniform noise within one of 256 grey levels. The batch of a step depends on the seed and the step
    alone.

    Args:
        images: float32 `[S, K, H, W]` in [0, 1].
        sets: Sets of contexts of these subjects.
        space: The canonical space of their maps.
        control_size: Number of control points of a pose along each side of a slice.
        sequence_length: Slices of a sequence, M.
        batch_size: Number of sequences in a batch.
        num_contexts_at: Number of contexts of a step. With 0, subjects have the map of the canonical volume.
        seed: Seed of all sequences.
        first_step: Step of the first batch.
        share: See `draw_batches`.
        rigid: If given, all slices of a sequence lie in random planes of any direction instead, with the map of the
            set.

    Returns:
        Pairs of float32 images `[batch_size, M, H, W, 1]` and float32 poses `[batch_size, M, P]`.
    """
    num_slices, (height, width) = images.shape[1], images.shape[2:]
    identity, nothing = space.identity, np.zeros(0, int)
    pose_size = slice_poses(space, identity, nothing, control_size).shape[1]

    def draw(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([seed, int(index)])
        count = num_contexts_at(int(index) // batch_size)
        chosen = int(rng.choice(sets.of_size(count)) if count else rng.integers(len(images)))
        contexts, subject = (sets.slices[chosen], sets.maps[chosen]) if count else (nothing, identity)
        volume = images[chosen % len(images)]
        if rigid is None:
            targets = rng.permutation(np.setdiff1d(np.arange(num_slices), contexts))
            slices = np.concatenate([contexts, targets])[:sequence_length]
            drawn, poses = np.asarray(volume[slices], np.float32), slice_poses(space, subject, slices, control_size)
        else:
            planes = draw_planes(volume, rigid.voxel_size, sequence_length, rng)
            drawn, poses = (
                sample_planes(volume, planes, rigid.offsets),
                plane_poses(space, subject, planes, control_size),
            )
        noisy = add_level_noise(drawn, rng.random(drawn.shape, np.float32))
        return noisy[..., None], poses

    def draw_tensors(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn, poses = tf.numpy_function(draw, [index], [tf.float32, tf.float32], stateful=False)
        drawn = tf.ensure_shape(drawn, [sequence_length, height, width, 1])
        return drawn, tf.ensure_shape(poses, [sequence_length, pose_size])

    return draw_batches(draw_tensors, batch_size, first_step, share)
