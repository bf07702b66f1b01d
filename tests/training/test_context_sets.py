"""Sets of contexts are spread over the stack; sequences begin with them and have the poses of their map."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_bruno.networks import DisplacedGrid
from tfp_bruno.registration import CanonicalSpace, Frame, SmoothBasis, SubjectMap
from tfp_bruno.runs.slice_places import slice_poses
from tfp_bruno.training.context_sets import ContextSets, RigidPlanes, draw_contexts, make_mapped_sequences

SUBJECTS, NUM_SLICES, SIZE, CONTROL, LENGTH, BATCH = 3, 12, 8, 2, 6, 4
SPACE = CanonicalSpace(
    Frame(np.array([2.5, 2.0, 2.0]), np.array([5.5, 3.5, 3.5])),
    SmoothBasis((NUM_SLICES, SIZE, SIZE), (1.5, 1.0, 1.0), 6.0, 0.5, 4),
)


@given(num_slices=st.integers(1, 40), counts=st.lists(st.integers(0, 12), max_size=5), seed=st.integers(0, 2**31 - 1))
def test_contexts_are_distinct_and_spread(num_slices, counts, seed):
    counts = [min(count, num_slices) for count in counts]
    sets = draw_contexts(num_slices, counts, seed)
    assert [len(slices) for slices in sets] == counts
    for slices in sets:
        count = len(slices)
        assert np.issubdtype(slices.dtype, np.integer)
        assert ((slices >= 0) & (slices < num_slices)).all()
        # One in each of as many equal parts.
        for part, number in enumerate(np.sort(slices)):
            assert part * num_slices / count - 1 < number < (part + 1) * num_slices / count + 1
        assert len(set(slices)) == count


def test_contexts_depend_on_the_seed_and_their_number_alone():
    sets = draw_contexts(40, [3, 5, 3], 7)
    for ours, theirs in zip(sets, draw_contexts(40, [3, 5, 3, 8], 7)[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert set(sets[0]) != set(sets[2])
    assert set(sets[0]) != set(draw_contexts(40, [3], 8)[0])


def test_contexts_are_equally_frequent_and_in_random_order():
    sets = np.stack(draw_contexts(12, [3] * 3000, 0))
    np.testing.assert_allclose(np.bincount(sets.ravel(), minlength=12) / sets.size, 1 / 12, atol=0.01)
    np.testing.assert_allclose((sets[:, 0] < sets[:, 1]).mean(), 0.5, atol=0.04)


def test_of_size_gives_the_nearest_number():
    sets = ContextSets([np.arange(count) for count in (2, 5, 3, 2)], [SPACE.identity] * 4)
    found = {count: sets.of_size(count).tolist() for count in (1, 2, 3, 4, 9)}
    assert found == {1: [0, 3], 2: [0, 3], 3: [2], 4: [1, 2], 9: [1]}


@pytest.fixture(scope='module')
def images():
    """Every slice has its own intensity: subject s, slice k is (12 s + k) / 36 everywhere."""
    levels = np.arange(SUBJECTS * NUM_SLICES, dtype=np.float32).reshape(SUBJECTS, NUM_SLICES)
    return np.broadcast_to(levels[..., None, None] / levels.size, (SUBJECTS, NUM_SLICES, SIZE, SIZE)).copy()


@pytest.fixture(scope='module')
def sets():
    rng = np.random.default_rng(0)
    slices = draw_contexts(NUM_SLICES, [1, 2, 3] * 5, 3)
    frames = [
        Frame(SPACE.frame.size * np.exp(0.1 * rng.normal(size=3)), SPACE.frame.place + rng.normal(size=3))
        for _ in slices
    ]
    return ContextSets(slices, [SubjectMap(frame, rng.normal(size=(3, SPACE.basis.size))) for frame in frames])


def count_at(step):
    return step % 4


def draw(images, sets, batches=8, seed=0, first_step=0, counts=count_at):
    sequences = make_mapped_sequences(images, sets, SPACE, CONTROL, LENGTH, BATCH, counts, seed, first_step)
    x, poses = zip(*[(x.numpy(), poses.numpy()) for x, poses in sequences.take(batches)], strict=True)
    return np.stack(x), np.stack(poses)


def numbers_of(x):
    """Subject and slice of each image, from its intensity; the noise adds half a grey level on average."""
    return np.divmod(np.rint((x.mean((-3, -2, -1)) * 256 - 0.5) / 255 * SUBJECTS * NUM_SLICES).astype(int), NUM_SLICES)


def test_sequences_have_their_shapes_and_types(images, sets):
    sequences = make_mapped_sequences(images, sets, SPACE, CONTROL, LENGTH, BATCH, count_at, 0)
    assert sequences.element_spec == (
        tf.TensorSpec([BATCH, LENGTH, SIZE, SIZE, 1], tf.float32),
        tf.TensorSpec([BATCH, LENGTH, 12 + 3 * CONTROL**2], tf.float32),
    )


def test_sequences_are_contexts_of_a_set_then_other_slices_at_its_places(images, sets):
    x, poses = draw(images, sets)
    subjects, slices = numbers_of(x)
    for step, sequence in np.ndindex(8, BATCH):
        subject, numbers, found = subjects[step, sequence], slices[step, sequence], poses[step, sequence]
        assert len(set(subject)) == 1
        assert len(set(numbers)) == LENGTH
        count = step % 4
        if not count:
            np.testing.assert_array_equal(found, slice_poses(SPACE, SPACE.identity, numbers, CONTROL))
            continue
        # Set i is of subject i modulo 3.
        own = [
            subject_map
            for number, (contexts, subject_map) in enumerate(zip(sets.slices, sets.maps, strict=True))
            if number % SUBJECTS == subject[0] and np.array_equal(contexts, numbers[:count])
        ]
        expected = [slice_poses(SPACE, subject_map, numbers, CONTROL) for subject_map in own]
        assert any(np.array_equal(found, each) for each in expected)


def test_sequences_without_contexts_take_all_subjects(images, sets):
    few = ContextSets(sets.slices[:1], sets.maps[:1])
    subjects, _ = numbers_of(draw(images, few, counts=lambda step: 0)[0])
    assert set(subjects.ravel()) == {0, 1, 2}
    nothing = ContextSets([], [])
    assert draw(images, nothing, counts=lambda step: 0)[0].shape == (8, BATCH, LENGTH, SIZE, SIZE, 1)


def test_targets_are_random(images, sets):
    _, slices = numbers_of(draw(images, sets, batches=40, counts=lambda step: 1)[0])
    targets = slices[..., 1:]
    assert set(targets.ravel()) == set(range(NUM_SLICES))
    assert (np.diff(targets, axis=-1) < 0).any()


def test_slices_in_any_plane_lie_where_their_poses_say():
    # Each map is a frame without displacement, and a subject's volume is a linear function of canonical coordinates.
    slope = np.array([0.03, 0.05, -0.04])
    rng, maps, volumes = np.random.default_rng(1), [], []
    for _ in range(SUBJECTS):
        frame = Frame(SPACE.frame.size * np.exp(0.1 * rng.normal(size=3)), SPACE.frame.place + rng.normal(size=3))
        maps.append(SubjectMap(frame, np.zeros((3, SPACE.basis.size))))
        points = SPACE.grid(maps[-1], [np.arange(size) for size in (NUM_SLICES, SIZE, SIZE)])
        volumes.append(0.4 + np.einsum('c,ckhw->khw', slope, points))
    sets = ContextSets(draw_contexts(NUM_SLICES, [2] * SUBJECTS, 0), maps)
    rigid = RigidPlanes((1.5, 1.0, 1.0), (0.0,))
    sequences = make_mapped_sequences(
        np.array(volumes, np.float32), sets, SPACE, CONTROL, LENGTH, BATCH, lambda step: 2, 0, rigid=rigid
    )
    x, poses = next(iter(sequences))
    grid = DisplacedGrid((SIZE, SIZE), CONTROL)(poses).numpy()[:, :, 0]
    expected = 0.4 + grid @ slope
    image = x.numpy()[..., 0]
    inside = image > 0.02  # Beyond the volume slices are black.
    assert inside.mean() > 0.5
    # Noise and rounding of grey levels.
    assert np.quantile(np.abs(image - expected)[inside], 0.9) < 0.01
    normals = poses.numpy().reshape(BATCH * LENGTH, -1)[:, 2:12:4]
    assert np.linalg.matrix_rank(normals) == 3


def test_intensities_have_noise_within_a_grey_level():
    images = np.full((1, NUM_SLICES, SIZE, SIZE), 100 / 255, np.float32)
    x, _ = draw(images, ContextSets([], []), counts=lambda step: 0)
    noise = x * 256 - 100
    assert noise.min() > -1e-3
    assert noise.max() < 1 + 1e-3
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.var() == pytest.approx(1 / 12, rel=0.03)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), first_step=st.integers(0, 6))
def test_the_batch_of_a_step_depends_on_seed_and_step_alone(images, sets, seed, first_step):
    whole, rest = draw(images, sets, 8, seed), draw(images, sets, 8 - first_step, seed, first_step)
    for ours, theirs in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[first_step:])
    other = draw(images, sets, 8, seed + 1)
    assert (whole[1] != other[1]).any()
