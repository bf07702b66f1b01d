"""What the name of a volume's file tells: its format, its subject and session, and what it was made from."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Sequence

SUFFIXES = ('.nii', '.nii.gz')
# Images that are not read; whoever has them among NIfTI files is told.
OTHER_FORMATS = (
    *('.hdr', '.hdr.gz', '.img', '.img.gz', '.nii.bz2', '.nii.xz', '.nii.zst', '.mgh', '.mgz', '.nrrd', '.nhdr'),
    *('.mha', '.mhd', '.dcm', '.dicom', '.ima', '.mnc', '.head', '.brik', '.brik.gz', '.par', '.gipl', '.gipl.gz'),
)
# A file with one of these words in its name, with or without a number, holds labels, not intensities.
LABEL_WORDS = {
    *('mask', 'masks', 'brainmask', 'brainmasks', 'lungmask', 'seg', 'segs', 'dseg', 'pseg', 'probseg', 'pveseg'),
    *('segmentation', 'segmentations', 'label', 'labels', 'labelmap', 'labelmaps', 'annotation', 'annotations'),
    *('parc', 'parcellation', 'aseg', 'aparc', 'synthseg', 'drawem', 'ribbon', 'mixeltype', 'groundtruth'),
}
# What else is made of a volume and named after it: `case_Tilt_1`, `case_tissue` of `case`. As these words may also
# belong to a name of its own, they count only beside the file that they were made of.
_MADE = re.compile(
    r'_(?:'
    # Of converters (dcm2niix).
    r'(?:tilt|eq|crop)(?:_\d+)?|roi\d*|adc|real|imaginary|ph|phmag|phase|moco|e\d+'
    # Label maps and tissue probabilities, as atlases and segmentation tools name them.
    r'|tissues?|regional|regions?|cp|wm|gm|csf|pve|dilated|eroded|rois|lesions?|gt|truth|manual|prob|probmap'
    r'|ventricles?|lobes?|lungs?|gtv|contours?'
    r')(?:_\d+)?$',
    re.IGNORECASE,
)
_COMPLEX_PART = re.compile(r'_part-(?:phase|real|imag)(?=_|$)')
_BIDS_SUBJECT = re.compile(r'sub-[^_]+(?=_|$)')
_SESSION = re.compile(r'ses-[^_]+|(?:ses|session|visit|timepoint|tp)-?\d+', re.IGNORECASE)
# What BIDS allows after the subject; any word before a hyphen would take `patient_id-7` for an image of `patient`.
_ENTITY = re.compile(
    rf'{_SESSION.pattern}|(?:run|acq|rec|ce|trc|echo|part|chunk|inv|mt|flip|dir|mod|task|sample|space|res|den|desc'
    r'|label|hemi|proc)-[^_]+',
    re.IGNORECASE,
)
# Images of one subject that differ in contrast or in how they were worked on: `case_T1` and `case_T2`.
_KIND = re.compile(
    r'_(?:t[12](?:w|ce|gd|c|map|star)?|pdw?|flair|swi|dwi|adc|mprage|haste|bssfp|tse|svr|cta?|mri?|pet'
    r'|brain|bet|n4|biascorr|masked|preproc|reg|registered|norm|normali[sz]ed|denoised|resampled|cropped|orig|raw)$',
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class NameParts:
    """The parts of a name such as `sub-01_ses-2_run-1_T2w`.

    Attributes:
        subject: `sub-01`; of a name that is not BIDS what comes before the first entity.
        entities: what lies between, such as `('ses-2', 'run-1')`.
        kind: the rest, such as `T2w`; empty if there is none, None if it is not known.
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
    # Numbers count images of one kind.
    kind = '_'.join(part for part in rest if part not in entities and not part.isdecimal())
    return NameParts('_'.join(parts[:end]), entities, kind)


def split_kind(name: str) -> tuple[str, str]:
    """Returns the name of a subject without the contrast or processing at its end, and that (`case_T2`)."""
    bare = name
    while match := _KIND.search(bare):
        bare = bare[: match.start()]
    return (bare, name[len(bare) + 1 :]) if bare else (name, '')


def stem_of(path: pathlib.Path) -> str:
    """Returns the name of a NIfTI file without its suffix, whatever the case of that."""
    return re.sub(r'\.nii(\.gz)?$', '', path.name, flags=re.IGNORECASE)


def is_nifti(path: pathlib.Path) -> bool:
    """Tells whether a path has a NIfTI suffix, in whatever case, and is not hidden."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith('.')


def is_other_image(path: pathlib.Path) -> bool:
    """Tells whether a path has the suffix of an image in another format."""
    return path.name.lower().endswith(OTHER_FORMATS) and not path.name.startswith('.')


def is_labels(path: pathlib.Path) -> bool:
    """Tells by its name whether a NIfTI file is a mask or a label map."""
    words = re.split(r'[_\-. +]', stem_of(path).lower())
    return not LABEL_WORDS.isdisjoint(word.rstrip('0123456789') for word in words)


def is_broken_link(path: pathlib.Path) -> bool:
    """Tells whether a path is a symbolic link to nothing, as of git-annex before its content is fetched."""
    return path.is_symlink() and not path.exists()


def made_of(stem: str, others: Collection[str]) -> str | None:
    """Returns which of the other names a file was made of, by its own; None for a volume of its own."""
    whole = _COMPLEX_PART.sub('', stem)
    magnitude = _COMPLEX_PART.sub('_part-mag', stem)
    for candidate in (whole, magnitude):
        if candidate != stem and candidate in others:
            return candidate
    while match := _MADE.search(stem):
        stem = stem[: match.start()]
        if stem in others:
            return stem
    return None


def name_some(paths: Sequence[pathlib.Path], most: int = 5) -> str:
    """Returns the names of a few files, and how many more there are."""
    names = ', '.join(path.name for path in paths[:most])
    return f'{names} and {len(paths) - most} more' if len(paths) > most else names
