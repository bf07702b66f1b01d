"""The commands of `bin/` as a user calls them, and a small population with a run of two steps."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno import data
from tfp_bruno.bijectors import GlowSettings
from tfp_bruno.contracts import RunInfo
from tfp_bruno.models import ModelSettings
from tfp_bruno.runs import Run, write_run
from tfp_bruno.training import TrainingSettings

BIN = pathlib.Path(__file__).resolve().parents[2] / 'bin'

# TensorFlow takes ten seconds to import. This process imports it once, without any computation, and forks for each
# call, which has its own process and flags, but starts at once.
WARM = """
import faulthandler, json, os, resource, runpy, sys, threading, time, traceback
import matplotlib.pyplot, skimage.metrics, tensorflow, tensorflow_probability
import tfp_bruno.evaluation, tfp_bruno.phantoms, tfp_bruno.runs, tfp_bruno.training, tfp_bruno.reconstruction
import tfp_bruno.reconstruction.atlas, tfp_bruno.reconstruction.study

def end_if_idle():
    # A command that hangs uses no processor time, however slow the machine is.
    used = -1.0
    while time.process_time() - used > 0.1:
        used = time.process_time()
        time.sleep(240)
    faulthandler.dump_traceback()
    os._exit(71)

def become(request):
    for name, descriptor in (('stdout', 1), ('stderr', 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    # Seconds of processor time, not of a clock, which a busy machine would exceed.
    resource.setrlimit(resource.RLIMIT_CPU, (1800, 1800))
    threading.Thread(target=end_if_idle, daemon=True).start()
    sys.argv = request['argv']
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

while line := sys.stdin.readline():
    child = os.fork()
    if not child:
        become(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def _call(name, *flags):
    return subprocess.run([sys.executable, BIN / name, *map(str, flags)], capture_output=True, text=True, check=False)


@pytest.fixture(scope='session')
def call():
    """Runs a command in a fresh process: `call('train', '--steps=2')`."""
    return _call


@pytest.fixture(scope='session')
def call_warm(tmp_path_factory):
    """Like `call`, in a process that has imported TensorFlow already."""
    folder = tmp_path_factory.mktemp('warm')
    command = [sys.executable, '-c', WARM]
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=BIN.parent, env=environment
    ) as server:

        def call_it(name, *flags):
            argv = [str(BIN / name), *map(str, flags)]
            request = {'argv': argv, 'stdout': str(folder / 'stdout'), 'stderr': str(folder / 'stderr')}
            server.stdin.write(json.dumps(request) + '\n')
            server.stdin.flush()
            code = int(server.stdout.readline())
            return types.SimpleNamespace(
                returncode=code, stdout=(folder / 'stdout').read_text(), stderr=(folder / 'stderr').read_text()
            )

        yield call_it
        server.stdin.close()


@pytest.fixture(scope='session')
def assert_one_line():
    """Checks that a call ended in one line on stderr that holds all the given words."""

    def check(done, program, *words):
        assert done.returncode in (1, 2), done.stderr
        assert done.stderr.startswith(f'bin/{program}: error: '), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.endswith('\n')
        assert done.stdout == ''
        for word in words:
            assert str(word) in done.stderr, done.stderr

    return check


@pytest.fixture(scope='session')
def write_blobs():
    """Writes a small volume of random blobs in an ellipsoid of the size of a brain, the same for the same seed."""

    def write(path, seed=0):
        shape = (14, 19, 16)
        noise = np.random.default_rng(seed).normal(size=shape)
        grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing='ij'), -1)
        inside = ((grid / [5, 6, 5.5]) ** 2).sum(-1) < 1
        blobs = inside * np.clip(ndimage.gaussian_filter(noise, 2) * 2000 + 500, 100, None).astype(np.float32)
        data.write_volume(path, blobs, np.diag([8.0, 8, 8, 1]))
        return path

    return write


@pytest.fixture(scope='session')
def workplace(tmp_path_factory):
    """The folder that the calls of a session share."""
    return tmp_path_factory.mktemp('workplace')


@pytest.fixture(scope='session')
def phantom_call(workplace):
    """The call of `bin/phantom` that made six subjects, and their folder."""
    folder = workplace / 'population'
    return _call('phantom', '--dataset=fetal', f'--output_dir={folder}', '--subjects=6'), folder


@pytest.fixture(scope='session')
def train_call(workplace, phantom_call):
    """The call of `bin/train` that took two steps on them, and its run."""
    flag_file = workplace / 'flags.txt'
    flag_file.write_text(
        '# a small run\n--preset=cpu\n--steps=2\n--batch_size=1\n--set=sequence_length=5\n'
        '--set=model.factors=4\n--set=start_volumes=8\n'
    )
    flags = [f'--data_dir={phantom_call[1]}', f'--output_dir={workplace / "run"}', f'--cache_dir={workplace / "cache"}']
    return _call('train', '--dataset=fetal', *flags, f'--flagfile={flag_file}'), workplace / 'run'


@pytest.fixture(scope='session')
def run_dir(train_call):
    """The run of `train_call`."""
    done, folder = train_call
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='session')
def phantom_frame(phantom_call, workplace):
    """The training frame of the six subjects for twelve slices of 16 x 16, as JSON."""
    contexts = {0: (), 4: (1, 4, 7, 10)}
    definition = dataclasses.replace(
        data.get_definition('fetal'), num_slices=12, image_size=16, context_slices=contexts
    )
    return data.load_population(definition, phantom_call[1], workplace / 'cache').frame.to_json()


@pytest.fixture(scope='session')
def make_tiny_run(phantom_call, phantom_frame):
    """Writes the settings of a run on the six subjects with a tiny model; nothing is trained."""

    def make(folder, **training):
        contexts = {0: (), 4: (1, 4, 7, 10)}
        definition = dataclasses.replace(
            data.get_definition('fetal'), num_slices=12, image_size=16, context_slices=contexts
        )
        flow = GlowSettings(
            first_squeeze=2, couplings=(1,), filters=(4,), dense_couplings=1, dense_units=8, pose_units=4
        )
        settings = TrainingSettings(**{'steps': 2, 'batch_size': 1, 'sequence_length': 4, **training})
        info = RunInfo(str(phantom_call[1]), 'phantoms', True, 6, seed=0, preset='cpu', frame=phantom_frame)
        run = Run(
            folder,
            definition,
            ModelSettings((16, 16, 1), 12, flow=flow, factors=2),
            settings,
            info,
        )
        write_run(run)
        data.write_split(run.split_file, data.read_split(phantom_call[1] / 'participants.tsv'))
        return run

    return make


@pytest.fixture(scope='session')
def tiny_call(workplace, make_tiny_run, call_warm):
    """The call that trained a tiny run, as if resumed before its first checkpoint, and the run."""
    run = make_tiny_run(workplace / 'tiny')
    return call_warm('train', f'--output_dir={run.folder}', '--resume', f'--cache_dir={workplace / "cache"}'), run


@pytest.fixture(scope='session')
def tiny_run(tiny_call):
    """The run of `tiny_call`."""
    done, run = tiny_call
    assert done.returncode == 0, done.stderr
    return run.folder
