"""NIfTI headers: a header that cannot be correct is an error of one line, a repaired one causes a warning."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from tfp_bruno.data.file_formats import HALF_OF_A_PAIR, refuse_other_format
from tfp_bruno.errors import UserError, warn

# A file starts with the size of its header, in the byte order of its data.
HEADER_CLASSES = {
    size.to_bytes(4, order): header_class
    for size, header_class in ((348, nibabel.Nifti1Header), (540, nibabel.Nifti2Header))
    for order in ('little', 'big')
}
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
# Upper limit of voxels, beyond any scan: 2 GiB of float32.
MOST_VOXELS = 2**29
# Upper limit of bytes before the voxels: header extensions have kilobytes.
LARGEST_OFFSET = 2**28
# Millimetres per unit, by the code of the unit: unknown, metre, millimetre, micrometre.
UNITS = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
# Limits in mm; a header beyond them is damaged, whatever its orientation code.
SMALLEST_VOXEL, LARGEST_VOXEL = 0.01, 100.0
FARTHEST = 1e5
# Volume of a voxel divided by the product of its sides: 1 at right angles.
LEAST_RECTANGULAR = 0.5
# Relative difference between the voxel sizes of an sform and of pixdim that exceeds rounding.
SIZES_DIFFER = 0.03


class OrientationError(UserError):
    """A file without an orientation in the world."""


@dataclasses.dataclass(frozen=True)
class Header:
    """The header of one 3-D volume.

    Attributes:
        repaired: Repaired header, with which the volume is read.
        stored: Header as stored in the file.
        path: The file.
    """

    repaired: nibabel.Nifti1Header
    stored: nibabel.Nifti1Header
    path: pathlib.Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis; axes from the fourth on have length 1."""
        return self.repaired.get_data_shape()

    @property
    def slice_axis(self) -> int | None:
        """Axis along which slices were acquired; None if the header does not contain it."""
        return self.repaired.get_dim_info()[2]

    @property
    def num_bytes(self) -> int:
        """Number of bytes of the whole file, unpacked."""
        return self.repaired.get_data_offset() + math.prod(self.shape) * self.repaired.get_data_dtype().itemsize


def parse_header(head: bytes, path: pathlib.Path) -> Header:
    """Returns the header of a file, and warns of repairs.

    Args:
        head: The first bytes of the file, unpacked.
        path: The file, for errors and warnings.

    Raises:
        UserError: If the file is not NIfTI, its header is damaged, or it is not one 3-D volume of intensities.
    """
    header_class = HEADER_CLASSES.get(head[:4])
    if header_class is None:
        refuse_other_format(head, path)
    if len(head) < header_class.sizeof_hdr:
        raise UserError(f'{path}: is cut short, within its header; copy it again.')
    notices = _Notices()
    try:
        stored = header_class(head[: header_class.sizeof_hdr], check=False)
        _check_single(stored, path)
        repaired = stored.copy()
        repaired.check_fix(logger=notices)
        _repair_offset(repaired, notices)
        _check_scaling(repaired, notices)
        header = Header(repaired, stored, path)
        _check_size(header)
    except HEADER_ERRORS as error:
        raise UserError(f'{path}: its NIfTI header is damaged ({one_line(error)}); write it again.') from error
    if notices.messages:
        warn(f'{path}: its header breaks the NIfTI standard: {"; ".join(notices.messages)}.')
    return header


def choose_affine(header: Header, assume_ras: bool) -> np.ndarray:
    """Returns the affine of a valid sform, otherwise of a valid qform, otherwise of the voxel sizes if that is allowed.

    Args:
        header: The header.
        assume_ras: Whether a file with neither an sform nor a qform counts as RAS, centred at world 0, instead of
            being an error.

    Returns:
        Voxel indices to world RAS mm, float64 `[4, 4]`.

    Raises:
        OrientationError: If there is no orientation.
        UserError: If the affine depends on voxel sizes that had to be repaired, or is implausible.
    """
    path, repaired = header.path, header.repaired
    sform, qform = _valid_affine(repaired.get_sform), _valid_affine(repaired.get_qform)
    if sform is not None:
        affine = sform
        if qform is not None and not np.allclose(sform, qform, atol=1e-2, rtol=1e-3):
            warn(f'{path}: its sform and qform differ; the sform is used.')
        else:
            _compare_sizes(header, sform)
    elif qform is None and not assume_ras:
        raise OrientationError(
            f'{path}: has neither a valid sform nor a valid qform, so its orientation is unknown; set one, or give '
            '`assume_ras`.'
        )
    else:
        _check_sizes(header)
        if repaired['sform_code'] > 0:
            other = 'voxel sizes are' if qform is None else 'qform is'
            warn(f'{path}: its sform cannot be used (singular or not finite); its {other}.')
        affine = _centred(header) if qform is None else qform
    return _plausible(_in_millimetres(header, affine), path)


def one_line(error: Exception) -> str:
    """Returns the message of an exception on one line."""
    return ' '.join(str(error).split())


class _Notices:
    """Collects the messages about one header, in place of nibabel's logger, which prints and is global."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def log(self, level: int, message: str) -> None:
        """Keeps a message; at level 0, a check found nothing."""
        if level:
            self.messages.append(message)


def _check_single(header: nibabel.Nifti1Header, path: pathlib.Path) -> None:
    """Raises a UserError if the voxels are in another file."""
    magic = header['magic'].item()
    if magic == header.pair_magic:
        raise UserError(f'{path}: {HALF_OF_A_PAIR}; convert the pair to one .nii file.')
    if magic != header.single_magic:
        raise UserError(
            f'{path}: is an Analyze 7.5 header, or its NIfTI magic is damaged; convert the pair to one .nii file, '
            'or write it again.'
        )


def _repair_offset(header: nibabel.Nifti1Header, notices: _Notices) -> None:
    """Repairs an offset of 0, with which the header would be read as voxels."""
    if header['vox_offset'] == 0:
        header['vox_offset'] = header.single_vox_offset
        notices.log(1, f'vox_offset is 0; setting it to {header.single_vox_offset}, the end of the header')


def _check_scaling(header: nibabel.Nifti1Header, notices: _Notices) -> None:
    """Notes a scaling that cannot be used; by the standard, a slope and intercept of 0 mean no scaling."""
    slope, inter = float(header['scl_slope']), float(header['scl_inter'])
    if header.get_slope_inter() == (None, None) and (slope, inter) != (0, 0):
        notices.log(1, f'scl_slope is {slope:g} and scl_inter {inter:g}; stored values are used unscaled')


def _check_size(header: Header) -> None:
    """Raises an error if the file does not hold one 3-D volume of intensities."""
    path, shape, data_type = header.path, header.shape, header.repaired.get_data_dtype()
    size = ' x '.join(str(length) for length in shape)
    if not shape or min(shape) < 1:
        raise HeaderDataError(f'a size of {size or "nothing"}')
    if len(shape) == 2:
        raise UserError(f'{path}: is 2-D ({size}); save it as {size} x 1 with its affine.')
    if len(shape) < 3 or math.prod(shape[3:]) != 1:
        raise UserError(f'{path}: is {len(shape)}-D ({size}), not one 3-D volume; extract one 3-D frame first.')
    if data_type.kind not in 'iuf':
        raise UserError(f'{path}: voxels of type {data_type} are not intensities; convert them to float32.')
    if math.prod(shape) > MOST_VOXELS:
        raise UserError(f'{path}: has {math.prod(shape):.3g} voxels, more than can be processed; crop or resample it.')
    if header.repaired.get_data_offset() > LARGEST_OFFSET:
        raise HeaderDataError(f'vox_offset is {header.repaired.get_data_offset()}')


def _valid_affine(get_affine: Callable[..., tuple[np.ndarray | None, int]]) -> np.ndarray | None:
    """Returns the affine of `header.get_sform` or `header.get_qform`, or None if it is unset or cannot be inverted."""
    try:
        affine, code = get_affine(coded=True)
    except (HeaderDataError, ValueError):
        return None
    if not code or affine is None or not np.all(np.isfinite(affine)):
        return None
    return affine.astype(np.float64) if abs(np.linalg.det(affine[:3, :3])) > 1e-9 else None


def _centred(header: Header) -> np.ndarray:
    """Returns the affine of a volume with RAS axes, centred at world 0."""
    spacing = header.stored['pixdim'][1:4].astype(np.float64)
    centre = spacing * (np.array(header.shape[:3]) - 1) / 2
    return nibabel.affines.from_matvec(np.diag(spacing), -centre)


def _check_sizes(header: Header) -> None:
    """Raises a UserError if voxel sizes or handedness, on which the affine depends, are not valid in the file."""
    qfac, *sizes = header.stored['pixdim'][:4].tolist()
    if not all(0 < size < math.inf for size in sizes):
        found = ' x '.join(f'{size:g}' for size in sizes)
        raise UserError(
            f'{header.path}: has voxels of {found} mm by its pixdim, and no sform; set pixdim, or an sform, from the '
            'original images.'
        )
    # By the standard, 0 means 1.
    if qfac not in (-1, 0, 1):
        raise UserError(
            f'{header.path}: pixdim[0] is {qfac:g}, not 1 or -1, and there is no sform, so left and right are '
            'unknown; set an sform.'
        )


def _compare_sizes(header: Header, sform: np.ndarray) -> None:
    """Warns if the voxel sizes of an sform and of pixdim differ; sizes that nibabel repairs have their own warning."""
    spacing, sizes = nibabel.affines.voxel_sizes(sform), header.stored['pixdim'][1:4].astype(np.float64)
    if np.any(~(np.abs(sizes / spacing - 1) < SIZES_DIFFER) & ~(sizes <= 0)):
        ours, theirs = (' x '.join(f'{side:.4g}' for side in sides) for sides in (spacing, sizes))
        warn(f'{header.path}: has voxels of {ours} mm by its sform but {theirs} mm by its pixdim; the sform is used.')


def _in_millimetres(header: Header, affine: np.ndarray) -> np.ndarray:
    """Returns an affine in mm, converted from the unit in the header."""
    code = int(header.stored['xyzt_units']) & 7
    if code not in UNITS:
        warn(f'{header.path}: its unit of length (xyzt_units) has the unknown code {code}; mm is assumed.')
    factor = UNITS.get(code, 1.0)
    if factor == 1:
        return affine
    name = 'metres' if factor > 1 else 'micrometres'
    warn(f'{header.path}: its header is in {name}; its affine is multiplied by {factor:g} to be in mm.')
    return np.diag([factor, factor, factor, 1.0]) @ affine


def _plausible(affine: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Returns an affine, or raises a UserError if it is implausible for a scan."""
    spacing = nibabel.affines.voxel_sizes(affine)
    if spacing.min() < SMALLEST_VOXEL or spacing.max() > LARGEST_VOXEL:
        size = ' x '.join(f'{side:g}' for side in spacing)
        raise UserError(f'{path}: has voxels of {size} mm, which cannot be; correct affine and units in its header.')
    if np.abs(affine[:3, 3]).max() > FARTHEST:
        raise UserError(f'{path}: lies more than {FARTHEST:g} mm from world 0; correct the affine in its header.')
    if abs(np.linalg.det(affine[:3, :3])) < LEAST_RECTANGULAR * np.prod(spacing):
        raise UserError(f'{path}: has axes far from right angles; correct the affine in its header.')
    return affine
