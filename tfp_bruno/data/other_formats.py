"""Files that are no NIfTI volume, named by their first bytes, so that the error can say how to convert them."""

import pathlib
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
