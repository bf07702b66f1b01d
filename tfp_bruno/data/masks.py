"""Masks and label maps: the mask of a volume, found by its name, and label maps, recognised by their voxels."""

import collections
import pathlib
from collections.abc import Iterable

import numpy as np

from tfp_bruno.data.file_names import is_nifti, parse_name, stem_of
from tfp_bruno.errors import UserError

MOST_LABELS = 64
# Share of neighbouring voxels with equal values inside the anatomy: noise or texture leaves few.
LEAST_FLAT = 0.6
# Number of voxels that are looked at first: enough to recognise most intensities.
_SAMPLE = 20_000


class MaskFinder:
    """Finds the mask of each volume in the volume's folder.

    The mask of a BIDS file `sub-01_ses-1_T2w` is named `sub-01_ses-1_T2w_desc-brain_mask`,
    `sub-01_ses-1_desc-brain_mask`, `sub-01_ses-1_T2w_mask` or `sub-01_ses-1_mask`; that of another file `case_01` is
    named `case_01_mask` or `mask_case_01`.
    """

    def __init__(self, volumes: Iterable[pathlib.Path]):
        """Creates a finder.

        Args:
            volumes: All volumes, so that a mask shared by two of them is noticed.
        """
        self._owners: dict[tuple[pathlib.Path, str], set[pathlib.Path]] = collections.defaultdict(set)
        self._files: dict[pathlib.Path, dict[str, list[pathlib.Path]]] = {}
        for volume in volumes:
            for name in mask_names(stem_of(volume)):
                self._owners[volume.parent, name].add(volume)

    def find(self, volume: pathlib.Path) -> pathlib.Path:
        """Returns the mask of one of the volumes.

        Raises:
            UserError: If it has no mask, more than one, or a mask that belongs to another volume as well.
        """
        names = mask_names(stem_of(volume))
        found = [path for name in names for path in self._list(volume.parent)[name]]
        if not found:
            raise UserError(
                f'{volume}: has no mask; put one beside it, named {" or ".join(names)} (.nii or .nii.gz), or leave '
                '`use_masks` out.'
            )
        if len(found) > 1:
            raise UserError(f'{volume}: has two masks, {found[0].name} and {found[1].name}; remove one.')
        (mask,) = found
        others = sorted(self._owners[volume.parent, stem_of(mask)] - {volume})
        if others:
            raise UserError(
                f'{mask}: would be the mask of both {volume.name} and {others[0].name}; give each its own, such as '
                f'{names[0]}.nii.gz.'
            )
        return mask

    def _list(self, folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
        """Returns the NIfTI files of a folder keyed by their names without suffix."""
        if folder not in self._files:
            self._files[folder] = collections.defaultdict(list)
            for path in sorted(folder.iterdir()):
                if is_nifti(path):
                    self._files[folder][stem_of(path)].append(path)
        return self._files[folder]


def mask_names(stem: str) -> list[str]:
    """Returns the names, without suffix, that the mask of a volume may have; no other volume can share the first."""
    parts = parse_name(stem)
    if not parts.subject.startswith('sub-'):
        return [f'{stem}_mask', f'mask_{stem}']
    # The mask of `desc-preproc` is `desc-brain`.
    plain = [part for part in parts.entities if not part.startswith('desc-')]
    bases = dict.fromkeys([stem, '_'.join([parts.subject, *parts.entities]), '_'.join([parts.subject, *plain])])
    return [f'{base}_{end}' for end in ('desc-brain_mask', 'mask') for base in bases]


def is_label_map(data: np.ndarray) -> bool:
    """Returns whether voxels are labels: a few small whole numbers, most of them used, in flat regions; or a mask.

    Args:
        data: Voxels `[X, Y, Z]`.
    """
    if not _may_be_labels(np.unique(data.reshape(-1)[:: max(1, data.size // _SAMPLE)])):
        return False
    values = np.unique(data)
    if not _may_be_labels(values) or (len(values) > 2 and len(values) < (values[-1] + 1) / 2):
        return False
    same = pairs = 0
    for axis in range(3):
        moved = np.moveaxis(data, axis, 0)
        one, two = moved[:-1], moved[1:]
        inside = (one != 0) | (two != 0)
        pairs += int(np.count_nonzero(inside))
        same += int(np.count_nonzero(inside & (one == two)))
    return bool(same >= LEAST_FLAT * pairs > 0)


def _may_be_labels(values: np.ndarray) -> bool:
    """Returns whether distinct values are few, whole and not negative."""
    return len(values) <= MOST_LABELS and values[0] >= 0 and bool(np.all(values == np.round(values)))
