"""Completes volumes from files that are valid but unusual, whose right result is known: none may be wrong in silence.

    python benchmarks/unusual_files.py --files=200

Each file shows the same phantom and differs in one to three ways from the file that `bin/phantom` writes: padding,
cropping, world, orientation, number type, intensities, header, empty slices, resolution. Its completion is compared
with that of the plain file, in the world space of the anatomy. It is right if they correlate by .98 or more; if not, a
warning or an error must say why. Completed by linear interpolation between the contexts, which shows every slice that
was read in the wrong place, and with the training data of a small phantom population.
"""

import dataclasses
import gzip
import pathlib
import struct
import sys
import tempfile

import nibabel
import numpy as np
from absl import flags, logging
from scipy import ndimage
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.baselines import LinearInterpolation
from tfp_bruno.cli import app
from tfp_bruno.data import get_definition, load_population, read_mask, read_volume
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.phantoms import write_population
from tfp_bruno.reconstruction import SliceSelection, complete, contexts_of_scan

FILES = flags.DEFINE_integer('files', 200, 'How many files.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the changes.')

SLICES = (10, 30, 50, 70)
SUBJECTS = 12
RIGHT = 0.98


@dataclasses.dataclass
class Scan:
    """A file in the making.

    Attributes:
        data: `[X, Y, Z]`.
        affine: `[4, 4]`.
        to_plain: `[4, 4]`, from the world of this file to that of the plain one.
        header: what is done to the bytes of its header.
        suffix: of its name.
        mask: whether it needs its mask.
        nifti2: whether it is a NIfTI-2 file.
        dtype: of its voxels on disk.
    """

    data: np.ndarray
    affine: np.ndarray
    to_plain: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    header: list = dataclasses.field(default_factory=list)
    suffix: str = '.nii.gz'
    mask: np.ndarray | None = None
    nifti2: bool = False
    dtype: type = np.float32


def pad(scan, rng):
    """Adds planes of background at any of the six sides."""
    widths = rng.integers(0, 50, (3, 2)) * rng.integers(0, 2, (3, 2))
    background = scan.data[0, 0, 0]
    scan.data = np.pad(scan.data, widths, constant_values=background)
    _move_origin(scan, -widths[:, 0])


def crop(scan, rng):
    """Cuts the background away, all or almost all of it."""
    inside = np.nonzero(scan.data != scan.data[0, 0, 0])
    margin = int(rng.integers(0, 5))
    first = [max(0, index.min() - margin) for index in inside]
    part = tuple(slice(a, index.max() + 1 + margin) for a, index in zip(first, inside, strict=True))
    scan.data = scan.data[part]
    _move_origin(scan, first)


def cut(scan, rng):
    """Leaves a slab of the anatomy."""
    axis, length = rng.integers(3), scan.data.shape
    first = int(rng.uniform(0.3, 0.5) * length[axis])
    part = tuple(slice(first, first + length[axis] // 4) if a == axis else slice(None) for a in range(3))
    scan.data = scan.data[part]
    _move_origin(scan, [first if a == axis else 0 for a in range(3)])


def reorder(scan, rng):
    """Stores the axes in another order, some of them reversed."""
    change = np.array([rng.permutation(3), rng.choice([-1, 1], 3)]).T
    image = nibabel.Nifti1Image(scan.data, scan.affine).as_reoriented(change)
    scan.data, scan.affine = np.asarray(image.dataobj), image.affine


def move_world(scan, rng):
    """Places the scan anywhere in the scanner, turned by up to 20 degrees."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(rng.normal(size=3) * 0.15).as_matrix()
    turn[:3, 3] = rng.normal(0, 80, 3)
    scan.affine, scan.to_plain = turn @ scan.affine, scan.to_plain @ np.linalg.inv(turn)


def resample(scan, rng):
    """Changes the size of the voxels, isotropic or with thick slices along one axis."""
    factors = np.full(3, 1 / rng.uniform(0.7, 1.6))
    if rng.random() < 0.4:
        factors = np.where(np.arange(3) == rng.integers(3), 1 / rng.uniform(2, 4), 1.0)
    smooth = ndimage.gaussian_filter(scan.data, np.maximum(0, 1 / factors - 1) / 2)
    shape = np.array(scan.data.shape)
    scan.data = ndimage.zoom(smooth, factors, order=1, grid_mode=True, mode='nearest')
    actual = shape / np.array(scan.data.shape)
    scan.affine = scan.affine @ nibabel.affines.from_matvec(np.diag(actual), (actual - 1) / 2)


def change_type(scan, rng):
    """Stores the voxels as another type of number."""
    scan.dtype = [np.int16, np.uint16, np.float64, '>f4', '>i2'][rng.integers(5)]


def rescale(scan, rng):
    """Multiplies all intensities."""
    scan.data = scan.data * np.float32(10 ** rng.uniform(-1, 1))


def shift_intensities(scan, rng):
    """Adds a number to all intensities, so that the background is not 0."""
    scan.data = scan.data + np.float32(rng.choice([-0.5, 100.0, -1000.0, 1e-4]))
    scan.dtype = np.float32


def add_rounding(scan, rng):
    """Adds what resampling leaves behind: tiny numbers of both signs in the background."""
    scan.data = scan.data + rng.normal(0, 1e-6, scan.data.shape).astype(np.float32) * scan.data.max()
    scan.dtype = np.float32


def z_score(scan, rng):
    """Subtracts the mean of the foreground and divides by its standard deviation, everywhere or in the foreground."""
    inside = scan.data != scan.data[0, 0, 0]
    scored = (scan.data - scan.data[inside].mean()) / scan.data[inside].std()
    scan.data = (scored if rng.random() < 0.5 else np.where(inside, scored, 0)).astype(np.float32)
    scan.dtype = np.float32


def add_surroundings(scan, rng):
    """Puts bright tissue around the anatomy; half of the files come with a mask."""
    inside = scan.data != scan.data[0, 0, 0]
    tissue = scan.data.max() * rng.uniform(0.2, 0.8, scan.data.shape)
    # Scanners leave corners of the field of view at the background, as they do slices that they blank.
    tissue[0, 0, 0] = scan.data[0, 0, 0]
    scan.data = np.where(inside, scan.data, tissue).astype(np.float32)
    if rng.random() < 0.5:
        scan.mask = inside


def empty_slices(scan, rng):
    """Empties some slices along the third axis, next to each other or all but a few."""
    background, length = scan.data[0, 0, 0], scan.data.shape[2]
    empty = np.zeros(length, bool)
    if rng.random() < 0.5:
        first = int(rng.uniform(0.3, 0.6) * length)
        empty[first : first + int(rng.integers(3, 20))] = True
    else:
        empty[:] = True
        empty[:: int(rng.integers(4, 12))] = False
    scan.data = np.where(empty, background, scan.data)


def qform_only(scan, rng):
    """Leaves the qform alone in the header, sometimes without the size of the slices."""
    scan.header.append(lambda raw, at: struct.pack_into('<h', raw, at['sform_code'], 0))
    if rng.random() < 0.5:
        scan.header.append(lambda raw, at: _change(raw, at['pixdim'], 3, [0.0, -1.0][rng.integers(2)]))


def units(scan, rng):
    """Says that the sizes are in another unit, or in none; some of the files are then in that unit."""
    code = int(rng.choice([0, 1, 3]))
    if rng.random() < 0.7:
        factor = np.diag([*[{0: 1.0, 1: 1e-3, 3: 1e3}[code]] * 3, 1.0])
        scan.affine = factor @ scan.affine
    scan.header.append(lambda raw, at: struct.pack_into('<B', raw, at['xyzt_units'], code))


def slice_axis(scan, rng):
    """Says along which axis slices were acquired."""
    scan.header.append(lambda raw, at: struct.pack_into('<B', raw, at['dim_info'], int(rng.integers(1, 4)) << 4))


def other_name(scan, rng):
    """Gives the file another ending, or another version of the format."""
    scan.suffix = ['.nii', '.NII.GZ', '.Nii'][rng.integers(3)]
    scan.nifti2 = bool(rng.random() < 0.3)


CHANGES = (
    pad,
    crop,
    cut,
    reorder,
    move_world,
    resample,
    change_type,
    rescale,
    shift_intensities,
    add_rounding,
    z_score,
    add_surroundings,
    empty_slices,
    qform_only,
    units,
    slice_axis,
    other_name,
)
# Offsets in a header of NIfTI-1, and of NIfTI-2.
FIELDS = (
    {'dim_info': 39, 'pixdim': 76, 'xyzt_units': 123, 'sform_code': 254},
    {'dim_info': 524, 'pixdim': 104, 'xyzt_units': 500, 'sform_code': 348},
)


def _move_origin(scan, voxels):
    scan.affine = scan.affine @ nibabel.affines.from_matvec(np.eye(3), voxels)


def _change(raw, offset, index, value):
    form = '<f' if offset == FIELDS[0]['pixdim'] else '<d'
    struct.pack_into(form, raw, offset + index * struct.calcsize(form), value)


def write(scan, folder):
    """Writes a scan, and its mask if it has one; returns their paths."""
    kind = nibabel.Nifti2Image if scan.nifti2 else nibabel.Nifti1Image
    image = kind(np.asarray(scan.data, np.float32), scan.affine)
    dtype = np.dtype(scan.dtype)
    if dtype.kind in 'iu':
        values = np.clip(scan.data, np.iinfo(dtype).min if dtype.kind == 'i' else 0, np.iinfo(dtype).max)
        image = kind(np.round(values).astype(dtype.newbyteorder('=')), scan.affine)
    elif dtype.itemsize == 8:
        image = kind(scan.data.astype(np.float64), scan.affine)
    image.set_qform(scan.affine, 1)
    image.set_sform(scan.affine, 1)
    if dtype.byteorder == '>':
        image = kind(image.get_fdata(dtype=np.float32), None, image.header.as_byteswapped('>'))
    path = folder / f'scan{scan.suffix}'
    plain = folder / 'scan.nii'
    nibabel.save(image, plain)
    raw = bytearray(plain.read_bytes())
    # The changes are written for little-endian headers.
    if dtype.byteorder != '>':
        for change in scan.header:
            change(raw, FIELDS[scan.nifti2])
    plain.unlink()
    path.write_bytes(gzip.compress(bytes(raw), compresslevel=1) if path.suffix.lower() == '.gz' else raw)
    if scan.mask is None:
        return path, None
    nibabel.save(kind(scan.mask.astype(np.uint8), scan.affine), folder / 'mask.nii.gz')
    return path, folder / 'mask.nii.gz'


class Reference:
    """The plain file, the training data of its population, and what is made of it."""

    def __init__(self, folder):
        """Makes a phantom population in a folder."""
        write_population('fetal', folder / 'population', SUBJECTS, seed=0, jobs=1)
        self.definition = get_definition('fetal')
        population = load_population(self.definition, folder / 'population', folder / 'cache')
        self.frame = population.frame
        self._model = _Interpolator(self.definition, population.subset('train').images)
        [name] = [n for n, split in population.splits_by_name.items() if split == 'test'][:1]
        volume = read_volume(folder / 'population' / name / 'anat' / f'{name}_T2w.nii.gz')
        self.scan = Scan(volume.data * np.float32(800), volume.affine)
        path, _ = write(self.scan, folder)
        mean, affine = self.complete(path, None)
        self.points = np.argwhere(mean > 0.05)[::20][:, ::-1]
        self.values = mean[tuple(self.points[:, ::-1].T)]
        self.world = nibabel.affines.apply_affine(affine, self.points)

    def complete(self, path, mask_path):
        """Returns the completed mean of a file and its affine; raises a UserError as `bin/reconstruct` does."""
        scan = read_volume(path)
        mask = None if mask_path is None else read_mask(mask_path, scan)
        contexts = contexts_of_scan(scan, SliceSelection(slices=SLICES), self.definition, mask, self.frame)
        return complete(self._model, contexts.images, contexts.positions, 0, 0, 0).mean, contexts.affine

    def correlation(self, mean, affine, to_plain):
        """Returns the correlation of a completion with that of the plain file, in the anatomy."""
        voxels = nibabel.affines.apply_affine(np.linalg.inv(to_plain @ affine), self.world)
        # A point on the last slice may lie outside by rounding.
        values = ndimage.map_coordinates(mean, voxels[:, ::-1].round(3).T, order=1)
        return float(np.corrcoef(values, self.values)[0, 1]) if values.std() > 0 else 0.0


class _Interpolator:
    """Linear interpolation with the interface of a trained model."""

    name = 'linear interpolation'

    def __init__(self, definition, images):
        self.definition = definition
        self.predict = LinearInterpolation(images).predict


def try_files(count, seed, folder):
    """Makes and completes files.

    Args:
        count: how many.
        seed: of the changes.
        folder: a folder to work in.

    Yields:
        What was changed, the correlation (None without a completion), and the lines that were said.
    """
    reference = Reference(folder)
    rng = np.random.default_rng(seed)
    for number in range(count):
        scan = dataclasses.replace(reference.scan, header=[], to_plain=np.eye(4))
        # Each kind in turn, with up to two others.
        chosen = {number % len(CHANGES), *rng.integers(0, len(CHANGES), rng.integers(0, 3))}
        for index in sorted(chosen):
            CHANGES[index](scan, rng)
        names = ', '.join(CHANGES[index].__name__ for index in sorted(chosen))
        work = folder / str(number)
        work.mkdir()
        with collect_warnings() as said:
            try:
                mean, affine = reference.complete(*write(scan, work))
            except UserError as error:
                yield names, None, [*said, f'error: {error}']
                continue
        yield names, reference.correlation(mean, affine, scan.to_plain), list(said)


def main():
    """Tries the files and prints what became of them.

    Raises:
        UserError: if a completion is wrong, and nothing was said.
    """
    logging.set_verbosity(logging.ERROR)
    counts = {'right': 0, 'right, with a warning': 0, 'wrong, with a warning': 0, 'refused': 0, 'wrong in silence': 0}
    with tempfile.TemporaryDirectory() as folder:
        for names, correlation, said in try_files(FILES.value, SEED.value, pathlib.Path(folder)):
            if correlation is None:
                ending = 'refused'
            elif correlation >= RIGHT:
                ending = 'right, with a warning' if said else 'right'
            else:
                ending = 'wrong, with a warning' if said else 'wrong in silence'
            counts[ending] += 1
            print(f'{names}: {ending}{"" if correlation is None else f" ({correlation:.3f})"}', *said, sep='\n    ')
    print(f'{FILES.value} files: ' + ', '.join(f'{count} {ending}' for ending, count in counts.items()))
    if counts['wrong in silence']:
        raise UserError(f'{counts["wrong in silence"]} files gave a wrong volume in silence.')


if __name__ == '__main__':
    app.run_main(main)
