"""A convolutional LSTM whose constant inputs are convolved once for all steps."""

import tensorflow as tf

from tfp_bruno.baselines.deep.layers import Convolution
from tfp_bruno.networks.convolution import convolve

__all__ = ['ConvolutionalLSTM']


class ConvolutionalLSTM(tf.Module):
    """A long short-term memory with convolutions for products.

    #### Mathematical Details

    ```none
    f, i, o, g = split(conv([constant, changing, h]))
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(c')
    ```

    A convolution of joined inputs is a sum of convolutions, so that of the inputs which stay the same in all steps is
    computed once (`constant_gates`), and there the bias is added.

    #### References

    [1]: Xingjian Shi et al. Convolutional LSTM network. NeurIPS 2015.
    """

    def __init__(self, constant, changing, hidden, size, name=None):
        """Creates the weights.

        Args:
            constant: Sizes of the constant inputs, each convolved on its own.
            changing: `int`, channels of the inputs that change from step to step.
            hidden: `int`, channels of the state.
            size: `int`, odd, size of the convolutions.
            name: Python `str`.
        """
        super().__init__(name=name)
        self.hidden = hidden
        # The first has the bias.
        self.constant = [Convolution(inputs, 4 * hidden, size, use_bias=not i) for i, inputs in enumerate(constant)]
        self.changing = Convolution(changing + hidden, 4 * hidden, size, use_bias=False)

    def constant_gates(self, index, value):
        """Returns what a constant input `[N, H, W, constant[index]]` adds to the gates, `[N, H, W, 4 hidden]`."""
        return self.constant[index](value)

    def zero_state(self, like):
        """Returns the state `(c, h)` before the first step, for gates `[N, H, W, 4 hidden]`."""
        zeros = tf.zeros_like(like[..., : self.hidden])
        return zeros, zeros

    def __call__(self, constant_gates, changing, state, kernel=None):
        """Returns the next state `(c, h)`.

        Args:
            constant_gates: `[N, H, W, 4 hidden]`, the sum of those of all constant inputs.
            changing: List of `[N, H, W, ...]`.
            state: `(c, h)`, each `[N, H, W, hidden]`.
            kernel: Kernel of the changing inputs and the state, read once for all steps. Default value: `None`, that of
                this memory.
        """
        cell, hidden = state
        kernel = self.changing.kernel if kernel is None else kernel
        gates = constant_gates + convolve(tf.concat([*changing, hidden], -1), kernel)
        forget, remember, output, value = tf.split(gates, 4, axis=-1)
        cell = tf.sigmoid(forget) * cell + tf.sigmoid(remember) * tf.tanh(value)
        return cell, tf.sigmoid(output) * tf.tanh(cell)
