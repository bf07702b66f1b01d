"""Label maps among intensities, recognised by their voxels."""

import numpy as np

MOST_LABELS = 64
# Share of the voxels' neighbours inside the anatomy that are the same: noise or texture leaves few.
LEAST_FLAT = 0.6
_LOOK = 20_000


def is_label_map(data: np.ndarray) -> bool:
    """Tells whether voxels are labels: a few small whole numbers, most of them used, in flat regions; or a mask.

    Args:
        data: `[X, Y, Z]`.
    """
    # Most volumes are told apart by a few of their voxels.
    step = max(1, data.size // _LOOK)
    if not _may_be_labels(np.unique(data.reshape(-1)[::step])):
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
    """Tells whether distinct values are few, whole and not negative."""
    return len(values) <= MOST_LABELS and values[0] >= 0 and bool(np.all(values == np.round(values)))
