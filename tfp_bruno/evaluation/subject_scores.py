"""The scores of one subject, and a folder that keeps those of many, so that an evaluation can be divided or go on."""

import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfp_bruno.data import atomic
from tfp_bruno.errors import warn
from tfp_bruno.evaluation.metrics import VolumeScores


@dataclasses.dataclass(frozen=True)
class Example:
    """One subject's completions, for the mosaics.

    Attributes:
        name: The subject.
        context_slices: Slice numbers of its contexts.
        truth: `[K, H, W]`.
        completions: `[K, H, W]` of each method by name.
        samples: `[N, K, H, W]`, single samples.
    """

    name: str
    context_slices: tuple[int, ...]
    truth: np.ndarray
    completions: Mapping[str, np.ndarray]
    samples: np.ndarray


@dataclasses.dataclass(frozen=True)
class CountScores:
    """The scores of one subject completed from one number of contexts.

    Attributes:
        methods: Scores of each method by name.
        calibration: Scores of the samples' distribution, see `predictive.calibration_scores`.
        log_ratios: Log power of each method in each octave, see `power_spectrum.log_ratios`.
    """

    methods: Mapping[str, VolumeScores]
    calibration: Mapping[str, float]
    log_ratios: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class SubjectScores:
    """The scores of one subject.

    Attributes:
        counts: Scores keyed by number of contexts.
        bits_per_dimension: See `predictive.bits_per_dimension`.
        example: Its completions, if it is shown.
    """

    counts: Mapping[int, CountScores]
    bits_per_dimension: float
    example: Example | None = None


def write_subject_scores(path: str | os.PathLike, found: SubjectScores) -> None:
    """Writes the scores of a subject, atomically and without rounding.

    Args:
        path: NumPy archive (`.npz`); its folder is created if it is missing.
        found: The scores.

    Raises:
        UserError: If the file cannot be written.
    """
    scores = {
        'bits_per_dimension': float(found.bits_per_dimension),
        'counts': {
            count: {
                'methods': {
                    method: {'scores': dict(volume.scores), 'ssim_over_slices': volume.ssim_over_slices.tolist()}
                    for method, volume in each.methods.items()
                },
                'calibration': dict(each.calibration),
                'log_ratios': each.log_ratios,
            }
            for count, each in found.counts.items()
        },
    }
    arrays: dict[str, Any] = {}
    example = found.example
    if example is not None:
        scores['example'] = {'name': example.name, 'context_slices': [int(k) for k in example.context_slices]}
        arrays = {'truth': example.truth, 'samples': example.samples}
        arrays |= {f'completion_{method}': volume for method, volume in example.completions.items()}
    with atomic.replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, scores=np.array(json.dumps(scores)), **arrays)


def read_subject_scores(path: str | os.PathLike) -> SubjectScores | None:
    """Returns the scores of a subject; None if there is no such file, or, with a warning, if it is damaged."""
    path = pathlib.Path(path)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        return _structure(json.loads(str(arrays.pop('scores'))), arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        warn(f'{path}: is damaged ({error!r:.80}); the subject is scored again.')
        return None


def _structure(scores: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SubjectScores:
    """Returns the scores of a subject from the content of its file."""
    counts = {
        int(count): CountScores(
            {
                method: VolumeScores(volume['scores'], np.array(volume['ssim_over_slices']))
                for method, volume in each['methods'].items()
            },
            each['calibration'],
            each['log_ratios'],
        )
        for count, each in scores['counts'].items()
    }
    example = None
    if 'example' in scores:
        completions = {name.removeprefix('completion_'): arrays[name] for name in arrays if name.startswith('comp')}
        about = scores['example']
        example = Example(
            about['name'], tuple(about['context_slices']), arrays['truth'], completions, arrays['samples']
        )
    return SubjectScores(counts, scores['bits_per_dimension'], example)
