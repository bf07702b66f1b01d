"""What the models of `tfp_bruno.contracts` share here: NumPy in, NumPy out, slices by their numbers."""

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import from_level_middle, one_hot_poses, to_level_middle

__all__ = ['NumpyModel']


class NumpyModel:
    """A trained model with the settings of its dataset.

    Slices are given by their numbers k in the model's own stack of K, images as float32 `[..., H, W]` in [0, 1].

    Attributes:
        definition: The `DatasetDefinition` it was trained for.
        name: Name for reports.
        info: Dict of what the model was trained on.
        sampling: Dict of how samples are drawn, empty if there is nothing to say.
        temperature: Factor of all deviations of samples from the mean, in latent space.
        has_exact_log_prob: Whether `log_prob` is the density itself; else it is a lower bound.
    """

    def __init__(self, definition, name, info, has_exact_log_prob, sampling=None, temperature=1.0):
        """Takes what the attributes say."""
        self.definition = definition
        self.name = name
        self.info = info
        self.has_exact_log_prob = has_exact_log_prob
        self.sampling = sampling or {}
        self.temperature = temperature

    def poses(self, slices):
        """Returns the pose vectors `[..., P]` of slices `[...]`."""
        return tf.constant(one_hot_poses(slices, self.definition.num_slices))

    def _inputs(self, contexts, slices):
        """Returns contexts `[n, H, W, 1]` and their poses `[n, P]` as the networks take them."""
        contexts = to_level_middle(np.asarray(contexts, np.float32))[..., None]
        return tf.constant(contexts), self.poses(np.asarray(slices, np.int64))

    def _decoded(self, images):
        """Returns images `[..., H, W, 1]` of the networks as `[..., H, W]` in [0, 1]."""
        return np.clip(from_level_middle(images.numpy()[..., 0]), 0.0, 1.0)
