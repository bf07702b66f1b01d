"""Measures how volumes come in and go out, and prints a markdown table.

    python benchmarks/volumes.py --run_dir=RUN [--parts=preprocessing,training,completing] [--output=FILE]

Preprocessing: volumes of 160 x 160 x 120 from packed files to the cache, and the memory of that. Training: steps from
the cache beside steps from memory. Completing: bin/reconstruct from its start to its last file. Run it on a machine
that does nothing else; it takes a few minutes and 5 GB of disk.
"""

import gzip
import pathlib
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np
from absl import flags
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.cli import app
from tfp_bruno.data import get_definition, load_population, read_volume
from tfp_bruno.errors import UserError

RUN_DIR = flags.DEFINE_string('run_dir', None, 'A trained run, for completing.')
STACK = flags.DEFINE_string('stack', None, 'A scan to complete; default: a synthetic one.')
PARTS = flags.DEFINE_list('parts', ['preprocessing', 'training', 'completing'], 'What to measure.')
VOLUMES = flags.DEFINE_integer('volumes', 1000, 'How many volumes are preprocessed.', lower_bound=10)
STEPS = flags.DEFINE_integer('steps', 40, 'Training steps of each measurement.', lower_bound=2)
OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- volumes --> is replaced by the table.')

BIN = pathlib.Path(__file__).resolve().parent.parent / 'bin'
SHAPE = (160, 160, 120)
SLICES = '--slices=10,30,50,70'
# What is asked.
VOLUMES_PER_SECOND, SECONDS_FOR_SAMPLES, SECONDS_FOR_MEAN, SLOWER_AT_MOST = 8, 25, 10, 1.05


def synthetic_scan(seed):
    """Returns a packed int16 volume of smooth blobs within an ellipsoid, about as hard to unpack as a brain."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=[length // 2 for length in SHAPE]).astype(np.float32), 2)
    data = ndimage.zoom(coarse, 2, order=1)
    axes = np.meshgrid(*[np.linspace(-1, 1, length) for length in SHAPE], indexing='ij', sparse=True)
    inside = sum(axis**2 for axis in axes) < 0.8
    data = np.where(inside, 600 + 2000 * data + rng.normal(0, 15, SHAPE), 0).clip(0, 3000).astype(np.int16)
    return gzip.compress(nibabel.Nifti1Image(data, np.diag([1.0, 1.0, 1.0, 1.0])).to_bytes(), 6)


def write_volumes(folder, count):
    """Writes files whose bytes differ, from ten scans: the time in the head of a gzip file is free to be anything."""
    scans = [synthetic_scan(seed) for seed in range(10)]
    for number in range(count):
        scan = scans[number % len(scans)]
        content = scan[:4] + struct.pack('<I', number + 1) + scan[8:]
        (folder / f'sub-{number:04d}_T2w.nii.gz').write_bytes(content)


def preprocess(folder, cache):
    """Preprocesses a folder in a process of its own; returns seconds and the peak of its memory in MiB."""
    code = (
        'import sys, time, resource\nfrom tfp_bruno import data\nbegan = time.perf_counter()\n'
        'data.load_population(data.get_definition("fetal"), sys.argv[1], sys.argv[2])\n'
        'print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)\n'
    )
    command = [sys.executable, '-c', code, folder, cache]
    done = subprocess.run(command, cwd=BIN.parent, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def preprocessing(scratch):
    """Returns the rows of preprocessing."""
    rows, peaks = [], []
    for count in (VOLUMES.value // 10, VOLUMES.value):
        folder = scratch / f'volumes-{count}'
        folder.mkdir()
        write_volumes(folder, count)
        seconds, peak = preprocess(folder, scratch / f'cache-{count}')
        peaks.append(peak)
        rate = f'{count / seconds:.1f} volumes/s'
        rows.append((f'{count} volumes of 160 x 160 x 120 to the cache', rate, f'at least {VOLUMES_PER_SECOND}'))
        rows.append((f'peak memory of that, {count} volumes', f'{peak} MiB', ''))
    rows.append(('growth of the peak with ten times the volumes', f'{peaks[1] - peaks[0]} MiB', 'none'))
    seconds, _ = preprocess(folder, scratch / f'cache-{count}')
    rows.append((f'{count} volumes, found in the cache', f'{seconds:.2f} s', ''))
    return rows


def training(scratch):
    """Returns the rows of training: the steps of the cpu preset, from the cache and from memory, by turns."""
    app.import_tensorflow()
    from tfp_bruno.training import make_settings, read_preset
    from tfp_bruno.training.sequences import make_sequences
    from tfp_bruno.training.trainer import Trainer

    folder = scratch / 'training'
    folder.mkdir()
    write_volumes(folder, 60)
    definition = get_definition('fetal')
    model, settings = make_settings('bruno', read_preset('bruno', 'cpu'), definition, 'cpu')
    mapped = load_population(definition, folder, scratch / 'training-cache').subset('train').images
    images = np.array(mapped)
    # Not started from data: a step takes as long.
    trainer = Trainer(model, settings)
    spacing = definition.slice_spacing, definition.pixel_spacing, definition.pixel_spacing
    times = {'cache': [], 'memory': []}
    for turn in range(4):
        for name, source in (('cache', mapped), ('memory', images)):
            sizes = settings.sequence_length, settings.batch_size
            sequences = make_sequences(source, *sizes, spacing, settings.augmentation, turn, settings.common_slices)
            steps = trainer.train(sequences)
            for _ in range(5):
                next(steps)
            for _ in range(STEPS.value // 4):
                began = time.perf_counter()
                next(steps)
                times[name].append(time.perf_counter() - began)
    cache, memory = (statistics.median(times[name]) for name in ('cache', 'memory'))
    ratio = f'{cache / memory:.3f}'
    return [
        ('a training step, images in memory', f'{1000 * memory:.0f} ms', ''),
        ('a training step, images in the cache', f'{1000 * cache:.0f} ms', ''),
        ('cache over memory', ratio, f'at most {SLOWER_AT_MOST}'),
    ]


def completing(scratch):
    """Returns the rows of completing one volume, by bin/reconstruct."""
    if RUN_DIR.value is None:
        raise UserError('--run_dir: is missing; completing needs a trained run.')
    scan = STACK.value
    if scan is None:
        scan = scratch / 'scan.nii.gz'
        scan.write_bytes(synthetic_scan(0))
    read_volume(scan)
    plain = ['--std_samples=0', '--noreport']
    cases = (
        ('the mean of a volume, start included', plain, SECONDS_FOR_MEAN),
        ('its mean and 100 samples, written', ['--num_samples=100', '--noreport'], SECONDS_FOR_SAMPLES),
        ('its mean, deviation of 50 samples, scores and report', [], None),
    )
    rows = []
    for number, (name, given, most) in enumerate(cases):
        command = [sys.executable, BIN / 'reconstruct', f'--run_dir={RUN_DIR.value}', f'--stack={scan}', SLICES, *given]
        began = time.perf_counter()
        subprocess.run([*command, f'--output_dir={scratch / f"out-{number}"}'], check=True, capture_output=True)
        seconds = time.perf_counter() - began
        rows.append((name, f'{seconds:.1f} s', '' if most is None else f'at most {most} s'))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    return [*rows, ('most memory of these', f'{peak} MiB', '')]


def main():
    """Measures, prints, and writes the table where --output says.

    Raises:
        UserError: if a part is unknown, a run is missing, or the file of --output cannot be used.
    """
    parts = {'preprocessing': preprocessing, 'training': training, 'completing': completing}
    for name in PARTS.value:
        if name not in parts:
            raise UserError(f'--parts={name}: is none; give some of {", ".join(parts)}.')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in PARTS.value:
            rows += parts[name](pathlib.Path(folder))
    table = '\n'.join(['| what | figure | asked |', '|---|---|---|', *(f'| {" | ".join(row)} |' for row in rows)])
    print(table)
    if OUTPUT.value:
        app.import_tensorflow()
        from benchmarks import measure

        measure.replace_section(OUTPUT.value, 'volumes', f'{measure.describe_machine()}.\n\n{table}')


if __name__ == '__main__':
    app.run_main(main)
