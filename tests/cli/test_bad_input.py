"""Every mistake of a user is one line on stderr, and changes no file."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tfp_bruno.runs import lock_run

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def save(path, voxels):
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), AFFINE), path)


def blobs(shape=(20, 20, 20)):
    return np.random.default_rng(0).uniform(0, 1000, shape)


def write_truncated(path):
    save(path, blobs())
    path.write_bytes(path.read_bytes()[:-200])


def write_not_finite(path):
    voxels = blobs()
    voxels[3, 4, 5] = np.nan
    save(path, voxels)


BAD_VOLUMES = {
    'is cut short': write_truncated,
    'is 4-D (20 x 20 x 20 x 3)': lambda path: save(path, blobs((20, 20, 20, 3))),
    '1 voxels are NaN or infinite': write_not_finite,
    'is constant: every voxel is 7': lambda path: save(path, np.full((20, 20, 20), 7.0)),
    'is empty: every voxel is 0': lambda path: save(path, np.zeros((14, 19, 16))),
    'is not a NIfTI file': lambda path: path.write_text('a letter'),
    'is a single slice': lambda path: save(path, blobs((20, 20, 1))),
}


@pytest.fixture
def occupied(tmp_path):
    """A folder that holds a file of the user, which must not change."""
    folder = tmp_path / 'occupied'
    folder.mkdir()
    (folder / 'notes.txt').write_text('mine')
    yield folder
    assert [path.name for path in folder.iterdir()] == ['notes.txt']
    assert (folder / 'notes.txt').read_text() == 'mine'


@pytest.fixture
def good_folder(tmp_path, write_blobs):
    """Four volumes that can be trained on."""
    for number in range(4):
        write_blobs(tmp_path / 'good' / f'sub-{number}.nii.gz', number)
    return tmp_path / 'good'


def content_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize('message', BAD_VOLUMES)
def test_train_names_a_bad_volume(call_warm, assert_one_line, good_folder, tmp_path, message):
    BAD_VOLUMES[message](good_folder / 'sub-bad.nii.gz')
    before = content_of(good_folder)
    flags = [f'--data_dir={good_folder}', f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    assert_one_line(call_warm('train', *flags), 'train', good_folder / 'sub-bad.nii.gz', message)
    assert content_of(good_folder) == before
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('message', [text for text in BAD_VOLUMES if 'single' not in text])
def test_reconstruct_names_a_bad_scan(call_warm, assert_one_line, tmp_path, message):
    scan = tmp_path / 'scan.nii.gz'
    BAD_VOLUMES[message](scan)
    (tmp_path / 'run').mkdir()
    flags = [f'--run_dir={tmp_path / "run"}', f'--stack={scan}', '--slices=10', f'--output_dir={tmp_path / "out"}']
    assert_one_line(call_warm('reconstruct', *flags), 'reconstruct', scan, message)
    assert not (tmp_path / 'out').exists()


def make_data_folder(kind, folder):
    """Makes a data folder that cannot be used."""
    if kind == 'a file':
        folder.write_text('no folder')
    elif kind == 'below a file':
        folder.parent.write_text('no folder')
    elif kind != 'missing':
        folder.mkdir()
    if kind == 'only masks':
        save(folder / 'sub-1_mask.nii.gz', blobs())
    if kind == 'a table without subjects':
        save(folder / 'sub-1.nii.gz', blobs())
        (folder / 'participants.tsv').write_text('name\tage\n')
    if kind == 'unreadable':
        folder.chmod(0)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('missing', 'there is no such folder'),
        ('below a file', ''),
        ('a file', 'is not a folder'),
        ('empty', 'holds no volumes'),
        ('only masks', 'holds no volumes'),
        ('a table without subjects', 'has no column participant_id'),
        pytest.param(
            'unreadable',
            'cannot be read',
            marks=pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything'),
        ),
    ],
)
def test_train_names_a_bad_folder(call_warm, assert_one_line, tmp_path, kind, message):
    folder = tmp_path / 'parent' / 'volumes' if kind == 'below a file' else tmp_path / 'volumes'
    make_data_folder(kind, folder)
    flags = [f'--data_dir={folder}', f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    assert_one_line(call_warm('train', *flags), 'train', folder, message)
    assert not (tmp_path / 'run' / 'run.json').exists()


def test_train_needs_three_subjects(call_warm, assert_one_line, write_blobs, tmp_path):
    for number in range(2):
        write_blobs(tmp_path / 'two' / f'sub-{number}.nii.gz', number)
    flags = [f'--data_dir={tmp_path / "two"}', f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    assert_one_line(call_warm('train', *flags), 'train', tmp_path / 'two', 'holds 2 subjects', 'at least 3')


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--dataset=knee'], ['--dataset=knee', 'fetal', 'adni', 'thorax']),
        (['--no_such_flag=1'], ['no_such_flag']),
        (['--steps=many'], ['steps', 'many']),
        (['--steps=0'], ['steps']),
        (['--set=augmentation.probability=1.5'], ['augmentation']),
        (['--preset=huge'], ['preset', 'cpu']),
        (['--preset=gpu', '--model=gqn'], ['--preset=gpu', 'gqn', 'cpu, paper']),
        (['--set=start.inflation=0'], ['inflation']),
        (['--set=model.factor_scale=0'], ['factor_scale']),
        (['--set=model.factor_evidence=2'], ['factor_evidence']),
        (['--set=model.process=linear'], ['process', 'factor']),
        (['--set=model.flow.architecture=maf'], ['flow', 'glow', 'real_nvp']),
        (
            ['--set=model.flow.architecture=real_nvp'],
            ['--set: ', 'factor', 'choose exchangeable or pose'],
        ),
        (
            ['--preset=paper', '--set=model.flow.pose_width=3'],
            ['--set: model.flow.pose_width is not a setting'],
        ),
        (['--set=model.flow.recompute=2'], ['--set: model.flow.recompute = 2: ']),
        (['--set=model.flow.alpha=0'], ['--set: model.flow.alpha = 0: ']),
        (['--set=objective.foreground_share=1.5'], ['foreground_share']),
        (['--set=model.network_dtype=int8'], ['network_dtype', 'mixed_bfloat16']),
        (['--set=micro_batches=3'], ['--set: `micro_batches` must divide --batch_size, 4']),
        (['--set=sequence_length=81'], ['--set: sequence_length = 81', '80 slices']),
        (['--model=gan'], ['model', 'gqn', 'cvae']),
        (['--model=gqn', '--set=model.process=factor'], ['--set: model.process is not a setting']),
        (['--model=cvae', '--set=model.steps=4'], ['--set: model.steps is not a setting']),
        (['--set=objective.last_std=0.1'], ['--set: objective.last_std is not a setting']),
        (['--model=gqn', '--set=model.steps=0'], ['--set: model.steps = 0']),
        (['--model=gqn', '--set=model.representation=cube'], ['representation', 'tower']),
        (
            ['--model=gqn', '--set=objective.min_contexts=9'],
            ['`min_contexts` must be at most `max_contexts`, 8'],
        ),
        (['--model=cvae', '--set=sequence_length=8'], ['`sequence_length` must be above `max_contexts`, 8']),
        (['--model=cvae', '--set=micro_batches=5'], ['`micro_batches` must divide']),
        (['--flagfile=missing.txt'], ['missing.txt']),
        (['stray'], ['stray']),
    ],
    ids=' '.join,
)
def test_train_names_a_bad_flag(call_warm, assert_one_line, good_folder, tmp_path, flags, words):
    given = [f'--data_dir={good_folder}', f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    assert_one_line(call_warm('train', *given, *flags), 'train', *words)
    assert not (tmp_path / 'run' / 'run.json').exists()


def test_train_keeps_an_occupied_folder(call_warm, assert_one_line, good_folder, occupied):
    done = call_warm('train', f'--data_dir={good_folder}', f'--output_dir={occupied}')
    assert_one_line(done, 'train', f'--output_dir={occupied}', 'is not empty', '--resume')


@pytest.mark.slow
def test_second_training_in_a_folder_is_refused(call_warm, assert_one_line, make_tiny_run, good_folder, tmp_path):
    run = make_tiny_run(tmp_path / 'run')
    with lock_run(run.folder):
        done = call_warm('train', f'--output_dir={run.folder}', '--resume', f'--cache_dir={tmp_path / "cache"}')
        assert_one_line(done, 'train', run.folder, 'another training writes to it')
    with lock_run(tmp_path / 'new'):
        done = call_warm('train', f'--data_dir={good_folder}', f'--output_dir={tmp_path / "new"}')
        assert_one_line(done, 'train', tmp_path / 'new', 'another training writes to it')


def test_resume_needs_a_run(call_warm, assert_one_line, occupied, tmp_path):
    for folder in (occupied, tmp_path / 'missing'):
        done = call_warm('train', f'--output_dir={folder}', '--resume')
        assert_one_line(done, 'train', f'--output_dir={folder}', 'holds no run to resume')
    assert not (tmp_path / 'missing').exists()


@pytest.mark.slow
@pytest.mark.parametrize('flag', ['--batch_size=2', '--set=model.process=exchangeable', '--seed=3', '--preset=paper'])
def test_resume_refuses_other_settings(call_warm, assert_one_line, make_tiny_run, tmp_path, flag):
    run = make_tiny_run(tmp_path / 'run')
    done = call_warm('train', f'--output_dir={run.folder}', '--resume', flag)
    assert_one_line(done, 'train', flag.split('=')[0], 'cannot change with --resume')


@pytest.mark.slow
def test_resume_names_the_damaged_file(call_warm, assert_one_line, make_tiny_run, tmp_path):
    run = make_tiny_run(tmp_path / 'run')
    run.split_file.unlink()
    done = call_warm('train', f'--output_dir={run.folder}', '--resume', f'--cache_dir={tmp_path / "cache"}')
    assert_one_line(done, 'train', run.split_file)
    run.settings_file.write_text('{')
    assert_one_line(call_warm('train', f'--output_dir={run.folder}', '--resume'), 'train', 'run.json: is damaged')
    assert run.settings_file.read_text() == '{'


@pytest.mark.parametrize(
    ('name', 'flags'),
    [
        ('train', []),
        ('phantom', ['--dataset=fetal', '--subjects=2']),
        ('evaluate', ['--run_dir={run}']),
        ('reconstruct', ['--run_dir={run}', '--slices=']),
        ('atlas', ['--run_dir={run}']),
        ('simulate', ['--input={run}/volume.nii.gz']),
    ],
)
def test_commands_name_an_unwritable_output_folder(call_warm, assert_one_line, tmp_path, name, flags):
    run, file = tmp_path / 'run', tmp_path / 'file'
    run.mkdir()
    file.write_text('mine')
    # Root ignores permissions, but not a file in the way.
    for output_dir in (file / 'out', file):
        done = call_warm(name, *[flag.format(run=run) for flag in flags], f'--output_dir={output_dir}')
        assert_one_line(done, name, output_dir)
    assert file.read_text() == 'mine'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'run']


def test_phantom_and_reconstruct_keep_an_occupied_folder(call_warm, assert_one_line, occupied, tmp_path):
    done = call_warm('phantom', '--dataset=fetal', '--subjects=2', f'--output_dir={occupied}')
    assert_one_line(done, 'phantom', f'--output_dir={occupied}', 'is not empty')
    done = call_warm('reconstruct', f'--run_dir={tmp_path}', '--slices=', f'--output_dir={occupied}')
    assert_one_line(done, 'reconstruct', occupied, 'is not empty', '--overwrite')


@pytest.mark.parametrize(
    'kind',
    [
        'missing',
        'empty',
        pytest.param('damaged', marks=pytest.mark.slow),
        pytest.param('without weights', marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize('name', ['evaluate', 'reconstruct'])
def test_commands_name_a_bad_run_folder(request, call_warm, assert_one_line, write_blobs, tmp_path, name, kind):
    folder = tmp_path / 'run'
    if kind == 'empty':
        folder.mkdir()
    elif kind != 'missing':
        run = request.getfixturevalue('make_tiny_run')(folder)
        if kind == 'damaged':
            run.settings_file.write_text('{"format": 1}')
    scan = write_blobs(tmp_path / 'scan.nii.gz')
    flags = [] if name == 'evaluate' else [f'--stack={scan}', '--slices=1']
    done = call_warm(name, f'--run_dir={folder}', *flags, f'--output_dir={tmp_path / "out"}')
    assert_one_line(done, name, folder, 'resume the training' if kind == 'without weights' else '')
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--slices=1,12'], ['--slices', '12 is outside', 'from 0 to 11']),
        (['--slices=-1'], ['--slices', '-1 is outside']),
        (['--scan_slices=40'], ['--scan_slices', '40 is outside', '{scan}']),
        (['--scan_slices=0'], ['--scan_slices', '0 is outside']),
        (['--slices=one'], ['--slices=one', 'whole numbers']),
        (['--slices=1', '--scan_slices=10'], ['--slices', '--scan_slices']),
        ([], ['--slices', '--scan_slices']),
        (['--slices=1', '--stack=missing.nii.gz'], ['missing.nii.gz', 'there is no such file']),
        (['--slices=1', '--num_samples=-1'], ['num_samples']),
        (['--slices=1', '--spacing=0'], ['spacing']),
        (['--slices=1', '--temperature=-1'], ['temperature']),
        (['--slices=1', '--temperature=nan'], ['--temperature=nan', 'finite']),
        (['--slices=1', '--align=affine'], ['--align=affine', 'has no canonical volume']),
        (['--slices=1', '--align=rigid'], ['align', 'deformable']),
        (['--slices=1', '--placement=anatomy'], ['--placement=anatomy', 'needs a model', 'preset map']),
        (['--slices=1', '--placement=head'], ['placement', 'anatomy']),
        (['--scan_slices=9', '--scan_axes=unknown'], ['--scan_axes=unknown', 'needs a model']),
        (['--slices=1', '--scan_axes=RAR'], ['--scan_axes=RAR', 'give header, unknown']),
        (['--slices=1', '--scan_axes=LAS'], ['--scan_axes=LAS', 'would mirror {scan}']),
        (['--slices=1', '--intensity=bright'], ['intensity', 'scan']),
        (['--slices=1', '--no_such_flag'], ['no_such_flag']),
        (['--slices=1', 'stray'], ['stray']),
    ],
    ids=' '.join,
)
def test_reconstruct_names_a_bad_flag(call_warm, assert_one_line, tiny_run, write_blobs, tmp_path, flags, words):
    scan = write_blobs(tmp_path / 'scan.nii.gz')
    done = call_warm(
        'reconstruct', f'--run_dir={tiny_run}', f'--stack={scan}', f'--output_dir={tmp_path / "out"}', *flags
    )
    assert_one_line(done, 'reconstruct', *[word.format(scan=scan) for word in words])
    assert not (tmp_path / 'out').exists()


def save_slice(path, index=10, shape=(20, 20, 1), seed=0):
    """Writes a single slice of a scan that `write_blobs` writes."""
    path.parent.mkdir(exist_ok=True)
    affine = AFFINE.copy()
    affine[2, 3] = 8 * index
    voxels = np.random.default_rng(seed).uniform(1, 1000, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def make_inputs(folder, write_blobs):
    """Makes a scan, masks, folders of slices and studies; returns the values that flags are formatted with."""
    scan = write_blobs(folder / 'scan.nii.gz')
    save(folder / 'nothing.nii.gz', np.zeros((14, 19, 16)))
    save(folder / 'smaller.nii.gz', np.ones((14, 19, 15)))
    save(folder / 'flat.nii.gz', blobs((20, 20, 1)))
    for number, seed in ((0, 0), (1, 1)):
        save_slice(folder / 'twice' / f'{number}.nii.gz', seed=seed)
    save_slice(folder / 'far' / '0.nii.gz', index=400)
    save_slice(folder / 'thick' / '0.nii.gz', shape=(20, 20, 2))
    save_slice(folder / 'good' / '0.nii.gz')
    save_slice(folder / 'cut' / '0.nii.gz')
    (folder / 'cut' / '0.nii.gz').write_bytes((folder / 'cut' / '0.nii.gz').read_bytes()[:-50])
    (folder / 'empty').mkdir()
    (folder / 'masks').mkdir()
    save(folder / 'masks' / 'sub-1_mask.nii.gz', blobs())
    return {'f': folder, 'scan': scan}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--stack={scan}', '--world_positions=one'], ['--world_positions=one', 'numbers in mm']),
        (['--stack={scan}', '--world_positions=nan'], ['--world_positions=nan']),
        (['--stack={scan}', '--world_positions=1e6'], ['--world_positions', 'is outside', 'give mm from']),
        (['--stack={scan}', '--slices=1', '--world_positions=2'], ['--world_positions', 'give one of them']),
        (['--stack={scan}', '--slices=1', '--slice_dir={f}/good'], ['--stack', '--slice_dir', 'exclude each other']),
        (['--stack={scan}', '--slices=1', '--bids_dir={f}'], ['--stack', '--bids_dir', 'exclude each other']),
        (['--slices=1', '--slice_dir={f}/good'], ['--slices, --slice_dir: exclude each other']),
        (['--slices=', '--reference={scan}'], ['--reference', '--stack', '--slice_dir']),
        (['--stack={scan}', '--slices=1', '--reference={f}/flat.nii.gz'], ['flat.nii.gz', 'is a single slice']),
        (['--slices=', '--mask={scan}'], ['--mask', '--stack']),
        (['--stack={scan}', '--slices=1', '--use_masks'], ['--use_masks', '--bids_dir']),
        (['--slices=', '--participant_label=1'], ['--participant_label', '--bids_dir']),
        (['--slices=', '--shard=1/2'], ['--shard', '--bids_dir']),
        (['--bids_dir={f}/far', '--slices=1', '--shard=3/2'], ['--shard=3/2', 'such as 2/8']),
        (['--stack={scan}', '--slices=1', '--mask={f}/none.nii.gz'], ['none.nii.gz', 'there is no such file']),
        (['--stack={scan}', '--slices=1', '--mask={f}/nothing.nii.gz'], ['nothing.nii.gz', 'marks nothing']),
        (['--stack={scan}', '--slices=1', '--mask={f}/smaller.nii.gz'], ['smaller.nii.gz', 'another grid']),
        (['--stack={scan}', '--slices=1', '--intensity=hounsfield'], ['--intensity=hounsfield', 'no intensity window']),
        (['--slice_dir={f}/none'], ['none', 'there is no such folder']),
        (['--slice_dir={scan}'], ['scan.nii.gz', 'cannot be read']),
        (['--slice_dir={f}/empty'], ['empty', 'holds no slices']),
        (['--slice_dir={f}/thick'], ['0.nii.gz', 'is not a single slice (20 x 20 x 2)']),
        (['--slice_dir={f}/cut'], ['0.nii.gz', 'is cut short']),
        (['--slice_dir={f}/far', '--reference={scan}'], ['0.nii.gz', 'lies outside', '--reference']),
        (['--slice_dir={f}/twice', '--reference={scan}'], ['1.nii.gz', 'is nearest to position', 'differs']),
        (['--slice_dir={f}/good', '--reference={f}/none.nii'], ['none.nii', 'there is no such file']),
        (['--slice_dir={f}/good', '--reference={f}/flat.nii.gz'], ['flat.nii.gz', 'is a single slice']),
        (['--bids_dir={f}/none', '--slices=1'], ['none', 'there is no such folder']),
        (['--bids_dir={f}/empty', '--slices=1'], ['empty', 'holds no volumes']),
        (['--bids_dir={f}/masks', '--slices=1'], ['masks', 'holds no volumes']),
        (['--bids_dir={f}'], ['--slices', 'give one of them']),
        (['--bids_dir={f}/far', '--slices=1', '--participant_label='], ['--participant_label=', 'is empty']),
        (['--stack={f}/good', '--slices=1'], ['is a folder']),
        (['--stack=/dev/zero', '--slices=1'], ['/dev/zero', 'is a device or a pipe']),
        (['--stack={scan}', '--slices=1', '--spacing=nan'], ['spacing']),
        (['--stack={scan}', '--slices=1', '--std_samples=-1'], ['std_samples']),
        (['--stack={scan}', '--slices=1', '--seed=x'], ['seed']),
        (['--stack={scan}', '--slices=1', '--seed=-1'], ['seed']),
    ],
    ids=' '.join,
)
def test_reconstruct_names_bad_input(call_warm, assert_one_line, tiny_run, write_blobs, tmp_path, flags, words):
    names = make_inputs(tmp_path, write_blobs)
    before = content_of(tmp_path)
    given = [flag.format(**names) for flag in flags]
    done = call_warm('reconstruct', f'--run_dir={tiny_run}', f'--output_dir={tmp_path / "out"}', *given)
    assert_one_line(done, 'reconstruct', *words)
    assert not (tmp_path / 'out').exists()
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--stack={f}/link.nii.gz', '--slices=1'], ['link.nii.gz', 'a broken link; fetch it']),
        (['--stack={f}/scan.nii.gz', '--slices=1', '--mask={f}/link.nii.gz'], ['link.nii.gz', 'a broken link']),
        (['--slice_dir={f}/slices', '--reference={f}/link.nii.gz'], ['link.nii.gz', 'a broken link']),
        (['--stack={f}/plain.nii.gz', '--slices=1'], ['plain.nii.gz', 'or give --assume_ras']),
        (['--slice_dir={f}/plain', '--assume_ras'], ['0.nii.gz', 'the place of the slice is unknown']),
        (['--slice_dir={f}/mixed'], ['1 images of other formats', '1.mgz']),
        (['--bids_dir={f}/twice', '--slices=1'], ['a.nii.gz', 'would be written to', 'a.nii']),
    ],
    ids=' '.join,
)
def test_reconstruct_names_a_misleading_file(call_warm, assert_one_line, write_blobs, tmp_path, flags, words):
    write_blobs(tmp_path / 'scan.nii.gz')
    (tmp_path / 'link.nii.gz').symlink_to('.git/annex/objects/nowhere')
    nibabel.save(nibabel.Nifti1Image(blobs().astype(np.float32), None), tmp_path / 'plain.nii.gz')
    for name in ('slices', 'plain', 'mixed'):
        save_slice(tmp_path / name / '0.nii.gz')
    nibabel.save(nibabel.Nifti1Image(blobs((20, 20, 1)).astype(np.float32), None), tmp_path / 'plain' / '0.nii.gz')
    (tmp_path / 'mixed' / '1.mgz').touch()
    for name in ('a.nii', 'a.nii.gz'):
        (tmp_path / 'twice').mkdir(exist_ok=True)
        save(tmp_path / 'twice' / name, blobs())
    given = [flag.format(f=tmp_path) for flag in flags]
    # Fails before the model is loaded.
    (tmp_path / 'run').mkdir()
    done = call_warm('reconstruct', f'--run_dir={tmp_path / "run"}', f'--output_dir={tmp_path / "out"}', *given)
    assert_one_line(done, 'reconstruct', *words)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('flag', ['--use_masks', '--assume_ras'])
def test_reading_flags_need_a_data_folder(call_warm, assert_one_line, tmp_path, flag):
    assert_one_line(call_warm('train', f'--output_dir={tmp_path / "run"}', flag), 'train', flag, '--data_dir')


def test_train_names_every_bad_file(call_warm, assert_one_line, good_folder, tmp_path):
    flags = [f'--data_dir={good_folder}', f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    done = call_warm('train', *flags, '--use_masks')
    assert_one_line(done, 'train', '4 of 4 files cannot be used', 'sub-0_mask', 'sub-3_mask')
    for name in ('sub-1', 'sub-2'):
        (good_folder / f'{name}.nii.gz').write_bytes(b'')
    done = call_warm('train', *flags)
    assert_one_line(done, 'train', '2 of 4 files', 'sub-1.nii.gz: is not', 'sub-2.nii.gz: is not')
    for name in ('sub-4', 'sub-5'):
        (good_folder / f'{name}.nii.gz').symlink_to('nowhere')
    done = call_warm('train', *flags)
    assert_one_line(
        done, 'train', 'content of 2 of 6 files is not there', 'sub-4.nii.gz, sub-5.nii.gz', 'git annex get'
    )


@pytest.mark.slow
def test_output_folder_must_not_hold_the_input(call_warm, assert_one_line, tiny_run, write_blobs, tmp_path):
    names = make_inputs(tmp_path, write_blobs)
    before = content_of(tmp_path)
    for flags in (
        ['--stack={scan}', '--slices=1', '--output_dir={f}'],
        ['--slice_dir={f}/good', '--output_dir={f}/good'],
        ['--bids_dir={f}/good', '--slices=1', '--output_dir={f}/good'],
        ['--bids_dir={f}/good', '--slices=1', '--output_dir={f}'],
    ):
        given = [flag.format(**names) for flag in flags]
        done = call_warm('reconstruct', f'--run_dir={tiny_run}', '--overwrite', *given)
        assert_one_line(done, 'reconstruct', 'itself; give another --output_dir')
    assert content_of(tmp_path) == before


@pytest.mark.slow
def test_missing_or_damaged_frame_is_named(call_warm, assert_one_line, tiny_run, write_blobs, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / 'run')
    settings = json.loads((run / 'run.json').read_text())
    save_slice(tmp_path / 'good' / '0.nii.gz')
    for frame, words in (
        (None, ['--reference: is missing']),
        ({'affine': 3}, ['its frame is damaged']),
        ({**settings['info']['frame'], 'spread_mm': 200.0}, ['--reference: is missing', 'do not share a world']),
    ):
        (run / 'run.json').write_text(json.dumps({**settings, 'info': {**settings['info'], 'frame': frame}}))
        flags = [f'--slice_dir={tmp_path / "good"}', f'--output_dir={tmp_path / "out"}']
        assert_one_line(call_warm('reconstruct', f'--run_dir={run}', *flags), 'reconstruct', *words)


@pytest.mark.parametrize(
    ('text', 'flags', 'words'),
    [
        ('', [], ['mine.toml', 'name is missing']),
        ('name = 3', [], ['mine.toml', 'name = 3']),
        ('not toml', [], ['mine.toml', 'is not TOML']),
        ('name = "x"', ['--dataset=adni'], ['--dataset', '--dataset_config', 'exclude each other']),
        (None, [], ['mine.toml', 'cannot be read']),
        (
            'name = "x"\nfield_of_view = 90\nnum_slices = 9\nstack_share = 1\nimage_size = 30',
            [],
            ['must be divisible by'],
        ),
    ],
)
def test_train_names_a_bad_dataset_file(call_warm, assert_one_line, good_folder, tmp_path, text, flags, words):
    if text is not None:
        (tmp_path / 'mine.toml').write_text(text)
    given = [f'--dataset_config={tmp_path / "mine.toml"}', f'--output_dir={tmp_path / "run"}']
    done = call_warm('train', *given, f'--data_dir={good_folder}', *flags)
    assert_one_line(done, 'train', *words)
    assert not (tmp_path / 'run').exists()


def test_phantoms_exist_for_named_datasets_only(call_warm, assert_one_line, tmp_path):
    (tmp_path / 'mine.toml').write_text('name = "x"\nfield_of_view = 90\nnum_slices = 9\nstack_share = 1')
    done = call_warm('train', f'--dataset_config={tmp_path / "mine.toml"}', f'--output_dir={tmp_path / "run"}')
    assert_one_line(done, 'train', '--data_dir: is missing')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--contexts=0,two'], ['--contexts=0,two']),
        (['--contexts='], ['--contexts=']),
        (['--contexts=-1'], ['--contexts=-1']),
        (['--contexts=2'], ['--contexts=2', '[0, 4]']),
        (['--split=half'], ['split']),
        (['--num_samples=0'], ['num_samples']),
        (['--shard=0/2'], ['--shard=0/2', 'such as 2/8']),
        (['--data_dir=missing'], ['missing', 'there is no such folder']),
        (['--train_data_dir=missing'], ['missing', 'there is no such folder']),
        (['--no_such_flag'], ['no_such_flag']),
        (['stray'], ['stray']),
        (['--compare=one,two'], ['run_dir', 'compare']),
        (['--temperature=-1'], ['temperature']),
        (['--temperature=inf'], ['--temperature=inf', 'finite']),
        (['--experiment=exp3'], ['experiment', 'exp1']),
        (['--experiment=exp1', '--contexts=1'], ['experiment', 'contexts']),
    ],
    ids=' '.join,
)
def test_evaluate_names_a_bad_flag(call_warm, assert_one_line, tiny_run, workplace, tmp_path, flags, words):
    given = [f'--run_dir={tiny_run}', f'--output_dir={tmp_path / "out"}', f'--cache_dir={workplace / "cache"}']
    assert_one_line(call_warm('evaluate', *given, *flags), 'evaluate', *words)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('kind', ['one', 'one twice', 'missing', 'not evaluated'])
def test_compare_names_a_bad_run(call_warm, assert_one_line, tmp_path, kind):
    run = tmp_path / 'run'
    run.mkdir()
    given = {'one': f'{run}', 'one twice': f'{run},{run}/', 'missing': f'{tmp_path}/no,{run}'}.get(
        kind, f'{run},{tmp_path}'
    )
    words = (
        ['--compare', 'two folders'] if 'one' in kind else ['metrics.json', 'evaluate that run first, with --run_dir=']
    )
    assert_one_line(call_warm('evaluate', f'--compare={given}'), 'evaluate', *words)
    assert list(tmp_path.iterdir()) == [run]
    assert not list(run.iterdir())


@pytest.mark.parametrize(
    ('name', 'flags', 'words'),
    [
        ('train', [], ['output_dir']),
        ('evaluate', [], ['run_dir']),
        ('reconstruct', ['--slices='], ['run_dir']),
        ('phantom', ['--dataset=fetal'], ['output_dir']),
        ('export', ['--output={folder}/model.safetensors'], ['run_dir', 'card']),
        ('export', ['--run_dir={folder}'], ['--output', 'is missing']),
        ('export', ['--run_dir={folder}', '--output={folder}/model.bin'], ['--output', '.safetensors']),
        ('export', ['--run_dir={folder}/run', '--output={folder}/m.safetensors'], ['--run_dir', 'no such folder']),
        ('export', ['--run_dir={folder}', '--card={folder}/m.safetensors'], ['run_dir', 'card']),
        ('export', ['--card={folder}/m.safetensors', '--data_licence=x'], ['--data_licence', '--card']),
        ('export', ['--card={folder}/m.safetensors'], ['m.safetensors', 'No such file']),
        ('phantom', ['--dataset=knee', '--output_dir={folder}/out'], ['dataset', 'knee', 'fetal']),
        ('phantom', ['--dataset=fetal', '--output_dir={folder}/out', '--subjects=1'], ['subjects']),
        ('train', ['--output_dir={folder}/out', '--max_minutes=nan'], ['--max_minutes=nan', 'finite']),
        ('train', ['--output_dir={folder}/out', '--set=learning_rate=inf'], ['learning_rate', 'finite']),
        ('atlas', ['--run_dir=run', '--output_dir={folder}/out', '--deviations=nan'], ['--deviations=nan', 'finite']),
        ('atlas', ['--run_dir=run', '--output_dir={folder}/out', '--temperature=-1'], ['temperature']),
    ],
)
def test_commands_name_missing_and_bad_flags(call_warm, assert_one_line, tmp_path, name, flags, words):
    assert_one_line(call_warm(name, *[flag.format(folder=tmp_path) for flag in flags]), name, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('name', 'flags'),
    [
        ('train', ['--output_dir=unused', '--dataset=knee']),
        ('evaluate', ['--run_dir=missing']),
        ('reconstruct', ['--run_dir=missing', '--output_dir=unused', '--slices=1']),
        ('atlas', ['--run_dir=missing', '--output_dir=unused', '--temperature=nan']),
        ('export', ['--run_dir=missing', '--output=unused.safetensors']),
    ],
)
def test_mistakes_are_found_before_tensorflow_is_imported(name, flags, tmp_path):
    code = (
        f'import sys\nsys.argv = {[name, *flags]!r}\nfrom tfp_bruno.cli import {name}\n'
        f'try:\n    {name}.run()\nfinally:\n    assert "tensorflow" not in sys.modules\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': os.fspath(REPOSITORY)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f'{name}: error: ')
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_train_names_a_seed_that_is_too_large(call_warm, assert_one_line, good_folder, tmp_path):
    flags = [f'--data_dir={good_folder}', f'--output_dir={tmp_path / "run"}']
    assert_one_line(call_warm('train', *flags, '--seed=4294967296'), 'train', '--seed=4294967296', '2147483647')
    assert not (tmp_path / 'run').exists()


def test_errors_and_warnings_have_no_terminal_escapes(call_warm, assert_one_line, good_folder, tmp_path):
    name = '\x1b[2J\n'
    flags = [f'--output_dir={tmp_path / "run"}', f'--cache_dir={tmp_path / "cache"}']
    done = call_warm('train', f'--data_dir={tmp_path / name}', *flags)
    assert_one_line(done, 'train', r'\x1b[2J\n: there is no such folder')
    (good_folder / 'participants.tsv').write_text('participant_id\tsplit\nsub-0\t\x1b[31m\n')
    done = call_warm('train', f'--data_dir={good_folder}', *flags)
    assert_one_line(done, 'train', r'line 2 has the split \x1b[31m; write train, validation or test')


def test_names_that_are_not_utf_8_are_one_line(call_warm, assert_one_line, good_folder, tmp_path):
    bad = tmp_path / os.fsdecode(b'a\xff')
    for flags in (
        [f'--data_dir={good_folder}', f'--output_dir={bad}'],
        [f'--data_dir={bad}', f'--output_dir={tmp_path / "run"}'],
    ):
        assert_one_line(call_warm('train', *flags), 'train', r'a\udcff: its name is not UTF-8; rename the folder')
    bad.mkdir()
    done = call_warm('reconstruct', f'--run_dir={bad}', '--slices=', f'--output_dir={tmp_path / "out"}')
    assert_one_line(done, 'reconstruct', r'a\udcff: its name is not UTF-8; rename the folder')
