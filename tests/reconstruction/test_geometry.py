"""A scan keeps its place in the world in every orientation, and its intensities but for interpolation."""

import dataclasses
import itertools
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.data import extract_stack, get_definition, read_volume
from tfp_bruno.reconstruction import (
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    reconstruct,
)

# Pixels and slices finer than the scan's voxels, so that nothing is smoothed and only interpolation is left.
SMALL = dataclasses.replace(
    get_definition('fetal'), image_size=40, num_slices=40, field_of_view=80.0, context_slices={0: ()}, percentile=100.0
)
SETTINGS = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(spacing=2.5))
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@pytest.fixture(scope='module')
def anatomy():
    """A smooth volume without symmetry, background 0, as a nibabel image of 3 x 2.5 x 2.8 mm voxels."""
    rng = np.random.default_rng(0)
    data = ndimage.gaussian_filter(rng.uniform(0, 1000, (26, 30, 28)), 2.0)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in data.shape], indexing='ij')
    data = np.where(x**2 + y**2 + 1.2 * z**2 < 0.7, data, 0).astype(np.float32)
    affine = np.diag([3.0, 2.5, 2.8, 1.0])
    affine[:3, 3] = [-20.0, 7.0, 33.0]
    return nibabel.Nifti1Image(data, affine)


def complete(image, folder, make_model):
    """Sends an image through a reconstruction whose model knows the truth; returns what was written."""
    nibabel.save(image, folder / 'scan.nii')
    scan = read_volume(folder / 'scan.nii')
    model = make_model(extract_stack(scan, SMALL).images)
    model.definition = SMALL
    contexts = contexts_of_scan(scan, SliceSelection(slices=(20,)), SMALL)
    reconstruct(model, contexts, folder / 'out', SETTINGS)
    sidecar = json.loads((folder / 'out' / 'reconstruction.json').read_text())
    return nibabel.load(folder / 'out' / 'mean.nii.gz'), np.array(sidecar['stack_to_world'])


def interpolated_by_simple_itk(folder, stack_to_world):
    """Takes the scan to the stack and to the output's grid, linearly, with SimpleITK alone."""
    scan = sitk.ReadImage(str(folder / 'scan.nii'), sitk.sitkFloat32)
    output = sitk.ReadImage(str(folder / 'out' / 'mean.nii.gz'))
    # ITK's world grows to left and posterior.
    matrix = np.diag([-1.0, -1, 1]) @ stack_to_world[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    stack = sitk.Image([SMALL.image_size, SMALL.image_size, SMALL.num_slices], sitk.sitkFloat32)
    stack.SetSpacing(spacing.tolist())
    stack.SetDirection((matrix / spacing).ravel().tolist())
    stack.SetOrigin((np.diag([-1.0, -1, 1]) @ stack_to_world[:3, 3]).tolist())
    on_stack = sitk.Resample(scan, stack, sitk.Transform(), sitk.sitkLinear, 0.0)
    return sitk.GetArrayFromImage(sitk.Resample(on_stack, output, sitk.Transform(), sitk.sitkLinear, 0.0)).T


def check(image, folder, make_model):
    """Checks one orientation; returns the largest world error of the written grid, mm."""
    folder.mkdir()
    written, stack_to_world = complete(image, folder, make_model)
    data, expected = written.get_fdata(), interpolated_by_simple_itk(folder, stack_to_world)
    mask = data > 0
    assert mask.sum() > 2000
    # At intensities of about 500, only the error of two linear interpolations.
    assert np.abs(data - expected)[mask].max() < 0.05
    # The middle of the grid is the middle of the scan, by the sform and by the qform.
    middle = (np.array(written.shape) - 1) / 2
    truth = nibabel.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    by_itk = sitk.ReadImage(str(folder / 'out' / 'mean.nii.gz')).TransformContinuousIndexToPhysicalPoint(
        middle.tolist()
    )
    return max(
        np.abs(nibabel.affines.apply_affine(written.affine, middle) - truth).max(),
        np.abs(nibabel.affines.apply_affine(written.header.get_qform(), middle) - truth).max(),
        np.abs(np.array(by_itk) * [-1, -1, 1] - truth).max(),
    )


@pytest.mark.slow
def test_reconstruct_gives_the_same_volume_in_all_48_orientations(tmp_path, anatomy, make_model):
    reference = None
    for number, (axes, flips) in enumerate(ORIENTATIONS):
        folder = tmp_path / str(number)
        assert check(anatomy.as_reoriented(np.array([axes, flips]).T), folder, make_model) < 0.01
        written = nibabel.load(folder / 'out' / 'mean.nii.gz')
        reference = written if reference is None else reference
        np.testing.assert_allclose(written.affine, reference.affine, atol=1e-3)
        np.testing.assert_allclose(written.get_fdata(), reference.get_fdata(), atol=0.05)


@pytest.mark.parametrize('seed', range(20))
def test_reconstruct_keeps_the_world_of_oblique_affines(tmp_path, anatomy, make_model, seed):
    rng = np.random.default_rng(seed)
    # Rotations by any angle.
    turn = nibabel.affines.from_matvec(Rotation.random(random_state=seed).as_matrix(), rng.normal(0, 60, 3))
    axes, flips = ORIENTATIONS[rng.integers(48)]
    image = nibabel.Nifti1Image(anatomy.get_fdata(dtype=np.float32), turn @ anatomy.affine)
    assert check(image.as_reoriented(np.array([axes, flips]).T), tmp_path / 'oblique', make_model) < 0.01


@pytest.mark.parametrize('plane', ['axial', 'coronal', 'sagittal'])
def test_reconstruct_keeps_the_world_in_every_plane(tmp_path, anatomy, make_model, plane, monkeypatch):
    monkeypatch.setitem(globals(), 'SMALL', dataclasses.replace(SMALL, plane=plane))
    assert check(anatomy, tmp_path / plane, make_model) < 0.01
