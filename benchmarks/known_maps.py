"""Scores completions by the map of a few contexts beside those by a map of the whole subject, and of turned subjects.

    python benchmarks/known_maps.py --run_dir=RUN

Prints three tables of the validation subjects of a run with a canonical volume: the mean image by the map that is found
from the contexts and by that found from every fourth slice of the truth, which tells what a better search could gain;
single samples from one context in the same way; and the mean image of subjects that are turned in space, from four
contexts.
"""

import dataclasses
import pathlib
import sys
from unittest import mock

import numpy as np
from absl import flags
from scipy import ndimage
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.cli import app
from tfp_bruno.cli.loading import load_model, load_volumes, read_splits
from tfp_bruno.evaluation import metrics, power_spectrum
from tfp_bruno.registration import FoundMap
from tfp_bruno.runs.mapped_model import MappedModel

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a trained model.', required=True)
CACHE_DIR = flags.DEFINE_string('cache_dir', None, 'Folder of the cache of volumes.')

_WHOLE = 4
_SAMPLES = 6
_DEGREES = (1.0, 5.0, 10.0)


def main() -> None:
    """Prints the tables."""
    model = load_model(RUN_DIR.value, 1.0, 'auto')
    assert isinstance(model, MappedModel)
    info = model.info
    population = load_volumes(model.definition, info, info.data_dir, CACHE_DIR.value, read_splits(info))
    stacks = population.subset('validation').images
    contexts = {count: np.array(slices, int) for count, slices in sorted(model.definition.context_slices.items())}
    print('| contexts | map | in-mask SSIM | in-mask CC | sharpness |\n|---|---|---|---|---|')
    for count, slices in contexts.items():
        for name, scores in _means(model, stacks, slices).items():
            print(f'| {count} | {name} |', *(f'{value:.3f} |' for value in scores), flush=True)
    names = power_spectrum.octave_names(stacks.shape[2:])
    print('\n| power from 1 context |', *(f'{name} |' for name in names), f'\n|{"---|" * (1 + len(names))}')
    for name, ratios in _power(model, stacks, contexts[1]).items():
        print(f'| {name} |', *(f'{value:.2f} |' for value in ratios), flush=True)
    print('\n| turned about | degrees | in-mask SSIM | in-mask CC |\n|---|---|---|---|')
    for axis, name in enumerate(('normal of the slices', 'rows', 'columns')):
        for degrees in _DEGREES:
            turned = [_turned(model, stack, axis, degrees) for stack in stacks[::2]]
            scores = [_score(stack, _completed(model, stack, contexts[4]), contexts[4]) for stack in turned]
            print(f'| {name} | {degrees:g} |', *(f'{value:.3f} |' for value in np.mean(scores, axis=0)[:2]), flush=True)


def _means(model: MappedModel, stacks: np.ndarray, slices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns in-mask SSIM, in-mask CC and sharpness of the mean image by each map, averaged over subjects."""
    rows: dict[str, list[list[float]]] = {}
    for stack in stacks:
        for name, found in _maps(model, stack, slices).items():
            with mock.patch.object(model, 'find_map', return_value=found):
                rows.setdefault(name, []).append(_score(stack, _completed(model, stack, slices), slices))
    return {name: np.mean(scores, axis=0) for name, scores in rows.items()}


def _power(model: MappedModel, stacks: np.ndarray, slices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the power of samples, and of other subjects, in each octave relative to the truth's, in its mask."""
    rows: dict[str, list[list[float]]] = {}
    for number, stack in enumerate(stacks):
        maps = _maps(model, stack, slices)
        drawn = {'samples, maps drawn given the contexts': maps.pop('of the contexts')}
        drawn |= {f'samples, map {name}': found for name, found in maps.items()}
        volumes = {'other subjects': np.delete(stacks, number, 0)[number % 5 :: 5]}
        for name, found in drawn.items():
            with mock.patch.object(model, 'find_map', return_value=found):
                samples = model.sample(stack[None, slices], slices, np.arange(len(stack)), _SAMPLES, number)
            volumes[name] = samples[:, 0]
        for name, ratios in power_spectrum.log_ratios(stack, volumes, slices).items():
            rows.setdefault(name, []).append(list(ratios.values()))
    return {name: np.exp(np.mean(ratios, axis=0)) for name, ratios in rows.items()}


def _maps(model: MappedModel, stack: np.ndarray, slices: np.ndarray) -> dict[str, FoundMap]:
    """Returns the map of a subject from its contexts, and from slices of all of it, which is taken for certain."""
    every = np.arange(_WHOLE // 2, len(stack), _WHOLE)
    whole = model.finder.find(stack[every], every)
    certain = dataclasses.replace(whole, covariance=np.zeros_like(whole.covariance))
    return {'of the contexts': model.finder.find(stack[slices], slices), 'of the whole subject': certain}


def _completed(model: MappedModel, stack: np.ndarray, slices: np.ndarray) -> np.ndarray:
    return model.predict(stack[None, slices], slices, np.arange(len(stack)))[0]


def _score(truth: np.ndarray, completed: np.ndarray, slices: np.ndarray) -> list[float]:
    scores = metrics.score_volume(truth, completed, slices).scores
    return [scores[name] for name in ('mask_ssim', 'mask_cc', 'sharpness')]


def _turned(model: MappedModel, stack: np.ndarray, axis: int, degrees: float) -> np.ndarray:
    """Returns a stack turned about an axis through its middle, interpolated linearly."""
    sides = model.finder.space.basis.voxel_size
    rotation = Rotation.from_rotvec(np.deg2rad(degrees) * np.eye(3)[axis]).as_matrix()
    matrix, middle = rotation * sides / sides[:, None], (np.array(stack.shape) - 1) / 2
    return np.clip(ndimage.affine_transform(stack, matrix, middle - matrix @ middle, order=1), 0, 1)


if __name__ == '__main__':
    app.run_main(main)
