"""The Gaussian average, against a sum over all pixels and against the volume."""

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno.motion import MotionSettings, SliceStack, StackProtocol, gaussian_average, simulate_stacks
from tfp_bruno.motion.average import IN_PLANE_FWHM
from tfp_bruno.motion.protocol import SIGMA_PER_FWHM
from tfp_bruno.motion.rigid import rigid_matrix

DENSE = StackProtocol(thickness=2.0, spacing=2.0, pixel_spacing=2.0, margin=6.0)


def random_stack(seed=0):
    """A stack of 3 slices of noise, of 12 x 10 pixels, 4 mm apart."""
    rng = np.random.default_rng(seed)
    data = rng.random((12, 10, 3)).astype(np.float32)
    affine = nibabel.affines.from_matvec(np.diag([1.5, 1.5, 4.0]), [-8.0, -7.0, -4.0])
    return SliceStack('noise', data, np.ones(data.shape, bool), affine, 3.0, np.arange(3))


def test_gaussian_average_is_the_sum_over_pixels_weighted_by_their_point_spread_function():
    stack = random_stack()
    transforms = rigid_matrix(np.array([[5.0, -4, 3], [0, 8, 2], [-6, 1, 9]]), np.ones((3, 3)), np.zeros(3))
    # Voxels at the middle of pixels of the first slice, so that nothing is interpolated in the plane.
    affine = transforms[1] @ stack.slice_affine(1)
    volume = gaussian_average([stack], transforms[None], (12, 10, 3), affine @ np.diag([1, 1, 0.25, 1]))
    pixels = np.stack(np.meshgrid(np.arange(12), np.arange(10), indexing='ij'), -1)
    for voxel in ([5, 5, 0], [7, 4, 1], [6, 6, 2]):
        total = weight = 0.0
        point = nibabel.affines.apply_affine(affine, np.array(voxel) * [1, 1, 0.25])
        for index, transform in enumerate(transforms):
            u, v, w = nibabel.affines.apply_affine(np.linalg.inv(transform @ stack.slice_affine(index)), point)
            # The spacing, 4 mm, is larger than the thickness.
            across = np.exp(-0.5 * (w / SIGMA_PER_FWHM) ** 2) * (abs(w) < 3 * SIGMA_PER_FWHM)
            inside = np.exp(-0.5 * (((pixels - [u, v]) / (SIGMA_PER_FWHM * IN_PLANE_FWHM)) ** 2).sum(-1))
            total += across * (inside / inside.sum() * stack.data[:, :, index]).sum()
            weight += across
        # The slices that are not in the voxel's own plane are interpolated.
        np.testing.assert_allclose(volume[tuple(voxel)], total / weight, rtol=0.03)


def test_gaussian_average_of_a_constant_is_that_constant(blobs):
    simulated = simulate_stacks(
        blobs.mask.astype(np.float32), blobs.mask, blobs.affine, DENSE, MotionSettings(10.0, 10.0)
    )
    volume = gaussian_average(simulated.stacks, simulated.transforms, blobs.mask.shape, blobs.affine)
    inner = ndimage.binary_erosion(blobs.mask, iterations=4)
    # Where slices have moved apart, no slice reaches.
    reached = volume[inner][volume[inner] > 0]
    assert reached.size > 0.999 * inner.sum()
    np.testing.assert_allclose(reached, 1.0, atol=0.02)
    assert volume[~ndimage.binary_dilation(blobs.mask, iterations=5)].max() < 1e-4


def test_gaussian_average_without_motion_is_the_volume_to_interpolation_error(blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, DENSE, MotionSettings(0.0))
    volume = gaussian_average(simulated.stacks, simulated.transforms, blobs.mask.shape, blobs.affine)
    # Slices and average each blur by a Gaussian; in the mean of three stacks that is about this much on each axis.
    smooth = ndimage.gaussian_filter(blobs.volume, 0.65)
    inner = ndimage.binary_erosion(blobs.mask, iterations=3)
    assert np.sqrt(np.mean((volume - smooth)[inner] ** 2)) < 0.01
    assert np.corrcoef(volume[inner], blobs.volume[inner])[0, 1] > 0.99


@pytest.mark.slow
def test_gaussian_average_undoes_a_known_motion_and_motion_spoils_it(blobs):
    def error(translation, known):
        settings = MotionSettings(translation, translation)
        simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, DENSE, settings)
        still = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, DENSE, MotionSettings(0.0))
        transforms = simulated.transforms if known else still.transforms
        volume = gaussian_average(simulated.stacks, transforms, blobs.mask.shape, blobs.affine)
        return np.sqrt(np.mean((volume - blobs.volume)[blobs.mask] ** 2))

    assert error(10.0, known=True) < 1.2 * error(0.0, known=True)
    assert error(10.0, known=False) > 3 * error(0.0, known=True)


def test_gaussian_average_does_not_depend_on_the_order_of_stacks_and_slices(blobs):
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, DENSE, MotionSettings(10.0, 5.0))
    volume = gaussian_average(simulated.stacks, simulated.transforms, blobs.mask.shape, blobs.affine)
    stacks, transforms = [], []
    for stack, own in zip(simulated.stacks[::-1], simulated.transforms[::-1], strict=True):
        # From the last slice to the first, along the opposite axis.
        affine = stack.affine @ nibabel.affines.from_matvec(np.diag([1, 1, -1]), [0, 0, stack.num_slices - 1])
        data, mask = stack.data[:, :, ::-1], stack.mask[:, :, ::-1]
        stacks.append(SliceStack(stack.name, data, mask, affine, stack.thickness, stack.batches[::-1]))
        transforms.append(own[::-1])
    again = gaussian_average(stacks, transforms, blobs.mask.shape, blobs.affine)
    np.testing.assert_allclose(again, volume, atol=1e-5)


def test_gaussian_average_leaves_out_masked_pixels_and_unused_slices():
    stack = random_stack()
    affine, shape = stack.affine, stack.data.shape
    identity = np.tile(np.eye(4), (3, 1, 1))
    used = [np.array([True, False, False])]
    volume = gaussian_average([stack], [identity], shape, affine, used)
    # The last slice lies beyond the reach of the first.
    assert volume[5, 5, 0] > 0 and volume[5, 5, 2] == 0
    half = np.ones(shape, bool)
    half[:6] = False
    masked = SliceStack('half', stack.data, half, affine, 3.0, stack.batches)
    within, all_pixels = (
        gaussian_average([masked], [identity], shape, affine, within_masks=own) for own in (True, False)
    )
    assert within[0].max() < 1e-3 < all_pixels[0].min()
