"""Tables over one-hot poses."""

import tensorflow as tf

__all__ = ['PoseTable', 'look_up']


class PoseTable(tf.Module):
    """A callable of one-hot poses that looks its values up: for pose-dependent means and loadings."""

    def __init__(self, values, name=None):
        """Keeps the table.

        Args:
            values: `Tensor` or `tf.Variable` of shape `[P, ...]`, one entry for each one-hot pose.
            name: Python `str`. Default value: `None`.
        """
        super().__init__(name=name)
        self.values = values if isinstance(values, tf.Variable) else tf.convert_to_tensor(values)

    def __call__(self, poses):
        """Returns the values `[..., n, ...]` at one-hot poses `[..., n, P]`."""
        return look_up(tf.convert_to_tensor(self.values), poses)


def look_up(table, poses):
    """Returns the entries of a table `[P, ...]` that one-hot poses `[..., n, P]` choose, `[..., n, ...]`.

    No gradient flows to the poses. Copying entries is many times faster than a product with a large table.
    """
    return tf.gather(table, tf.argmax(poses, axis=-1))
