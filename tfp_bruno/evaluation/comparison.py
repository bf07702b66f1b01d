"""Several runs side by side: one table of their scores, and plots of their completions of the same subjects."""

import dataclasses
import json
import os
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfp_bruno.contracts import CompletionModel, Predictor
from tfp_bruno.data import Population, atomic
from tfp_bruno.data.plain_text import printable
from tfp_bruno.errors import UserError
from tfp_bruno.evaluation import plots
from tfp_bruno.evaluation.methods import MODEL_METHODS
from tfp_bruno.evaluation.protocol import EXAMPLE_CONTEXTS
from tfp_bruno.evaluation.report import (
    MASK_SCORES,
    METHOD_LABELS,
    SLICE_SCORES,
    finite_json,
    format_number,
    markdown_table,
)
from tfp_bruno.evaluation.subject_scores import Example

# Entries of `metrics.json` that must agree for scores to be comparable, and all entries that are read.
_SAME = ('dataset', 'split', 'data', 'num_subjects')
_NEEDED = (*_SAME, 'is_phantom', 'contexts', 'context_slices', 'ssim_over_slices', 'bits_per_dimension', 'num_samples')
_SHOWN = {**MASK_SCORES, **SLICE_SCORES}
_METHODS = ('mean_image', 'sample_average', 'known_frame')
_NUM_EXAMPLES = 2
_LABEL_WIDTH = 22


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """A run with the scores of its evaluation.

    Attributes:
        folder: The run's folder.
        name: Label of its model.
        has_exact_log_prob: Whether its bits per dimension are those of a density, not of a bound.
        metrics: The contents of its `evaluation/metrics.json`.
    """

    folder: pathlib.Path
    name: str
    has_exact_log_prob: bool
    metrics: Mapping[str, Any]


def read_metrics(run_dir: str | os.PathLike) -> dict[str, Any]:
    """Reads the scores of a run's evaluation.

    Args:
        run_dir: The run's folder, or the file of an exported model.

    Returns:
        The contents of its `evaluation/metrics.json`.

    Raises:
        UserError: If the file is missing or damaged.
    """
    path = results_folder(run_dir, 'evaluation') / 'metrics.json'
    return read_metrics_file(path, f'evaluate that run first, with `run_dir={run_dir}`.')


def results_folder(run_dir: str | os.PathLike, name: str) -> pathlib.Path:
    """Returns the folder of results of a run: inside its folder, or beside the file of an exported model.

    Args:
        run_dir: The run's folder, or the file `MODEL.safetensors`.
        name: Name of the results, such as 'evaluation'; those of a file are in `MODEL-evaluation`.
    """
    path = pathlib.Path(run_dir)
    return path.with_name(f'{path.stem}-{name}') if path.is_file() else path / name


def read_metrics_file(path: pathlib.Path, mend: str) -> dict[str, Any]:
    """Reads a `metrics.json`.

    Args:
        path: The file.
        mend: What to do if it cannot be read, for the message.

    Raises:
        UserError: If the file is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        missing = [name for name in _NEEDED if name not in found]
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); {mend}') from error
    except (ValueError, TypeError) as error:
        raise UserError(f'{path}: is damaged; {mend}') from error
    if missing:
        raise UserError(f'{path}: is damaged, or of another version ({missing[0]} is missing); {mend}')
    return found


def describe_metrics(metrics: Mapping[str, Any], has_exact_log_prob: bool) -> str:
    """Returns the scores of one run as Markdown: what was scored, a table, the bits per dimension.

    Args:
        metrics: The contents of its `metrics.json`.
        has_exact_log_prob: Whether its bits per dimension are those of a density, not of a bound.
    """
    run = EvaluatedRun(pathlib.Path(), 'model', has_exact_log_prob, metrics)
    bits, sign = format_number(metrics['bits_per_dimension']), '' if has_exact_log_prob else 'at most '
    return '\n'.join([f'{_title([run])}:', '', *format_table([run]), '', f'Bits per dimension: {sign}{bits}.'])


def check_comparable(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Checks that runs were scored on the same subjects.

    Args:
        metrics: The results of `read_metrics`, keyed by run folder; at least one.

    Returns:
        The numbers of contexts that all runs have, ascending, as text like the keys of the metrics.

    Raises:
        UserError: If the subjects differ, or no number of contexts is common to all.
    """
    (first, reference), *others = metrics.items()
    for folder, found in others:
        for name in _SAME:
            if found[name] != reference[name]:
                raise UserError(
                    f'`compare`: {first} and {folder} were evaluated on different subjects ({name}: {reference[name]}; '
                    f'{found[name]}); evaluate both on the same.'
                )
    common = set.intersection(*(set(found['contexts']) for found in metrics.values()))
    if not common:
        raise UserError('`compare`: the runs were evaluated with no number of contexts in common; evaluate them again.')
    return tuple(sorted(common, key=int))


def complete_examples(
    models: Mapping[str, Predictor], test: Population, context_slices: Sequence[int]
) -> list[Example]:
    """Completes the first two subjects with every model.

    Args:
        models: The models by name.
        test: The scored subjects.
        context_slices: Slice numbers of the contexts.

    Returns:
        An example for each subject, its completions keyed by the models' names, without samples.
    """
    contexts, examples = np.asarray(context_slices, dtype=int), []
    for name, truth in zip(test.names[:_NUM_EXAMPLES], test.images, strict=False):
        query = (truth[None, contexts], contexts, np.arange(len(truth)))
        completions = {label: np.asarray(model.predict(*query))[0] for label, model in models.items()}
        examples.append(Example(name, tuple(context_slices), truth, completions, truth[:0]))
    return examples


def label_runs(models: Sequence[CompletionModel], run_dirs: Sequence[str | os.PathLike]) -> list[str]:
    """Returns the names of the runs' models; those of the same name are labelled by their folders, too."""
    names = [model.name for model in models]
    return [
        printable(name if names.count(name) == 1 else f'{name}, {run_dir}')
        for name, run_dir in zip(names, run_dirs, strict=True)
    ]


def choose_count(counts: Sequence[str]) -> str:
    """Returns the number of contexts to show: the largest up to 4, else the least."""
    return max((count for count in counts if int(count) <= EXAMPLE_CONTEXTS), key=int, default=counts[0])


def write_comparison(
    folder: str | os.PathLike, runs: Sequence[EvaluatedRun], examples: Sequence[Example]
) -> tuple[pathlib.Path, ...]:
    """Writes the comparison, each file atomically, the scores first.

    Args:
        folder: Where to write; made if it is missing.
        runs: The runs, comparable.
        examples: Completions of some subjects, keyed by the runs' names.

    Returns:
        The paths of `comparison.json`, `comparison.md`, `completions.png` and `ssim_over_slices.png`.

    Raises:
        UserError: If a file cannot be written.
    """
    folder, title = pathlib.Path(folder), _title(runs)
    # The scores are on disk before anything is drawn.
    atomic.write_text(folder / 'comparison.json', json.dumps(finite_json(to_json(runs)), indent=2) + '\n')
    text = '\n'.join([f'# {title}', '', *format_table(runs), '', *_notes(runs), ''])
    atomic.write_text(folder / 'comparison.md', text)
    rows = [_example_rows(example, runs) for example in examples]
    atomic.write_bytes(folder / 'completions.png', plots.to_png(plots.draw_mosaics(examples, rows, title)))
    atomic.write_bytes(folder / 'ssim_over_slices.png', plots.to_png(_draw_ssim(runs, title)))
    names = ('comparison.json', 'comparison.md', 'completions.png', 'ssim_over_slices.png')
    return tuple(folder / name for name in names)


def to_json(runs: Sequence[EvaluatedRun]) -> dict[str, Any]:
    """Returns all scores that the runs have in common: by number of contexts, then method, then name."""
    counts = check_comparable({str(run.folder): run.metrics for run in runs})
    reference = runs[0].metrics
    return {
        **{name: reference[name] for name in _SAME},
        'is_phantom': reference['is_phantom'],
        'runs': {run.name: str(run.folder) for run in runs},
        'bits_per_dimension': {run.name: run.metrics['bits_per_dimension'] for run in runs},
        'has_exact_log_prob': {run.name: run.has_exact_log_prob for run in runs},
        'contexts': {count: _methods(runs, count) for count in counts},
    }


def format_table(runs: Sequence[EvaluatedRun]) -> list[str]:
    """Returns the lines of one Markdown table: every number of contexts, every run, every baseline."""
    rows = [
        [count, method, *(format_number(found.get(name)) for name in _SHOWN)]
        for count, methods in to_json(runs)['contexts'].items()
        for method, found in methods.items()
    ]
    return markdown_table(['contexts', 'method', *_SHOWN.values()], rows)


def _methods(runs: Sequence[EvaluatedRun], count: str) -> dict[str, Mapping[str, float]]:
    """Returns the scores at a number of contexts, by method: of all runs, and of the first run's baselines."""
    models = {
        f'{run.name}, {METHOD_LABELS[method].removeprefix("model, ")}': run.metrics['contexts'][count][method]
        for method in _METHODS
        for run in runs
        # Only a model of places has a row of a known frame.
        if method != 'known_frame' or method in run.metrics['contexts'][count]
    }
    classical = runs[0].metrics['contexts'][count].items()
    return models | {METHOD_LABELS.get(name, name): found for name, found in classical if name not in MODEL_METHODS}


def _title(runs: Sequence[EvaluatedRun]) -> str:
    found = runs[0].metrics
    synthetic = 'SYNTHETIC PHANTOM DATA: ' if found['is_phantom'] else ''
    return f'{synthetic}{found["dataset"]}, {found["num_subjects"]} {found["split"]} subjects of {found["data"]}'


def _notes(runs: Sequence[EvaluatedRun]) -> Iterator[str]:
    for run in runs:
        bits, sign = format_number(run.metrics['bits_per_dimension']), '' if run.has_exact_log_prob else '≤ '
        place = printable(str(run.folder))
        yield (
            f'- {run.name}: {place}, trained on {run.metrics.get("trained_on")}; {sign}{bits} bits per dimension, '
            f'averages of {run.metrics["num_samples"]} samples.'
        )
    if not all(run.has_exact_log_prob for run in runs):
        yield '- ≤: an upper bound, from a lower bound of the density.'


def _example_rows(example: Example, runs: Sequence[EvaluatedRun]) -> list[tuple[str, np.ndarray]]:
    """Returns the label and the stack of each row: contexts, truth, and the runs in their order."""
    contexts = np.ones_like(example.truth)
    contexts[list(example.context_slices)] = example.truth[list(example.context_slices)]
    shown = [(textwrap.fill(run.name, _LABEL_WIDTH), example.completions[run.name]) for run in runs]
    return [('contexts', contexts), ('truth', example.truth), *shown]


def _draw_ssim(runs: Sequence[EvaluatedRun], title: str) -> Figure:
    """Plots SSIM of every run's mean image over slice position."""
    count = choose_count(check_comparable({str(run.folder): run.metrics for run in runs}))
    curves = {run.name: run.metrics['ssim_over_slices'][count]['mean_image'] for run in runs}
    reference = runs[0].metrics
    for name in plots.BASELINE_STYLES:
        if name in reference['ssim_over_slices'][count]:
            curves[METHOD_LABELS[name]] = reference['ssim_over_slices'][count][name]
    return plots.draw_ssim_of_runs(curves, len(runs), reference['context_slices'][count], title)
