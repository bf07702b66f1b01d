"""The atlas of a population: what a model expects before it has seen a slice."""

import dataclasses
import json
import os

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import write_volume
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import html_report, output_folder
from tfp_bruno.reconstruction.completion import complete
from tfp_bruno.reconstruction.contexts import no_contexts
from tfp_bruno.reconstruction.foreground import foreground_mask
from tfp_bruno.reconstruction.intensity import IntensityScale
from tfp_bruno.reconstruction.output_grid import OutputGrid, to_grid
from tfp_bruno.reconstruction.pictures import three_planes
from tfp_bruno.reconstruction.volume_files import OutputSettings, write_volumes
from tfp_bruno.version import __version__

STALE = ('samples/sample_*.nii.gz', 'modes/mode_*.nii.gz', 'std.nii.gz')
MOST_PICTURED = 4


@dataclasses.dataclass(frozen=True)
class AtlasSettings:
    """What is written.

    Attributes:
        num_samples: random subjects.
        std_samples: samples that the standard deviation is made of at least; 0 for none.
        seed: of the samples.
        output: what is written of the volumes.
        overwrite: whether the output folder may hold files already.
        command: what the user typed, for the sidecar.
    """

    num_samples: int = 3
    std_samples: int = 50
    seed: int = 0
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    overwrite: bool = False
    command: str = ''


def write_atlas(model: CompletionModel, output_dir: str | os.PathLike, settings: AtlasSettings, modes=None) -> None:
    """Writes the mean of a population, its spread, random subjects and modes, all files or none.

    Writes `mean.nii.gz`, `std.nii.gz`, `mask.nii.gz`, `samples/`, `modes/mode_0_minus.nii.gz` and so on, `mosaic.png`,
    `report.html` and `atlas.json`, about world 0.

    Args:
        model: a trained model.
        output_dir: the folder to write.
        settings: how.
        modes: as `tfp_bruno.runs.prior_modes` returns them: `images` `[J, 2, K, H, W]`, `shares` and `deviations`; None
            for a model that has none.

    Raises:
        UserError: if the folder cannot be written, or the model's mean is empty.
    """
    contexts = no_contexts(model.definition)
    completion = complete(model, contexts.images, (), settings.num_samples, settings.seed, settings.std_samples)
    with output_folder.staged(output_dir, settings.overwrite, STALE) as folder:
        try:
            written = write_volumes(folder, completion, contexts, model.definition, settings.output)
        except UserError as error:
            raise UserError(f'{model.name}: {error}') from error
        rows = [('mean', written.mean - written.scale.low, 'gray')]
        if written.std is not None:
            rows.append(('std', written.std, 'magma'))
        for number, sample in enumerate(completion.samples[:MOST_PICTURED]):
            data = _on_grid(sample, contexts.affine, written.grid, written.scale)
            rows.append((f'subject {number}', data - written.scale.low, 'gray'))
        mode_rows = []
        for number, pair in enumerate(() if modes is None else modes.images):
            for end, images in zip(('minus', 'plus'), pair, strict=True):
                data = _on_grid(images, contexts.affine, written.grid, written.scale)
                write_volume(folder / 'modes' / f'mode_{number}_{end}.nii.gz', data, written.grid.affine)
                if number < MOST_PICTURED:
                    sign = '-' if end == 'minus' else '+'
                    label = f'mode {number}, {sign}{modes.deviations:g} sd'
                    mode_rows.append((label, data - written.scale.low, 'gray'))
        title = f'{model.definition.name}: atlas'
        pictures = {'planes': three_planes(rows, written.mask, title)}
        pictures['modes'] = three_planes(mode_rows, written.mask, 'modes of variation') if mode_rows else b''
        (folder / 'mosaic.png').write_bytes(pictures['planes'])
        sidecar = _describe(model, completion, written.scale, modes, settings)
        (folder / 'atlas.json').write_text(json.dumps(sidecar, indent=2) + '\n', encoding='utf-8')
        page = html_report.render(
            'atlas',
            title,
            pictures,
            is_phantom=bool(model.info.get('is_phantom')),
            shares=sidecar['mode_shares'],
            settings=sidecar,
        )
        (folder / 'report.html').write_text(page, encoding='utf-8')


def _on_grid(images: np.ndarray, affine: np.ndarray, grid: OutputGrid, scale: IntensityScale) -> np.ndarray:
    """Returns a stack in [0, 1] on a grid, on the scale of the atlas, background outside its own foreground."""
    data = to_grid(images, affine, grid)
    return scale.values(np.where(foreground_mask(data), data, 0))


def _describe(model: CompletionModel, completion, scale, modes, settings: AtlasSettings) -> dict:
    """Returns the sidecar."""
    return {
        'model': model.name,
        'training': dict(model.info),
        'dataset': model.definition.to_json(),
        'num_samples': settings.num_samples,
        'sampling': dict(model.sampling),
        'temperature': model.temperature,
        'std_samples': completion.std_samples,
        'mode_shares': None if modes is None else [round(float(share), 4) for share in modes.shares],
        'mode_deviations': None if modes is None else modes.deviations,
        'seed': settings.seed,
        'output': dataclasses.asdict(settings.output),
        'intensity': dataclasses.asdict(scale),
        'command': settings.command,
        'tfp_bruno': __version__,
    }
