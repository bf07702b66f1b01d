"""Weight normalisation, and how it starts from data."""

import tensorflow as tf

from tfp_bruno.networks.replica_moments import batch_scale, replica_moments

__all__ = ['add_plain_weight', 'choose', 'fit_gain_and_bias', 'unit_directions']


def add_plain_weight(layer, name, shape, initializer, trainable=True, dtype=None):
    """Adds a weight that is not cast on reading, and that all replicas may assign the same value.

    Weights are normalised in their own precision and cast afterwards.
    """
    return layer.add_weight(
        name,
        shape,
        initializer=initializer,
        trainable=trainable,
        dtype=dtype,
        experimental_autocast=False,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def unit_directions(directions, axes):
    """Returns weights of which those that lead to one output unit have norm 1.

    ```none
    W = g V / ||V||
    ```

    #### References

    [1]: Tim Salimans, Durk P. Kingma. Weight normalization. NeurIPS 2016.

    Args:
        directions: `Tensor` V.
        axes: List of `int`: all axes of one unit's weights.
    """
    return directions * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(directions), axes, keepdims=True), 1e-12))


def fit_gain_and_bias(features):
    """Returns gain and bias, `[F]` each, that give features `[..., F]` mean 0 and variance 1 over a batch.

    A feature that is constant keeps its gain of 1.
    """
    mean, variance = replica_moments(features, list(range(features.shape.rank - 1)))
    gain = 1.0 / batch_scale(variance)
    return gain, -mean * gain


def choose(keep, old, new):
    """Returns old values where `keep`, new ones elsewhere.

    A choice between values: a `tf.cond` could not assign in the replicas of a strategy.
    """
    return tf.where(keep, old, tf.cast(new, old.dtype))
