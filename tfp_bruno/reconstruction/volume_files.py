"""The NIfTI files of a completion, as slice-to-volume tools accept them."""

import concurrent.futures
import dataclasses
import math
import pathlib

import numpy as np

from tfp_bruno.data import FOREGROUND_THRESHOLD, DatasetDefinition, write_volume
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction.completion import Completion
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.reconstruction.foreground import foreground_mask
from tfp_bruno.reconstruction.intensity import IntensityScale, choose_scale
from tfp_bruno.reconstruction.kept_slices import KeptSlices, find_kept_slices
from tfp_bruno.reconstruction.output_grid import OutputGrid, centred_stack_affine, isotropic_grid, to_grid

_WRITERS = 2
CANONICAL = 'canonical'
TO_SCAN = 'to_scanner.txt'


@dataclasses.dataclass(frozen=True)
class OutputSettings:
    """What is written, and how.

    Attributes:
        spacing: side of an output voxel in mm.
        intensity: 'scan', 'target' or 'hounsfield', see `choose_scale`.
        keep_contexts: whether the given slices are put back as they were read.
        canonical: whether everything is written in the training frame, too.
    """

    spacing: float = 1.0
    intensity: str = 'scan'
    keep_contexts: bool = False
    canonical: bool = False

    def __post_init__(self):
        if not 0 < self.spacing < math.inf:
            raise UserError(f'--spacing={self.spacing:g}: give the side of a voxel in mm.')


@dataclasses.dataclass(frozen=True)
class WrittenVolumes:
    """What was written, for pictures and the sidecar.

    Attributes:
        grid: of the volumes in scanner space.
        scale: of their intensities.
        mean: float32 `[X, Y, Z]` on that scale.
        std: the same; None if there is none.
        mask: bool `[X, Y, Z]`.
    """

    grid: OutputGrid
    scale: IntensityScale
    mean: np.ndarray
    std: np.ndarray | None
    mask: np.ndarray


def write_volumes(
    folder: pathlib.Path,
    completion: Completion,
    contexts: Contexts,
    definition: DatasetDefinition,
    settings: OutputSettings,
) -> WrittenVolumes:
    """Writes mean, mask and, where there are some, standard deviation, interval and samples.

    Args:
        folder: where to; it exists.
        completion: what the model says.
        contexts: what it was given.
        definition: the dataset.
        settings: how.

    Returns:
        What was written in scanner space. With `settings.canonical` the same files lie in `canonical`, with
        `to_scanner.txt`, the 4 x 4 matrix from the world of these files to that of the scanner.

    Raises:
        UserError: if the completion is empty, or a file cannot be written.
    """
    given = contexts.given if settings.keep_contexts else ()
    anchor = given[0].affine[:3, 3] if given else None
    grid = isotropic_grid(contexts.affine, completion.mean.shape, settings.spacing, anchor)
    writer = _Writer(folder, completion, contexts, contexts.affine, grid, given, np.eye(4))
    mean, mask = writer.mean_and_mask()
    scale = choose_scale(settings.intensity, contexts.intensities, definition, mean, mask)
    written = writer.write(scale, mask)
    if settings.canonical:
        canonical = centred_stack_affine(definition)
        to_scan = contexts.affine @ np.linalg.inv(canonical)
        grid = isotropic_grid(canonical, completion.mean.shape, settings.spacing)
        writer = _Writer(folder / CANONICAL, completion, contexts, canonical, grid, given, to_scan)
        writer.write(scale, writer.mean_and_mask()[1])
        np.savetxt(folder / CANONICAL / TO_SCAN, to_scan, fmt='%.9g')
    return written


class _Writer:
    """Resamples the stacks of a completion to one grid and writes them."""

    def __init__(self, folder, completion, contexts, affine, grid, given, to_scan):
        """Takes the stack's `affine` in the world of the `grid`, and the matrix from there `to_scan`."""
        self.folder, self.completion, self.contexts = folder, completion, contexts
        self.affine, self.grid = affine, grid
        self.kept = find_kept_slices(given, grid, to_scan) if given else None

    def mean_and_mask(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean in [0, 1] and its foreground; what was given belongs to it where it is no background."""
        mean = to_grid(self.completion.mean, self.affine, self.grid)
        mask = foreground_mask(mean)
        if self.kept is not None:
            low, high = self.contexts.intensities
            scaled = np.clip((self.kept.values - low) / (high - low), 0, None)
            mean[self.kept.index] = scaled
            mask[self.kept.index] |= scaled > FOREGROUND_THRESHOLD
        if not mask.any():
            raise UserError('the completed volume is empty; train the model longer, or give other slices.')
        return mean, mask

    def write(self, scale: IntensityScale, mask: np.ndarray) -> WrittenVolumes:
        """Writes everything."""
        completion, std = self.completion, None
        mean = self._values(completion.mean, mask, scale)
        files = [('mean', mean), ('mask', mask.astype(np.uint8))]
        if completion.std is not None:
            std = np.where(mask, to_grid(completion.std, self.affine, self.grid), 0)
            if self.kept is not None:
                std[self.kept.index] = 0
            std = scale.spread(std)
            files.append(('std', std))
        if completion.interval is not None:
            ends = zip(('lower', 'upper'), completion.interval, strict=True)
            files += [(name, self._values(images, mask, scale)) for name, images in ends]
        for name, data in files:
            write_volume(self.folder / f'{name}.nii.gz', data, self.grid.affine)
        # Threads, since packing and resampling hold no lock; mapped one by one, few are in memory at once.
        with concurrent.futures.ThreadPoolExecutor(_WRITERS) as executor:
            for _ in executor.map(lambda number: self._write_sample(number, scale), range(len(completion.samples))):
                pass
        return WrittenVolumes(self.grid, scale, mean, std, mask)

    def _write_sample(self, number: int, scale: IntensityScale) -> None:
        """Writes one sample, background outside its own foreground."""
        images = to_grid(self.completion.samples[number], self.affine, self.grid)
        mask = foreground_mask(images)
        data = self._put_back(scale.values(np.where(mask, images, 0)), scale)
        write_volume(self.folder / f'samples/sample_{number:03d}.nii.gz', data, self.grid.affine)

    def _values(self, images: np.ndarray, mask: np.ndarray, scale: IntensityScale) -> np.ndarray:
        """Returns a stack in [0, 1] on the grid and the scale, background outside the mask."""
        data = scale.values(np.where(mask, to_grid(images, self.affine, self.grid), 0))
        return self._put_back(data, scale, mask)

    def _put_back(self, data: np.ndarray, scale: IntensityScale, mask: np.ndarray | None = None) -> np.ndarray:
        """Puts the given slices into a volume, background where they have none of the anatomy."""
        if self.kept is None:
            return data
        kept: KeptSlices = self.kept
        low, high = self.contexts.intensities
        inside = kept.values > low + FOREGROUND_THRESHOLD * (high - low) if mask is None else mask[kept.index]
        values = np.maximum(scale.of_scan(kept.values, (low, high)), np.float32(scale.low))
        data[kept.index] = np.where(inside, values, np.float32(scale.low))
        return data
