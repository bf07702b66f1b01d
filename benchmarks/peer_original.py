"""Measures the original code of Conditional BRUNO, as it is, under TensorFlow 2, and prints one line of JSON.

    git clone https://github.com/IraKorshunova/bruno
    python benchmarks/peer_original.py --original_dir=bruno

The model is that of config_conditional/m1_shapenet.py for 32 x 32 images; the training step is that of
config_conditional/train.py without the factor that holds back the process at first. What that code imports and
TensorFlow 2 lacks is stood in for, and so is the iterator over ShapeNet: images and labels are random.

The JSON has `parameters`; `forward_images_per_second` (densities alone) and `training_images_per_second` (loss,
gradients, RMSProp), both from medians; `first_step_seconds`, from the start of this script to the end of the first
training step, the pass that initialises the weights included; and `peak_gigabytes`, the peak resident memory of the
process (Linux only).
"""

import time

START = time.perf_counter()

import contextlib
import functools
import importlib
import os
import pathlib
import sys
import types
import warnings

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import peer
from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

ORIGINAL_DIR = flags.DEFINE_string(
    'original_dir', None, 'Folder of a clone of github.com/IraKorshunova/bruno.', required=True
)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 4, 'Sequences in a batch.', lower_bound=1)
SEQUENCE_LENGTH = flags.DEFINE_integer(
    'sequence_length', 16, 'Images of a sequence; the first is given.', lower_bound=2
)
REPEATS = peer.add_repeats_flag()
IN_TURN = peer.add_in_turn_flag()

_IMAGE_SHAPE = (32, 32, 1)
_LABEL_SIZE = 2


def main():
    """Measures and prints.

    Raises:
        UserError: if --original_dir is no clone of the original code.
    """
    folder = pathlib.Path(ORIGINAL_DIR.value)
    if not (folder / 'config_conditional' / 'm1_shapenet.py').is_file():
        raise UserError(
            f'--original_dir={folder}: has no config_conditional/m1_shapenet.py; give the folder of a clone of '
            'https://github.com/IraKorshunova/bruno.'
        )
    output = peer.stdout_for_result()
    tf = _import_tensorflow_1()
    peer.report(output, *_measure(tf, _import_original(tf, folder)), IN_TURN.value)


def _import_tensorflow_1():
    """Returns the module that behaves like TensorFlow 1."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    # tf.layers is left in tf_keras only.
    os.environ['TF_USE_LEGACY_KERAS'] = '1'
    tf = importlib.import_module('tensorflow').compat.v1
    tf.logging.set_verbosity(tf.logging.ERROR)
    warnings.filterwarnings('ignore', '`tf.layers')
    tf.disable_v2_behavior()
    return tf


def _import_original(tf, folder):
    """Returns the original's module config_conditional.m1_shapenet."""
    scopes = types.ModuleType('tensorflow.contrib.framework.python.ops')
    scopes.add_arg_scope, scopes.arg_scope = add_arg_scope, arg_scope
    data = types.ModuleType('data_iter_conditional')
    data.ShapenetConditionalNPDataIterator = _NoData
    sys.path.insert(0, str(folder.resolve()))
    with _modules({'tensorflow': tf, scopes.__name__: scopes, data.__name__: data}):
        # The configuration reads it when it is imported.
        importlib.import_module('config_conditional.defaults').seq_len = SEQUENCE_LENGTH.value
        return importlib.import_module('config_conditional.m1_shapenet')


@contextlib.contextmanager
def _modules(stand_ins):
    """Lets modules be imported under other names for a while.

    Only for a while: TensorFlow itself imports parts of TensorFlow later.
    """
    hidden = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
        sys.modules.update(hidden)


class _NoData:
    """The shapes of ShapeNet's images and labels without the data."""

    def __init__(self, seq_len, **_):
        self.seq_len = seq_len

    def get_observation_size(self):
        return (self.seq_len, *_IMAGE_SHAPE)

    def get_label_size(self):
        return (self.seq_len, _LABEL_SIZE)


_defaults = [{}]


def add_arg_scope(function):
    """Returns a function whose keyword arguments `arg_scope` can preset, as in tf.contrib."""

    @functools.wraps(function)
    def scoped(*arguments, **keywords):
        return function(*arguments, **{**_defaults[-1].get(scoped, {}), **keywords})

    return scoped


@contextlib.contextmanager
def arg_scope(functions, **keywords):
    """Presets keyword arguments of functions that `add_arg_scope` returned, while the context lasts."""
    outer = _defaults[-1]
    _defaults.append({**outer, **{function: {**outer.get(function, {}), **keywords} for function in functions}})
    try:
        yield
    finally:
        _defaults.pop()


def _measure(tf, config):
    """Returns the figures as a `dict`, and a function that takes a training step."""
    x = tf.placeholder(tf.float32, (BATCH_SIZE.value, *config.obs_shape))
    labels = tf.placeholder(tf.float32, (BATCH_SIZE.value, *config.label_shape))
    model = tf.make_template('model', config.build_model)
    initial_pass = model(x, labels, init=True)[0]
    log_probs = model(x, labels)[0]
    variables = tf.trainable_variables()
    training = _training_step(tf, config, config.loss(log_probs), variables)
    feeds = dict(zip((x, labels), _random_batch(), strict=True))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    session.run(initial_pass, feeds)
    session.run(training, feeds)
    first_step = time.perf_counter() - START

    def forward():
        session.run(log_probs, feeds)

    def train():
        session.run(training, feeds)

    images = BATCH_SIZE.value * SEQUENCE_LENGTH.value
    figures = {
        'parameters': sum(variable.shape.num_elements() for variable in variables),
        'forward_images_per_second': images / peer.median_seconds(forward, REPEATS.value),
        'training_images_per_second': images / peer.median_seconds(train, REPEATS.value),
        'first_step_seconds': first_step,
        'peak_gigabytes': peer.peak_gigabytes(),
    }
    return figures, train


def _training_step(tf, config, loss, variables):
    """Returns what a session has to fetch: the loss, and the update by the optimiser that the original chose."""
    optimizer = {'rmsprop': tf.train.RMSPropOptimizer, 'adam': tf.train.AdamOptimizer}[config.optimizer]
    gradients = tf.gradients(loss, variables)
    return loss, optimizer(config.learning_rate).apply_gradients(zip(gradients, variables, strict=True))


def _random_batch():
    """Returns images in [0, 256), as the original's iterator leaves them, and sines and cosines of angles."""
    rng = np.random.default_rng(0)
    shape = BATCH_SIZE.value, SEQUENCE_LENGTH.value
    angles = rng.uniform(0.0, 2.0 * np.pi, (*shape, 1))
    images = rng.uniform(0.0, 256.0, (*shape, *_IMAGE_SHAPE))
    return images.astype('float32'), np.concatenate([np.sin(angles), np.cos(angles)], -1).astype('float32')


if __name__ == '__main__':
    app.run_main(main)
