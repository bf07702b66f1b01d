"""Data-dependent initialisation of ActNorm: moments by NumPy, repeated, restored, and in replicas."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ActNorm

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
IMAGES = RNG.normal([1.0, -2.0], [0.5, 3.0], size=(6, 3, 4, 2))


def test_actnorm_starts_as_the_identity():
    bijector = ActNorm((3, 4, 2), dtype=tf.float64)
    x, log_det = bijector.inverse_and_log_det(IMAGES)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(log_det, np.zeros(6))


def test_initialize_from_data_sets_the_moments_of_each_channel():
    bijector = ActNorm((3, 4, 2), dtype=tf.float64)
    deviations = IMAGES.std((0, 1, 2))
    expected = (IMAGES - IMAGES.mean((0, 1, 2))) / deviations
    np.testing.assert_allclose(bijector.initialize_from_data(IMAGES), expected, rtol=1e-10)
    x, log_det = bijector.inverse_and_log_det(IMAGES)
    np.testing.assert_allclose(x, expected, rtol=1e-10)
    np.testing.assert_allclose(log_det, np.full(6, -12 * np.log(deviations).sum()), rtol=1e-12)
    np.testing.assert_allclose(bijector.forward(x), IMAGES, rtol=1e-10)


def test_initialize_from_data_keeps_initialised_weights(tmp_path):
    bijector, other = (ActNorm((3, 4, 2), dtype=tf.float64) for _ in range(2))
    bijector.initialize_from_data(IMAGES)
    bijector.trainable_variables[0].assign_add([1.0, 1.0])
    trained = [variable.numpy() for variable in bijector.trainable_variables]
    bijector.initialize_from_data(5 * IMAGES)
    # Also after a checkpoint was restored, inside a function.
    tf.train.Checkpoint(bijector=other).read(
        tf.train.Checkpoint(bijector=bijector).write(str(tmp_path / 'actnorm'))
    ).assert_consumed()
    tf.function(other.initialize_from_data)(5 * IMAGES)
    for started in (bijector, other):
        for variable, value in zip(started.trainable_variables, trained, strict=True):
            np.testing.assert_array_equal(variable, value)
    bijector.initialize_from_data(5 * IMAGES, overwrite=True)
    np.testing.assert_allclose(bijector.forward(np.zeros_like(IMAGES))[0, 0, 0], 5 * IMAGES.mean((0, 1, 2)), rtol=1e-12)


def test_initialize_from_data_keeps_the_scale_of_a_constant_channel():
    bijector = ActNorm((2, 2, 1))
    x = bijector.initialize_from_data(tf.fill([3, 2, 2, 1], 7.0))
    np.testing.assert_array_equal(x, np.zeros((3, 2, 2, 1)))
    assert np.isfinite(bijector.inverse_log_det_jacobian(tf.zeros([1, 2, 2, 1])))


REPLICAS = """
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfp_bruno.bijectors import GlowSettings, ConditionalRealNVP, RealNVPSettings

rng = np.random.default_rng(0)
images = rng.uniform(0.1, 0.9, (8, 8, 8, 1)).astype(np.float32)
poses = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 1, 0, 2, 3]]
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
glow = GlowSettings(first_squeeze=2, couplings=(2,), filters=(4,), dense_couplings=1, dense_units=8, pose_units=4)
real_nvp = RealNVPSettings(scales=2, filters=4, num_blocks=1, dense_couplings=1, dense_units=8, pose_units=4)
for settings in (glow, real_nvp):
    with strategy.scope():
        flow = ConditionalRealNVP((8, 8, 1), 4, settings)
    alone = ConditionalRealNVP((8, 8, 1), 4, settings)
    for variable, mirrored in zip(alone.variables, flow.variables):
        variable.assign(mirrored.numpy())
    dataset = tf.data.Dataset.from_tensor_slices((images, poses)).batch(8)
    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))

    @tf.function(autograph=False)
    def start(images, poses):
        return strategy.run(flow.initialize_from_data, (images, poses))

    start(*batch)
    start(*batch)
    alone.initialize_from_data(images, poses)
    for variable, mirrored in zip(alone.variables, flow.variables):
        for copy in strategy.experimental_local_results(mirrored):
            np.testing.assert_allclose(variable.numpy(), copy.numpy(), rtol=1e-3, atol=1e-4, err_msg=variable.name)

    # Replicas that share one tensor have gradients, too.
    shared, pose = tf.constant(images[:2]), tf.constant(poses[:2])

    def gradient():
        with tf.GradientTape() as tape:
            latents, log_det = flow.inverse_and_log_det(shared, pose)
            loss = tf.reduce_sum(latents**2) - tf.reduce_sum(log_det)
        return tape.gradient(loss, flow.trainable_variables)

    for per_replica in strategy.run(gradient):
        copies = strategy.experimental_local_results(per_replica)
        np.testing.assert_allclose(copies[0], copies[1], rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
def test_initialize_from_data_in_replicas_matches_one_device():
    done = subprocess.run([sys.executable, '-c', REPLICAS], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
