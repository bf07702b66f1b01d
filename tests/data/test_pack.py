"""A population on disk is the one in memory, is found again, and is made again when it is damaged."""

import numpy as np
import pytest

from tfp_bruno.data import get_definition, load_population, pack, population

FETAL = get_definition('fetal')


def packs(cache):
    return sorted(path for path in (cache / 'populations').iterdir() if path.suffix == '.npy')


def test_images_are_mapped_and_found_again(tmp_path, make_folder, monkeypatch):
    folder, cache = make_folder(tmp_path / 'data', 4), tmp_path / 'cache'
    first = load_population(FETAL, folder, cache)
    assert isinstance(first.images, np.memmap)
    assert not first.images.flags.writeable
    # A split is a part of the file, not a copy.
    train = first.subset('train')
    assert isinstance(train.images, np.memmap)
    assert np.shares_memory(train.images, first.images)
    monkeypatch.setattr(population, 'load_stack', lambda *_, **__: pytest.fail('is read again'))
    again = load_population(FETAL, folder, cache)
    np.testing.assert_array_equal(again.images, first.images)
    np.testing.assert_array_equal(again.frame.affine, first.frame.affine)
    assert (again.names, again.splits) == (first.names, first.splits)
    assert len(packs(cache)) == 1


def test_without_a_cache_the_images_are_in_memory(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    (tmp_path / 'file').write_text('in the way')
    loaded = load_population(FETAL, folder, tmp_path / 'file')
    expected = load_population(FETAL, folder, tmp_path / 'cache')
    # The cache keeps 16 bits.
    np.testing.assert_allclose(loaded.images, expected.images, atol=1e-5)


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text', 'no description', 'half a description'])
def test_a_damaged_pack_is_made_again(tmp_path, make_folder, damage):
    folder, cache = make_folder(tmp_path / 'data', 4), tmp_path / 'cache'
    expected = np.array(load_population(FETAL, folder, cache).images)
    (path,) = packs(cache)
    if 'description' in damage:
        path.with_suffix('.json').write_text('' if damage.startswith('no') else '{"keys": []}')
    else:
        content = path.read_bytes()
        path.write_bytes({'cut': content[:-4096], 'empty': b'', 'text': b'no pack'}[damage])
    np.testing.assert_array_equal(load_population(FETAL, folder, cache).images, expected)


def test_another_volume_makes_another_pack_and_the_oldest_go(tmp_path, make_folder):
    folder, cache = make_folder(tmp_path / 'data', 3), tmp_path / 'cache'
    for count in range(3, 4 + pack.MOST_PACKS):
        make_folder(folder, count)
        assert len(load_population(FETAL, folder, cache).images) == count
    assert len(packs(cache)) == pack.MOST_PACKS
    assert not list((cache / 'populations').glob('.tmp*'))


def test_the_frame_is_what_the_volumes_share(tmp_path, make_folder, save, smooth_volume):
    folder = make_folder(tmp_path / 'data', 4)
    frame = load_population(FETAL, folder, tmp_path / 'cache').frame
    assert frame.is_shared
    assert frame.slice_thickness == pytest.approx(5.0)
    # Shape 24 x 28 x 32 at 5 mm: the middle of the stack is the middle of the volumes.
    np.testing.assert_allclose((frame.affine @ [31.5, 31.5, 39.5, 1])[:3], [57.5, 67.5, 77.5])
    for index in range(4):
        affine = np.diag([5.0, 5.0, 5.0, 1.0])
        affine[:3, 3] = np.random.default_rng(index).uniform(-200, 200, 3)
        save(folder / f'sub-{index + 1:02d}_T2w.nii.gz', smooth_volume + index, affine, affine)
    assert not load_population(FETAL, folder, tmp_path / 'cache').frame.is_shared
