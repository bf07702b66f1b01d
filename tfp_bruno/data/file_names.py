"""The name of a volume's file: format, subject, session, kind of image, and the file it was derived from."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Sequence

SUFFIXES = ('.nii', '.nii.gz')
# Formats that are not read; such files beside NIfTI files cause a warning.
OTHER_FORMATS = (
    *('.hdr', '.hdr.gz', '.img', '.img.gz', '.nii.bz2', '.nii.xz', '.nii.zst', '.mgh', '.mgz', '.nrrd', '.nhdr'),
    *('.mha', '.mhd', '.dcm', '.dicom', '.ima', '.mnc', '.head', '.brik', '.brik.gz', '.par', '.gipl', '.gipl.gz'),
)
# Files with one of these words in their name, with or without a number, hold labels, not intensities.
LABEL_WORDS = {
    *('mask', 'masks', 'brainmask', 'brainmasks', 'lungmask', 'seg', 'segs', 'dseg', 'pseg', 'probseg', 'pveseg'),
    *('segmentation', 'segmentations', 'label', 'labels', 'labelmap', 'labelmaps', 'annotation', 'annotations'),
    *('parc', 'parcellation', 'aseg', 'aparc', 'synthseg', 'drawem', 'ribbon', 'mixeltype', 'groundtruth'),
}
# Endings of files derived from a volume and named after it: `case_Tilt_1`, `case_tissue` from `case`. Such words may
# also be part of an ordinary name, so they count only if the file they were derived from is there.
_DERIVED = re.compile(
    r'_(?:'
    # Converters (dcm2niix).
    r'(?:tilt|eq|crop)(?:_\d+)?|roi\d*|adc|real|imaginary|ph|phmag|phase|moco|e\d+'
    # Label maps and tissue probabilities of atlases and segmentation tools.
    r'|tissues?|regional|regions?|cp|wm|gm|csf|pve|dilated|eroded|rois|lesions?|gt|truth|manual|prob|probmap'
    r'|ventricles?|lobes?|lungs?|gtv|contours?'
    r')(?:_\d+)?$',
    re.IGNORECASE,
)
_COMPLEX_PART = re.compile(r'_part-(?:phase|real|imag)(?=_|$)')
_BIDS_SUBJECT = re.compile(r'sub-[^_]+(?=_|$)')
_SESSION = re.compile(r'ses-[^_]+|(?:ses|session|visit|timepoint|tp)-?\d+', re.IGNORECASE)
# The BIDS entities only: with any word before the hyphen, `patient_id-7` would be an image of `patient`.
_ENTITY = re.compile(
    rf'{_SESSION.pattern}|(?:run|acq|rec|ce|trc|echo|part|chunk|inv|mt|flip|dir|mod|task|sample|space|res|den|desc'
    r'|label|hemi|proc)-[^_]+',
    re.IGNORECASE,
)
# Endings of images of one subject that differ in contrast or processing: `case_T1` and `case_T2`.
_KIND = re.compile(
    r'_(?:t[12](?:w|ce|gd|c|map|star)?|pdw?|flair|swi|dwi|adc|mprage|haste|bssfp|tse|svr|cta?|mri?|pet'
    r'|brain|bet|n4|biascorr|masked|preproc|reg|registered|norm|normali[sz]ed|denoised|resampled|cropped|orig|raw)$',
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class NameParts:
    """Parts of a name such as `sub-01_ses-2_run-1_T2w`.

    Attributes:
        subject: The subject, such as `sub-01`; in a name that is not BIDS, everything before the first entity.
        entities: The BIDS entities after the subject, such as `('ses-2', 'run-1')`.
        kind: The rest, such as `T2w`; empty if there is none, None if it is unknown.
    """

    subject: str
    entities: tuple[str, ...] = ()
    kind: str | None = ''

    @property
    def session(self) -> str:
        """The session, such as `ses-2`; empty if the name has none."""
        return next((part for part in self.entities if _SESSION.fullmatch(part)), '')


def parse_name(stem: str) -> NameParts:
    """Returns the parts of a name without its suffix."""
    parts = stem.split('_')
    is_bids = _BIDS_SUBJECT.match(stem) is not None
    found = [index for index, part in enumerate(parts) if index and _ENTITY.fullmatch(part)]
    end = 1 if is_bids else next(iter(found), len(parts))
    rest = parts[end:]
    entities = tuple(part for part in rest if _ENTITY.fullmatch(part) or (is_bids and '-' in part))
    # Numbers distinguish images of one kind.
    kind = '_'.join(part for part in rest if part not in entities and not part.isdecimal())
    return NameParts('_'.join(parts[:end]), entities, kind)


def split_kind(name: str) -> tuple[str, str]:
    """Splits `case_T2` into the name without the contrast or processing at its end, and that ending."""
    bare = name
    while match := _KIND.search(bare):
        bare = bare[: match.start()]
    return (bare, name[len(bare) + 1 :]) if bare else (name, '')


def stem_of(path: pathlib.Path) -> str:
    """Returns the name of a NIfTI file without its suffix, in upper or lower case."""
    return re.sub(r'\.nii(\.gz)?$', '', path.name, flags=re.IGNORECASE)


def is_nifti(path: pathlib.Path) -> bool:
    """Returns whether a path has a NIfTI suffix, in upper or lower case, and is not hidden."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith('.')


def is_other_image(path: pathlib.Path) -> bool:
    """Returns whether a path has the suffix of an image in another format, and is not hidden."""
    return path.name.lower().endswith(OTHER_FORMATS) and not path.name.startswith('.')


def is_labels(path: pathlib.Path) -> bool:
    """Returns whether a NIfTI file is a mask or a label map, judged by its name."""
    words = re.split(r'[_\-. +]', stem_of(path).lower())
    return not LABEL_WORDS.isdisjoint(word.rstrip('0123456789') for word in words)


def is_broken_link(path: pathlib.Path) -> bool:
    """Returns whether a path is a broken symbolic link, as of git-annex before the content is fetched."""
    return path.is_symlink() and not path.exists()


def derived_from(stem: str, others: Collection[str]) -> str | None:
    """Returns the name, among `others`, of the file that a file was derived from, judged by its own; None if none."""
    whole = _COMPLEX_PART.sub('', stem)
    magnitude = _COMPLEX_PART.sub('_part-mag', stem)
    for candidate in (whole, magnitude):
        if candidate != stem and candidate in others:
            return candidate
    while match := _DERIVED.search(stem):
        stem = stem[: match.start()]
        if stem in others:
            return stem
    return None


def name_some(paths: Sequence[pathlib.Path], most: int = 5) -> str:
    """Returns the names of a few files, and how many more there are."""
    names = ', '.join(path.name for path in paths[:most])
    return f'{names} and {len(paths) - most} more' if len(paths) > most else names
