"""Simulated stacks, against SimpleITK's resampling and against each other."""

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.motion import ArtefactSettings, MotionSettings, StackProtocol, simulate_stacks
from tfp_bruno.motion.protocol import profile_offsets
from tfp_bruno.motion.rigid import LPS

THIN = StackProtocol(thickness=2.0, spacing=4.0, pixel_spacing=2.0, margin=4.0)


def to_itk(data, affine):
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.T))
    spacing, moved = nibabel.affines.voxel_sizes(affine), LPS @ affine
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(moved[:3, 3].tolist())
    image.SetDirection((moved[:3, :3] / spacing).ravel().tolist())
    return image


def test_simulated_slice_equals_simpleitk_at_its_true_affine(blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, THIN, MotionSettings(10.0, 10.0), seed=2)
    # Averaged over the profile, which is longer than a voxel: one resampling for each offset.
    offsets, weights = profile_offsets(2.0, 'gaussian', 2.0)
    for stack, transforms in zip(simulated.stacks, simulated.transforms, strict=True):
        index = stack.num_slices // 2
        expected = 0.0
        for offset, weight in zip(offsets, weights, strict=True):
            affine = transforms[index] @ stack.slice_affine(index)
            affine[:3, 3] += offset * affine[:3, 2] / 4.0
            grid = to_itk(np.zeros((*stack.data.shape[:2], 1), np.float32), affine)
            resampled = SimpleITK.Resample(to_itk(blobs.volume, blobs.affine), grid)
            expected += weight * SimpleITK.GetArrayFromImage(resampled).T[:, :, 0]
        inside = stack.mask[:, :, index]
        assert inside.sum() > 500
        np.testing.assert_allclose(stack.data[:, :, index][inside], expected[inside], atol=2e-3)


def test_simulated_stack_without_motion_is_the_volume():
    # A stack on the voxels of the volume itself, as thin as the profile can be.
    volume = ndimage.gaussian_filter(np.random.default_rng(0).random((30, 32, 28)), 2).astype(np.float32)
    mask = np.zeros(volume.shape, bool)
    mask[5:-5, 5:-5, 5:-5] = True
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    protocol = StackProtocol(1.0, 2.0, 2.0, profile='rectangular', margin=1.0)
    simulated = simulate_stacks(volume, mask, affine, protocol, MotionSettings(0.0))
    for stack, axes in zip(simulated.stacks, ((0, 1, 2), (0, 2, 1), (1, 2, 0)), strict=True):
        first = np.round(np.linalg.inv(affine) @ stack.affine).astype(int)
        points = nibabel.affines.apply_affine(first, np.argwhere(np.ones(stack.data.shape, bool)))
        np.testing.assert_allclose(first, np.linalg.inv(affine) @ stack.affine, atol=1e-9)
        np.testing.assert_allclose(stack.data.ravel(), volume[tuple(points.T)], atol=1e-6)
        assert stack.data.shape == tuple(np.array([20, 22, 18])[list(axes)])
    np.testing.assert_array_equal(np.concatenate(simulated.transforms), np.tile(np.eye(4), (60, 1, 1)))


def test_simulated_slices_of_a_batch_move_together(blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, THIN, MotionSettings(10.0, 10.0))
    for stack, transforms in zip(simulated.stacks, simulated.transforms, strict=True):
        for batch in range(stack.batches.max() + 1):
            same = transforms[stack.batches == batch]
            np.testing.assert_array_equal(same, np.tile(same[0], (len(same), 1, 1)))
        assert len(np.unique(transforms[:, 0, 3].round(6))) == stack.batches.max() + 1


def test_simulated_motion_depends_on_the_seed_alone(blobs):
    def simulate(seed, noise):
        artefacts = ArtefactSettings(noise=noise)
        return simulate_stacks(blobs.volume, blobs.mask, blobs.affine, THIN, None, artefacts, seed)

    first, again, noisy, other = simulate(3, 0.0), simulate(3, 0.0), simulate(3, 0.1), simulate(4, 0.0)
    for index in range(3):
        np.testing.assert_array_equal(first.stacks[index].data, again.stacks[index].data)
        np.testing.assert_array_equal(first.transforms[index], noisy.transforms[index])
        assert not np.array_equal(first.stacks[index].data, noisy.stacks[index].data)
        assert not np.array_equal(first.transforms[index], other.transforms[index])


def test_simulation_refuses_what_cannot_be_simulated(blobs):
    volume, mask, affine = blobs.volume, blobs.mask, blobs.affine
    for arguments, named in (
        ((volume, mask[1:], affine), 'on the grid of the volume'),
        ((volume, np.zeros_like(mask), affine), 'marks nothing'),
        ((volume - 1, mask, affine), 'intensities down to -1'),
        ((volume, mask, affine, THIN, MotionSettings(200.0)), 'translation=200'),
    ):
        with pytest.raises(UserError, match=named):
            simulate_stacks(*arguments)
    with pytest.raises(UserError, match='planes=oblique'):
        simulate_stacks(volume, mask, affine, planes=['oblique'])
    with collect_warnings() as warnings:
        simulate_stacks(volume, mask, affine, THIN, MotionSettings(60.0), planes=['axial'])
    assert len(warnings) == 1 and 'half the width' in warnings[0]
