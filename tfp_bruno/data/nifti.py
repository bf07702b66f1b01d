"""Reading and writing NIfTI volumes: every problem with a file is an error of one line."""

import dataclasses
import gzip
import io
import os
import pathlib

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from tfp_bruno.data import atomic
from tfp_bruno.data.file_formats import unpack
from tfp_bruno.data.nifti_header import HEADER_ERRORS, Header, choose_affine, one_line, parse_header
from tfp_bruno.errors import UserError, warn

# Number of bytes that hold the header of any NIfTI file, and the signatures of other formats.
LONGEST_HEADER = 1024


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume on the grid of its file.

    Attributes:
        data: Voxels, finite and not constant, float32 `[X, Y, Z]`.
        affine: Voxel indices to world RAS mm, float64 `[4, 4]`.
        path: File of the volume.
        slice_axis: Axis along which slices were acquired, according to the header; None if unknown.
    """

    data: np.ndarray
    affine: np.ndarray
    path: pathlib.Path
    slice_axis: int | None = None


def read_volume(path: str | os.PathLike, assume_ras: bool = False) -> Volume:
    """Reads a NIfTI volume fully and checks it.

    If a valid sform and the qform differ, the sform is used. This and every repair of the header cause a warning.

    Args:
        path: `.nii` or `.nii.gz` file, 3-D or 4-D with one frame, of any orientation and spacing.
        assume_ras: Whether a file with neither an sform nor a qform counts as RAS, centred at world 0, instead of
            being an error.

    Raises:
        UserError: If the file is missing, unreadable, cut short, not NIfTI, not one 3-D volume, without an orientation,
            not finite, empty or constant.
    """
    path = pathlib.Path(path)
    return parse_volume(read_file(path), path, assume_ras)


def read_mask(path: str | os.PathLike, volume: Volume, assume_ras: bool = False) -> np.ndarray:
    """Reads a mask on the grid of a volume.

    Args:
        path: NIfTI file; voxels above 0 are inside.
        volume: The volume.
        assume_ras: See `read_volume`.

    Returns:
        bool `[X, Y, Z]`, not all False.

    Raises:
        UserError: If the file cannot be used, see `read_volume`, is on another grid, or marks nothing. It may be
            constant.
    """
    path = pathlib.Path(path)
    mask = _parse(read_file(path), path, assume_ras)
    if mask.data.shape != volume.data.shape or not np.allclose(mask.affine, volume.affine, atol=1e-2, rtol=1e-3):
        raise UserError(f'{path}: is on another grid than {volume.path}; resample the mask to the volume.')
    if not (mask.data > 0).any():
        raise UserError(f'{path}: marks nothing, every voxel is 0; give a mask that is 1 inside, or none.')
    return mask.data > 0


def read_file(path: pathlib.Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f'{path}: is a device or a pipe, not a file; give a .nii or .nii.gz file.')
        return path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise UserError(
                f'{path}: its content is not there: a broken link; fetch it, e.g. with git annex get or datalad get.'
            ) from None
        raise UserError(f'{path}: there is no such file; check the path.') from None
    except IsADirectoryError:
        raise UserError(f'{path}: is a folder, not a volume; give a .nii or .nii.gz file.') from None
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path}: cannot be read ({getattr(error, "strerror", error)}); check path and permissions.'
        ) from error
    except MemoryError:
        raise UserError(f'{path}: does not fit into memory; crop it or resample it first.') from None


def parse_volume(content: bytes, path: pathlib.Path, assume_ras: bool = False) -> Volume:
    """Returns the volume in the bytes of a NIfTI file; for arguments and errors see `read_volume`."""
    volume = _parse(content, path, assume_ras)
    _check_contrast(volume)
    return volume


def write_volume(path: str | os.PathLike, data: np.ndarray, affine: np.ndarray) -> None:
    """Writes a volume atomically, with a new header: sform and qform are equal, of code 1, in mm; the slope is 1.

    Args:
        path: File ending in `.nii` or `.nii.gz`.
        data: Voxels, float32 or uint8 `[X, Y, Z]`.
        affine: Voxel indices to world RAS mm, `[4, 4]`, without shear.

    Raises:
        UserError: If the file cannot be written.
        ValueError: If the data have another type or rank, or the affine has a shear.
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


def _parse(content: bytes, path: pathlib.Path, assume_ras: bool) -> Volume:
    """Returns the volume, which may be constant, in the bytes of a file."""
    header = parse_header(unpack(content, path, LONGEST_HEADER, whole=False), path)
    # The whole file, since one that is cut short might never fail otherwise; bounded by the size in the header, so that
    # a small file cannot unpack to fill the memory.
    content = unpack(content, path, header.num_bytes)
    surplus = len(content) - header.num_bytes
    if surplus < 0:
        raise UserError(f'{path}: is cut short: its header promises more voxels than it holds; copy it again.')
    if surplus:
        warn(f'{path}: holds {surplus} bytes more than its header promises; they are left out.')
    return Volume(_read_voxels(header, content), choose_affine(header, assume_ras), path, header.slice_axis)


def _read_voxels(header: Header, content: bytes) -> np.ndarray:
    """Returns the voxels as finite float32 `[X, Y, Z]`."""
    path, voxels = header.path, nibabel.arrayproxy.ArrayProxy(io.BytesIO(content), header.repaired)
    try:
        # Values beyond float32 become infinite, and are reported as such.
        with np.errstate(all='ignore'):
            data = np.asarray(voxels, dtype=np.float32)
    except HEADER_ERRORS as error:
        raise UserError(f'{path}: its voxels cannot be read ({one_line(error)}); write it again.') from error
    if not np.isfinite(data.min()) or not np.isfinite(data.max()):
        count = np.count_nonzero(~np.isfinite(data))
        raise UserError(f'{path}: {count} voxels are NaN or infinite; replace them, by 0 where nothing was measured.')
    return data.reshape(data.shape[:3])


def _check_contrast(volume: Volume) -> None:
    """Raises a UserError if a volume is constant."""
    low = volume.data.min()
    if low == volume.data.max():
        what = 'is empty: every voxel is 0' if low == 0 else f'is constant: every voxel is {low:g}'
        raise UserError(f'{volume.path}: {what}; remove the file or write it again.')
