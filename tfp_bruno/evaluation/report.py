"""The report of an evaluation: `metrics.json`, `metrics.md`, two plots, and a table for the terminal."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfp_bruno.data import FOREGROUND_THRESHOLD, atomic
from tfp_bruno.data.encoding import LEVELS
from tfp_bruno.evaluation import metrics, plots, variogram
from tfp_bruno.evaluation.predictive import CALIBRATION_LABELS, NUM_LIKELIHOOD_SLICES
from tfp_bruno.evaluation.protocol import Evaluation

METHOD_LABELS = {
    'mean_image': 'model, mean image',
    'sample_average': 'model, average of samples',
    'samples': 'model, single samples',
    'known_frame': 'mean image, size and place known from the truth',
    'training_mean': 'training mean',
    'nearest_subject': 'nearest subject',
    'linear': 'linear interpolation',
    'components': 'principal components',
    'kriged_components': 'principal components, kriged residual',
    'deformed_neighbours': 'deformed neighbours',
    'deformed_components': 'components of deformed neighbours',
}
MASK_SCORES = {'mask_ssim': 'in-mask SSIM', 'mask_cc': 'in-mask CC', 'sharpness': 'sharpness'}
SLICE_SCORES = {'ssim': 'SSIM', 'cc': 'CC', 'psnr': 'PSNR'}
SCORE_LABELS = {
    **MASK_SCORES,
    **SLICE_SCORES,
    **{f'{name}_no_contexts': f'{label} w/o contexts' for name, label in SLICE_SCORES.items()},
}


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What was evaluated.

    Attributes:
        dataset: Name of the dataset definition.
        split: 'train', 'validation', 'test' or 'all'.
        data: One line that describes the data.
        is_phantom: Whether the data are synthetic.
        run: The run's folder.
        trained_on: One line that describes the training data.
        version: Version of the program.
        temperature: Factor of the samples' deviations from the mean, in latent space.
        sampling: How samples were drawn, see `models.ModelSettings.sampling`.
        alignment: How subjects were brought to the canonical volume, see `contracts.LocatingModel`; `None` if the model
            has none.
    """

    dataset: str
    split: str
    data: str
    is_phantom: bool
    run: str
    trained_on: str
    version: str
    temperature: float = 1.0
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alignment: str | None = None


def write_report(folder: str | os.PathLike, evaluation: Evaluation, provenance: Provenance) -> tuple[pathlib.Path, ...]:
    """Writes the report of an evaluation, each file atomically, the scores first.

    Args:
        folder: Where to write; made if it is missing.
        evaluation: The results of the protocol.
        provenance: What was evaluated.

    Returns:
        The paths of `metrics.json`, `metrics.md`, `ssim_over_slices.png` and `completions.png`.

    Raises:
        UserError: If a file cannot be written.
    """
    folder = pathlib.Path(folder)
    title = describe(provenance)
    # The scores are on disk before anything is drawn.
    atomic.write_text(folder / 'metrics.json', json.dumps(to_json(evaluation, provenance), indent=2) + '\n')
    atomic.write_text(folder / 'metrics.md', format_markdown(evaluation, provenance))
    curves = plots.draw_ssim_over_slices(evaluation, METHOD_LABELS, title)
    atomic.write_bytes(folder / 'ssim_over_slices.png', plots.to_png(curves))
    completions = plots.draw_completions(evaluation.examples, METHOD_LABELS, title)
    atomic.write_bytes(folder / 'completions.png', plots.to_png(completions))
    return tuple(folder / name for name in ('metrics.json', 'metrics.md', 'ssim_over_slices.png', 'completions.png'))


def to_json(evaluation: Evaluation, provenance: Provenance) -> dict[str, Any]:
    """Returns all results as JSON values; None stands for undefined or infinite values."""
    found = {field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)}
    del found['examples']
    curves = {
        count: {method: curve.tolist() for method, curve in methods.items()}
        for count, methods in found.pop('ssim_over_slices').items()
    }
    contents = dataclasses.asdict(provenance) | {'contexts': found.pop('scores')} | found
    return finite_json(contents | {'ssim_over_slices': curves, 'conventions': dict(_conventions(evaluation))})


def format_markdown(evaluation: Evaluation, provenance: Provenance) -> str:
    """Returns the report as Markdown: the data, a table for each number of contexts, and the conventions."""
    lines = [f'# {describe(provenance)}', '']
    lines += [f'Run: {provenance.run}, trained on {provenance.trained_on}. tfp_bruno {provenance.version}.', '']
    lines += [f'{note}\n' for note in _notes(evaluation, provenance)]
    bits = _with_error(evaluation.bits_per_dimension, evaluation.bits_per_dimension_error)
    lines += [f'Bits per dimension: {bits}', '']
    for count, scores in evaluation.scores.items():
        slices = ', '.join(map(str, evaluation.context_slices[count])) or 'the prior'
        lines += [f'## {plots.count_contexts(count).capitalize()} ({slices})', '']
        errors = evaluation.standard_errors[count]
        rows = [
            [_label(method), *(_with_error(found[name], errors[method][name]) for name in SCORE_LABELS)]
            for method, found in scores.items()
        ]
        lines += [*markdown_table(['method', *SCORE_LABELS.values()], rows), '']
    lines += ['## Distribution of the samples', '', *_calibration_table(evaluation), '']
    lines += ["## Power inside the mask, relative to the truth's", '', *_spectrum_table(evaluation), '']
    lines += ['## Conventions', '', *(f'- {name}: {text}' for name, text in _conventions(evaluation)), '']
    return '\n'.join(lines)


def format_summary(evaluation: Evaluation, provenance: Provenance) -> str:
    """Returns a compact table for the terminal: every number of contexts and method, averages only."""
    shown = {**MASK_SCORES, **SLICE_SCORES}
    rows = [
        [str(count), _label(method), *(format_number(found[name]) for name in shown)]
        for count, scores in evaluation.scores.items()
        for method, found in scores.items()
    ]
    lines = [describe(provenance), *_notes(evaluation, provenance), '']
    lines += markdown_table(['contexts', 'method', *shown.values()], rows)
    lines += ['', *_calibration_table(evaluation), '', *_spectrum_table(evaluation), '']
    return '\n'.join([*lines, f'Bits per dimension: {format_number(evaluation.bits_per_dimension)}'])


def describe(provenance: Provenance) -> str:
    """Returns one line that describes the evaluated subjects."""
    synthetic = 'SYNTHETIC PHANTOM DATA: ' if provenance.is_phantom else ''
    return f'{synthetic}{provenance.dataset}, {provenance.split} subjects of {provenance.data}'


def _notes(evaluation: Evaluation, provenance: Provenance) -> list[str]:
    """Returns what a reader must know before the scores, one sentence each."""
    behind = evaluation.num_train_subjects
    notes = [f'{evaluation.num_subjects} subjects scored, {f"{behind} behind the" if behind else "without"} baselines.']
    if provenance.temperature != 1.0:
        notes.append(f'Samples deviate from the mean {provenance.temperature:g} times as much as the model says.')
    if provenance.alignment in ('similarity', 'affine'):
        notes.append(f'Subjects are brought to the canonical volume by a map of kind {provenance.alignment}.')
    if provenance.alignment == 'none':
        notes.append('Subjects are not brought to the canonical volume.')
    if not provenance.sampling.get('narrows_factors', True):
        notes.append("In samples, the contexts rescale the residual's Student-t, not that of the subject's factors.")
    evidence = provenance.sampling.get('factor_evidence', 1.0)
    if evidence != 1.0:
        notes.append(
            f"In samples, the contexts' log-likelihood counts {evidence:g} times in the covariance of the subject's "
            'factors.'
        )
    scale = provenance.sampling.get('factor_scale', 1.0)
    if scale != 1.0:
        notes.append(f"In samples, the prior standard deviations of the subject's factors are multiplied by {scale:g}.")
    if provenance.is_phantom:
        notes.append('The anatomies are synthetic: the scores say nothing about scans of people.')
    if evaluation.num_trained_on:
        notes.append(
            f'{evaluation.num_trained_on} of the scored subjects were trained on or chosen for validation: the scores '
            'are not those of unseen subjects, and the nearest subject of each of them is itself.'
        )
    return notes


def _conventions(evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """Returns the name and the definition of each method and score."""
    return (
        ('mean_image', 'the decoded predictive mean of the model, context slices not pasted in'),
        (
            'sample_average',
            f'the average of {evaluation.num_samples} samples of the model, joint over slices if the model allows',
        ),
        ('samples', f'the average score of the first {evaluation.score_samples} samples, one by one'),
        (
            'known_frame',
            'not a completion from contexts: the mean image without contexts in the size and place that the foreground '
            'of the true stack has',
        ),
        ('training_mean', 'the mean of the training subjects'),
        ('nearest_subject', 'the training subject nearest at the contexts; without contexts the most typical one'),
        (
            'linear',
            'linear interpolation between contexts, the nearest one beyond the ends; without contexts the mean',
        ),
        (
            'components',
            'conditional Gaussian of principal components of whole volumes, rank and noise chosen on training subjects',
        ),
        ('kriged_components', 'the same, plus the residual of the contexts, kriged over slice position'),
        (
            'deformed_neighbours',
            'the average of the training subjects nearest to the contexts, brought to the size and place of the '
            'subject and deformed to its contexts',
        ),
        (
            'deformed_components',
            'conditional Gaussian of principal components of more such subjects, plus the kriged residual',
        ),
        (
            'ssim',
            '11 x 11 Gaussian of sigma 1.5, data range 1, per slice without its border of 5 pixels, then over slices',
        ),
        ('cc', 'correlation over all pixels of the volume'),
        ('psnr', 'dB, of the squared error averaged over subjects'),
        ('no_contexts', 'the same score over the slices that are not contexts'),
        (
            'mask_ssim, mask_cc, sharpness',
            f'over pixels where the true slice is above {FOREGROUND_THRESHOLD}, without the contexts and without '
            f'slices of fewer than {metrics.MIN_MASK_PIXELS} such pixels; SSIM per slice, the others per volume; '
            "sharpness is the mean gradient magnitude over the truth's, by differences to the next pixel",
        ),
        (
            'coverage, crps',
            'of the samples, over the same pixels: the share of true values inside the central interval of each '
            "pixel's samples, by rank, and the fair continuous ranked probability score",
        ),
        (
            'variogram',
            f'score of order {variogram.ORDER:g} of the {evaluation.num_samples} samples, over {variogram.NUM_PAIRS} '
            'random pairs of the same pixels: the second of a pair lies in a random direction at a distance of 1 to '
            f'{variogram.LONGEST_DISTANCE} voxels, uniform in its logarithm; less is better, and it falls with the '
            'number of samples',
        ),
        (
            'spectra',
            'power of slices in each octave of wavelengths (pixels) over that of the true slices, inside the same mask '
            'with a taper of 4 pixels at its border; geometric average over samples and subjects, 1 is best',
        ),
        ('±', 'standard error over subjects'),
        (
            'bits_per_dimension',
            f'negative log density of {NUM_LIKELIHOOD_SLICES} slices spread over the stack, base 2, per '
            f'pixel, plus 8: relative to {LEVELS} grey levels, with uniform noise within a level; an upper '
            'bound for a deep baseline, which has a lower bound of its density',
        ),
    )


def _calibration_table(evaluation: Evaluation) -> list[str]:
    """Returns the lines of the table of the samples' calibration: a row for each number of contexts."""
    errors = evaluation.calibration_errors
    rows = [
        [str(count), *(_with_error(found[name], errors[count][name]) for name in found)]
        for count, found in evaluation.calibration.items()
    ]
    return markdown_table(['contexts', *CALIBRATION_LABELS.values()], rows)


def _spectrum_table(evaluation: Evaluation) -> list[str]:
    """Returns the lines of the table of power spectra: the samples and the mean image at each number of contexts."""
    octaves = next(iter(evaluation.spectra.values()))['samples']
    rows = [
        [
            str(count),
            _label(method),
            *(_with_error(methods[method][name], evaluation.spectrum_errors[count][method][name]) for name in octaves),
        ]
        for count, methods in evaluation.spectra.items()
        for method in ('samples', 'mean_image')
    ]
    return markdown_table(['contexts', 'method', *(f'{name} pixels' for name in octaves)], rows)


def _label(method: str) -> str:
    return METHOD_LABELS.get(method, method)


def _with_error(value: float, error: float) -> str:
    return f'{format_number(value)} ± {format_number(error)}'


def format_number(value: float | None) -> str:
    """Returns a number with three decimals, or two from 10 up; a dash for undefined or infinite values."""
    if value is None or not math.isfinite(value):
        return '-'
    return f'{value:.3f}' if abs(value) < 10 else f'{value:.2f}'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table with padded columns, so that it reads as plain text, too."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    numeric = [all(row[column][:1] in '-0123456789' for row in rows) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True))
        return f'| {" | ".join(padded)} |'

    rule = [f'{"-" * (width - 1)}{":" if right else "-"}' for width, right in zip(widths, numeric, strict=True)]
    return [line(header), line(rule), *map(line, rows)]


def finite_json(value: Any) -> Any:
    """Returns a value with string keys, lists, and None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
