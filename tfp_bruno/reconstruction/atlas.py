"""The atlas of a population: the completion without contexts, random subjects, and modes of variation."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from tfp_bruno.contracts import CompletionModel, Modes
from tfp_bruno.data import atomic, write_volume
from tfp_bruno.reconstruction import html_report, output_folder
from tfp_bruno.reconstruction.completion import Completion, complete
from tfp_bruno.reconstruction.contexts import no_contexts
from tfp_bruno.reconstruction.intensity import IntensityScale
from tfp_bruno.reconstruction.pictures import three_planes
from tfp_bruno.reconstruction.volume_files import OutputSettings, WrittenVolumes, anatomy_on_grid, write_volumes
from tfp_bruno.version import __version__

SIDECAR = 'atlas.json'
MOST_PICTURED = 4


@dataclasses.dataclass(frozen=True)
class AtlasSettings:
    """How an atlas is made and written.

    Attributes:
        num_samples: Number of random subjects.
        std_samples: The least number of samples for the standard deviation; 0 for none.
        seed: Of the samples.
        output: How the volumes are written.
        overwrite: Whether the output folder may already hold files.
        command: The command line, for the sidecar.
    """

    num_samples: int = 3
    std_samples: int = 50
    seed: int = 0
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    overwrite: bool = False
    command: str = ''


def write_atlas(
    model: CompletionModel, output_dir: str | os.PathLike, settings: AtlasSettings, modes: Modes | None = None
) -> None:
    """Writes the mean of a population, its standard deviation, random subjects and modes: all files or none.

    Writes `mean.nii.gz`, `std.nii.gz`, `mask.nii.gz`, `samples/`, `modes/mode_0_minus.nii.gz` and so on, `mosaic.png`,
    `report.html` and `atlas.json`, centred on world 0.

    Args:
        model: A trained model.
        output_dir: The folder to write.
        settings: How the atlas is made and written.
        modes: The modes of the model; None if it has none.

    Raises:
        UserError: If the folder cannot be written, or the mean of the model is empty.
    """
    contexts = no_contexts(model.definition)
    completion = complete(model, contexts.images, (), settings.num_samples, settings.seed, settings.std_samples)
    with output_folder.staged(output_dir, settings.overwrite, SIDECAR) as folder:
        written = write_volumes(folder, model, completion, contexts, settings.output)
        rows = written.picture_rows()
        for number, sample in enumerate(completion.samples[:MOST_PICTURED]):
            data = anatomy_on_grid(sample, contexts.affine, written.grid, written.scale)
            rows.append((f'subject {number}', data - written.scale.low, 'gray'))
        mode_rows = [] if modes is None else _write_modes(folder, modes, contexts.affine, written)
        title = f'{model.definition.name}: atlas'
        pictures = {'planes': three_planes(rows, written.mask, title)}
        pictures['modes'] = three_planes(mode_rows, written.mask, 'modes of variation') if mode_rows else b''
        (folder / 'mosaic.png').write_bytes(pictures['planes'])
        sidecar = _describe(model, completion, written.scale, modes, settings)
        (folder / SIDECAR).write_text(json.dumps(sidecar, indent=2) + '\n', encoding='utf-8')
        page = html_report.render(
            'atlas',
            title,
            pictures,
            is_phantom=model.info.is_phantom,
            shares=sidecar['mode_shares'],
            settings=sidecar,
        )
        atomic.write_text(folder / 'report.html', page)


def _write_modes(
    folder: pathlib.Path, modes: Modes, stack_affine: np.ndarray, written: WrittenVolumes
) -> list[tuple[str, np.ndarray, str]]:
    """Writes the volumes of the modes on the grid and scale of the atlas; returns the first as rows of a picture."""
    rows = []
    for number, pair in enumerate(modes.images):
        for end, sign, images in zip(('minus', 'plus'), '-+', pair, strict=True):
            data = anatomy_on_grid(images, stack_affine, written.grid, written.scale)
            write_volume(folder / 'modes' / f'mode_{number}_{end}.nii.gz', data, written.grid.affine)
            if number < MOST_PICTURED:
                label = f'mode {number}, {sign}{modes.deviations:g} sd'
                rows.append((label, data - written.scale.low, 'gray'))
    return rows


def _describe(
    model: CompletionModel,
    completion: Completion,
    scale: IntensityScale,
    modes: Modes | None,
    settings: AtlasSettings,
) -> dict[str, Any]:
    """Returns the sidecar."""
    return {
        'model': model.name,
        'training': dataclasses.asdict(model.info),
        'dataset': dataclasses.asdict(model.definition),
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
