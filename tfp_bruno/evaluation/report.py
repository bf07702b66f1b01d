"""The report of an evaluation: `metrics.json`, `metrics.md`, two figures, and a table for the terminal."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfp_bruno.data import FOREGROUND_THRESHOLD, atomic
from tfp_bruno.data.encoding import LEVELS
from tfp_bruno.evaluation import figures, likelihood, metrics
from tfp_bruno.evaluation.calibration import CALIBRATION_LABELS
from tfp_bruno.evaluation.protocol import Evaluation
from tfp_bruno.evaluation.tables import finite_json as _plain
from tfp_bruno.evaluation.tables import format_number as _number
from tfp_bruno.evaluation.tables import markdown_table as _table
from tfp_bruno.evaluation.tables import to_png as _png

METHOD_LABELS = {
    'mean_image': 'model, mean image',
    'sample_average': 'model, average of samples',
    'samples': 'model, single samples',
    'training_mean': 'training mean',
    'nearest_subject': 'nearest subject',
    'linear': 'linear interpolation',
    'components': 'principal components',
    'kriged_components': 'principal components, kriged residual',
}
MASK_FIGURES = {'mask_ssim': 'in-mask SSIM', 'mask_cc': 'in-mask CC', 'sharpness': 'sharpness'}
SLICE_FIGURES = {'ssim': 'SSIM', 'cc': 'CC', 'psnr': 'PSNR'}
FIGURE_LABELS = {
    **MASK_FIGURES,
    **SLICE_FIGURES,
    **{f'{name}_no_contexts': f'{label} w/o contexts' for name, label in SLICE_FIGURES.items()},
}


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What was evaluated.

    Attributes:
        dataset: name of the dataset definition.
        split: 'train', 'test' or 'all'.
        data: one line that says what the data are.
        is_phantom: whether the data are synthetic.
        run: the run's folder.
        trained_on: one line that says what the run was trained on.
        version: version of the program.
        temperature: factor of the samples' deviations from the mean, in latent space.
        sampling: how they were drawn, see `models.ModelSettings.sampling`.
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


def write_report(folder: str | os.PathLike, evaluation: Evaluation, provenance: Provenance) -> tuple[pathlib.Path, ...]:
    """Writes the report of an evaluation, each file atomically.

    Args:
        folder: where to write; made if it is missing.
        evaluation: what the protocol found.
        provenance: what was evaluated.

    Returns:
        The paths of `metrics.json`, `metrics.md`, `ssim_over_slices.png` and `completions.png`.

    Raises:
        UserError: if a file cannot be written.
    """
    folder = pathlib.Path(folder)
    payloads = {
        'metrics.json': (json.dumps(to_json(evaluation, provenance), indent=2) + '\n').encode(),
        'metrics.md': format_markdown(evaluation, provenance).encode(),
        'ssim_over_slices.png': _png(figures.draw_ssim_over_slices(evaluation, METHOD_LABELS, describe(provenance))),
        'completions.png': _png(figures.draw_completions(evaluation.examples, METHOD_LABELS, describe(provenance))),
    }
    for name, payload in payloads.items():
        atomic.write_bytes(folder / name, payload)
    return tuple(folder / name for name in payloads)


def to_json(evaluation: Evaluation, provenance: Provenance) -> dict:
    """Returns all that was found as values that JSON can hold; None stands for what is undefined or infinite."""
    found = {field.name: getattr(evaluation, field.name) for field in dataclasses.fields(evaluation)}
    del found['examples']
    curves = {
        count: {method: curve.tolist() for method, curve in methods.items()}
        for count, methods in found.pop('ssim_over_slices').items()
    }
    contents = dataclasses.asdict(provenance) | {'contexts': found.pop('scores')} | found
    return _plain(contents | {'ssim_over_slices': curves, 'conventions': dict(_conventions(evaluation))})


def format_markdown(evaluation: Evaluation, provenance: Provenance) -> str:
    """Returns the report as Markdown: what the data are, a table for each number of contexts, and the conventions."""
    lines = [f'# {describe(provenance)}', '']
    lines += [f'Run: {provenance.run}, trained on {provenance.trained_on}. tfp_bruno {provenance.version}.', '']
    lines += [f'{note}\n' for note in _notes(evaluation, provenance)]
    bits, error = evaluation.bits_per_dimension, evaluation.bits_per_dimension_error
    lines += [f'Bits per dimension: {_number(bits)} ± {_number(error)}', '']
    for count, scores in evaluation.scores.items():
        slices = ', '.join(map(str, evaluation.context_slices[count])) or 'the prior'
        lines += [f'## {figures.count_contexts(count).capitalize()} ({slices})', '']
        errors = evaluation.standard_errors[count]
        rows = [
            [_label(method), *(f'{_number(scores[method][f])} ± {_number(errors[method][f])}' for f in FIGURE_LABELS)]
            for method in scores
        ]
        lines += [*_table(['method', *FIGURE_LABELS.values()], rows), '']
    lines += ['## Calibration of the samples', '', *_calibration_table(evaluation), '']
    lines += ['## Conventions', '', *(f'- {name}: {text}' for name, text in _conventions(evaluation)), '']
    return '\n'.join(lines)


def format_summary(evaluation: Evaluation, provenance: Provenance) -> str:
    """Returns a compact table for the terminal: every number of contexts and method, averages only."""
    shown = {**MASK_FIGURES, **SLICE_FIGURES}
    rows = [
        [str(count), _label(method), *(_number(values[figure]) for figure in shown)]
        for count, scores in evaluation.scores.items()
        for method, values in scores.items()
    ]
    lines = [describe(provenance), *_notes(evaluation, provenance), '']
    lines += _table(['contexts', 'method', *shown.values()], rows)
    lines += ['', *_calibration_table(evaluation), '']
    return '\n'.join([*lines, f'Bits per dimension: {_number(evaluation.bits_per_dimension)}'])


def describe(provenance: Provenance) -> str:
    """Returns one line that says what was evaluated."""
    synthetic = 'SYNTHETIC PHANTOM DATA: ' if provenance.is_phantom else ''
    return f'{synthetic}{provenance.dataset}, {provenance.split} subjects of {provenance.data}'


def _notes(evaluation, provenance):
    """Returns what a reader must know before the figures, one sentence each."""
    behind = evaluation.num_train_subjects
    notes = [f'{evaluation.num_subjects} subjects scored, {f"{behind} behind the" if behind else "without"} baselines.']
    if provenance.temperature != 1.0:
        notes.append(f'Samples deviate from the mean {provenance.temperature:g} times as much as the model says.')
    if not provenance.sampling.get('narrows_factors', True):
        notes.append("In samples, what contexts tell of the radius narrows the residual, not the subject's factors.")
    evidence = provenance.sampling.get('factor_evidence', 1.0)
    if evidence != 1.0:
        notes.append(f"In samples, what contexts tell of the subject's factors counts {evidence:g} of what they say.")
    scale = provenance.sampling.get('factor_scale', 1.0)
    if scale != 1.0:
        notes.append(f"In samples, the subject's factors deviate {scale:g} times as much as the model says.")
    if provenance.is_phantom:
        notes.append('The anatomies are made up by a program: the figures say nothing about scans of people.')
    if evaluation.num_trained_on:
        notes.append(
            f'{evaluation.num_trained_on} of the scored subjects were trained on: the figures are not those of unseen '
            'subjects, and the nearest subject of each of them is itself.'
        )
    return notes


def _conventions(evaluation):
    """Returns (name, meaning) of what is scored and how."""
    return (
        ('mean_image', 'the decoded predictive mean of the model, context slices not pasted in'),
        ('sample_average', f'the average of {evaluation.num_samples} samples of the model, joint where the model is'),
        ('samples', f'the average score of the first {evaluation.score_samples} samples, one by one'),
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
        ('kriged_components', 'the same, what the components leave of the contexts kriged over slice position'),
        (
            'ssim',
            '11 x 11 Gaussian of sigma 1.5, data range 1, per slice without its border of 5 pixels, then over slices',
        ),
        ('cc', 'correlation over all pixels of the volume'),
        ('psnr', 'dB, of the squared error averaged over subjects'),
        ('no_contexts', 'the same figure over the slices that are not contexts'),
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
        ('±', 'standard error over subjects'),
        (
            'bits_per_dimension',
            f'negative log density of {likelihood.NUM_LIKELIHOOD_SLICES} slices spread over the stack, base 2, per '
            f'pixel, plus 8: relative to {LEVELS} grey levels, with uniform noise within a level; of a '
            'deep baseline, which has a bound of its density, an upper bound',
        ),
    )


def _calibration_table(evaluation):
    """Returns the lines of the table of the samples' calibration: a row for each number of contexts."""
    rows = [
        [str(count), *(f'{_number(found[f])} ± {_number(evaluation.calibration_errors[count][f])}' for f in found)]
        for count, found in evaluation.calibration.items()
    ]
    return _table(['contexts', *CALIBRATION_LABELS.values()], rows)


def _label(method):
    return METHOD_LABELS.get(method, method)
