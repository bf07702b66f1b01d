"""A small dataset, its populations and a model that needs no training."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from tfp_bruno import baselines
from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Population, get_definition
from tfp_bruno.evaluation import Provenance, evaluate, write_report

NUM_SLICES = 16
SIZE = 24


class FakeModel:
    """Predicts the average of training mean and linear interpolation; samples add noise; the density is uniform."""

    name, sampling, temperature, has_exact_log_prob = 'fake', {}, 1.0, True
    info = RunInfo(None, 'made-up blobs', True, 6, seed=0, preset='cpu', weights='of a step')

    def __init__(self, definition, train_images):
        self.definition = definition
        self.calls = []
        self._mean = baselines.TrainingMean(train_images)
        self._linear = baselines.LinearInterpolation(train_images)

    def predict(self, context_images, context_slices, query_slices):
        query = (context_images, context_slices, query_slices)
        return (self._mean.predict(*query) + self._linear.predict(*query)) / 2

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        self.calls.append((num_samples, seed))
        mean = self.predict(context_images, context_slices, query_slices)
        noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (num_samples, *mean.shape))
        return np.clip(mean + noise, 0, 1).astype(np.float32)

    def log_prob(self, images, slices):
        assert images.shape[1] == len(slices)
        return np.zeros(len(images))


class LocatingFake(FakeModel):
    """Takes the brightness of its completion from a frame; an evaluation calls none of its other methods."""

    alignment = 'affine'

    def with_temperature(self, temperature):
        raise NotImplementedError

    def with_alignment(self, alignment):
        raise NotImplementedError

    def locate(self, images, slices):
        raise NotImplementedError

    def log_posterior(self, images, slices, coarse=False):
        raise NotImplementedError

    def predict_in_frame(self, frame, query_slices):
        return np.full((len(query_slices), 24, 24), frame.place[1] / 24, np.float32)


def make_population(count, seed, split):
    """Smooth blobs on a background of 0."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, NUM_SLICES, SIZE, SIZE)), (0, 2, 2, 2))
    images = np.clip(smooth / smooth.std() / 4 + 0.2, 0, 1).astype(np.float32)
    images[..., :4, :] = 0
    names = tuple(f'sub-{split}{number}' for number in range(count))
    return Population(images, names, (split,) * count, True, 'made-up blobs')


@pytest.fixture(scope='session')
def definition():
    contexts = {0: (), 1: (8,), 2: (5, 10), 4: (2, 6, 10, 14), 5: (2, 5, 8, 11, 14)}
    return dataclasses.replace(get_definition('fetal'), num_slices=NUM_SLICES, image_size=SIZE, context_slices=contexts)


@pytest.fixture(scope='session')
def train():
    return make_population(6, 1, 'train')


@pytest.fixture(scope='session')
def test():
    return make_population(4, 2, 'test')


@pytest.fixture
def model(definition, train):
    return FakeModel(definition, train.images)


@pytest.fixture
def locating_model(definition, train):
    return LocatingFake(definition, train.images)


@pytest.fixture(scope='session')
def evaluation(definition, train, test):
    return evaluate(FakeModel(definition, train.images), train, test, num_samples=8, score_samples=3, seed=5)


@pytest.fixture(scope='session')
def provenance():
    return Provenance('fetal', 'test', 'made-up blobs', True, 'runs/one', 'other blobs', '1.2.3')


@pytest.fixture(scope='session')
def report_paths(tmp_path_factory, evaluation, provenance):
    """The files of a written report by name; a test that changes them copies them first."""
    folder = tmp_path_factory.mktemp('run') / 'evaluation'
    return {path.name: path for path in write_report(folder, evaluation, provenance)}
