"""Tables over one-hot poses."""

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['PoseTable', 'look_up']


class PoseTable(tf.Module):
    """A callable of poses that looks its values up: for pose-dependent means and loadings."""

    def __init__(self, values, name=None):
        """Keeps the table.

        Args:
            values: `Tensor` or `tf.Variable` of shape `[P, ...]`, one entry for each one-hot pose.
            name: Python `str`. Default value: `None`.
        """
        super().__init__(name=name)
        self.values = values if isinstance(values, tf.Variable) else tf.convert_to_tensor(values)

    def __call__(self, poses):
        """Returns the values `[..., n, ...]` at poses `[..., n, P]`."""
        return look_up(tf.convert_to_tensor(self.values), poses)


def look_up(table, poses):
    """Returns entries of a table `[P, ...]`: those of one-hot poses, combinations of entries for others.

    Gradients flow to poses only where some are not one-hot.
    """
    size, rest = table.shape[0], table.shape[1:]
    flat, flat_table = tf.reshape(poses, [-1, size]), tf.reshape(table, [size, rest.num_elements()])
    binary = tf.reduce_all(tf.equal(flat, 0.0) | tf.equal(flat, 1.0))
    is_one_hot = binary & tf.reduce_all(tf.equal(tf.reduce_sum(flat, -1), 1.0))
    # Copying rows is many times faster than a product with a large table.
    rows = tf.cond(
        is_one_hot, lambda: tf.gather(flat_table, tf.argmax(flat, axis=-1)), lambda: tf.matmul(flat, flat_table)
    )
    return tf.reshape(rows, ps.concat([ps.shape(poses)[:-1], rest], 0))
