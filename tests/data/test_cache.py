"""Cached stacks equal newly preprocessed ones; a damaged cache is never an error."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tfp_bruno.data import cache, default_cache_dir, extract_stack, get_definition, read_volume
from tfp_bruno.errors import collect_warnings

FETAL = get_definition('fetal')
AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])


@pytest.fixture
def scan(tmp_path, save, smooth_volume):
    return save(tmp_path / 'scan.nii.gz', smooth_volume, AFFINE)


def cached_files(folder):
    return sorted((folder / 'stacks').iterdir())


def test_load_stack_equals_extract_stack(tmp_path, scan, monkeypatch):
    expected = extract_stack(read_volume(scan), FETAL)
    first = cache.load_stack(scan, FETAL, tmp_path / 'cache').stack
    monkeypatch.setattr(cache, 'extract_stack', None)
    stack = cache.load_stack(scan, FETAL, tmp_path / 'cache').stack
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)
    np.testing.assert_array_equal(stack.images, first.images)
    np.testing.assert_array_equal(stack.affine, expected.affine)
    assert stack.slice_thickness == expected.slice_thickness
    assert (stack.intensity_low, stack.intensity_high) == (expected.intensity_low, expected.intensity_high)
    assert stack.images.dtype == np.float32


def test_load_stack_key_depends_on_content_and_settings(tmp_path, scan, save, smooth_volume):
    folder = tmp_path / 'cache'
    renamed = tmp_path / 'renamed.nii.gz'
    mask = save(tmp_path / 'scan_mask.nii.gz', (smooth_volume > 100).astype(np.uint8), AFFINE)

    def count(*arguments, **settings):
        cache.load_stack(*arguments, cache_dir=folder, **settings)
        return len(cached_files(folder))

    assert count(scan, FETAL) == 1
    assert count(pathlib.Path(scan).rename(renamed), FETAL) == 1
    assert count(renamed, dataclasses.replace(FETAL, field_of_view=100.0)) == 2
    assert count(renamed, FETAL, assume_ras=True) == 3
    assert count(renamed, FETAL, mask=mask) == 4
    save(mask, (smooth_volume > 300).astype(np.uint8), AFFINE)
    assert count(renamed, FETAL, mask=mask) == 5
    assert count(save(scan, smooth_volume + 1, AFFINE), FETAL) == 6


def test_load_stack_sets_voxels_outside_the_mask_to_background(tmp_path, scan, save, smooth_volume):
    inside = np.zeros(smooth_volume.shape, np.uint8)
    inside[6:18, 7:21, 8:24] = 1
    mask = save(tmp_path / 'scan_mask.nii.gz', inside, AFFINE)
    whole = save(tmp_path / 'cut.nii.gz', np.where(inside, smooth_volume, 0), AFFINE)
    stack = cache.load_stack(scan, FETAL, tmp_path / 'cache', mask=mask).stack
    expected = cache.load_stack(whole, FETAL, tmp_path / 'cache').stack
    np.testing.assert_array_equal(stack.images, expected.images)


def test_load_stack_repeats_warnings_with_the_present_file_names(tmp_path, save, smooth_volume):
    scan = save(tmp_path / 'scan.nii.gz', smooth_volume, AFFINE, AFFINE * 1.1)
    mask = save(tmp_path / 'scan.nii.gz_mask.nii.gz', (smooth_volume > 100).astype(np.uint8), AFFINE, AFFINE * 1.1)

    def load_with_warnings(path, mask):
        with collect_warnings() as messages:
            loaded = cache.load_stack(path, FETAL, tmp_path / 'cache', mask=mask)
        # The first reading returns its warnings, so that they can be repeated.
        return messages, loaded.warnings

    first, kept = load_with_warnings(scan, mask)
    assert first == []
    assert len(kept) == 2
    again = load_with_warnings(scan.rename(tmp_path / 'case.nii.gz'), mask.rename(tmp_path / 'case_mask.nii.gz'))[0]
    differ = 'its sform and qform differ; the sform is used.'
    assert again == [f'{tmp_path / name}: {differ}' for name in ('case.nii.gz', 'case_mask.nii.gz')]


def test_load_stack_content_depends_on_voxels_only(tmp_path, scan, save, smooth_volume):
    plain = save(tmp_path / 'plain.nii', smooth_volume.astype(np.float64), AFFINE)
    other = save(tmp_path / 'other.nii', smooth_volume + 1, AFFINE)
    contents = [cache.load_stack(path, FETAL, tmp_path / 'cache').content for path in (scan, plain, other)]
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize('damage', ['cut', 'byte', 'empty', 'text'])
def test_load_stack_replaces_a_damaged_cache_file(tmp_path, scan, damage):
    expected = cache.load_stack(scan, FETAL, tmp_path / 'cache').stack
    (file,) = cached_files(tmp_path / 'cache')
    content = file.read_bytes()
    middle = len(content) // 2
    spoilt = {
        'cut': content[:middle],
        'byte': content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        'empty': b'',
        'text': b'not a cache file',
    }
    file.write_bytes(spoilt[damage])
    stack = cache.load_stack(scan, FETAL, tmp_path / 'cache').stack
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)
    assert file.read_bytes() == content


def test_load_stack_works_without_a_writable_cache(tmp_path, scan):
    (tmp_path / 'file').write_text('in the way')
    stack = cache.load_stack(scan, FETAL, tmp_path / 'file').stack
    expected = cache.load_stack(scan, FETAL, tmp_path / 'cache').stack
    np.testing.assert_array_equal(stack.images, expected.images)


def test_default_cache_dir_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache_dir() == tmp_path / 'tfp_bruno'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/someone')
    assert default_cache_dir() == pathlib.Path('/home/someone/.cache/tfp_bruno')
