"""The stack is at the right place in the world, whatever the orientation and spacing of its volume."""

import dataclasses
import itertools
import pathlib

import nibabel
import numpy as np
import pytest
from scipy import interpolate, ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.data import Slicer, extract_stack, get_definition, read_volume
from tfp_bruno.data.nifti import Volume
from tfp_bruno.errors import UserError, collect_warnings

FETAL = get_definition('fetal')
PATH = pathlib.Path('scan.nii.gz')


def gaussian_blob(shape, affine, centre, sigma):
    """Returns a Gaussian of standard deviation `sigma` mm about a world point, on a voxel grid."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    distance = nibabel.affines.apply_affine(affine, voxels) - centre
    return (1000 * np.exp(-0.5 * np.sum(distance**2, -1) / sigma**2)).astype(np.float32)


def centre_of_mass(images, affine):
    k, h, w = ndimage.center_of_mass(images)
    return nibabel.affines.apply_affine(affine, [w, h, k])


@pytest.mark.parametrize('seed', range(8))
def test_extract_stack_keeps_world_positions(tmp_path, save, seed):
    rng = np.random.default_rng(seed)
    spacing, shape = rng.uniform(0.8, 3.0, 3), rng.integers(60, 90, 3)
    flips = np.diag(rng.choice([-1.0, 1.0], 3))[rng.permutation(3)]
    matrix = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix() @ flips @ np.diag(spacing)
    centre = rng.normal(0, 50, 3)
    affine = nibabel.affines.from_matvec(matrix, centre - matrix @ ((shape - 1) / 2))
    target = centre + rng.normal(0, 3, 3)
    path = save(tmp_path / 'scan.nii.gz', gaussian_blob(shape, affine, target, 5.0), affine)
    # The percentile is of voxels that are not 0; 100 keeps the blob from being clipped.
    stack = extract_stack(read_volume(path), dataclasses.replace(FETAL, percentile=100.0))
    np.testing.assert_allclose(centre_of_mass(stack.images, stack.affine), target, atol=0.05)


def test_extract_stack_is_the_same_in_all_48_orientations(smooth_volume):
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [-20, 10, 5]
    expected = extract_stack(Volume(smooth_volume, affine, PATH), FETAL)
    image = nibabel.Nifti1Image(smooth_volume, affine)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = image.as_reoriented(np.array([axes, flips]).T)
            stack = extract_stack(Volume(turned.get_fdata(dtype=np.float32), turned.affine, PATH), FETAL)
            np.testing.assert_array_equal(stack.images, expected.images)
            np.testing.assert_allclose(stack.affine, expected.affine, atol=1e-9)


def test_extract_stack_has_axes_lps_and_the_grid_of_the_definition():
    shape, affine = (100, 120, 140), np.diag([1.0, 1.0, 1.0, 1.0])
    data = np.zeros(shape, np.float32)
    data[60, 70, 90] = 1.0
    data[59, 70, 90] = 0.5
    stack = extract_stack(Volume(data, affine, PATH), FETAL)
    assert stack.images.shape == (80, 64, 64)
    assert stack.images.dtype == np.float32
    np.testing.assert_allclose(np.diag(stack.affine), [-2.5, -2.5, 0.65 * 140 / 80, 1])
    # The centre of the stack is the centre of the volume.
    np.testing.assert_allclose(stack.affine @ [31.5, 31.5, 39.5, 1], [49.5, 59.5, 69.5, 1])
    k, h, w = np.unravel_index(np.argmax(stack.images), stack.images.shape)
    # The point is right of, anterior to and above the centre.
    assert w < 31.5
    assert h < 31.5
    assert k > 39.5


def test_extract_stack_matches_independent_smoothing_and_interpolation():
    rng = np.random.default_rng(0)
    data = ndimage.gaussian_filter(rng.uniform(0, 1, (70, 80, 90)), 2).astype(np.float32)
    volume = Volume(data, np.diag([2.0, 1.25, 1.5, 1.0]), PATH)
    stack = extract_stack(volume, dataclasses.replace(FETAL, percentile=100.0))
    smoothed = ndimage.gaussian_filter1d(data / data.max(), 0.125, axis=0, mode='constant')
    smoothed = ndimage.gaussian_filter1d(smoothed, 0.5, axis=1, mode='constant')
    axes = [np.arange(n) * step for n, step in zip(data.shape, (2.0, 1.25, 1.5), strict=True)]
    lookup = interpolate.RegularGridInterpolator(axes, smoothed)
    for w, h, k in [(20, 25, 3), (31, 40, 39), (44, 30, 79)]:
        x, y, z = (stack.affine @ [w, h, k, 1])[:3]
        assert stack.images[k, h, w] == pytest.approx(lookup([[x, y, z]])[0], abs=1e-5)


def test_extract_stack_is_background_outside_the_volume(smooth_volume):
    stack = extract_stack(Volume(smooth_volume, np.eye(4), PATH), FETAL)
    inside = stack.images > 0
    assert inside[:, 28:36, 28:36].all()
    assert not inside[:, :20].any()
    assert not inside[:, :, :20].any()


def test_extract_stack_scales_by_the_percentile_of_nonzero_voxels():
    data = np.zeros((20, 20, 20), np.float32)
    data[5:15, 5:15, 5:15] = np.linspace(1, 1001, 1000).reshape(10, 10, 10)
    stack = extract_stack(Volume(data, np.diag([8.0, 8.0, 8.0, 1.0]), PATH), FETAL)
    assert stack.intensity_low == 0
    assert stack.intensity_high == pytest.approx(1 + 0.995 * 1000, rel=1e-4)
    assert 0 <= stack.images.min() < stack.images.max() <= 1


def test_extract_stack_applies_the_window_of_a_ct():
    thorax = get_definition('thorax')
    data = np.full((40, 40, 40), -3024.0, np.float32)
    data[10:30, 10:30, 10:30] = 40.0
    stack = extract_stack(Volume(data, np.diag([5.0, 5.0, 5.0, 1.0]), PATH), thorax)
    assert stack.images[50, 32, 32] == pytest.approx(0.52)
    assert stack.images[50, 0, 0] == 0
    assert (stack.intensity_low, stack.intensity_high) == (-1000, 1000)


def test_extract_stack_refuses_a_single_slice():
    plane = Volume(np.arange(12, dtype=np.float32).reshape(3, 4, 1), np.eye(4), PATH)
    with pytest.raises(UserError, match=r'scan\.nii\.gz: is a single slice \(3 x 4 x 1\)'):
        extract_stack(plane, FETAL)


def test_extract_stack_warns_of_empty_planes_across_the_slices(smooth_volume):
    data = smooth_volume.copy()
    data[:, 10:13] = 0
    with collect_warnings() as warnings:
        extract_stack(Volume(data, np.eye(4), PATH), FETAL)
    assert len(warnings) == 1
    assert f'scan.nii.gz: 3 of its {data.shape[1]} rows are empty between others' in warnings[0]


@pytest.mark.parametrize('angle', [0, 30, 90])
def test_slicer_slices_are_those_of_its_stack(angle):
    rng = np.random.default_rng(0)
    data = ndimage.gaussian_filter(rng.uniform(1, 9, (90, 80, 40)), 2).astype(np.float32)
    affine = nibabel.affines.from_matvec(np.diag([1.5, 1.5, 3.0]), [-60, -60, -58])
    slicer = Slicer(Volume(data, affine, PATH), FETAL)
    turn = Rotation.from_euler('z', angle, degrees=True).as_matrix()
    matrix = turn @ np.diag([-2.5, -2.5, 1.0])
    affine = nibabel.affines.from_matvec(matrix, -matrix @ [31.5, 31.5, 39.5])
    stack = slicer.stack(affine)
    np.testing.assert_allclose(slicer.slices(affine, [5, 40, 61]), stack.images[[5, 40, 61]], atol=1e-6)
    np.testing.assert_array_equal(slicer.slices(affine, [40]), slicer.slices(affine, np.array([40])))


def test_slicer_of_a_turned_stack_smooths_as_much_as_of_an_upright_one():
    # One bright line across the slices: its image is a spot whose width is that of smoothing and interpolation.
    data = np.zeros((161, 161, 12), np.float32)
    data[80, 80] = 1000
    scan = Volume(data, nibabel.affines.from_matvec(np.eye(3), [-80, -80, -6]), PATH)
    definition = dataclasses.replace(FETAL, percentile=100.0)
    slicer, peaks = Slicer(scan, definition), []
    for angle in (0, 45):
        matrix = Rotation.from_euler('z', angle, degrees=True).as_matrix() @ np.diag([-2.5, -2.5, 1.0])
        # A pixel lies on the line.
        peaks.append(slicer.slices(nibabel.affines.from_matvec(matrix, -matrix @ [32, 32, 0]), [0]).max())
    # The middle of a Gaussian of standard deviation (2.5 - 1) / 2 in both.
    weights = np.exp(-0.5 * np.square(np.arange(-3, 4) / 0.75))
    np.testing.assert_allclose(peaks, (1 / weights.sum()) ** 2, rtol=1e-3)
