"""Reading and writing NIfTI volumes: every way a file can be wrong is one clear error."""

import dataclasses
import gzip
import math
import os
import pathlib

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from tfp_bruno.data import atomic
from tfp_bruno.data.unpacking import unpack
from tfp_bruno.errors import UserError, warn

# A file starts with the size of its header, in the byte order of its data.
IMAGE_CLASSES = {
    size.to_bytes(4, order): image_class
    for size, image_class in ((348, nibabel.Nifti1Image), (540, nibabel.Nifti2Image))
    for order in ('little', 'big')
}
LONGEST_HEADER = 1024
HEADER_ERRORS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    ValueError,
    OverflowError,
    KeyError,
    TypeError,
)
# More than any scan has: 2 GiB of float32.
MOST_VOXELS = 2**29
LARGEST_ITEM = 16
# A header that says more is damaged, whatever its orientation code.
SMALLEST_VOXEL, LARGEST_VOXEL = 0.01, 100.0
FARTHEST = 1e5
# What git-annex and Git LFS leave in the place of a file whose content was not fetched.
POINTERS = (b'/annex/objects/', b'version https://git-lfs.github.com/spec/')
NOT_FETCHED = 'its content is not there: {}; fetch it, e.g. with git annex get, datalad get or git lfs pull.'
# Volume of a voxel over the product of its sides: 1 at right angles.
LEAST_RECTANGULAR = 0.5


class OrientationError(UserError):
    """A file says nothing of where it lies."""


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume as it lies in its file.

    Attributes:
        data: float32 `[X, Y, Z]`, finite and not constant.
        affine: float64 `[4, 4]`, voxel indices to world RAS mm.
        path: the file it came from.
    """

    data: np.ndarray
    affine: np.ndarray
    path: pathlib.Path


def read_volume(path: str | os.PathLike, assume_ras: bool = False) -> Volume:
    """Reads a NIfTI volume fully and checks it.

    Args:
        path: a `.nii` or `.nii.gz` file, 3-D or 4-D with one frame, of any orientation and spacing.
        assume_ras: take a file that has neither an sform nor a qform as RAS, centred at world 0, not as an error.

    Returns:
        The Volume. A valid sform wins over a qform that differs, with a warning.

    Raises:
        UserError: if the file is missing, unreadable, cut short, not NIfTI, not one 3-D volume, without an orientation,
            not finite, empty or constant.
    """
    path = pathlib.Path(path)
    return parse_volume(read_file(path), path, assume_ras)


def read_mask(path: str | os.PathLike, volume: Volume, assume_ras: bool = False) -> np.ndarray:
    """Reads a mask that lies on the grid of a volume.

    Args:
        path: a NIfTI file; what is above 0 is inside.
        volume: the volume.
        assume_ras: as of `read_volume`.

    Returns:
        bool array of the volume's shape, not all False.

    Raises:
        UserError: as `read_volume`, or if the mask lies on another grid or marks nothing. It may be constant.
    """
    path = pathlib.Path(path)
    image = _parse_image(_decompress(read_file(path), path), path)
    affine, data = _choose_affine(image, path, assume_ras), _read_voxels(image, path)
    if data.shape != volume.data.shape or not np.allclose(affine, volume.affine, atol=1e-2, rtol=1e-3):
        raise UserError(f'{path}: lies on another grid than {volume.path}; resample the mask to the volume.')
    if not (data > 0).any():
        raise UserError(f'{path}: marks nothing, every voxel is 0; give a mask that is 1 inside, or none.')
    return data > 0


def read_file(path: pathlib.Path) -> bytes:
    """Returns the bytes of a file, or raises a UserError that names it."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f'{path}: is no file but a device or a pipe; give a .nii or .nii.gz file.')
        content = path.read_bytes()
        if content.startswith(POINTERS):
            raise UserError(f'{path}: {NOT_FETCHED.format("a pointer")}')
        return content
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(f'{path}: {NOT_FETCHED.format("a broken link")}') from None
        raise UserError(f'{path}: there is no such file; check the path.') from None
    except IsADirectoryError:
        raise UserError(f'{path}: is a folder, not a volume; give a .nii or .nii.gz file.') from None
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path}: cannot be read ({getattr(error, "strerror", error)}); check path and permissions.'
        ) from error
    except MemoryError:
        raise UserError(f'{path}: is larger than the memory; crop it or resample it first.') from None


def parse_volume(content: bytes, path: pathlib.Path, assume_ras: bool = False) -> Volume:
    """Returns the Volume in the bytes of a NIfTI file; for the rest see `read_volume`."""
    image = _parse_image(_decompress(content, path), path)
    affine = _choose_affine(image, path, assume_ras)
    data = _read_voxels(image, path)
    _check_contrast(data, path)
    return Volume(data, affine, path)


def write_volume(path: str | os.PathLike, data: np.ndarray, affine: np.ndarray) -> None:
    """Writes a volume atomically, with qform = sform, both of code 1, in mm, with slope 1 and a fresh header.

    Args:
        path: a file ending in `.nii` or `.nii.gz`.
        data: float32 or uint8 `[X, Y, Z]`.
        affine: `[4, 4]`, voxel indices to world RAS mm, without shear.

    Raises:
        UserError: if the file cannot be written.
        ValueError: if the data have another type or rank, or the affine a shear.
    """
    if data.dtype not in (np.float32, np.uint8) or data.ndim != 3:
        raise ValueError(f'{path}: data must be float32 or uint8 of rank 3, not {data.dtype} of rank {data.ndim}.')
    image = nibabel.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    try:
        image.set_qform(affine, 1, strip_shears=False)
    except HeaderDataError as error:
        raise ValueError(f'{path}: the affine has a shear, which a qform cannot hold.') from error
    image.header.set_xyzt_units('mm')
    content = image.to_bytes()
    if str(path).lower().endswith('.gz'):
        content = gzip.compress(content, compresslevel=3, mtime=0)
    atomic.write_bytes(path, content)


def _decompress(content: bytes, path: pathlib.Path) -> bytes:
    """Returns the whole unpacked file: opened lazily, one that is cut short would fail only later, or never."""
    head = unpack(content, path, LONGEST_HEADER, whole=False)
    image_class = IMAGE_CLASSES.get(head[:4])
    if image_class is None:
        return head
    try:
        header = image_class.header_class(head[: image_class.header_class.sizeof_hdr], check=False)
        promised = int(header.get_data_offset()) + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    except HEADER_ERRORS:
        # What is wrong with the header is said where it is parsed.
        return head
    if not 0 < promised <= MOST_VOXELS * LARGEST_ITEM:
        return head
    # Bounded by what the header promises, a small file cannot unpack to fill the memory.
    return unpack(content, path, promised)


def _parse_image(content: bytes, path: pathlib.Path) -> nibabel.Nifti1Image:
    """Returns the nibabel image of an unpacked file: one 3-D frame, every byte of its data there."""
    image_class = IMAGE_CLASSES.get(content[:4])
    if image_class is None:
        raise UserError(f'{path}: is not a NIfTI file; give a .nii or .nii.gz volume.')
    try:
        # What nibabel mends in a header it tells on stderr.
        with LoggingOutputSuppressor():
            image = image_class.from_bytes(content)
    except HEADER_ERRORS as error:
        raise UserError(f'{path}: its NIfTI header is damaged ({_one_line(error)}); write it again.') from error
    shape = image.shape
    if len(shape) < 3 or math.prod(shape[3:]) != 1:
        size = ' x '.join(str(length) for length in shape)
        raise UserError(f'{path}: is {len(shape)}-D ({size}), not one 3-D volume; extract one 3-D frame first.')
    data_type = image.get_data_dtype()
    if data_type.kind not in 'iuf':
        raise UserError(f'{path}: voxels of type {data_type} are not intensities; convert them to float32.')
    if math.prod(shape) > MOST_VOXELS:
        raise UserError(f'{path}: has {math.prod(shape):.3g} voxels, more than can be worked on; crop or resample it.')
    if min(shape) < 1 or len(content) < image.dataobj.offset + math.prod(shape) * data_type.itemsize:
        raise UserError(f'{path}: is cut short: its header promises more voxels than it holds; copy it again.')
    return image


def _choose_affine(image: nibabel.Nifti1Image, path: pathlib.Path, assume_ras: bool) -> np.ndarray:
    """Returns the affine of a valid sform, else of a valid qform, else of the voxel sizes where that is allowed."""
    sform, qform = _valid_affine(image.header.get_sform), _valid_affine(image.header.get_qform)
    if sform is None and qform is None:
        if assume_ras:
            spacing = np.array(image.header.get_zooms()[:3], dtype=np.float64)
            centre = spacing * (np.array(image.shape[:3]) - 1) / 2
            return _plausible(nibabel.affines.from_matvec(np.diag(spacing), -centre), path)
        raise OrientationError(
            f'{path}: has neither a valid sform nor a valid qform, so its orientation is unknown; '
            'set one, or give --assume_ras.'
        )
    if sform is None:
        return _plausible(qform, path)
    if qform is not None and not np.allclose(sform, qform, atol=1e-2, rtol=1e-3):
        warn(f'{path}: its sform and qform differ; the sform is used.')
    return _plausible(sform, path)


def _plausible(affine: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Returns an affine, or raises a UserError if no scanner writes one like it."""
    spacing = nibabel.affines.voxel_sizes(affine)
    if spacing.min() < SMALLEST_VOXEL or spacing.max() > LARGEST_VOXEL:
        size = ' x '.join(f'{side:g}' for side in spacing)
        raise UserError(f'{path}: has voxels of {size} mm, which cannot be; mend the affine in its header.')
    if np.abs(affine[:3, 3]).max() > FARTHEST:
        raise UserError(f'{path}: lies more than {FARTHEST:g} mm from world 0; mend the affine in its header.')
    if abs(np.linalg.det(affine[:3, :3])) < LEAST_RECTANGULAR * np.prod(spacing):
        raise UserError(f'{path}: has axes far from right angles; mend the affine in its header.')
    return affine


def _valid_affine(get_affine) -> np.ndarray | None:
    """Returns the affine of `header.get_sform` or `header.get_qform`, or None if it is unset or cannot be inverted."""
    try:
        affine, code = get_affine(coded=True)
    except (HeaderDataError, ValueError):
        return None
    if not code or affine is None or not np.all(np.isfinite(affine)):
        return None
    return affine.astype(np.float64) if abs(np.linalg.det(affine[:3, :3])) > 1e-9 else None


def _read_voxels(image: nibabel.Nifti1Image, path: pathlib.Path) -> np.ndarray:
    """Returns the voxels as finite float32 `[X, Y, Z]`."""
    try:
        # What does not fit into float32 becomes infinite, and is reported as that.
        with np.errstate(all='ignore'):
            data = image.get_fdata(dtype=np.float32)
    except HEADER_ERRORS as error:
        raise UserError(f'{path}: its voxels cannot be read ({_one_line(error)}); write it again.') from error
    if not np.isfinite(data.min()) or not np.isfinite(data.max()):
        count = np.count_nonzero(~np.isfinite(data))
        raise UserError(f'{path}: {count} voxels are NaN or infinite; replace them, by 0 where nothing was measured.')
    return data.reshape(data.shape[:3])


def _check_contrast(data: np.ndarray, path: pathlib.Path) -> None:
    """Raises a UserError if a volume has no contrast at all."""
    low = data.min()
    if low == data.max():
        what = 'is empty: every voxel is 0' if low == 0 else f'is constant: every voxel is {low:g}'
        raise UserError(f'{path}: {what}; remove the file or write it again.')


def _one_line(error: Exception) -> str:
    """Returns the message of an exception on one line."""
    return ' '.join(str(error).split())
