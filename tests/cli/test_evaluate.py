"""`bin/evaluate` on other volumes than the run's, and an experiment of the paper."""

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def other_volumes(phantom_call, workplace):
    """A folder of three subjects of the population, two of which the run was trained on, without their split."""
    folder = workplace / 'other'
    folder.mkdir()
    for path in sorted(phantom_call[1].glob('sub-*/anat/*_T2w.nii.gz'))[-3:]:
        (folder / path.name).symlink_to(path)
    return folder


def test_other_volumes_are_all_test_subjects(call_warm, tiny_run, workplace, phantom_call, other_volumes, tmp_path):
    moved, out = tmp_path / 'moved', tmp_path / 'out'
    # The training subjects have been moved; --train_data_dir gives their folder.
    moved.symlink_to(phantom_call[1])
    flags = [f'--data_dir={other_volumes}', f'--train_data_dir={moved}', f'--output_dir={out}', '--contexts=4']
    done = call_warm(
        'evaluate', f'--run_dir={tiny_run}', *flags, '--num_samples=1', f'--cache_dir={workplace / "cache"}'
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((out / 'metrics.json').read_text())
    assert (found['num_subjects'], found['num_trained_on'], found['num_train_subjects']) == (3, 2, 5)
    assert found['data'] == f'volumes of {other_volumes.name}, 3 volumes'
    assert found['trained_on'] == 'phantoms'


def test_experiment_of_the_paper_with_a_temperature(call_warm, tiny_run, workplace, tmp_path):
    flags = [
        '--experiment=exp2',
        '--temperature=0.5',
        '--max_subjects=1',
        '--num_samples=1',
        f'--output_dir={tmp_path}',
    ]
    done = call_warm('evaluate', f'--run_dir={tiny_run}', *flags, f'--cache_dir={workplace / "cache"}')
    assert done.returncode == 0, done.stderr
    table = (tmp_path / 'experiment.md').read_text()
    assert '0.679 / 0.876' in table
    assert table.strip() in done.stdout
    found = json.loads((tmp_path / 'metrics.json').read_text())
    assert {count: len(slices) for count, slices in found['context_slices'].items()} == {'1': 1, '3': 3, '4': 4, '7': 7}
    assert found['temperature'] == 0.5
    assert 'deviate from the mean 0.5 times' in (tmp_path / 'metrics.md').read_text()


def test_shards_and_then_the_whole_equal_one_run(call_warm, tiny_run, workplace, other_volumes, tmp_path):
    flags = [f'--run_dir={tiny_run}', f'--data_dir={other_volumes}', '--num_samples=2', '--nobaselines']
    flags += [f'--cache_dir={workplace / "cache"}']
    alone = call_warm('evaluate', *flags, f'--output_dir={tmp_path / "alone"}')
    assert alone.returncode == 0, alone.stderr
    for number, count in ((1, 2), (2, 2), (4, 4)):
        part = call_warm('evaluate', *flags, f'--output_dir={tmp_path / "shards"}', f'--shard={number}/{count}')
        assert part.returncode == 0, part.stderr
        assert part.stderr.splitlines()[-1].startswith(f'Shard {number}/{count}')
        assert part.stdout == (f'{tmp_path / "shards" / "subjects"}\n' if count == 2 else '')
    # The fourth of four shards of three subjects is empty. Only the whole has a report.
    assert [path.name for path in (tmp_path / 'shards').iterdir()] == ['subjects']
    whole = call_warm('evaluate', *flags, f'--output_dir={tmp_path / "shards"}')
    assert whole.returncode == 0, whole.stderr
    assert '3 of 3 subjects were scored before.' in whole.stderr
    for name in ('metrics.json', 'metrics.md', 'completions.png'):
        assert (tmp_path / 'shards' / name).read_bytes() == (tmp_path / 'alone' / name).read_bytes()


def test_experiment_with_moving_subjects(call_warm, tiny_run, workplace, tmp_path):
    flags = ['--experiment=svr', '--max_subjects=1', f'--output_dir={tmp_path}', f'--cache_dir={workplace / "cache"}']
    done = call_warm('evaluate', f'--run_dir={tiny_run}', *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'svr.md').read_text().strip() in done.stdout
    rows = json.loads((tmp_path / 'svr.json').read_text())['averages']
    assert {row['start'] for row in rows} >= {'gaussian average', 'training mean', 'deformed neighbours', 'completion'}
    assert {(row['translation'], row['rotation']) for row in rows} == {(10, 0), (10, 10), (20, 10)}
    assert (tmp_path / 'starts.png').exists()


def test_only_moving_subjects_are_compared_in_an_experiment(call_warm, tiny_run, assert_one_line):
    done = call_warm('evaluate', f'--compare={tiny_run},{tiny_run}', '--experiment=exp2')
    assert_one_line(done, 'evaluate', '--experiment=svr')
    done = call_warm('evaluate', f'--run_dir={tiny_run}', '--experiment=svr', '--shard=1/2')
    assert_one_line(done, 'evaluate', '--shard', '--experiment=svr')
    done = call_warm('evaluate', f'--compare={tiny_run},{tiny_run}', '--experiment=svr')
    assert_one_line(done, 'evaluate', '--compare', 'each run once')
