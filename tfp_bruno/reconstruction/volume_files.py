"""The NIfTI files of a completion, as slice-to-volume tools accept them."""

import concurrent.futures
import dataclasses
import math
import pathlib

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import FOREGROUND_THRESHOLD, DatasetDefinition, write_volume
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.completion import Completion
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.reconstruction.intensity import IntensityScale, choose_scale, foreground_mask
from tfp_bruno.reconstruction.output_grid import (
    OutputGrid,
    centred_stack_affine,
    find_kept_slices,
    isotropic_grid,
    to_grid,
)

_WRITERS = 2
CANONICAL = 'canonical'
TO_SCAN = 'to_scanner.txt'


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """How the volumes are written.

    Attributes:
        spacing: Side of an output voxel in mm.
        intensity: 'scan', 'target' or 'hounsfield', see `choose_scale`.
        keep_contexts: Whether the given slices are put back as they were read.
        canonical: Whether everything is also written in the training frame.

    Raises:
        UserError: If the spacing is not positive and finite.
    """

    spacing: float = 1.0
    intensity: str = 'scan'
    keep_contexts: bool = False
    canonical: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.spacing < math.inf:
            raise UserError(f'`spacing={self.spacing:g}`: is not a length; give the side of a voxel in mm.')

    def check_dataset(self, definition: DatasetDefinition) -> None:
        """Raises a UserError if the settings do not fit a dataset."""
        if self.intensity == 'hounsfield' and definition.window is None:
            raise UserError(f'`intensity=hounsfield`: {definition.name} has no intensity window; give scan or target.')


@dataclasses.dataclass(frozen=True)
class WrittenVolumes:
    """The volumes that were written in scanner space, for pictures and the sidecar.

    Attributes:
        grid: The grid of the volumes.
        scale: The scale of their intensities.
        mean: float32 `[X, Y, Z]` on that scale.
        std: Likewise; None if there is none.
        mask: bool `[X, Y, Z]`.
    """

    grid: OutputGrid
    scale: IntensityScale
    mean: np.ndarray
    std: np.ndarray | None
    mask: np.ndarray

    def picture_rows(self) -> list[tuple[str, np.ndarray, str]]:
        """Returns mean and, if there is one, standard deviation as rows of `three_planes`, background 0."""
        rows = [('mean', self.mean - self.scale.low, 'gray')]
        return rows if self.std is None else [*rows, ('std', self.std, 'magma')]


def write_volumes(
    folder: pathlib.Path, model: CompletionModel, completion: Completion, contexts: Contexts, settings: OutputSettings
) -> WrittenVolumes:
    """Writes mean and mask and, where there are some, standard deviation, interval and samples.

    Args:
        folder: The folder to write to; it exists.
        model: The model that made the completion.
        completion: The completed stack.
        contexts: The contexts it was made from.
        settings: How the volumes are written.

    Returns:
        The volumes in scanner space. With `settings.canonical`, `folder` also has a folder `canonical` with the same
        files in the training frame and `to_scanner.txt`, the 4 x 4 matrix from their world to that of the scanner.

    Raises:
        UserError: If the completion is empty, or a file cannot be written.
    """
    shape = completion.mean.shape
    anchor = contexts.given[0].affine[:3, 3] if settings.keep_contexts and contexts.given else None
    # The world's axes are not those of an anatomy that was placed by itself.
    axes = None if contexts.placing is None else model.definition.axes
    grid = isotropic_grid(contexts.affine, shape, settings.spacing, anchor, axes)
    volumes = _GridVolumes(model.name, completion, contexts, contexts.affine, grid, np.eye(4), settings.keep_contexts)
    scale = choose_scale(settings.intensity, contexts.intensities, model.definition, volumes.mean, volumes.mask)
    written = volumes.write(folder, scale)
    if settings.canonical:
        affine = centred_stack_affine(model.definition)
        to_scan = contexts.affine @ np.linalg.inv(affine)
        grid = isotropic_grid(affine, shape, settings.spacing)
        volumes = _GridVolumes(model.name, completion, contexts, affine, grid, to_scan, settings.keep_contexts)
        volumes.write(folder / CANONICAL, scale)
        np.savetxt(folder / CANONICAL / TO_SCAN, to_scan, fmt='%.9g')
    return written


def anatomy_on_grid(
    images: np.ndarray, stack_affine: np.ndarray, grid: OutputGrid, scale: IntensityScale
) -> np.ndarray:
    """Returns a stack in [0, 1] as a volume on a grid and a scale, background outside its own foreground."""
    data = to_grid(images, stack_affine, grid)
    return scale.values(np.where(foreground_mask(data), data, 0))


class _GridVolumes:
    """The volumes of a completion on one grid.

    Attributes:
        mean: float32 `[X, Y, Z]`, the mean, in which intensities 0 and 1 are those of the model; above 1 where a given
            slice is brighter.
        mask: bool `[X, Y, Z]`, its foreground, which includes that of the given slices.
    """

    def __init__(
        self,
        name: str,
        completion: Completion,
        contexts: Contexts,
        stack_affine: np.ndarray,
        grid: OutputGrid,
        to_scan: np.ndarray,
        keep_contexts: bool,
    ) -> None:
        """Resamples the mean.

        Args:
            name: Of the model, for the error.
            completion: The completed stack.
            contexts: The contexts it was made from.
            stack_affine: `[4, 4]`, (w, h, k, 1) to the world of the grid.
            grid: The grid.
            to_scan: `[4, 4]`, from the world of the grid to that of the scan.
            keep_contexts: Whether the given slices are put back as they were read.

        Raises:
            UserError: If there is no foreground.
        """
        self._completion, self._affine, self._grid = completion, stack_affine, grid
        self._kept = find_kept_slices(contexts.given if keep_contexts else (), grid, to_scan)
        # Without a scan there are no slices to put back, and the numbers do not matter.
        self._intensities = low, high = contexts.intensities or (0.0, 1.0)
        self.mean = to_grid(completion.mean, stack_affine, grid)
        self.mask = foreground_mask(self.mean)
        kept = np.clip((self._kept.values - low) / (high - low), 0, None)
        self.mean[self._kept.index] = kept
        self.mask[self._kept.index] |= kept > FOREGROUND_THRESHOLD
        if not self.mask.any():
            raise UserError(f'{name}: the completed volume is empty; train the model longer, or give other slices.')

    def write(self, folder: pathlib.Path, scale: IntensityScale) -> WrittenVolumes:
        """Writes all volumes on a scale."""
        completion, std = self._completion, None
        mean = self._scaled(self.mean, scale)
        files = [('mean', mean), ('mask', self.mask.astype(np.uint8))]
        if completion.std is not None:
            std = np.where(self.mask, to_grid(completion.std, self._affine, self._grid), 0)
            std[self._kept.index] = 0
            std = scale.spread(std)
            files.append(('std', std))
        if completion.interval is not None:
            ends = zip(('lower', 'upper'), completion.interval, strict=True)
            files += [(name, self._scaled(to_grid(end, self._affine, self._grid), scale)) for name, end in ends]
        for name, data in files:
            write_volume(folder / f'{name}.nii.gz', data, self._grid.affine)
        # Threads, since compression and resampling release the lock; each sample is freed when it is written.
        with concurrent.futures.ThreadPoolExecutor(_WRITERS) as executor:
            numbers = range(len(completion.samples))
            for _ in executor.map(lambda number: self._write_sample(folder, number, scale), numbers):
                pass
        return WrittenVolumes(self._grid, scale, mean, std, self.mask)

    def _write_sample(self, folder: pathlib.Path, number: int, scale: IntensityScale) -> None:
        """Writes one sample, background outside its own foreground."""
        data = anatomy_on_grid(self._completion.samples[number], self._affine, self._grid, scale)
        low, high = self._intensities
        self._put_back(data, scale, self._kept.values > low + FOREGROUND_THRESHOLD * (high - low))
        write_volume(folder / f'samples/sample_{number:03d}.nii.gz', data, self._grid.affine)

    def _scaled(self, data: np.ndarray, scale: IntensityScale) -> np.ndarray:
        """Returns a volume in [0, 1] on the scale, background outside the mask, with the given slices."""
        data = scale.values(np.where(self.mask, data, 0))
        self._put_back(data, scale, self.mask[self._kept.index])
        return data

    def _put_back(self, data: np.ndarray, scale: IntensityScale, is_foreground: np.ndarray) -> None:
        """Puts the given slices into a volume; where `is_foreground` `[V]` is False, background."""
        background = np.float32(scale.low)
        values = np.maximum(scale.of_scan(self._kept.values, self._intensities), background)
        data[self._kept.index] = np.where(is_foreground, values, background)
