"""Gradients of a large batch, one part after the other, in the memory of one part."""

import tensorflow as tf

__all__ = ['accumulated_gradients']


def accumulated_gradients(loss_fn, variables, inputs, micro_batches):
    """Returns the mean loss over parts of a batch, and its gradients.

    With one part this is a plain gradient. The parts are of equal size, so for a loss that is a mean over the batch the
    result is that of the whole batch.

    Args:
        loss_fn: Callable from the tensors of `inputs`, or parts of them, to a scalar loss and a dict of scalars.
        variables: List of `tf.Variable`.
        inputs: Tuple of `Tensor`s with the batch in front.
        micro_batches: `int`, number of parts; the batch must be a multiple of it.

    Returns:
        parts: Dict of the mean scalars, with the loss as `'loss'`.
        gradients: List of dense `Tensor`s, one per variable; zero where the loss does not depend on it.
    """
    if micro_batches == 1:
        return _value_and_gradients(loss_fn, variables, inputs)
    split = [tf.reshape(part, tf.concat([[micro_batches, -1], tf.shape(part)[1:]], 0)) for part in inputs]
    # The static shapes, where they are known.
    shapes = [[part.shape[0] and part.shape[0] // micro_batches, *part.shape[1:]] for part in inputs]

    @tf.function(autograph=False)
    def evaluate(*chosen):
        parts, gradients = _value_and_gradients(loss_fn, variables, chosen, 1.0 / micro_batches)
        return {name: part / micro_batches for name, part in parts.items()}, gradients

    def add(index, total):
        chosen = [tf.ensure_shape(part[index], shape) for part, shape in zip(split, shapes, strict=True)]
        return index + 1, tf.nest.map_structure(tf.add, total, evaluate(*chosen))

    specs = [tf.TensorSpec(shape, part.dtype) for part, shape in zip(split, shapes, strict=True)]
    start = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), evaluate.get_concrete_function(*specs).structured_outputs
    )
    # One after the other: at once they would need the memory that this saves.
    _, total = tf.while_loop(
        lambda index, _: index < micro_batches, add, (tf.constant(0), start), parallel_iterations=1
    )
    return total


def _value_and_gradients(loss_fn, variables, inputs, scale=1.0):
    with tf.GradientTape() as tape:
        loss, parts = loss_fn(*inputs)
        scaled = loss * scale
    gradients = tape.gradient(scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # That of a table is sparse, with which Adam takes several times as long.
    return {'loss': loss, **parts}, [tf.convert_to_tensor(gradient) for gradient in gradients]
