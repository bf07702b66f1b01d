"""What a file is by its first bytes: gzip, which is unpacked within a bound, or a format that is not read."""

import pathlib
import zlib
from typing import NoReturn

from tfp_bruno.errors import UserError

GZIP_MAGIC = b'\x1f\x8b'
# `wbits` of zlib for the gzip format.
_GZIP_FORMAT = 31
# Bytes beyond the expected size: some writers pad a file.
_SLACK = 1 << 20

# (offset, first bytes, what such a file is, how to convert it)
SIGNATURES = (
    (128, b'DICM', 'is a DICOM file', 'convert the series, e.g. with dcm2niix'),
    (0, b'NRRD', 'is an NRRD file', 'convert it, e.g. with 3D Slicer or SimpleITK'),
    (0, b'ObjectType', 'is a MetaImage header', 'convert it, e.g. with 3D Slicer or SimpleITK'),
    (0, b'\0\0\0\1', 'is an MGH file', 'convert it, e.g. with mri_convert'),
    (0, b'\x89HDF', 'is a MINC or HDF5 file', 'convert it, e.g. with mnc2nii'),
    (0, b'CDF', 'is a MINC file', 'convert it, e.g. with mnc2nii'),
    (0, b'PK\3\4', 'is a zip archive', 'unpack it'),
    (0, GZIP_MAGIC, 'is packed with gzip twice', 'unpack it once'),
    (0, b'BZh', 'is packed with bzip2', 'unpack it, or pack it with gzip'),
    (0, b'\xfd7zXZ', 'is packed with xz', 'unpack it, or pack it with gzip'),
    (0, b'\x28\xb5\x2f\xfd', 'is packed with zstd', 'unpack it, or pack it with gzip'),
    (0, b'version https://git-lfs', 'is a pointer of Git LFS', 'fetch its content with git lfs pull'),
    (0, b'/annex/objects/', 'is a pointer of git-annex', 'fetch its content with git annex get'),
)
PAIR_SUFFIXES = ('.img', '.img.gz')
HALF_OF_A_PAIR = 'is one half of an Analyze or NIfTI pair (.hdr and .img)'


def unpack(content: bytes, path: pathlib.Path, size: int, whole: bool = True) -> bytes:
    """Unpacks the bytes of a file if they are packed with gzip.

    Args:
        content: The bytes of the file.
        path: The file, for the message.
        size: Expected number of unpacked bytes.
        whole: Whether to unpack and verify the whole file, checksums included, which must not be much longer than
            `size`; otherwise only its first `size` bytes are unpacked.

    Returns:
        The unpacked bytes; the content itself if it is not packed.

    Raises:
        UserError: If the file is cut short, damaged, or unpacks to more than expected.
    """
    if not content.startswith(GZIP_MAGIC):
        return content if whole else content[:size]
    limit = size + _SLACK if whole else size
    parts: list[bytes] = []
    rest = content
    try:
        # Parallel compressors write several members; zeros may follow the last one.
        while rest:
            member = zlib.decompressobj(_GZIP_FORMAT)
            parts.append(member.decompress(rest, max(limit - sum(map(len, parts)), 1)))
            if not member.eof:
                if whole:
                    raise _unpacking_error(path, len(b''.join(parts)) >= limit)
                break
            rest = member.unused_data.lstrip(b'\0')
    except zlib.error as error:
        raise UserError(f'{path}: is cut short or damaged ({error}); copy or download it again.') from error
    except MemoryError:
        raise UserError(f'{path}: does not fit into memory when unpacked; crop it or resample it first.') from None
    return b''.join(parts)


def refuse_other_format(head: bytes, path: pathlib.Path) -> NoReturn:
    """Raises a `UserError` that names the format of a file that is not NIfTI, and how to convert it.

    Args:
        head: The first bytes of the file, unpacked.
        path: The file.
    """
    for offset, signature, what, remedy in SIGNATURES:
        if head.startswith(signature, offset):
            raise UserError(f'{path}: {what}, not a NIfTI volume; {remedy}.')
    if path.name.lower().endswith(PAIR_SUFFIXES):
        raise UserError(f'{path}: {HALF_OF_A_PAIR}; convert the pair to one .nii file.')
    raise UserError(f'{path}: is not a NIfTI file; give a .nii or .nii.gz volume.')


def _unpacking_error(path: pathlib.Path, is_longer: bool) -> UserError:
    """Returns the error of a file whose packed data do not end where they should."""
    if is_longer:
        return UserError(f'{path}: unpacks to more than its header promises; write it again.')
    return UserError(f'{path}: is cut short or damaged (its packed data have no end); copy or download it again.')
