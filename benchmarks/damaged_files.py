"""Completes volumes from files that were damaged at random: every one must end in a volume or in one line.

    python benchmarks/damaged_files.py --files=500

Each file is completed in a process of its own, which may take 30 seconds and 2 GiB of memory. The model is a stand-in
that knows one ellipsoid: what is tried is everything around it.
"""

import dataclasses
import gzip
import os
import pathlib
import signal
import struct
import sys
import tempfile
import traceback

import nibabel
import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.cli import app
from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import get_definition, read_volume
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import (
    OutputSettings,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    reconstruct,
)

FILES = flags.DEFINE_integer('files', 500, 'How many files.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the damage.')

MOST_SECONDS = 30
MOST_BYTES = 2 << 30
SETTINGS = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(spacing=4.0, keep_contexts=True))
# Where numbers lie in a NIfTI-1 header, as struct has them.
FIELDS = {
    'sizeof_hdr': (0, '<i'),
    'dim': (40, '<8h'),
    'datatype': (70, '<2h'),
    'pixdim': (76, '<8f'),
    'vox_offset': (108, '<f'),
    'slope': (112, '<2f'),
    'codes': (252, '<2h'),
    'quaternion': (256, '<6f'),
    'srow': (280, '<12f'),
    'magic': (344, '<i'),
}
EXTREMES = (0, -1, 1, 7, 255, 32767, -32768, 2**31 - 1, float('nan'), float('inf'), -float('inf'), 1e30, 1e-30, -1e-3)


class StandIn:
    """A model that knows one ellipsoid."""

    name, sampling, temperature = 'stand-in', {}, 1.0
    info = RunInfo(None, 'one ellipsoid', is_phantom=True, phantom_subjects=0, seed=0, preset='cpu')

    def __init__(self):
        """Makes the ellipsoid."""
        self.definition = get_definition('fetal')
        k, h, w = np.meshgrid(np.linspace(-1, 1, 80), *[np.linspace(-1, 1, 64)] * 2, indexing='ij')
        self._images = (0.6 * (k**2 + 2 * h**2 + 3 * w**2 < 0.8)).astype(np.float32)

    def predict(self, context_images, context_slices, query_slices):
        """Returns the ellipsoid for every subject."""
        return np.repeat(self._images[np.newaxis, query_slices], len(context_images), 0)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the completion of a damaged file ended.

    Attributes:
        damage: what was done to the file.
        status: exit status: 0 for a volume, 1 for an error of the user's.
        stderr: what was printed.
        peak_bytes: memory of the process.
        leftovers: files that lie in the folder of the output although there is no volume.
    """

    damage: str
    status: int
    stderr: str
    peak_bytes: int
    leftovers: tuple[str, ...]

    @property
    def is_good(self):
        """Whether the file ended in a volume or in one clear line, and left nothing else."""
        lines = self.stderr.splitlines()
        one_line = self.status == 0 or (
            self.status == 1 and len([line for line in lines if line.startswith('error: ')]) == 1
        )
        return one_line and 'Traceback' not in self.stderr and not self.leftovers and self.peak_bytes < MOST_BYTES


def damage(content, rng):
    """Returns a damaged copy of an unpacked NIfTI file, packed or not, and what was done to it."""
    content, kinds = bytearray(content), []
    for _ in range(rng.integers(1, 4)):
        kind = rng.choice(
            ['flip', 'header byte', 'field', 'cut', 'zeros', 'more'], p=[0.15, 0.25, 0.35, 0.1, 0.1, 0.05]
        )
        kinds.append(str(kind))
        if kind == 'flip':
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        elif kind == 'header byte':
            content[rng.integers(min(352, len(content)))] = rng.integers(256)
        elif kind == 'field' and len(content) >= 352:
            kinds[-1] = _change_field(content, rng)
        elif kind == 'cut':
            del content[rng.integers(1, len(content)) :]
        elif kind == 'zeros':
            first = rng.integers(len(content))
            length = min(int(rng.integers(1, 5000)), len(content) - first)
            content[first : first + length] = bytes(length)
        else:
            content += rng.bytes(int(rng.integers(1, 5000)))
    if rng.random() < 0.5:
        return bytes(content), '.nii', ', '.join(kinds)
    packed = bytearray(gzip.compress(bytes(content), compresslevel=1))
    if rng.random() < 0.4:
        packed[rng.integers(2, len(packed))] ^= 1 << rng.integers(8)
        kinds.append('flip in gz')
    elif rng.random() < 0.2:
        del packed[rng.integers(2, len(packed)) :]
        kinds.append('cut gz')
    return bytes(packed), '.nii.gz', ', '.join(kinds)


def _change_field(content, rng):
    """Writes an extreme number into a field of a header; returns the name of the field."""
    name = str(rng.choice(list(FIELDS)))
    offset, form = FIELDS[name]
    values = list(struct.unpack_from(form, content, offset))
    value = EXTREMES[rng.integers(len(EXTREMES))]
    if form[-1] in 'hi':
        limit = 2**15 if form[-1] == 'h' else 2**31
        value = int(np.clip(np.nan_to_num(value), -limit, limit - 1))
    values[rng.integers(len(values))] = value
    struct.pack_into(form, content, offset, *values)
    return f'{name} {value}'


def try_files(count, seed, folder):
    """Damages and completes files.

    Args:
        count: how many.
        seed: of the damage.
        folder: a folder to work in.

    Yields:
        The Outcome of each.
    """
    rng = np.random.default_rng(seed)
    voxels = rng.integers(1, 1000, (20, 24, 22)).astype(np.int16)
    voxels[:3] = 0
    content = nibabel.Nifti1Image(voxels, np.diag([6.0, 5.0, 5.5, 1.0])).to_bytes()
    model = StandIn()
    for number in range(count):
        damaged, suffix, kinds = damage(content, rng)
        work = folder / str(number)
        work.mkdir()
        scan = work / f'scan{suffix}'
        scan.write_bytes(damaged)
        yield _outcome(model, scan, work / 'out', kinds)


def _outcome(model, scan, out, kinds):
    """Completes one file in a process of its own."""
    log = scan.with_name('stderr')
    child = os.fork()
    if not child:
        _complete_and_exit(model, scan, out, log)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    expected = {scan.name, 'stderr', *(['out'] if code == 0 else [])}
    leftovers = tuple(path.name for path in scan.parent.iterdir() if path.name not in expected)
    if code == 0 and not (out / 'mean.nii.gz').exists():
        leftovers += ('no mean.nii.gz',)
    return Outcome(kinds, code, log.read_text(errors='replace'), usage.ru_maxrss << 10, leftovers)


def _complete_and_exit(model, scan, out, log):
    """Ends the process: 0 with a volume, 1 with a line, 70 with a traceback, by a signal after too long."""
    code = 70
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(MOST_SECONDS)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        try:
            volume = read_volume(scan)
            reconstruct(model, contexts_of_scan(volume, SliceSelection(slices=(40,)), model.definition), out, SETTINGS)
            code = 0
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main():
    """Tries the files and prints what became of them.

    Raises:
        UserError: if a file ended in anything but a volume or one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(try_files(FILES.value, SEED.value, pathlib.Path(folder)))
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    volumes = sum(outcome.status == 0 for outcome in outcomes)
    peak = max(outcome.peak_bytes for outcome in outcomes) >> 20
    print(
        f'{len(outcomes)} files: {volumes} volumes, {len(outcomes) - volumes - len(bad)} errors of one line, ', end=''
    )
    print(f'{len(bad)} others; most memory {peak} MiB')
    for outcome in bad:
        print(f'{outcome.damage}: status {outcome.status}, {outcome.leftovers}\n{outcome.stderr}')
    if bad:
        raise UserError(f'{len(bad)} damaged files ended badly.')


if __name__ == '__main__':
    app.run_main(main)
