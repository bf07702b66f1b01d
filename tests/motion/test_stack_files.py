"""Reading stacks, and stacks that do not belong together."""

import dataclasses

import numpy as np
import pytest

from tfp_bruno import phantoms
from tfp_bruno.data import write_volume
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.motion import (
    MotionSettings,
    RegistrationSettings,
    StackProtocol,
    check_overlap,
    identity_transforms,
    read_stack,
    register_stacks,
    simulate_stacks,
    warn_of_strangers,
    write_simulation,
)

PROTOCOL = StackProtocol(thickness=4.0, spacing=6.0, pixel_spacing=2.0)


@pytest.fixture(scope='module')
def folder(blobs, tmp_path_factory):
    """Stacks of the blobs, written."""
    folder = tmp_path_factory.mktemp('stacks')
    simulated = simulate_stacks(blobs.volume, blobs.mask, blobs.affine, PROTOCOL, MotionSettings(5.0), seed=1)
    write_simulation(folder, simulated)
    return folder / 'stacks', simulated


@pytest.mark.parametrize('index', range(3))
def test_read_stack_reads_what_was_written(folder, index):
    path, simulated = folder
    stack = simulated.stacks[index]
    read = read_stack(path / f'{stack.name}.nii.gz', path / f'{stack.name}_mask.nii.gz', 4.0)
    np.testing.assert_array_equal(read.data, stack.data)
    np.testing.assert_array_equal(read.mask, stack.mask)
    np.testing.assert_allclose(read.affine, stack.affine, atol=1e-4)
    assert (read.thickness, read.name) == (4.0, str(path / f'{stack.name}.nii.gz'))
    assert read_stack(path / f'{stack.name}.nii.gz').thickness == pytest.approx(6.0)


def test_read_stack_finds_the_slices_along_any_axis(folder, tmp_path):
    stack = folder[1].stacks[0]
    # The slices along the first axis.
    write_volume(tmp_path / 'turned.nii.gz', stack.data.transpose(2, 0, 1), stack.affine[:, [2, 0, 1, 3]])
    read = read_stack(tmp_path / 'turned.nii.gz')
    np.testing.assert_array_equal(read.data, stack.data)
    np.testing.assert_allclose(read.affine, stack.affine, atol=1e-4)


def test_read_stack_refuses_bad_input(folder, tmp_path):
    path, simulated = folder
    axial, mask = path / 'axial.nii.gz', path / 'axial_mask.nii.gz'
    with pytest.raises(UserError, match=r'coronal_mask.* is on another grid'):
        read_stack(axial, path / 'coronal_mask.nii.gz')
    with pytest.raises(UserError, match=r'axial\.nii\.gz: slices 20 mm thick contradict a spacing of 6 mm'):
        read_stack(axial, mask, 20.0)
    stack = simulated.stacks[0]
    write_volume(tmp_path / 'one.nii.gz', stack.data[:, :, 8:9], stack.affine)
    with pytest.raises(UserError, match=r'one\.nii\.gz: is one slice'):
        read_stack(tmp_path / 'one.nii.gz')


def test_read_stack_warns_of_slices_of_zeros(folder, tmp_path):
    path, simulated = folder
    stack = simulated.stacks[0]
    data = stack.data.copy()
    data[:, :, [7, 9]] = 0
    write_volume(tmp_path / 'zeros.nii.gz', data, stack.affine)
    with collect_warnings() as warnings:
        read_stack(tmp_path / 'zeros.nii.gz', path / 'axial_mask.nii.gz')
    assert len(warnings) == 1 and 'slices 7, 9 are 0' in warnings[0]


def test_check_overlap_names_the_stack_that_lies_elsewhere(folder):
    _, simulated = folder
    check_overlap(simulated.stacks)
    check_overlap(simulated.stacks[:1])
    far = simulated.stacks[1].affine.copy()
    far[:3, 3] += 300.0
    stacks = [simulated.stacks[0], dataclasses.replace(simulated.stacks[1], affine=far), simulated.stacks[2]]
    with pytest.raises(UserError, match='coronal: overlaps with no other stack'):
        check_overlap(stacks)


@pytest.mark.slow
def test_warn_of_strangers_names_the_stack_of_another_subject(fetus):
    def simulate(volume, mask, affine):
        protocol = StackProtocol(spacing=9.0, thickness=3.0, pixel_spacing=2.0)
        return simulate_stacks(volume, mask, affine, protocol, MotionSettings(3.0, 3.0)).stacks

    own, other = simulate(fetus.volume, fetus.mask, fetus.affine), simulate(*phantoms.make_subject('fetal', 3))
    for stacks, expected in ((own, []), ([own[0], other[1], own[2]], ['coronal'])):
        settings = RegistrationSettings(search=0.0)
        start = identity_transforms(stacks)
        found = register_stacks(stacks, fetus.volume, fetus.affine, start, settings)
        with collect_warnings() as warnings:
            assert warn_of_strangers(stacks, found.correlations) == expected
        assert len(warnings) == len(expected)


def test_warn_of_strangers_needs_three_stacks(folder):
    _, simulated = folder
    correlations = [
        np.full(stack.num_slices, value) for stack, value in zip(simulated.stacks, (0.9, 0.2, 0.9), strict=True)
    ]
    assert warn_of_strangers(simulated.stacks, correlations) == ['coronal']
    assert warn_of_strangers(simulated.stacks[:2], correlations[:2]) == []
