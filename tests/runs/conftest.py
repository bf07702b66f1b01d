"""A run on disk whose model is fitted in closed form, not trained."""

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from tfp_bruno.bijectors import GlowSettings
from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import get_definition
from tfp_bruno.data.encoding import one_hot_poses
from tfp_bruno.models import ModelSettings, build_model, initialize_model
from tfp_bruno.runs import Run, write_run
from tfp_bruno.runs.loadings import other_variables, round_loadings
from tfp_bruno.runs.tensor_file import TensorFile, write_tensors
from tfp_bruno.runs.weights import write_weights
from tfp_bruno.training import TrainingSettings

NUM_SLICES, SIZE = 12, 16


@pytest.fixture(scope='session')
def tiny_definition():
    contexts = {0: (), 4: (1, 4, 7, 10)}
    return dataclasses.replace(get_definition('fetal'), num_slices=NUM_SLICES, image_size=SIZE, context_slices=contexts)


@pytest.fixture(scope='session')
def make_run(tmp_path_factory, tiny_definition):
    """Writes the settings of a run with a given process, and returns the run."""

    def make(process='factor'):
        flow = GlowSettings(
            first_squeeze=2, couplings=(1,), filters=(4,), dense_couplings=1, dense_units=8, pose_units=4
        )
        model = ModelSettings((SIZE, SIZE, 1), NUM_SLICES, process=process, flow=flow, factors=2)
        training = TrainingSettings(sequence_length=5, seed=3)
        info = RunInfo(None, 'noise', is_phantom=True, phantom_subjects=6, seed=3, preset='cpu')
        run = Run(tmp_path_factory.mktemp('run'), tiny_definition, model, training, info)
        write_run(run)
        return run

    return make


@pytest.fixture(scope='session')
def make_weights():
    """Fits the model of a run to smooth random subjects, writes its weights and returns the subjects.

    With a file of the loadings, as training does; otherwise as versions before did.
    """

    def make(run, with_file=False):
        rng = np.random.default_rng(0)
        brightness = rng.uniform(0.2, 0.8, (8, 1, 1, 1))
        images = np.clip(brightness + rng.normal(0, 0.05, (8, NUM_SLICES, SIZE, SIZE)), 0.01, 0.99).astype(np.float32)
        model = build_model(run.model, run.training.sequence_length, run.training.seed)
        initialize_model(model, images[..., None], one_hot_poses(np.arange(NUM_SLICES), NUM_SLICES))
        if with_file:
            round_loadings(model, run.loadings)
            write_weights(run.folder / 'weights', other_variables(model))
        else:
            tf.train.Checkpoint(variables=list(model.variables)).write(str(run.weights))
        return images

    return make


@pytest.fixture
def change_file():
    """Changes arrays and texts of an exported file, as if it had been written so: `change_file(path, change)`."""

    def change(path, change_content):
        with safetensors.safe_open(path, framework='np') as file:
            kind, names = file.metadata()['tfp_bruno'], file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
            texts = {name: text for name, text in file.metadata().items() if '.' in name}
        change_content(arrays, texts)
        write_tensors(path, TensorFile(kind, arrays, texts))

    return change
