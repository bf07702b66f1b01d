"""The completion of one subject: from a trained model and contexts to volumes, pictures, report and sidecar on disk."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from tfp_bruno.contracts import CompletionModel
from tfp_bruno.data import atomic
from tfp_bruno.reconstruction import html_report, output_folder
from tfp_bruno.reconstruction.completion import Completion, Scorer, SliceScores, complete, score_slices
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.reconstruction.location import alignment_of, describe_location, locate
from tfp_bruno.reconstruction.pictures import location_mosaic, score_curve, three_planes, write_mosaic
from tfp_bruno.reconstruction.positions import plane_coordinates
from tfp_bruno.reconstruction.sidecar import SIDECAR, describe_versions
from tfp_bruno.reconstruction.volume_files import OutputSettings, WrittenVolumes, write_volumes
from tfp_bruno.registration import Location


@dataclasses.dataclass(frozen=True)
class ReconstructionSettings:
    """How a volume is completed and written.

    Attributes:
        num_samples: Number of samples to write.
        std_samples: The least number of samples for the standard deviation; 0 for none.
        interval: Whether the ends of the 95 % interval of every voxel are written.
        seed: Of the samples.
        report: Whether the report and the mosaic are written.
        output: How the volumes are written.
        overwrite: Whether the output folder may already hold files.
        command: The command line, for the sidecar.
    """

    num_samples: int = 0
    std_samples: int = 50
    interval: bool = False
    seed: int = 0
    report: bool = True
    output: OutputSettings = dataclasses.field(default_factory=OutputSettings)
    overwrite: bool = False
    command: str = ''

    def to_json(self) -> dict[str, Any]:
        """Returns the entries of the sidecar by which two completions of the same contexts differ."""
        return {
            'num_samples': self.num_samples,
            'interval': self.interval,
            'seed': self.seed,
            'spacing_mm': self.output.spacing,
            'keep_contexts': self.output.keep_contexts,
            'canonical': self.output.canonical,
        }


def reconstruct(
    model: CompletionModel,
    contexts: Contexts,
    output_dir: str | os.PathLike,
    settings: ReconstructionSettings,
    scorer: Scorer | None = None,
    mean: np.ndarray | None = None,
) -> Completion:
    """Completes a volume and writes it, in the world space of the contexts: all files or none.

    Depending on the settings it writes `mean.nii.gz`, `mask.nii.gz`, `std.nii.gz`, `lower.nii.gz`, `upper.nii.gz`,
    `samples/sample_000.nii.gz` and so on, the same in `canonical/`, `mosaic.png`, `report.html` and
    `reconstruction.json`.

    Args:
        model: A trained model.
        contexts: The context slices.
        output_dir: The folder to write.
        settings: How the volume is completed and written.
        scorer: Scores the slices; None for a report without scores.
        mean: `[K, H, W]`, the prediction of the model, if it is known already.

    Returns:
        The Completion that was written.

    Raises:
        UserError: If a setting does not fit the dataset, the completion is empty, or the folder cannot be written.
    """
    settings.output.check_dataset(model.definition)
    contexts, location = locate(model, contexts)
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
    with output_folder.staged(output_dir, settings.overwrite, SIDECAR) as folder:
        written = write_volumes(folder, model, completion, contexts, settings.output)
        sidecar = _describe(model, contexts, completion, location, scores, written, settings)
        (folder / SIDECAR).write_text(json.dumps(sidecar, indent=2) + '\n', encoding='utf-8')
        if settings.report:
            title = _title(model, completion)
            write_mosaic(folder / 'mosaic.png', completion, title, model.definition.axes)
            page = _report(title, folder, sidecar, completion, location, scores, written, model.definition.axes)
            atomic.write_text(folder / 'report.html', page)
    return completion


def _title(model: CompletionModel, completion: Completion) -> str:
    """Returns the title of report and mosaic, which says if the model was trained on synthetic data."""
    kind = f'{len(completion.positions)} contexts' if completion.positions else 'atlas (no contexts)'
    data = ', trained on phantoms (synthetic)' if model.info.is_phantom else ''
    return f'{model.definition.name}: {kind}{data}'


def _describe(
    model: CompletionModel,
    contexts: Contexts,
    completion: Completion,
    location: Location | None,
    scores: SliceScores | None,
    written: WrittenVolumes,
    settings: ReconstructionSettings,
) -> dict[str, Any]:
    """Returns the sidecar: everything that is needed to make the same files again."""
    planes = plane_coordinates(contexts.affine, model.definition.num_slices)[list(contexts.positions)]
    return {
        'model': model.name,
        'training': dataclasses.asdict(model.info),
        'dataset': dataclasses.asdict(model.definition),
        'files': list(contexts.files),
        'inputs': list(contexts.inputs),
        'warnings': list(contexts.warnings),
        'selection': dict(contexts.selection),
        'contexts': list(contexts.positions),
        'context_positions_mm': [round(float(position), 4) for position in planes],
        'slice_thickness_mm': contexts.slice_thickness,
        'stack_to_world': contexts.affine.tolist(),
        'placing': None if contexts.placing is None else dict(contexts.placing),
        'sampling': dict(model.sampling),
        'temperature': model.temperature,
        'alignment': alignment_of(model),
        'location': None if location is None else location.to_json(),
        'std_samples': completion.std_samples,
        **settings.to_json(),
        'intensity': {'kind': settings.output.intensity, **dataclasses.asdict(written.scale)},
        'foreground_mean': float(written.mean[written.mask].mean()),
        'scores': None if scores is None else scores.rows(),
        'command': settings.command,
        'versions': describe_versions(),
    }


def _report(
    title: str,
    folder: pathlib.Path,
    sidecar: dict[str, Any],
    completion: Completion,
    location: Location | None,
    scores: SliceScores | None,
    written: WrittenVolumes,
    axes: str,
) -> str:
    """Returns the page of a subject as HTML."""
    pictures = {
        'planes': three_planes(written.picture_rows(), written.mask, title),
        'slices': (folder / 'mosaic.png').read_bytes(),
        'curve': score_curve(scores) if scores is not None and scores.positions else b'',
    }
    if location is not None:
        pictures['places'] = location_mosaic(location, completion.contexts, completion.positions, axes)
    hidden = {'scores', 'stack_to_world', 'contexts', 'inputs', 'warnings', 'location', 'placing'}
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
        placing=sidecar['placing'],
        location=None if location is None else describe_location(location, axes),
        scores=None if scores is None else scores.rows(),
        settings={name: value for name, value in sidecar.items() if name not in hidden},
    )
