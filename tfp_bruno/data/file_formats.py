"""Unpacking gzip files whole, within a bound."""

import pathlib
import zlib
from typing import NoReturn

from tfp_bruno.errors import UserError

# (offset, first bytes, what such a file is, the mend)
SIGNATURES = (
    (128, b'DICM', 'is a DICOM file', 'convert the series, e.g. with dcm2niix'),
    (0, b'NRRD', 'is an NRRD file', 'convert it, e.g. with 3D Slicer or SimpleITK'),
    (0, b'ObjectType', 'is a MetaImage header', 'convert it, e.g. with 3D Slicer or SimpleITK'),
    (0, b'\0\0\0\1', 'is an MGH file', 'convert it, e.g. with mri_convert'),
    (0, b'\x89HDF', 'is a MINC or HDF5 file', 'convert it, e.g. with mnc2nii'),
    (0, b'CDF', 'is a MINC file', 'convert it, e.g. with mnc2nii'),
    (0, b'PK\3\4', 'is a zip archive', 'unpack it'),
    (0, b'\x1f\x8b', 'is packed with gzip twice', 'unpack it once'),
    (0, b'BZh', 'is packed with bzip2', 'unpack it, or pack it with gzip'),
    (0, b'\xfd7zXZ', 'is packed with xz', 'unpack it, or pack it with gzip'),
    (0, b'\x28\xb5\x2f\xfd', 'is packed with zstd', 'unpack it, or pack it with gzip'),
    (0, b'version https://git-lfs', 'is a pointer of Git LFS', 'fetch its content with git lfs pull'),
    (0, b'/annex/objects/', 'is a pointer of git-annex', 'fetch its content with git annex get'),
)
PAIR_SUFFIXES = ('.img', '.img.gz')
HALF_OF_A_PAIR = 'is one half of an Analyze or NIfTI pair (.hdr and .img)'
GZIP_MAGIC = b'\x1f\x8b'
_GZIP_FORMAT = 31
# Some writers pad a file.
_SLACK = 1 << 20


def unpack(content: bytes, path: pathlib.Path, size: int, whole: bool = True) -> bytes:
    """Returns the unpacked bytes of a file that may be packed; checksums are verified where all of it is asked for.

    Args:
        content: the bytes of the file.
        path: the file, for the error.
        size: bytes that are expected.
        whole: whether the file must end about there; if not, its first `size` bytes are enough.

    Returns:
        The content itself where it is not packed.

    Raises:
        UserError: if the file is cut short, damaged, or unpacks to more than is expected.
    """
    if not content.startswith(GZIP_MAGIC):
        return content if whole else content[:size]
    limit = size + _SLACK if whole else size
    parts: list[bytes] = []
    rest = content
    try:
        # A file may consist of several members, as parallel packers write them; zeros may follow the last.
        while rest:
            member = zlib.decompressobj(_GZIP_FORMAT)
            parts.append(member.decompress(rest, max(limit - sum(map(len, parts)), 1)))
            if not member.eof:
                if whole:
                    raise _error(path, len(b''.join(parts)) >= limit)
                break
            rest = member.unused_data.lstrip(b'\0')
    except zlib.error as error:
        raise UserError(f'{path}: is cut short or damaged ({error}); copy or download it again.') from error
    except MemoryError:
        raise UserError(f'{path}: unpacks to more than the memory; crop it or resample it first.') from None
    return b''.join(parts)


def refuse_other_format(head: bytes, path: pathlib.Path) -> NoReturn:
    """Raises a UserError that says what a file is that does not begin as NIfTI does.

    Args:
        head: its first bytes, unpacked.
        path: the file.
    """
    for offset, signature, what, mend in SIGNATURES:
        if head.startswith(signature, offset):
            raise UserError(f'{path}: {what}, not a NIfTI volume; {mend}.')
    if path.name.lower().endswith(PAIR_SUFFIXES):
        raise UserError(f'{path}: {HALF_OF_A_PAIR}; convert the pair to one .nii file.')
    raise UserError(f'{path}: is not a NIfTI file; give a .nii or .nii.gz volume.')


def _error(path: pathlib.Path, is_longer: bool) -> UserError:
    """Returns the error of a file whose packed data do not end where they should."""
    if is_longer:
        return UserError(f'{path}: unpacks to more than its header promises; write it again.')
    return UserError(f'{path}: is cut short or damaged (its packed data have no end); copy or download it again.')
