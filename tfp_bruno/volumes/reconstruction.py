"""From a trained model and a scan to files on disk: mean, standard deviation, samples, mask, picture and sidecar."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tfp_bruno.data import Stack, Volume, extract_stack, write_volume
from tfp_bruno.errors import UserError
from tfp_bruno.version import __version__
from tfp_bruno.volumes import output_folder
from tfp_bruno.volumes.completion import Completion, complete
from tfp_bruno.volumes.foreground import foreground_mask
from tfp_bruno.volumes.intensity import IntensityScale, choose_scale
from tfp_bruno.volumes.mosaic import write_mosaic
from tfp_bruno.volumes.output_grid import OutputGrid, centred_stack_affine, isotropic_grid, to_grid
from tfp_bruno.volumes.positions import check_positions, scan_slices_to_positions

SAMPLE_PATTERN = 'samples/sample_*.nii.gz'
PACKAGES = ('numpy', 'scipy', 'nibabel', 'tensorflow', 'tensorflow-probability')


@dataclasses.dataclass(frozen=True)
class ReconstructionSettings:
    """How a volume is completed and written.

    Attributes:
        slices: positions k in the model's stack; empty for the atlas; None with `scan_slices`.
        scan_slices: indices along the scan's own slice axis; None with `slices`.
        num_samples: samples to write.
        seed: of the samples.
        spacing: side of an output voxel in mm.
        intensity: 'scan' for the intensities of the scan, 'target' for background 0 and foreground mean 700.
        overwrite: whether the output folder may hold files already.
        command: what the user typed, for the sidecar.
    """

    slices: Sequence[int] | None = ()
    scan_slices: Sequence[int] | None = None
    num_samples: int = 0
    seed: int = 0
    spacing: float = 1.0
    intensity: str = 'scan'
    overwrite: bool = False
    command: str = ''

    def __post_init__(self):
        if (self.slices is None) == (self.scan_slices is None):
            raise UserError('--slices, --scan_slices: give one of them; --slices= (empty) gives the atlas.')

    @property
    def needs_scan(self) -> bool:
        """Whether there are contexts to read from a scan."""
        return bool(self.slices or self.scan_slices)


def reconstruct(
    model, scan: Volume | None, output_dir: str | os.PathLike, settings: ReconstructionSettings
) -> Completion:
    """Completes a volume and writes it, in the world space of the scan, all files or none.

    Writes `mean.nii.gz`, `std.nii.gz`, `mask.nii.gz`, `samples/sample_000.nii.gz` and so on, `mosaic.png` and
    `reconstruction.json`.

    Args:
        model: a trained model, with `name`, `definition`, `info`, `predict` and `sample`.
        scan: the scan that holds the context slices. None is for the atlas, which then lies about world 0.
        output_dir: the folder to write.
        settings: how.

    Returns:
        The Completion that was written.

    Raises:
        UserError: if there are contexts but no scan, a context is outside the scan or the stack, the completion is
            empty, or the folder cannot be written.
    """
    stack = None if scan is None else extract_stack(scan, model.definition)
    positions = _context_positions(model, scan, stack, settings)
    contexts = _context_images(model, stack, positions)
    completion = complete(model, contexts, positions, settings.num_samples, settings.seed)
    affine = centred_stack_affine(model.definition) if stack is None else stack.affine
    with output_folder.staged(output_dir, settings.overwrite, SAMPLE_PATTERN) as folder:
        scale = _write_volumes(folder, completion, affine, stack, model, settings)
        write_mosaic(folder / 'mosaic.png', completion, _title(model, completion))
        sidecar = _describe(model, scan, completion, scale, settings)
        (folder / 'reconstruction.json').write_text(json.dumps(sidecar, indent=2) + '\n', encoding='utf-8')
    return completion


def _context_positions(model, scan, stack, settings) -> tuple[int, ...]:
    """Returns the positions of the contexts in the model's stack."""
    if settings.needs_scan and scan is None:
        raise UserError('--stack: is missing; give the scan that holds the slices, or --slices= for the atlas.')
    if settings.scan_slices:
        return scan_slices_to_positions(settings.scan_slices, scan, stack)
    return check_positions(settings.slices or (), model.definition)


def _context_images(model, stack: Stack | None, positions: tuple[int, ...]) -> np.ndarray:
    """Returns the context slices `[n, H, W]`."""
    if positions:
        return stack.images[list(positions)]
    return np.zeros((0, model.definition.image_size, model.definition.image_size), np.float32)


def _write_volumes(
    folder: pathlib.Path, completion: Completion, affine: np.ndarray, stack: Stack | None, model, settings
) -> IntensityScale:
    """Writes the NIfTI files of a completion; returns the scale of their intensities."""
    grid = isotropic_grid(affine, completion.mean.shape, settings.spacing)
    mean = to_grid(completion.mean, affine, grid)
    mask = foreground_mask(mean)
    if not mask.any():
        raise UserError(f'{model.name}: the completed volume is empty; train the model longer, or give other slices.')
    scale = choose_scale(settings.intensity, stack, model.definition, mean, mask)
    std = to_grid(completion.std, affine, grid)
    write_volume(folder / 'mean.nii.gz', scale.values(np.where(mask, mean, 0)), grid.affine)
    write_volume(folder / 'std.nii.gz', scale.spread(np.where(mask, std, 0)), grid.affine)
    write_volume(folder / 'mask.nii.gz', mask.astype(np.uint8), grid.affine)
    for number, sample in enumerate(completion.samples):
        _write_sample(folder / f'samples/sample_{number:03d}.nii.gz', sample, affine, grid, scale)
    return scale


def _write_sample(
    path: pathlib.Path, images: np.ndarray, affine: np.ndarray, grid: OutputGrid, scale: IntensityScale
) -> None:
    """Writes one sample, background 0 outside its own foreground."""
    sample = to_grid(images, affine, grid)
    write_volume(path, scale.values(np.where(foreground_mask(sample), sample, 0)), grid.affine)


def _title(model, completion: Completion) -> str:
    """Returns the title of the picture; it says so if the model has seen synthetic data only."""
    what = f'{len(completion.positions)} contexts' if completion.positions else 'atlas (no contexts)'
    data = ', trained on phantoms (synthetic)' if model.info.get('is_phantom') else ''
    return f'{model.definition.name}: {what}{data}'


def _describe(model, scan, completion, scale, settings) -> dict:
    """Returns the sidecar: everything that is needed to make the same files again."""
    return {
        'model': model.name,
        'training': dict(model.info),
        'dataset': model.definition.to_json(),
        'scan': None if scan is None else str(scan.path),
        'contexts': list(completion.positions),
        'scan_slices': None if settings.scan_slices is None else list(settings.scan_slices),
        'num_samples': settings.num_samples,
        'std_samples': completion.std_samples,
        'seed': settings.seed,
        'spacing_mm': settings.spacing,
        'intensity': dataclasses.asdict(scale),
        'command': settings.command,
        'versions': {'tfp_bruno': __version__} | {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
