"""The model card of an exported model: what it was trained on, its scores, its use and its limits, in Markdown."""

import collections
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

from tfp_bruno.data.plain_text import printable
from tfp_bruno.runs.run_folder import Run
from tfp_bruno.version import __version__

_LIBRARIES = ('tensorflow', 'tensorflow-probability', 'numpy', 'safetensors')
_KINDS = {
    'bruno': 'Exact conditional flow: a normalizing flow and a process over the slices (`ConditionalBruno`)',
    'gqn': 'Generative Query Network',
    'cvae': 'Conditional variational autoencoder',
}


def format_card(
    run: Run,
    splits: Mapping[str, str],
    curve: Sequence[Mapping[str, float]],
    scores: str | None = None,
    data_licence: str | None = None,
) -> str:
    """Returns the model card.

    Args:
        run: The run of the model.
        splits: Split of its subjects by name.
        curve: Points of its learning curve.
        scores: Scores as Markdown, see `evaluation.describe_metrics`; None if it was not evaluated.
        data_licence: Licence of the training data, as the user states it; None if unknown.
    """
    definition = run.definition
    sections = {
        'Training data': _training_data(run, splits, data_licence),
        'Training': _training(run, curve),
        'Scores': scores or 'Not evaluated.',
        'Intended use': (
            f'Research on {definition.name} volumes: completing a stack of {definition.num_slices} slices of '
            f'{definition.image_size} x {definition.image_size} pixels from a few of them (`bin/reconstruct`), its '
            'uncertainty, and the atlas of the population (`bin/atlas`). Not a medical device: not for diagnosis or '
            'treatment.'
        ),
        'Limits': _limits(run),
        'Versions': _versions(run),
    }
    parts = [f'# Model card: {printable(definition.name)}, {run.kind} ({printable(run.info.preset)})']
    return '\n\n'.join([*parts, *(f'## {name}\n\n{text}' for name, text in sections.items())]) + '\n'


def _training_data(run: Run, splits: Mapping[str, str], data_licence: str | None) -> str:
    counts = collections.Counter(splits.values())
    info = run.info
    lines = [
        f'- Volumes: {printable(info.data)}{"; synthetic (phantoms)" if info.is_phantom else ""}',
        *(f'- {name.capitalize()} subjects: {counts[name]}' for name in ('train', 'validation', 'test')),
        f'- Licence: {"not stated" if data_licence is None else printable(data_licence)}',
        '- The file contains the names of the subjects with their split, and the path of the folder of the volumes. It '
        'contains no volume, but statistics of all training volumes: mean, components, and a network.',
    ]
    return '\n'.join(lines)


def _training(run: Run, curve: Sequence[Mapping[str, float]]) -> str:
    lines = [f'- Kind of model: {_KINDS[run.kind]}', f'- Preset: {printable(run.info.preset)}; seed {run.info.seed}']
    if curve:
        last = curve[-1]
        lines.append(f'- Steps: {last["step"]:.0f}, {last["seconds"] / 60.0:.1f} minutes')
        lines += [f'- Last {name}: {last[name]:.4f}' for name in ('train/loss', 'held_out/loss') if name in last]
    return '\n'.join(lines)


def _limits(run: Run) -> str:
    lines = [
        'The completion of slices that were not given is a prediction from the population of the training data: a '
        'lesion or a malformation that the given slices do not show is not completed.',
        'Subjects unlike those of the training data (age, disease, scanner, contrast) are completed worse, and the '
        'uncertainty does not account for that.',
    ]
    if run.info.is_phantom:
        lines.append('The training volumes are synthetic: the model says nothing about scans of people.')
    return '\n'.join(f'- {line}' for line in lines)


def _versions(run: Run) -> str:
    lines = [f'- trained with tfp_bruno {printable(run.info.version)}, exported with tfp_bruno {__version__}']
    lines += [f'- {name} {metadata.version(name)}' for name in _LIBRARIES]
    return '\n'.join([*lines, f'- Python {platform.python_version()}'])
