"""From a trained model and context slices to files on disk: volumes, pictures, report and sidecar."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import html_report, output_folder
from tfp_bruno.reconstruction.completion import Completion, complete
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.reconstruction.mosaic import write_mosaic
from tfp_bruno.reconstruction.pictures import score_curve, three_planes
from tfp_bruno.reconstruction.positions import plane_coordinates
from tfp_bruno.reconstruction.scores import SliceScores, score_slices
from tfp_bruno.reconstruction.volume_files import CANONICAL, OutputSettings, WrittenVolumes, write_volumes
from tfp_bruno.version import __version__

# What an earlier reconstruction may have left and this one may not write again.
STALE = (
    'samples/sample_*.nii.gz',
    'std.nii.gz',
    'lower.nii.gz',
    'upper.nii.gz',
    'mosaic.png',
    'report.html',
    f'{CANONICAL}/*',
    f'{CANONICAL}/samples/sample_*.nii.gz',
)
PACKAGES = ('numpy', 'scipy', 'nibabel', 'tensorflow', 'tensorflow-probability')
SIDECAR = 'reconstruction.json'


@dataclasses.dataclass(frozen=True)
class ReconstructionSettings:
    """How a volume is completed and written.

    Attributes:
        num_samples: samples to write.
        std_samples: samples that the standard deviation is made of at least; 0 for none.
        interval: whether the ends of the 95 % interval of every voxel are written.
        seed: of the samples.
        report: whether a report is written, and the picture.
        output: what is written of the volumes.
        overwrite: whether the output folder may hold files already.
        command: what the user typed, for the sidecar.
    """

    num_samples: int = 0
    std_samples: int = 50
    interval: bool = False
    seed: int = 0
    report: bool = True
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    overwrite: bool = False
    command: str = ''


def reconstruct(
    model: CompletionModel,
    contexts: Contexts,
    output_dir: str | os.PathLike,
    settings: ReconstructionSettings,
    scorer=None,
    mean: np.ndarray | None = None,
) -> Completion:
    """Completes a volume and writes it, in the world space of the contexts, all files or none.

    Writes `mean.nii.gz`, `mask.nii.gz`, `std.nii.gz`, `lower.nii.gz` and `upper.nii.gz`, `samples/sample_000.nii.gz`
    and so on, the same in `canonical/`, `mosaic.png`, `report.html` and `reconstruction.json`, as the settings say.

    Args:
        model: a trained model.
        contexts: the slices that are given.
        output_dir: the folder to write.
        settings: how.
        scorer: what `score_slices` takes; None for a report without scores.
        mean: `[K, H, W]`, what the model predicts, where it is known already.

    Returns:
        The Completion that was written.

    Raises:
        UserError: if a setting does not fit, the completion is empty, or the folder cannot be written.
    """
    definition = model.definition
    check_output_settings(settings.output, definition)
    completion = complete(
        model,
        contexts.images,
        contexts.positions,
        settings.num_samples,
        settings.seed,
        settings.std_samples,
        settings.interval,
        mean,
    )
    scores = score_slices(scorer, contexts) if settings.report and scorer is not None else None
    with output_folder.staged(output_dir, settings.overwrite, STALE) as folder:
        try:
            written = write_volumes(folder, completion, contexts, definition, settings.output)
        except UserError as error:
            raise UserError(f'{model.name}: {error}') from error
        sidecar = _describe(model, contexts, completion, scores, written, settings)
        (folder / SIDECAR).write_text(json.dumps(sidecar, indent=2) + '\n', encoding='utf-8')
        if settings.report:
            title = _title(model, completion)
            write_mosaic(folder / 'mosaic.png', completion, title, definition.axes)
            page = _report(title, folder, sidecar, completion, scores, written)
            (folder / 'report.html').write_text(page, encoding='utf-8')
    return completion


def check_output_settings(settings: OutputSettings, definition: DatasetDefinition) -> None:
    """Raises a UserError if the settings do not fit the dataset."""
    if settings.intensity == 'hounsfield' and definition.window is None:
        raise UserError(f'--intensity=hounsfield: {definition.name} has no intensity window; give scan or target.')


def _title(model: CompletionModel, completion: Completion) -> str:
    """Returns the title of the pictures; it says so if the model has seen synthetic data only."""
    what = f'{len(completion.positions)} contexts' if completion.positions else 'atlas (no contexts)'
    data = ', trained on phantoms (synthetic)' if model.info.get('is_phantom') else ''
    return f'{model.definition.name}: {what}{data}'


def _describe(
    model: CompletionModel,
    contexts: Contexts,
    completion: Completion,
    scores: SliceScores | None,
    written: WrittenVolumes,
    settings: ReconstructionSettings,
) -> dict:
    """Returns the sidecar: everything that is needed to make the same files again."""
    output = dataclasses.asdict(settings.output)
    planes = plane_coordinates(contexts.affine, model.definition.num_slices)[list(contexts.positions)]
    return {
        'model': model.name,
        'training': dict(model.info),
        'dataset': model.definition.to_json(),
        'files': list(contexts.files),
        'inputs': list(contexts.inputs),
        'warnings': list(contexts.warnings),
        'selection': contexts.selection,
        'contexts': list(contexts.positions),
        'context_positions_mm': [round(float(position), 4) for position in planes],
        'slice_thickness_mm': contexts.slice_thickness,
        'stack_to_world': contexts.affine.tolist(),
        'num_samples': settings.num_samples,
        'sampling': dict(model.sampling),
        'temperature': model.temperature,
        'std_samples': completion.std_samples,
        'interval': settings.interval,
        'seed': settings.seed,
        'spacing_mm': output['spacing'],
        'keep_contexts': output['keep_contexts'],
        'canonical': output['canonical'],
        'intensity': {'kind': output['intensity'], **dataclasses.asdict(written.scale)},
        'foreground_mean': float(written.mean[written.mask].mean()),
        'scores': None if scores is None else scores.rows(),
        'command': settings.command,
        'versions': {'tfp_bruno': __version__} | {name: _version(name) for name in PACKAGES},
    }


def _report(
    title: str,
    folder: pathlib.Path,
    sidecar: dict,
    completion: Completion,
    scores: SliceScores | None,
    written: WrittenVolumes,
) -> str:
    """Returns the page of a subject."""
    rows = [('mean', written.mean - written.scale.low, 'gray')]
    if written.std is not None:
        rows.append(('std', written.std, 'magma'))
    pictures = {
        'planes': three_planes(rows, written.mask, title),
        'slices': (folder / 'mosaic.png').read_bytes(),
        'curve': score_curve(scores) if scores is not None and scores.positions else b'',
    }
    hidden = {'scores', 'stack_to_world', 'contexts', 'inputs', 'warnings'}
    return html_report.render(
        'subject',
        title,
        pictures,
        contexts=list(completion.positions),
        num_slices=len(completion.mean),
        with_std=written.std is not None,
        std_samples=completion.std_samples,
        is_phantom=bool(sidecar['training'].get('is_phantom')),
        warnings=sidecar['warnings'],
        scores=None if scores is None else scores.rows(),
        settings={name: value for name, value in sidecar.items() if name not in hidden},
    )


def _version(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
