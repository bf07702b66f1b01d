"""The cache gives what preprocessing gives, and never an error."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tfp_bruno.data import cache, default_cache_dir, extract_stack, get_definition, read_volume

FETAL = get_definition('fetal')
AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])


@pytest.fixture
def scan(tmp_path, save, smooth_volume):
    return save(tmp_path / 'scan.nii.gz', smooth_volume, AFFINE)


def cached_files(folder):
    return sorted((folder / 'stacks').iterdir())


def test_the_cache_gives_what_preprocessing_gives(tmp_path, scan, monkeypatch):
    expected = extract_stack(read_volume(scan), FETAL)
    first, _ = cache.load_stack(scan, FETAL, tmp_path / 'cache')
    monkeypatch.setattr(cache, 'extract_stack', None)
    stack, _ = cache.load_stack(scan, FETAL, tmp_path / 'cache')
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)
    np.testing.assert_array_equal(stack.images, first.images)
    np.testing.assert_array_equal(stack.affine, expected.affine)
    assert stack.slice_thickness == expected.slice_thickness
    assert (stack.intensity_low, stack.intensity_high) == (expected.intensity_low, expected.intensity_high)
    assert stack.images.dtype == np.float32


def test_the_key_is_the_content_and_the_settings(tmp_path, scan, save, smooth_volume):
    folder = tmp_path / 'cache'
    _, key = cache.load_stack(scan, FETAL, folder)
    _, copy = cache.load_stack(pathlib.Path(scan).rename(tmp_path / 'renamed.nii.gz'), FETAL, folder)
    _, changed = cache.load_stack(save(scan, smooth_volume + 1, AFFINE), FETAL, folder)
    _, narrow = cache.load_stack(scan, dataclasses.replace(FETAL, field_of_view=100.0), folder)
    assert key == copy
    assert len({key, changed, narrow}) == 3
    assert len(cached_files(folder)) == 3


@pytest.mark.parametrize('damage', ['cut', 'byte', 'empty', 'text'])
def test_a_damaged_cache_file_is_made_again(tmp_path, scan, damage):
    expected, _ = cache.load_stack(scan, FETAL, tmp_path / 'cache')
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
    stack, _ = cache.load_stack(scan, FETAL, tmp_path / 'cache')
    np.testing.assert_allclose(stack.images, expected.images, atol=1e-5)
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, scan):
    (tmp_path / 'file').write_text('in the way')
    stack, _ = cache.load_stack(scan, FETAL, tmp_path / 'file')
    expected, _ = cache.load_stack(scan, FETAL, tmp_path / 'cache')
    np.testing.assert_array_equal(stack.images, expected.images)


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache_dir() == tmp_path / 'tfp_bruno'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/someone')
    assert default_cache_dir() == pathlib.Path('/home/someone/.cache/tfp_bruno')
