"""From phantoms to a completed volume, with the commands."""

import json
import re
import shutil

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno import data
from tfp_bruno.evaluation.report import METHOD_LABELS
from tfp_bruno.runs import read_run
from tfp_bruno.settings import structure

pytestmark = pytest.mark.slow


def assert_quiet(done, *patterns):
    """Checks that a call succeeded and that every line of stderr matches one of the patterns."""
    assert done.returncode == 0, done.stderr
    for line in done.stderr.splitlines():
        assert any(re.match(pattern, line) for pattern in patterns), line


def test_phantom_writes_a_population(phantom_call):
    done, folder = phantom_call
    assert_quiet(done, r'fetal phantom: 6/6 subjects$')
    assert done.stdout == f'{folder}\n'
    assert len(list(folder.glob('sub-*/anat/*_T2w.nii.gz'))) == 6
    splits = data.read_split(folder / 'participants.tsv')
    assert sorted(splits.values()) == ['test'] + ['train'] * 5


def test_train_writes_a_run(train_call, phantom_call):
    done, folder = train_call
    assert_quiet(done, r'Data: ', r'There are no validation subjects: ', r'Training has begun: step 1, ', r'step 2  ')
    # The first line describes the data, which are synthetic here.
    assert done.stderr.splitlines()[0] == f'Data: phantom (synthetic) volumes of {phantom_call[1].name}, 6 volumes.'
    assert done.stdout == f'{folder}\n'
    settings = json.loads((folder / 'run.json').read_text())
    assert settings['info']['is_phantom'] is True
    assert (settings['info']['preset'], settings['info']['data_dir']) == ('cpu', str(phantom_call[1]))
    training = settings['training']
    assert (training['steps'], training['batch_size'], training['sequence_length']) == (2, 1, 5)
    assert settings['model']['factors'] == 4
    assert data.read_split(folder / 'split.tsv') == data.read_split(phantom_call[1] / 'participants.tsv')
    names = {path.name for path in folder.iterdir()}
    parts = {'loadings.safetensors', 'weights', 'checkpoints', 'logs'}
    assert names == {'run.json', 'split.tsv', 'learning_curve.jsonl', *parts}


def test_train_resumes_a_moved_run(tiny_call, call_warm, workplace, tmp_path):
    interrupted, run = tiny_call
    none = r'There are no validation subjects: '
    assert_quiet(interrupted, r'Data: phantom', none, r'Training has begun: step 1, ', r'step 2  ')
    folder = shutil.copytree(run.folder, tmp_path / 'run')
    # Checkpoints are found relative to their folder.
    done = call_warm('train', f'--output_dir={folder}', '--resume', '--steps=3', f'--cache_dir={workplace / "cache"}')
    assert_quiet(done, r'Data: phantom', none, r'Resumed at step 2\.$', r'Training has begun: step 3, ', r'step 3  ')
    assert 'Resumed at step 2.' in done.stderr
    steps = [json.loads(line)['step'] for line in (folder / 'learning_curve.jsonl').read_text().splitlines()]
    assert steps[-2:] == [2, 3]


def test_evaluate_writes_its_report(tiny_run, call, workplace):
    flags = ['--contexts=0,4', '--num_samples=2', '--score_samples=1', '--max_subjects=1']
    done = call('evaluate', f'--run_dir={tiny_run}', *flags, f'--cache_dir={workplace / "cache"}')
    assert_quiet(done, r'Evaluating on phantom \(synthetic\) volumes of ', r'\d+ contexts: in-mask SSIM ')
    folder = tiny_run / 'evaluation'
    for name in ('metrics.json', 'metrics.md', 'ssim_over_slices.png', 'completions.png'):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in done.stdout
    assert 'synthetic' in done.stdout
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert list(metrics['contexts']) == ['0', '4']
    for scores in metrics['contexts'].values():
        # A model of slice numbers has no row of a known frame.
        for method in METHOD_LABELS.keys() - {'known_frame'}:
            assert {'ssim', 'cc', 'psnr', 'mask_ssim', 'mask_cc', 'sharpness'} <= set(scores[method])
    assert np.isfinite(metrics['contexts']['4']['mean_image']['ssim'])


@pytest.fixture(scope='module')
def oblique_scan(phantom_call, workplace):
    """A test subject at another place: its axes reordered and flipped in the file, and rotated by 21 degrees."""
    [name] = [n for n, split in data.read_split(phantom_call[1] / 'participants.tsv').items() if split == 'test']
    volume = data.read_volume(phantom_call[1] / name / 'anat' / f'{name}_T2w.nii.gz')
    turn = nibabel.affines.from_matvec(Rotation.from_rotvec([0.25, -0.15, 0.2]).as_matrix(), [12.0, -30.0, 45.0])
    image = nibabel.Nifti1Image(volume.data, turn @ volume.affine)
    reordered = image.as_reoriented(nibabel.orientations.axcodes2ornt(('P', 'S', 'R')))
    path = workplace / 'oblique.nii.gz'
    nibabel.save(reordered, path)
    return path


def sample_at(volume, points):
    """Intensities of a volume at world points `[N, 3]`."""
    voxels = nibabel.affines.apply_affine(np.linalg.inv(volume.affine), points)
    return ndimage.map_coordinates(volume.data, voxels.T, order=1)


def test_reconstruct_completes_an_oblique_scan(run_dir, call_warm, oblique_scan, assert_contract, tmp_path):
    out = tmp_path / 'out'
    flags = ['--slices=10,30,50,70', '--num_samples=2', '--std_samples=2', '--spacing=1.5', f'--output_dir={out}']
    done = call_warm('reconstruct', f'--run_dir={run_dir}', f'--stack={oblique_scan}', *flags)
    assert_quiet(done)
    assert done.stdout == f'{out / "mean.nii.gz"}\n{out / "report.html"}\n'
    volumes = ['mean.nii.gz', 'std.nii.gz', 'mask.nii.gz', 'samples/sample_000.nii.gz', 'samples/sample_001.nii.gz']
    files = {str(path.relative_to(out)) for path in out.rglob('*') if path.is_file()}
    assert files == {*volumes, 'mosaic.png', 'report.html', 'reconstruction.json'}
    assert_contract(out)
    sidecar = json.loads((out / 'reconstruction.json').read_text())
    assert (sidecar['contexts'], sidecar['files']) == ([10, 30, 50, 70], [str(oblique_scan)])
    assert sidecar['training']['is_phantom'] is True
    scan, mean = data.read_volume(oblique_scan), data.read_volume(out / 'mean.nii.gz')
    # On the planes of the contexts, the completed volume shows the scan, at the same place in the world.
    stack = data.extract_stack(scan, data.get_definition('fetal'))
    h, w = np.meshgrid(np.arange(64), np.arange(64), indexing='ij')
    planes = [np.stack([w, h, np.full_like(w, k)], -1).reshape(-1, 3) for k in (10, 30, 50, 70)]
    points = nibabel.affines.apply_affine(stack.affine, np.concatenate(planes))
    truth = sample_at(scan, points)
    assert (truth > 0).sum() > 1000

    def agreement(where):
        return np.corrcoef(sample_at(mean, where), truth)[0, 1]

    assert agreement(points) > 0.97
    along_the_slices = stack.affine[:3, :2] / np.linalg.norm(stack.affine[:3, :2], axis=0)
    for direction in along_the_slices.T:
        assert agreement(points + 5.0 * direction) < agreement(points) - 0.05
        assert agreement(points - 5.0 * direction) < agreement(points) - 0.05


def test_reconstruct_without_slices_writes_the_atlas(tiny_run, call_warm, tmp_path):
    out = tmp_path / 'out'
    done = call_warm('reconstruct', f'--run_dir={tiny_run}', '--slices=', '--spacing=4', f'--output_dir={out}')
    assert_quiet(done)
    assert json.loads((out / 'reconstruction.json').read_text())['contexts'] == []
    assert data.read_volume(out / 'mean.nii.gz').data.max() > 0


@pytest.mark.parametrize(('command', 'flags'), [('reconstruct', ['--slices=4']), ('atlas', ['--modes=0'])])
def test_samples_at_temperature_0_equal_the_mean(tiny_run, call_warm, phantom_call, tmp_path, command, flags):
    out = tmp_path / 'out'
    if command == 'reconstruct':
        flags = [*flags, f'--stack={phantom_call[1]}/sub-0001/anat/sub-0001_T2w.nii.gz', '--noreport']
    flags = [*flags, '--temperature=0', '--num_samples=1', '--std_samples=2', '--spacing=4', f'--output_dir={out}']
    assert_quiet(call_warm(command, f'--run_dir={tiny_run}', *flags))
    mean, sample, std = (
        nibabel.load(out / name).get_fdata() for name in ('mean.nii.gz', 'samples/sample_000.nii.gz', 'std.nii.gz')
    )
    # A sample without deviation is decoded to the mean, except for rounding.
    np.testing.assert_allclose(sample, mean, atol=1e-3 * mean.max())
    assert std.max() < 1e-3 * mean.max()
    sidecar = 'reconstruction.json' if command == 'reconstruct' else 'atlas.json'
    assert json.loads((out / sidecar).read_text())['temperature'] == 0


def test_study_completes_every_subject_once(
    tiny_run, call_warm, phantom_call, assert_contract, assert_one_line, tmp_path
):
    study, out = tmp_path / 'study', tmp_path / 'out'
    for name in ('sub-0001', 'sub-0002', 'sub-0003'):
        shutil.copytree(phantom_call[1] / name, study / name)
    flags = [f'--run_dir={tiny_run}', f'--bids_dir={study}', '--slices=3,8', '--spacing=4', f'--output_dir={out}']
    one = call_warm('reconstruct', *flags, '--participant_label=0001', '--std_samples=2')
    assert_quiet(one)
    assert one.stdout == f'{out / "report.html"}\n'
    assert sorted(path.name for path in out.iterdir()) == ['dataset_description.json', 'report.html', 'sub-0001']
    assert_contract(out / 'sub-0001')
    (out / 'report.html').unlink()
    before = (out / 'sub-0001' / 'mean.nii.gz').stat().st_mtime_ns
    # A shard writes no report: the call of all subjects does so.
    shard = call_warm('reconstruct', *flags, '--shard=1/3', '--std_samples=2')
    assert_quiet(shard, r'Shard 1/3: 1 of 3 volumes\.$')
    assert shard.stdout == f'{out}\n'
    assert sorted(path.name for path in out.iterdir()) == ['dataset_description.json', 'sub-0001']
    # A subject that fails does not stop the others.
    (study / 'sub-0002' / 'anat' / 'sub-0002_T2w.nii.gz').write_bytes(b'no volume')
    all_of_them = call_warm('reconstruct', *flags, '--std_samples=2', '--noreport')
    assert all_of_them.returncode == 1
    *lines, last = all_of_them.stderr.splitlines()
    assert [line for line in lines if 'sub-0002 failed' in line and 'is not a NIfTI file' in line]
    assert last.startswith('bin/reconstruct: error: 1 of 3 volumes failed (sub-0002)')
    assert not (out / 'sub-0002').exists()
    assert_contract(out / 'sub-0003')
    assert not (out / 'sub-0003' / 'report.html').exists()
    assert (out / 'sub-0001' / 'mean.nii.gz').stat().st_mtime_ns == before
    page = (out / 'report.html').read_text()
    assert '2 completed, 1 of them before, 1 failed' in page
    assert 'href="sub-0001/report.html"' in page
    # A result of other settings does not count as complete.
    other = call_warm('reconstruct', *flags, '--participant_label=sub-0001', '--seed=1')
    assert 'was made with seed 0, not 1; set --overwrite' in other.stderr
    assert 'set --overwrite, or give another --output_dir' in (out / 'report.html').read_text()
    assert other.returncode == 1
    unknown = call_warm('reconstruct', *flags, '--participant_label=0009')
    assert_one_line(unknown, 'reconstruct', '--participant_label=0009')


def test_single_slices_lie_in_the_training_frame(tiny_run, call_warm, phantom_call, assert_contract, tmp_path):
    scan = nibabel.load(phantom_call[1] / 'sub-0001' / 'anat' / 'sub-0001_T2w.nii.gz')
    middle, folder = scan.shape[2] // 2, tmp_path / 'slices'
    folder.mkdir()
    for number, index in enumerate((middle - 10, middle + 12)):
        nibabel.save(scan.slicer[:, :, index : index + 1], folder / f'{number}.nii.gz')
    flags = [f'--run_dir={tiny_run}', f'--slice_dir={folder}', '--spacing=3', '--std_samples=0', '--noreport']
    done = call_warm('reconstruct', *flags, f'--output_dir={tmp_path / "frame"}', '--keep_contexts')
    assert_quiet(done)
    reference = phantom_call[1] / 'sub-0001' / 'anat' / 'sub-0001_T2w.nii.gz'
    done = call_warm(
        'reconstruct', *flags, f'--output_dir={tmp_path / "out"}', f'--reference={reference}', '--canonical'
    )
    assert_quiet(done)
    for name in ('frame', 'out', 'out/canonical'):
        assert_contract(tmp_path / name)
    sidecar = json.loads((tmp_path / 'out' / 'reconstruction.json').read_text())
    planes = [(scan.affine @ [0, 0, index, 1])[2] for index in (middle - 10, middle + 12)]
    # Each at the nearest of twelve positions.
    step = 0.65 * scan.shape[2] * scan.header.get_zooms()[2] / 12
    np.testing.assert_allclose(sidecar['context_positions_mm'], planes, atol=step / 2 + 1e-3)
    assert sidecar['training']['frame']['slice_thickness_mm'] == pytest.approx(scan.header.get_zooms()[2], rel=1e-3)


def test_atlas_writes_modes_and_samples(tiny_run, call_warm, assert_contract, tmp_path):
    out = tmp_path / 'atlas'
    flags = ['--modes=1', '--num_samples=2', '--std_samples=3', '--spacing=4']
    done = call_warm('atlas', f'--run_dir={tiny_run}', *flags, f'--output_dir={out}')
    assert_quiet(done)
    assert_contract(out, foreground_mean=700)
    names = sorted(str(path.relative_to(out)) for path in out.rglob('*') if path.is_file())
    modes = ['modes/mode_0_minus.nii.gz', 'modes/mode_0_plus.nii.gz']
    samples = ['samples/sample_000.nii.gz', 'samples/sample_001.nii.gz']
    rest = ['atlas.json', 'mask.nii.gz', 'mean.nii.gz', *modes, 'mosaic.png', 'report.html', *samples, 'std.nii.gz']
    assert names == sorted(rest)
    minus, plus = (data.read_volume(out / name).data for name in modes)
    assert np.abs(minus - plus).max() > 0
    shares = json.loads((out / 'atlas.json').read_text())['mode_shares']
    assert len(shares) == 1
    assert 0 < shares[0] <= 1


def test_run_reads_its_volumes_as_in_training(call_warm, phantom_call, assert_one_line, tmp_path):
    # Brains in a body that only masks remove, in files without orientation.
    study = tmp_path / 'study'
    shutil.copytree(phantom_call[1], study)
    for path in sorted(study.rglob('*.nii.gz')):
        voxels = data.read_volume(path).data
        if 'mask' not in path.name:
            body = ndimage.binary_dilation(voxels > 0, iterations=8)
            voxels = np.where(voxels > 0, voxels, 0.5 * body).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, None), path)
    config = tmp_path / 'small.toml'
    config.write_text(
        'name = "small"\nfield_of_view = 160\nnum_slices = 12\nstack_share = 0.65\nimage_size = 16\n'
        'test_share = 0.2\ncontext_counts = [0, 2]\n'
    )
    run, cache = tmp_path / 'run', f'--cache_dir={tmp_path / "cache"}'
    small = [
        '--preset=cpu',
        '--steps=1',
        '--batch_size=1',
        '--set=sequence_length=4',
        '--set=model.factors=2',
        '--set=start_volumes=8',
    ]
    flags = [f'--dataset_config={config}', f'--data_dir={study}', f'--output_dir={run}', cache, *small]
    done = call_warm('train', *flags, '--use_masks', '--assume_ras')
    assert_quiet(done, r'Data: ', r'There are no validation subjects: ', r'Training has begun', r'step 1 ')
    info = json.loads((run / 'run.json').read_text())['info']
    assert (info['use_masks'], info['assume_ras']) == (True, True)
    evaluate = ['--contexts=2', '--num_samples=1', '--score_samples=1', '--max_subjects=1', '--nobaselines']
    done = call_warm('evaluate', f'--run_dir={run}', cache, *evaluate)
    assert_quiet(done, r'Evaluating on ', r'\d+ contexts: ')
    # With the masks, the volumes equal the phantoms, whose background is 0.
    definition = read_run(run).definition
    masked = data.load_population(
        definition, study, tmp_path / 'cache', use_masks=info['use_masks'], assume_ras=info['assume_ras']
    ).images
    plain = data.load_population(definition, study, tmp_path / 'cache', assume_ras=True).images
    expected = data.load_population(definition, phantom_call[1], tmp_path / 'cache').images
    assert np.abs(masked - expected).mean() < 0.002 < 0.02 < np.abs(plain - expected).mean()
    # When the run is resumed or evaluated, the masks are required again.
    next(study.glob('sub-*/anat/*_mask.nii.gz')).unlink()
    done = call_warm('train', f'--output_dir={run}', '--resume', '--steps=2', cache)
    assert_one_line(done, 'train', 'has no mask')
    assert_one_line(call_warm('evaluate', f'--run_dir={run}', cache, *evaluate), 'evaluate', 'has no mask')


def test_train_accepts_another_anatomy(call_warm, phantom_call, tmp_path):
    config = tmp_path / 'coronal.toml'
    config.write_text(
        'name = "coronal-brain"\nfield_of_view = 150\nnum_slices = 16\nstack_share = 0.7\nplane = "coronal"\n'
        'image_size = 16\ntest_share = 0.3\ncontext_counts = [0, 2]\n'
    )
    run = tmp_path / 'run'
    flags = [f'--data_dir={phantom_call[1]}', f'--output_dir={run}', f'--cache_dir={tmp_path / "cache"}']
    small = [
        '--preset=cpu',
        '--steps=1',
        '--batch_size=1',
        '--set=sequence_length=4',
        '--set=model.factors=2',
        '--set=model.flow.alpha=0.3',
    ]
    done = call_warm('train', f'--dataset_config={config}', *flags, *small)
    assert_quiet(done, r'Data: ', r'There are no validation subjects: ', r'Training has begun', r'step 1 ')
    settings = json.loads((run / 'run.json').read_text())
    assert settings['model']['flow']['alpha'] == 0.3
    definition = settings['dataset']
    assert (definition['name'], definition['plane'], definition['num_slices']) == ('coronal-brain', 'coronal', 16)
    assert definition['context_slices'] == {'0': [], '2': [5, 11]}
    scan = phantom_call[1] / 'sub-0001' / 'anat' / 'sub-0001_T2w.nii.gz'
    flags = ['--slices=5,11', '--std_samples=0', '--noreport', '--spacing=3', f'--output_dir={tmp_path / "out"}']
    assert_quiet(call_warm('reconstruct', f'--run_dir={run}', f'--stack={scan}', *flags))
    mean = data.read_volume(tmp_path / 'out' / 'mean.nii.gz')
    assert nibabel.aff2axcodes(mean.affine) == ('R', 'A', 'S')
    # On the planes of the contexts, the completed volume shows the scan.
    stack = data.extract_stack(data.read_volume(scan), structure(data.DatasetDefinition, definition, 'report'))
    h, w = np.meshgrid(np.arange(16), np.arange(16), indexing='ij')
    points = nibabel.affines.apply_affine(stack.affine, np.stack([w, h, np.full_like(w, 11)], -1).reshape(-1, 3))
    assert np.corrcoef(sample_at(mean, points), stack.images[11].ravel())[0, 1] > 0.9
