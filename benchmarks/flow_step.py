"""Measures one flow of ours in a process of its own, and prints one line of JSON.

    python benchmarks/flow_step.py --flow=real_nvp --micro_batches=4

The flow gets a fresh process so that the first step and the peak of the memory are its own. The JSON has `parameters`;
`multiply_adds`, of one image from image to latent; `forward_images_per_second` (log-density alone),
`inverse_images_per_second` (latent to image), `training_images_per_second` (loss, gradients, Adam), all from medians;
`first_step_seconds`, from the start of this script to the end of the first training step, the start from data
included; and `peak_gigabytes`, the peak resident memory of training alone (Linux only).
"""

import time

START = time.perf_counter()

import pathlib
import sys

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import peer
from tfp_bruno.cli import app

FLOW = flags.DEFINE_enum(
    'flow', 'real_nvp', ['real_nvp', 'glow', 'normflows_glow'], 'Which flow; normflows_glow: as peer_normflows.py.'
)
PRECISION = flags.DEFINE_string('precision', 'float32', 'Dtype or tf_keras policy of the networks.')
IMAGE_SIZE = flags.DEFINE_integer('image_size', 32, 'Side of the images.', lower_bound=8)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 64, 'Images in a step.', lower_bound=1)
MICRO_BATCHES = flags.DEFINE_integer('micro_batches', 1, 'Parts that a step is worked off in.', lower_bound=1)
RECOMPUTE = flags.DEFINE_bool('recompute', False, 'Whether gradients evaluate hidden features again; real_nvp only.')
REPEATS = peer.add_repeats_flag()
IN_TURN = peer.add_in_turn_flag()

_POSE_SIZE = 2


def main():
    """Measures and prints."""
    output = peer.stdout_for_result()
    app.import_tensorflow()
    peer.report(output, *_measure(), IN_TURN.value)


def _measure():
    """Returns the figures as a `dict`, and a function that takes a training step."""
    import tensorflow as tf
    import tf_keras

    from benchmarks.measure import multiply_adds
    from tfp_bruno.training.trainer import accumulated_gradients

    flow = _make_flow()
    images = tf.random.stateless_uniform([BATCH_SIZE.value, IMAGE_SIZE.value, IMAGE_SIZE.value, 1], seed=(1, 2))
    poses = tf.random.stateless_normal([BATCH_SIZE.value, flow.condition_size], seed=(3, 4))
    flow.initialize_from_data(images, poses)
    variables = flow.trainable_variables
    optimizer = tf_keras.optimizers.legacy.Adam(1e-4)
    optimizer._create_all_weights(variables)

    def loss(images, poses):
        latents, log_det = flow.inverse_and_log_det(images, poses)
        return tf.reduce_mean(0.5 * tf.reduce_sum(tf.square(latents), -1) - log_det), {}

    @tf.function(autograph=False)
    def step(images, poses):
        parts, gradients = accumulated_gradients(loss, variables, (images, poses), MICRO_BATCHES.value)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return parts['loss']

    step(images, poses).numpy()
    first_step = time.perf_counter() - START

    def train():
        # Results are read, so that nothing is left to do.
        step(images, poses).numpy()

    training = peer.median_seconds(train, REPEATS.value)
    peak = peer.peak_gigabytes()
    log_prob = tf.function(lambda images, poses: loss(images, poses)[0], autograph=False)
    decode = tf.function(
        lambda latents, poses: tf.reduce_sum(flow.forward_and_log_det(latents, poses)[1]), autograph=False
    )
    latents = flow.inverse_and_log_det(images, poses)[0]
    of_both = [lambda: log_prob(images, poses).numpy(), lambda: decode(latents, poses).numpy()]
    forward, inverse = peer.medians_in_turn(of_both, REPEATS.value)
    figures = {
        'parameters': sum(variable.shape.num_elements() for variable in variables),
        'multiply_adds': multiply_adds(log_prob.get_concrete_function(images, poses).graph) / BATCH_SIZE.value,
        'forward_images_per_second': BATCH_SIZE.value / forward,
        'inverse_images_per_second': BATCH_SIZE.value / inverse,
        'training_images_per_second': BATCH_SIZE.value / training,
        'first_step_seconds': first_step,
        'peak_gigabytes': peak,
    }
    return figures, train


def _make_flow():
    from benchmarks.glow_shape import make_glow
    from tfp_bruno.bijectors import ConditionalRealNVP, RealNVPSettings

    size = IMAGE_SIZE.value
    if FLOW.value == 'normflows_glow':
        return make_glow(size, levels=3, blocks=4, hidden_channels=64)
    settings = RealNVPSettings(recompute=RECOMPUTE.value) if FLOW.value == 'real_nvp' else FLOW.value
    return ConditionalRealNVP((size, size, 1), _POSE_SIZE, settings, network_dtype=PRECISION.value)


if __name__ == '__main__':
    app.run_main(main)
