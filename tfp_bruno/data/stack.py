"""From a volume to the model's stack of slices, and the affine from the stack to the world."""

import dataclasses
import pathlib
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.frame import FOREGROUND_THRESHOLD, Box, TrainingFrame, measure_box
from tfp_bruno.data.intensity_range import intensity_range
from tfp_bruno.data.nifti import Volume
from tfp_bruno.data.orientation import orient
from tfp_bruno.data.placement import AXES, Placement, check_box, place_stack
from tfp_bruno.errors import UserError, warn

# A voxel is background if acquired slices contribute less than this share of its weight.
LEAST_WEIGHT = 0.05


@dataclasses.dataclass(frozen=True)
class Stack:
    """A subject's slices in the model's frame, whose axes (w, h, k) point to `definition.axes`, such as 'LPS'.

    Attributes:
        images: Slices in [0, 1], background 0, float32 `[K, H, W]`.
        affine: (w, h, k, 1) to world RAS mm of the volume, float64 `[4, 4]`.
        intensity_low: Intensity of the volume that became 0.
        intensity_high: Intensity of the volume that became 1.
        path: File of the volume.
        slice_thickness: Side of the volume's voxels along its slice axis, mm.
        box: Where the anatomy lies in the file.
        inside: Whether each slice lies in the volume, bool `[K]`.
        acquired: Whether each slice lies in the volume, and not in empty slices between others, bool `[K]`.
    """

    images: np.ndarray
    affine: np.ndarray
    intensity_low: float
    intensity_high: float
    path: pathlib.Path
    slice_thickness: float
    box: Box
    inside: np.ndarray
    acquired: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Oriented:
    """A volume whose axes point in the directions of the stack's.

    Attributes:
        scaled: Voxels in [0, 1], float32 `[W, H, K]`.
        affine: Voxel indices to world RAS mm, `[4, 4]`.
        low: Intensity that became 0.
        high: Intensity that became 1.
        filled: Whether each slice of the volume holds foreground, bool `[K]`.
        box: Where the anatomy lies in it.
    """

    scaled: np.ndarray
    affine: np.ndarray
    low: float
    high: float
    filled: np.ndarray
    box: Box


class Slicer:
    """Cuts slices out of a volume, in any place of the model's stack.

    Attributes:
        volume: The volume.
        box: Where the anatomy lies in the file, along the stack's axes.
        affine: Affine of the volume's own voxels in the order of the stack's axes, `[4, 4]`, to world mm.
        intensity_low: Intensity of the volume that becomes 0.
    """

    def __init__(self, volume: Volume, definition: DatasetDefinition, mask: np.ndarray | None = None) -> None:
        """Scales and reorients a volume; arguments and errors are those of `extract_stack`."""
        self.volume, self._definition = volume, definition
        self._oriented = _orient(volume, definition, mask)
        self.box, self.affine, self.intensity_low = self._oriented.box, self._oriented.affine, self._oriented.low

    @property
    def foreground(self) -> np.ndarray:
        """The voxels of the anatomy, bool `[W, H, K]`, in the order of `affine`."""
        return self._oriented.scaled > FOREGROUND_THRESHOLD

    @property
    def gaps(self) -> np.ndarray:
        """Indices of empty slices of the volume between others."""
        return _empty_between(self._oriented.filled)

    def placed(self, frame: TrainingFrame | None) -> np.ndarray:
        """Returns the affine of the stack by the rules of `place_stack`; `None` for a stack centred on the file."""
        return _stack_affine(self._oriented, self._definition, frame, self.volume.path)

    def extract(self, frame: TrainingFrame | None = None, affine: np.ndarray | None = None) -> Stack:
        """Returns the stack, with all checks; see `extract_stack`."""
        if affine is None:
            affine = self.placed(frame)
        elif frame is not None and frame.boxes is not None:
            spacing = nibabel.affines.voxel_sizes(self.affine)
            check_box(self.box, spacing, frame.boxes, self.volume.path, partial=True)
        if len(self.gaps):
            warn(
                f'{self.volume.path}: {len(self.gaps)} of its {len(self._oriented.filled)} slices are empty between '
                'others; they count as not acquired.'
            )
        return self.stack(affine)

    def stack(self, affine: np.ndarray) -> Stack:
        """Returns the stack of an affine, `[4, 4]`, (w, h, k, 1) to world mm, without checks."""
        oriented, size = self._oriented, _stack_size(self._definition)
        grid = np.linalg.inv(oriented.affine) @ affine
        images = _resample(oriented, grid, size)
        position = grid[2, :2] @ ((size[:2] - 1) / 2) + grid[2, 2] * np.arange(size[2]) + grid[2, 3]
        filled = oriented.filled
        inside = acquired = (position > -0.5) & (position < len(filled) - 0.5)
        if len(self.gaps):
            acquired = inside & filled[np.clip(np.round(position), 0, len(filled) - 1).astype(int)]
        path, thickness = self.volume.path, float(nibabel.affines.voxel_sizes(oriented.affine)[2])
        return Stack(images, affine, oriented.low, oriented.high, path, thickness, oriented.box, inside, acquired)

    def slices(self, affine: np.ndarray, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the slices `[n, H, W]` at positions `[n]` of the stack of an affine."""
        grid = np.linalg.inv(self._oriented.affine) @ affine
        size = np.array([*_stack_size(self._definition)[:2], 1])
        shifts = [nibabel.affines.from_matvec(np.eye(3), [0, 0, position]) for position in positions]
        return np.concatenate([_resample(self._oriented, grid @ shift, size) for shift in shifts])


def extract_stack(
    volume: Volume,
    definition: DatasetDefinition,
    mask: np.ndarray | None = None,
    frame: TrainingFrame | None = None,
    affine: np.ndarray | None = None,
) -> Stack:
    """Resamples a volume to the model's stack.

    The axes are permuted and flipped to the nearest directions of the definition; an oblique volume keeps its own axes,
    and the affine their directions. Each axis that becomes coarser is first smoothed by a Gaussian whose standard
    deviation is half the excess of the target spacing; then one linear interpolation leads from the source to the
    target grid. Empty slices between others count as not acquired, and are not interpolated with their neighbours.

    Args:
        volume: The volume as read from its file.
        definition: Grid and intensity scale of the dataset.
        mask: Mask of the volume, bool `[X, Y, Z]`; everything outside becomes background.
        frame: What the training volumes have in common; the anatomy is placed in the stack as in theirs, see
            `place_stack`. None for a stack centred on the file, whatever its content.
        affine: Affine of the stack, `[4, 4]`, (w, h, k, 1) to world mm, if it is known; None to place the stack.

    Raises:
        UserError: If the volume has a single voxel along an axis, intensities that `intensity_range` refuses, or an
            anatomy that cannot be placed.
    """
    return Slicer(volume, definition, mask).extract(frame, affine)


def stack_affine(
    volume: Volume, definition: DatasetDefinition, mask: np.ndarray | None = None, frame: TrainingFrame | None = None
) -> np.ndarray:
    """Returns the affine `[4, 4]` of the stack that `extract_stack` makes of a volume, (w, h, k, 1) to world mm."""
    return Slicer(volume, definition, mask).placed(frame)


def stack_grid(
    shape: tuple[int, ...], spacing: np.ndarray, definition: DatasetDefinition, placement: Placement
) -> np.ndarray:
    """Returns the grid of the stack in a volume whose axes point in the directions of the stack's.

    Args:
        shape: Number of voxels of the volume along columns, rows and slices.
        spacing: Sides of its voxels, `[3]`, mm.
        definition: Field of view, number of slices and their share of the depth.
        placement: Place of the stack.

    Returns:
        (w, h, k, 1) to voxel indices, `[4, 4]`, diagonal except for the offset.
    """
    depth = definition.stack_share * placement.depth / definition.num_slices
    steps = np.array([definition.pixel_spacing, definition.pixel_spacing, depth]) / spacing
    size = _stack_size(definition)
    centre = (np.array(shape, np.float64) - 1) / 2 + placement.centre / spacing
    return nibabel.affines.from_matvec(np.diag(steps), centre - steps * (size - 1) / 2)


def _orient(volume: Volume, definition: DatasetDefinition, mask: np.ndarray | None) -> _Oriented:
    """Scales a volume to [0, 1] and reorients its axes to those of the stack."""
    _check_whole(volume)
    low, high = intensity_range([volume.data], [mask], definition, volume.path)
    data = volume.data if mask is None else np.where(mask, volume.data, np.float32(low))
    data, affine = orient(data, volume.affine, definition.axes)
    # Scaled before smoothing, so that outliers do not bleed into their neighbours.
    scaled = (data - np.float32(low)) / np.float32(high - low)
    np.clip(scaled, 0, 1, out=scaled)
    foreground = scaled > FOREGROUND_THRESHOLD
    filled = [np.asarray(foreground.any(axis=tuple(np.delete(range(3), axis)))) for axis in range(3)]
    if definition.window is None:
        # In a window, the air between the body and the table is empty.
        _warn_of_gaps_across(filled[:2], volume.path, definition.plane)
    return _Oriented(scaled, affine, low, high, filled[2], measure_box(scaled, nibabel.affines.voxel_sizes(affine)))


def _warn_of_gaps_across(filled: Sequence[np.ndarray], path: pathlib.Path, plane: str) -> None:
    """Warns of columns or rows of a volume that are empty between others."""
    for name, planes in zip(AXES, filled, strict=False):
        empty = _empty_between(planes)
        if len(empty):
            warn(
                f'{path}: {len(empty)} of its {len(planes)} {name} are empty between others, as if slices had been '
                f'acquired across the {plane} planes of the model; the completion may be wrong.'
            )


def _stack_affine(
    oriented: _Oriented, definition: DatasetDefinition, frame: TrainingFrame | None, path: pathlib.Path
) -> np.ndarray:
    """Returns the affine of the stack placed in a volume, see `place_stack`."""
    spacing = nibabel.affines.voxel_sizes(oriented.affine)
    if frame is None:
        placement = place_stack(oriented.box, spacing, None, path)
    else:
        centre, partial = _shared_centre(oriented, definition, frame), len(_empty_between(oriented.filled)) > 0
        placement = place_stack(oriented.box, spacing, frame.boxes, path, centre, partial)
    return oriented.affine @ stack_grid(oriented.scaled.shape, spacing, definition, placement)


def _shared_centre(oriented: _Oriented, definition: DatasetDefinition, frame: TrainingFrame) -> np.ndarray | None:
    """Returns the vector from the middle of a volume to that of the training volumes' stacks, mm.

    None if the training volumes share no world.
    """
    if frame.spread > definition.pixel_spacing:
        return None
    size = _stack_size(definition)
    middle = nibabel.affines.apply_affine(np.linalg.inv(oriented.affine) @ frame.affine, (size - 1) / 2)
    return (middle - (np.array(oriented.scaled.shape) - 1) / 2) * nibabel.affines.voxel_sizes(oriented.affine)


def _stack_size(definition: DatasetDefinition) -> np.ndarray:
    """Returns the number of columns, rows and slices of a stack."""
    return np.array([definition.image_size, definition.image_size, definition.num_slices])


def _resample(oriented: _Oriented, grid: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Resamples a volume.

    Args:
        oriented: The volume.
        grid: (w, h, k, 1) of the slices to voxel indices, `[4, 4]`.
        size: Number of columns, rows and slices.

    Returns:
        float32 `[K, H, W]` in [0, 1]; empty slices between others are not mixed in.
    """
    matrix = grid[:3, :3]
    # In the plane, the distance of neighbours on a grid that is turned.
    steps = np.abs(matrix).max(axis=1)
    steps[:2] = np.linalg.norm(matrix[:2, :2], axis=1)
    sigmas = np.maximum(0.0, (steps - 1) / 2)
    first, last = _needed_part(oriented.scaled.shape, grid, size, sigmas)
    offset = grid[:3, 3] - first
    if np.abs(matrix - np.diag(np.diag(matrix))).max() < 1e-9 * steps.max():
        # SciPy takes a vector as a diagonal matrix, and then resamples along one axis after the other.
        matrix = np.diag(matrix)

    def resample(data: np.ndarray) -> np.ndarray:
        part = _cut(data, first, last).transpose(2, 1, 0)
        smooth = ndimage.gaussian_filter(part, sigmas[::-1], mode='constant')
        return ndimage.affine_transform(
            smooth, np.flip(matrix), offset=offset[::-1], output_shape=tuple(size[::-1]), order=1, mode='grid-constant'
        )

    images = resample(oriented.scaled)
    if len(_empty_between(oriented.filled)):
        weights = resample(np.broadcast_to(oriented.filled.astype(np.float32), oriented.scaled.shape))
        images = np.where(weights > LEAST_WEIGHT, images / np.maximum(weights, LEAST_WEIGHT), 0)
    return np.clip(images, 0, 1).astype(np.float32)


def _empty_between(filled: np.ndarray) -> np.ndarray:
    """Returns the indices of empty slices that lie between filled ones."""
    indices = np.flatnonzero(filled)
    if not len(indices):
        return indices
    return indices[0] + np.flatnonzero(~filled[indices[0] : indices[-1] + 1])


def _needed_part(
    shape: tuple[int, ...], grid: np.ndarray, size: np.ndarray, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first voxel, and that after the last, of the part of a volume that the smoothed stack depends on.

    If the stack extends beyond the volume, so does the part, as far as the smoothing reaches.
    """
    corners = np.stack(np.meshgrid(*[(0, length - 1) for length in size]), -1).reshape(-1, 3)
    corners = nibabel.affines.apply_affine(grid, corners)
    # SciPy truncates its Gaussian at four standard deviations; the interpolation needs one voxel more.
    reach = np.ceil(4 * sigmas) + 1
    first = np.clip(np.floor(corners.min(axis=0) - reach), -reach, np.array(shape) - 1)
    last = np.clip(np.ceil(corners.max(axis=0) + reach) + 1, 1, shape + reach)
    return first.astype(int), np.maximum(last, first + 1).astype(int)


def _cut(data: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns the voxels from `first` to before `last`, 0 outside the data."""
    inside = tuple(slice(max(0, a), min(b, n)) for a, b, n in zip(first, last, data.shape, strict=True))
    widths = [(max(0, -a), max(0, b - n)) for a, b, n in zip(first, last, data.shape, strict=True)]
    return np.pad(data[inside], widths)


def _check_whole(volume: Volume) -> None:
    """Raises a UserError if a volume has a single voxel along an axis."""
    if min(volume.data.shape) < 2:
        size = ' x '.join(str(length) for length in volume.data.shape)
        raise UserError(f'{volume.path}: is a single slice ({size}); give a whole volume.')
