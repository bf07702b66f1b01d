"""Start volumes from one batch of slices."""

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.errors import UserError
from tfp_bruno.evaluation.batch_starts import (
    PlacedVolume,
    centring,
    choose_batch,
    complete_batch,
    make_batch,
    mean_place,
    mean_start,
    place_batch,
)
from tfp_bruno.motion import MotionSettings, SliceStack, StackProtocol, simulate_stacks

SHAPE = 24, 20, 20  # Slices, rows, columns of the model.
AFFINE = np.array([[-4.0, 0, 0, 38], [0, -4.0, 0, 38], [0, 0, 2.0, -23], [0, 0, 0, 1]])


class Oracle:
    """Predicts a volume whatever the contexts are."""

    def __init__(self, stack):
        self.stack = stack

    def predict(self, context_images, context_slices, query_slices):
        return self.stack[None, query_slices]


@pytest.fixture(scope='module')
def truth():
    """A smooth ball `[K, H, W]` off the middle of the stack."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing='ij'), -1)
    distance = np.linalg.norm((grid - [12, 9, 10]) * [2, 4, 4], axis=-1)
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), (4, 2, 2))
    return np.where(distance < 18, 0.5 + 0.1 * texture / texture.std(), 0).clip(0, 1).astype(np.float32)


@pytest.fixture(scope='module')
def simulated(truth):
    protocol = StackProtocol(thickness=2.0, spacing=4.0, pixel_spacing=4.0, simultaneous=3)
    return simulate_stacks(truth.T, truth.T > 0, AFFINE, protocol, MotionSettings(6.0), seed=2, planes=['axial'])


def _batch(truth, simulated, offset=0.0):
    stack, transforms = simulated.stacks[0], simulated.transforms[0]
    return make_batch(stack, transforms, choose_batch(stack, 100.0), SHAPE, AFFINE, mean_place(truth), offset)


def test_choose_batch_takes_the_slices_that_show_most():
    mask = np.zeros((5, 5, 6), bool)
    for index, count in enumerate([0, 2, 4, 5, 3, 0]):
        mask[:count, :, index] = True
    stack = SliceStack('scan', mask.astype(np.float32), mask, np.diag([2.0, 2, 2, 1]), 2.0, np.arange(6) % 3)
    # Areas of the batches: 0 and 100, 40 and 60, 80 and 0 mm^2.
    np.testing.assert_array_equal(choose_batch(stack, 30.0), [1, 4])
    np.testing.assert_array_equal(choose_batch(stack, 90.0), [3])
    with pytest.raises(UserError, match='scan'):
        choose_batch(stack, 200.0)


def test_batch_without_motion_shows_the_slices_of_the_truth(truth):
    protocol = StackProtocol(thickness=1.0, spacing=2.0, pixel_spacing=4.0, simultaneous=3)
    still = simulate_stacks(truth.T, truth.T > 0, AFFINE, protocol, MotionSettings(0.0), planes=['axial'])
    batch = _batch(truth, still)
    at_rest = nibabel.affines.apply_affine(np.linalg.inv(AFFINE) @ batch.affine, [0.0, 0.0, 0.0])
    # The middle of the few slices differs a little from that of the anatomy.
    np.testing.assert_allclose(at_rest, 0, atol=0.4)
    own = PlacedVolume(truth.T, AFFINE, np.eye(4)).moved(np.eye(4), truth.T.shape, batch.affine)
    expected = own.T[batch.slices]
    # Pixels average over an area, slices over a thickness, and those compared lie up to 1 mm apart.
    for seen, true in zip(batch.images, expected, strict=True):
        assert np.corrcoef(seen.ravel(), true.ravel())[0, 1] > 0.93
        assert seen.mean() == pytest.approx(true.mean(), rel=0.1)


def test_completion_of_a_moved_batch_lies_on_the_truth_after_its_motion(truth, simulated):
    batch = _batch(truth, simulated)
    # What a perfect model would predict: the truth as it lay during the batch, on the grid of the batch.
    lying = PlacedVolume(truth.T, AFFINE, np.eye(4)).moved(np.linalg.inv(batch.motion), truth.T.shape, batch.affine)
    for number, image in zip(batch.slices, batch.images, strict=True):
        assert np.corrcoef(lying.T[number].ravel(), image.ravel())[0, 1] > 0.97
    start = complete_batch(batch, Oracle(lying.T), SHAPE[0])
    back = start.moved(start.motion, truth.T.shape, AFFINE)
    assert np.corrcoef(back.ravel(), truth.T.ravel())[0, 1] > 0.98
    as_acquired = start.moved(np.eye(4), truth.T.shape, AFFINE)
    assert np.corrcoef(as_acquired.ravel(), truth.T.ravel())[0, 1] < 0.97


def test_batch_shifts_across_its_slices(truth, simulated):
    batch, shifted = _batch(truth, simulated), _batch(truth, simulated, 4.0)
    np.testing.assert_array_equal(shifted.slices, batch.slices - 2)
    np.testing.assert_allclose(shifted.affine[:3, 3] - batch.affine[:3, 3], [0, 0, 4.0])
    np.testing.assert_array_equal(shifted.images, batch.images)
    with pytest.raises(UserError, match='beyond the stack'):
        _batch(truth, simulated, 60.0)


class Locating(Oracle):
    """Prefers contexts near slice 4. The other members are those of every model that finds places."""

    alignment = name = definition = info = sampling = temperature = has_exact_log_prob = ''
    locate = predict_in_frame = with_alignment = sample = log_prob = with_temperature = print

    def log_posterior(self, images, slices, coarse=False):
        assert coarse
        return -abs(slices.mean() - 4)


def test_place_batch_asks_a_model_that_finds_places(truth, simulated):
    def make(offset):
        return _batch(truth, simulated, offset)

    acquired = make(0.0).slices
    np.testing.assert_array_equal(place_batch(make, Oracle(truth), 2.0, 10.0).slices, acquired)
    placed = place_batch(make, Locating(truth), 2.0, 60.0).slices
    assert np.diff(placed).tolist() == np.diff(acquired).tolist()
    # The nearest to 4 that leaves all slices in the stack.
    assert placed.mean() == max(4.0, (acquired - acquired.min()).mean())


def test_place_batch_shifts_a_batch_that_lies_beyond_the_stack(truth, simulated):
    def make(offset):
        return _batch(truth, simulated, 60.0 + offset)

    placed = place_batch(make, Oracle(truth), 2.0, 80.0)
    assert placed.slices.min() == 0
    with pytest.raises(UserError, match='beyond the stack'):
        place_batch(make, Oracle(truth), 2.0, 4.0)


def test_mean_start_is_the_mean_in_the_place_of_the_batch(truth, simulated):
    batch = _batch(truth, simulated)
    start = mean_start(batch, Oracle(truth), truth)
    np.testing.assert_array_equal(start.data, truth.T)
    np.testing.assert_array_equal(start.affine, batch.affine)


def test_centring_brings_the_middle_of_a_volume_to_that_of_the_target(truth):
    start = PlacedVolume(truth.T, AFFINE, np.eye(4))
    target = ndimage.shift(truth.T, (2, -1, 3), order=0)
    # Indices of the affine point to the left and to the back.
    np.testing.assert_allclose(centring(start, target, AFFINE)[:3, 3], [-8, 4, 6], atol=1e-4)
    with pytest.raises(UserError, match='shows nothing'):
        centring(start, 0 * target, AFFINE)
