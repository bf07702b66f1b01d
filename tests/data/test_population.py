"""A population holds every stack, in order, with its split and its origin."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tfp_bruno.data import (
    extract_stack,
    find_subjects,
    get_definition,
    load_population,
    pack,
    population,
    read_volume,
)
from tfp_bruno.errors import UserError, collect_warnings

FETAL = get_definition('fetal')


@pytest.mark.parametrize('bids', [False, True])
def test_load_population_has_every_subject_in_order(tmp_path, make_folder, bids):
    folder = make_folder(tmp_path / 'data', 5, bids)
    population = load_population(FETAL, folder, tmp_path / 'cache', seed=0)
    assert population.images.shape == (5, 80, 64, 64)
    assert population.images.dtype == np.float32
    assert sorted(population.names) == [f'sub-{i:02d}' for i in range(1, 6)]
    # Training subjects first, each split in the order of the files.
    assert population.splits == ('train',) * 4 + ('test',)
    assert list(population.names[:4]) == sorted(population.names[:4])
    assert not population.is_phantom
    assert population.description.startswith(f'volumes of {folder.name}, ')
    paths = {subject.name: subject.path for subject in find_subjects(folder)}
    for images, name in zip(population.images, population.names, strict=True):
        np.testing.assert_allclose(images, extract_stack(read_volume(paths[name]), FETAL).images, atol=1e-5)


def test_subset_has_the_subjects_of_one_split(tmp_path, make_folder):
    population = load_population(FETAL, make_folder(tmp_path / 'data', 4), tmp_path / 'cache')
    train, test = population.subset('train'), population.subset('test')
    assert population.subset('all') is population
    assert sorted(train.names + test.names) == sorted(population.names)
    index = population.names.index(test.names[0])
    np.testing.assert_array_equal(test.images[0], population.images[index])
    assert population.splits_by_name[test.names[0]] == 'test'
    with pytest.raises(UserError, match='`split=test`: no subject'):
        train.subset('test')


def test_load_population_leaves_out_validation_subjects(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 12)
    population = load_population(FETAL, folder, tmp_path / 'cache', validation_share=0.2)
    assert population.splits == ('train',) * 9 + ('validation',) * 2 + ('test',)
    assert 'validation' not in load_population(FETAL, folder, tmp_path / 'cache').splits
    both = population.subset('train', 'validation')
    assert both.names == population.names[:11]
    assert np.shares_memory(both.images, population.images)
    again = load_population(FETAL, folder, tmp_path / 'cache', splits=population.splits_by_name, validation_share=0.5)
    assert again.splits_by_name == population.splits_by_name


def test_load_population_warns_of_a_copy_in_validation(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    (folder / 'sub-04_T2w.nii.gz').write_bytes((folder / 'sub-01_T2w.nii.gz').read_bytes())
    rows = ['participant_id\tsplit', 'sub-01\ttrain', 'sub-02\ttrain', 'sub-03\ttest', 'sub-04\tvalidation']
    (folder / 'participants.tsv').write_text('\n'.join(rows))
    with collect_warnings() as warnings:
        load_population(FETAL, folder, tmp_path / 'cache')
    assert 'sub-04_T2w.nii.gz: is the same volume as' in warnings[0]


def test_load_population_reuses_a_split_or_needs_none(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 2)
    with pytest.raises(UserError, match='a split needs at least 3'):
        load_population(FETAL, folder, tmp_path / 'cache')
    assert load_population(FETAL, folder, tmp_path / 'cache', needs_split=False).splits == ('test', 'test')
    splits = {'sub-01': 'train', 'sub-02': 'test'}
    assert load_population(FETAL, folder, tmp_path / 'cache', splits=splits).splits == ('train', 'test')


def test_load_population_refuses_a_copy_in_both_splits(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    (folder / 'sub-04_T2w.nii.gz').write_bytes((folder / 'sub-01_T2w.nii.gz').read_bytes())
    rows = ['participant_id\tsplit', 'sub-01\ttrain', 'sub-02\ttrain', 'sub-03\ttest', 'sub-04\ttest']
    (folder / 'participants.tsv').write_text('\n'.join(rows))
    with pytest.raises(UserError, match=r'sub-04_T2w\.nii\.gz: is the same volume as .*sub-01_T2w'):
        load_population(FETAL, folder, tmp_path / 'cache')


def test_load_population_names_an_unusable_volume(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    bad = folder / 'sub-03_T2w.nii.gz'
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(UserError, match=r'sub-03_T2w\.nii\.gz: is cut short'):
        load_population(FETAL, folder, tmp_path / 'cache')


def test_load_population_names_all_unusable_volumes_in_one_line(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 6)
    for name, content in (('sub-02', b''), ('sub-05', b'a letter')):
        (folder / f'{name}_T2w.nii.gz').write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_population(FETAL, folder, tmp_path / 'cache')
    message = str(caught.value)
    assert message.startswith(f'{folder}: 2 of 6 files cannot be used: (1) sub-0')
    assert all(f'{name}_T2w.nii.gz: is not a NIfTI file' in message for name in ('sub-02', 'sub-05'))
    assert '\n' not in message
    assert not list((tmp_path / 'cache' / 'populations').iterdir())


@pytest.mark.parametrize('bids', [False, True])
def test_load_population_counts_broken_links_before_reading(tmp_path, make_folder, bids):
    folder = make_folder(tmp_path / 'data', 8, bids)
    for path in sorted(folder.rglob('*_T2w.nii.gz'))[:7]:
        path.unlink()
        path.symlink_to('.git/annex/objects/nowhere')
    with pytest.raises(UserError) as caught:
        load_population(FETAL, folder, tmp_path / 'cache')
    assert str(caught.value) == (
        f'{folder}: the content of 7 of 8 files is not there: broken links (sub-01_T2w.nii.gz, sub-02_T2w.nii.gz, '
        'sub-03_T2w.nii.gz, sub-04_T2w.nii.gz, sub-05_T2w.nii.gz and 2 more); fetch it, e.g. with git annex get or '
        'datalad get.'
    )
    assert not (tmp_path / 'cache').exists()


def test_load_population_refuses_missing_masks(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    mask = folder / 'sub-02_mask.nii.gz'
    mask.unlink()
    with pytest.raises(UserError, match=r'sub-02_T2w\.nii\.gz: has no mask'):
        load_population(FETAL, folder, tmp_path / 'cache', use_masks=True)
    mask.symlink_to('nowhere')
    with pytest.raises(UserError, match=r'1 of 8 files is not there: broken links \(sub-02_mask\.nii\.gz\)'):
        load_population(FETAL, folder, tmp_path / 'cache', use_masks=True)
    assert len(load_population(FETAL, folder, tmp_path / 'cache').names) == 4


def test_load_population_applies_masks_and_notices_changes(tmp_path, make_folder, save, smooth_volume):
    folder, affine = make_folder(tmp_path / 'data', 4), np.diag([5.0, 5.0, 5.0, 1.0])
    plain = np.array(load_population(FETAL, folder, tmp_path / 'cache').images)
    for first in (8, 6):
        inside = np.zeros(smooth_volume.shape, np.uint8)
        inside[first:18, 7:21, 8:24] = 1
        for path in sorted(folder.glob('*_mask.nii.gz')):
            save(path, inside, affine, affine)
        masked = load_population(FETAL, folder, tmp_path / 'cache', use_masks=True)
        for images, name in zip(masked.images, masked.names, strict=True):
            volume = read_volume(folder / f'{name}_T2w.nii.gz')
            cut = dataclasses.replace(volume, data=volume.data * inside)
            np.testing.assert_allclose(images, extract_stack(cut, FETAL).images, atol=1e-5)
    np.testing.assert_array_equal(load_population(FETAL, folder, tmp_path / 'cache').images, plain)


def test_load_population_assume_ras_applies_to_volumes_and_masks(tmp_path, make_folder, save, smooth_volume):
    folder, known = make_folder(tmp_path / 'data', 4), make_folder(tmp_path / 'known', 4)
    mask = (smooth_volume > 200).astype(np.uint8)
    for index in range(4):
        save(folder / f'sub-{index + 1:02d}_T2w.nii.gz', smooth_volume + index)
        save(folder / f'sub-{index + 1:02d}_mask.nii.gz', mask)
        # What nibabel writes without an affine has voxels of 1 mm.
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        affine[:3, 3] = -(np.array(smooth_volume.shape) - 1) / 2
        save(known / f'sub-{index + 1:02d}_T2w.nii.gz', smooth_volume + index, affine)
        save(known / f'sub-{index + 1:02d}_mask.nii.gz', mask, affine)
    with pytest.raises(UserError, match=r'4 of 4 files cannot be used: .* set one, or give `assume_ras`'):
        load_population(FETAL, folder, tmp_path / 'cache')
    for use_masks in (False, True):
        assumed = load_population(FETAL, folder, tmp_path / 'cache', use_masks=use_masks, assume_ras=True)
        expected = load_population(FETAL, known, tmp_path / 'cache', use_masks=use_masks)
        np.testing.assert_array_equal(assumed.images, expected.images)
        np.testing.assert_array_equal(assumed.frame.affine, expected.frame.affine)
    with pytest.raises(UserError, match='4 of 4 files cannot be used'):
        load_population(FETAL, folder, tmp_path / 'cache')


def test_load_population_repeats_warnings_from_the_cache(tmp_path, make_folder, save, smooth_volume, caplog):
    folder, affine = make_folder(tmp_path / 'data', 3), np.diag([5.0, 5.0, 5.0, 1.0])
    save(folder / 'sub-02_T2w.nii.gz', smooth_volume, affine, affine * 1.1)
    for cached in ('nothing', 'the pack', 'the stacks'):
        if cached == 'the stacks':
            shutil.rmtree(tmp_path / 'cache' / 'populations')
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger='absl'):
            load_population(FETAL, folder, tmp_path / 'cache')
        expected = f'{folder}/sub-02_T2w.nii.gz: its sform and qform differ; the sform is used.'
        assert [record.getMessage() for record in caplog.records] == [expected], cached


def test_load_population_refuses_label_maps_among_intensities(tmp_path, make_folder, save, smooth_volume, caplog):
    folder, affine = make_folder(tmp_path / 'data', 4), np.diag([5.0, 5.0, 5.0, 1.0])
    labels = np.digitize(smooth_volume, [300, 600]).astype(np.int16)
    save(folder / 'sub-03_T2w.nii.gz', labels, affine, affine)
    for _ in range(2):
        with pytest.raises(UserError, match=r'1 of 4 volumes look like label maps .* \(sub-03_T2w\.nii\.gz\)'):
            load_population(FETAL, folder, tmp_path / 'cache')
    for index in range(4):
        save(folder / f'sub-{index + 1:02d}_T2w.nii.gz', np.roll(labels, index, 0), affine, affine)
    with caplog.at_level(logging.WARNING, logger='absl'):
        load_population(FETAL, folder, tmp_path / 'cache')
    assert 'every volume looks like a label map' in caplog.text


def test_load_population_refuses_a_converted_copy_in_both_splits(tmp_path, make_folder, smooth_volume, save):
    folder = make_folder(tmp_path / 'data', 3)
    save(folder / 'sub-04_T2w.nii', smooth_volume.astype(np.float64), np.eye(4))
    rows = ['participant_id\tsplit', 'sub-01\ttrain', 'sub-02\ttrain', 'sub-03\ttest', 'sub-04\ttest']
    (folder / 'participants.tsv').write_text('\n'.join(rows))
    with pytest.raises(UserError, match=r'sub-04_T2w\.nii: is the same volume as .*sub-01_T2w'):
        load_population(FETAL, folder, tmp_path / 'cache')


def packs(cache):
    """The packs of populations in a cache folder."""
    return sorted(path for path in (cache / 'populations').iterdir() if path.suffix == '.npy')


def test_load_population_maps_images_and_reuses_the_pack(tmp_path, make_folder, monkeypatch):
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


def test_load_population_keeps_images_in_memory_without_a_cache(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 4)
    (tmp_path / 'file').write_text('in the way')
    loaded = load_population(FETAL, folder, tmp_path / 'file')
    expected = load_population(FETAL, folder, tmp_path / 'cache')
    # The cache keeps 16 bits.
    np.testing.assert_allclose(loaded.images, expected.images, atol=1e-5)


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text', 'no description', 'half a description'])
def test_load_population_replaces_a_damaged_pack(tmp_path, make_folder, damage):
    folder, cache = make_folder(tmp_path / 'data', 4), tmp_path / 'cache'
    expected = np.array(load_population(FETAL, folder, cache).images)
    (path,) = packs(cache)
    if 'description' in damage:
        path.with_suffix('.json').write_text('' if damage.startswith('no') else '{"keys": []}')
    else:
        content = path.read_bytes()
        path.write_bytes({'cut': content[:-4096], 'empty': b'', 'text': b'no pack'}[damage])
    np.testing.assert_array_equal(load_population(FETAL, folder, cache).images, expected)


def test_load_population_removes_the_oldest_packs(tmp_path, make_folder):
    folder, cache = make_folder(tmp_path / 'data', 3), tmp_path / 'cache'
    for count in range(3, 4 + pack.MOST_PACKS):
        make_folder(folder, count)
        assert len(load_population(FETAL, folder, cache).images) == count
    assert len(packs(cache)) == pack.MOST_PACKS
    assert not list((cache / 'populations').glob('.tmp*'))


def test_load_population_frame_is_shared_by_volumes_of_one_world(tmp_path, make_folder, save, smooth_volume):
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


def describe(folder, description):
    (folder / 'dataset_description.json').write_text(json.dumps(description))


def test_load_population_recognises_phantoms(tmp_path, make_folder):
    folder = make_folder(tmp_path / 'data', 3)
    describe(folder, {'Name': 'x', 'GeneratedBy': [{'Name': 'tfp_bruno phantom', 'Version': '1'}]})
    population = load_population(FETAL, folder, tmp_path / 'cache')
    assert population.is_phantom
    assert 'phantom' in population.description
    for other in ({'GeneratedBy': [{'Name': 'scanner'}]}, {'GeneratedBy': ['x']}, {'GeneratedBy': None}, [1]):
        describe(folder, other)
        assert not load_population(FETAL, folder, tmp_path / 'cache').is_phantom


def test_data_does_not_import_tensorflow():
    code = 'import sys, tfp_bruno.data; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
