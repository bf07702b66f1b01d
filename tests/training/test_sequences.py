"""The pipeline: images belong to their poses, and intensities have noise within their grey level."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.training import AugmentationSettings
from tfp_bruno.training.sequences import make_sequences

SUBJECTS, SLICES, SIZE = 3, 12, 8


@pytest.fixture(scope='module')
def images():
    """Every slice has its own intensity: subject s, slice k is (12 s + k) / 36 everywhere."""
    levels = np.arange(SUBJECTS * SLICES, dtype=np.float32).reshape(SUBJECTS, SLICES) / (SUBJECTS * SLICES)
    return np.broadcast_to(levels[..., None, None], (SUBJECTS, SLICES, SIZE, SIZE)).copy()


def draw(images, augmentation=None, seed=0, batches=4, **kwargs):
    augmentation = augmentation or AugmentationSettings()
    drawn = make_sequences(images, 5, 6, (1.0, 1.0, 1.0), augmentation, seed, **kwargs).take(batches)
    x, poses = zip(*[(x.numpy(), poses.numpy()) for x, poses in drawn], strict=True)
    return np.concatenate(x), np.concatenate(poses)


@pytest.mark.parametrize('parts', [2, 3])
def test_shares_make_up_the_whole_batches(images, parts):
    whole = draw(images, first_step=3)
    shares = [draw(images, first_step=3, share=(part, parts)) for part in range(parts)]
    for every, *theirs in zip(whole, *shares, strict=True):
        # Batches of six, in equal parts.
        split = [share.reshape(4, 6 // parts, *share.shape[1:]) for share in theirs]
        np.testing.assert_array_equal(np.concatenate(split, 1).reshape(every.shape), every)


def test_sequences_have_their_shapes_and_types(images):
    dataset = make_sequences(images, 5, 6, (1.0, 1.0, 1.0), AugmentationSettings(), 0)
    assert dataset.element_spec == (
        tf.TensorSpec([6, 5, SIZE, SIZE, 1], tf.float32),
        tf.TensorSpec([6, 5, SLICES], tf.float32),
    )


def test_sequences_are_distinct_slices_of_one_subject_with_their_poses(images):
    x, poses = draw(images)
    np.testing.assert_array_equal(np.sort(np.unique(poses)), [0.0, 1.0])
    np.testing.assert_array_equal(poses.sum(-1), 1.0)
    slices = poses.argmax(-1)
    assert all(len(set(row)) == 5 for row in slices)
    # Half a grey level is what dequantisation adds on average.
    number = np.rint((x.mean((2, 3, 4)) * 256 - 0.5) / 255 * SUBJECTS * SLICES).astype(int)
    np.testing.assert_array_equal(number % SLICES, slices)
    subjects = number // SLICES
    assert (subjects == subjects[:, :1]).all()
    assert set(subjects[:, 0]) == {0, 1, 2}
    assert set(slices.ravel()) == set(range(SLICES))


@pytest.mark.slow
def test_seed_determines_the_sequences(images):
    augmentation = AugmentationSettings(probability=0.5)
    first, again, other = draw(images, augmentation, 3), draw(images, augmentation, 3), draw(images, augmentation, 4)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[1] != other[1]).any()


def test_sequences_have_different_slices(images):
    _, poses = draw(images)
    assert len({tuple(row) for row in poses.argmax(-1)}) == len(poses)


def test_common_slices_are_shared_within_a_batch(images):
    x, poses = next(iter(make_sequences(images, 5, 6, (1.0, 1.0, 1.0), AugmentationSettings(), 0, common_slices=True)))
    assert (poses.numpy() == poses[0].numpy()).all()
    assert len(np.unique(x.numpy().mean((1, 2, 3, 4)))) > 1
    _, poses = draw(images, common_slices=True)
    assert len({tuple(row) for row in poses.argmax(-1)}) == len(poses) / 6


@pytest.mark.slow
def test_probability_is_the_share_of_augmented_sequences(images):
    # A random contrast gives an augmented sequence intensities that no subject has, most clearly the brightest one.
    only = AugmentationSettings(0.5, displacement=0.0, scaling=0.0, shear=0.0, shift=0.0, contrast=2.0, bias=0.0)
    x, poses = draw(images[2:], only, batches=10)
    expected = images[2, poses.argmax(-1), 4, 4]
    found = (x[:, :, 4, 4, 0] * 256 - 0.5) / 255
    augmented = np.abs(found - expected).max(-1) > 0.02
    # 60 draws of a fair coin.
    assert 18 <= augmented.sum() <= 42


def test_sequences_add_uniform_noise_within_the_grey_level():
    levels = np.arange(SLICES, dtype=np.float32) * 20
    images = np.broadcast_to(levels[:, None, None] / 255, (1, SLICES, SIZE, SIZE)).copy()
    x, poses = draw(images, batches=20)
    noise = x[..., 0] * 256 - levels[poses.argmax(-1)][..., None, None]
    assert noise.min() > -1e-3
    assert noise.max() < 1.0 + 1e-3
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.var() == pytest.approx(1 / 12, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize('probability', [0.0, 0.5])
def test_memory_mapped_images_give_the_same_sequences(images, tmp_path, probability):
    np.save(tmp_path / 'images.npy', images)
    mapped = np.load(tmp_path / 'images.npy', mmap_mode='r')
    augmentation = AugmentationSettings(probability=probability)
    # Also a part of the file, such as a split.
    for first in (0, 1):
        for ours, theirs in zip(draw(mapped[first:], augmentation), draw(images[first:], augmentation), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_plain_batches_at_multiples_of_a_step(images):
    only = AugmentationSettings(1.0, displacement=0.0, scaling=0.0, shear=0.0, shift=0.0, contrast=2.0, bias=0.0)
    x, poses = draw(images[2:], only, batches=6, plain_every=3, first_step=5)
    found = (x[:, :, 4, 4, 0] * 256 - 0.5) / 255
    augmented = np.abs(found - images[2, poses.argmax(-1), 4, 4]).max(-1) > 0.02
    # Steps 5 to 10, of which 6 and 9 are plain. A contrast of nearly 1 changes nothing that can be seen.
    shares = augmented.reshape(6, 6).mean(1)
    assert (shares[[1, 4]] == 0).all()
    assert (shares[[0, 2, 3, 5]] > 0.5).all()


@pytest.mark.slow
@pytest.mark.parametrize('common_slices', [False, True])
def test_batches_of_a_step_do_not_depend_on_the_first_step(images, common_slices):
    settings = {'augmentation': AugmentationSettings(0.5), 'common_slices': common_slices, 'plain_every': 2}
    whole = draw(images, seed=2**40 + 3, batches=5, **settings)
    rest = draw(images, seed=2**40 + 3, batches=2, first_step=3, **settings)
    for ours, theirs in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[3 * 6 :])
