"""Feature-wise modulation of hidden activations by the condition."""

import tensorflow as tf
import tf_keras

__all__ = ['FeatureModulation']


class FeatureModulation(tf_keras.layers.Layer):
    """Scales and shifts hidden features by linear functions of the condition: `h * (1 + gamma(c)) + beta(c)`.

    It starts as the identity.

    #### References

    [1]: Ethan Perez et al. FiLM: visual reasoning with a general conditioning layer. AAAI 2018.
    """

    def __init__(self, condition_size, **kwargs):
        """Constructs the layer.

        Args:
            condition_size: `int`, size of the condition vector.
            **kwargs: Keyword arguments of `tf_keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.condition_size = condition_size

    def build(self, input_shape):
        """Creates the weights for hidden activations of shape `[N, ..., units]`."""
        self.kernel = self.add_weight('kernel', [self.condition_size, 2 * input_shape[-1]], initializer='zeros')
        self.bias = self.add_weight('bias', [2 * input_shape[-1]], initializer='zeros')
        super().build(input_shape)

    def call(self, hidden, conditional_input):
        """Returns the modulated `hidden` `[N, ..., units]` for conditions `[N, condition_size]`."""
        features = tf.cast(conditional_input, self.compute_dtype) @ self.kernel + self.bias
        features = tf.reshape(features, [-1, *[1] * (hidden.shape.rank - 2), features.shape[-1]])
        gamma, beta = tf.split(features, 2, axis=-1)
        return hidden * (1.0 + gamma) + beta
