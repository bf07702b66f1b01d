"""Loadings of the factors at poses: from a table or a callable, and applied to factors."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._shapes import TensorLike, mix_steps


@dataclasses.dataclass(frozen=True)
class LoadingsAtPoses:
    """Loadings at poses `[..., n, P]`, as rows of a table.

    Attributes:
        table: `[P, D, q]`.
        rows: Integers `[..., n]`, the rows of the table at the poses.
        values: `[..., n, D, q]`, where a callable gave them; `None` where they are in the table alone.
        product: Returns their product with factors `[..., q]`, `[..., n, D]`, faster than from the loadings; `None`
            where there is no such way.
    """

    table: tf.Tensor
    rows: tf.Tensor
    values: tf.Tensor | None = None
    product: Callable[[tf.Tensor], tf.Tensor] | None = None

    def gather(self) -> tf.Tensor:
        """Returns the loadings, `[..., n, D, q]`."""
        return tf.gather(self.table, self.rows) if self.values is None else self.values


def loadings_at(
    name: str,
    loadings: tf.Tensor | Callable[[tf.Tensor], tf.Tensor],
    poses: tf.Tensor,
    dimension: tf.TensorShape,
    validate_args: bool,
) -> LoadingsAtPoses:
    """Returns the loadings at poses `[..., n, P]`.

    Args:
        name: Name of the process, for messages.
        loadings: Table over one-hot poses, or callable of poses.
        poses: `[..., n, P]`.
        dimension: Shape `[D]`.
        validate_args: Whether poses are checked to be one-hot where `loadings` is a table.
    """
    if not callable(loadings):
        with tf.control_dependencies(_one_hot_assertions(poses) if validate_args else []):
            return LoadingsAtPoses(tf.convert_to_tensor(loadings), tf.argmax(poses, axis=-1, output_type=tf.int32))
    values = tf.convert_to_tensor(loadings(poses))
    if not values.shape[-3:-1].is_compatible_with(poses.shape[-2:-1].concatenate(dimension)):
        raise ValueError(
            f'{name}: `loadings` gave {values.shape} at poses {poses.shape}, not [..., n, {dimension[0]}, q].'
        )
    shape = ps.shape(values)
    rows = tf.reshape(tf.range(ps.reduce_prod(shape[:-2])), shape[:-2])
    table = tf.reshape(values, ps.concat([[-1], shape[-2:]], 0))
    # Poses that a batch has in common: for those of each sequence alone there would be as many products.
    product = getattr(loadings, 'product', None) if poses.shape.rank == 2 else None
    return LoadingsAtPoses(table, rows, values, None if product is None else functools.partial(product, poses))


def unknown_loadings(shape: TensorLike) -> TensorLike:
    raise ValueError(
        f'`loadings`: samples of shape {shape} do not determine the number of factors; give `loadings`, a tensor '
        '[P, D, q] or a callable of poses.'
    )


def _one_hot_assertions(poses: tf.Tensor) -> list[tf.Operation]:
    message = 'The poses (argument `conditional_input` or `poses`) must be one-hot where `loadings` is a table.'
    ones = tf.ones(ps.shape(poses)[:-1], poses.dtype)
    return [
        tf.debugging.assert_equal(tf.reduce_max(poses, -1), ones, message=message),
        tf.debugging.assert_equal(tf.reduce_sum(tf.abs(poses), -1), ones, message=message),
    ]


@dataclasses.dataclass(frozen=True)
class ResidualLoadings:
    """Loadings at some poses, less their kriging from the loadings at the observed poses: `own - weights observed`.

    To apply them to factors takes a fraction of the time and memory of the loadings themselves, `[..., m, D, q]`.

    Attributes:
        own: Loadings at the poses, `[..., m, D, q]`.
        scale: The residual's standard deviations, `[..., 1, D]`.
        weights: Kriging weights of the observations, `[..., G, m, n]`; `None` without observations.
        observed: Loadings at the observed poses, `[..., n, D, q]`.
        own_product: See `LoadingsAtPoses.product`.
    """

    own: tf.Tensor
    scale: tf.Tensor
    weights: tf.Tensor | None = None
    observed: tf.Tensor | None = None
    own_product: Callable[[tf.Tensor], tf.Tensor] | None = None

    def apply(self, factors: tf.Tensor) -> tf.Tensor:
        """Returns their product with factors `[..., q]`, or samples `[s, ..., q]` of them: `[..., m, D]`."""
        # For few samples. In a function, TensorFlow then leaves out the loadings themselves.
        if self.own_product is not None and (factors.shape[:-1].num_elements() or 0) <= self.own.shape[-1]:
            product = self.own_product(factors) / self.scale
        else:
            product = _apply_loadings(self.own, factors) / self.scale
        if self.weights is None:
            return product
        return product - mix_steps(self.weights, _apply_loadings(self.observed, factors) / self.scale)

    def matrix(self) -> tf.Tensor:
        """Returns the loadings, `[..., m, D, q]`."""
        scale = self.scale[..., tf.newaxis]
        if self.weights is None:
            return self.own / scale
        return self.own / scale - mix_steps(self.weights, self.observed / scale, 3)


def _apply_loadings(loadings: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Returns loadings `[..., n, D, q]` times factors `[..., q]`: `[..., n, D]`.

    Loadings `[n, D, q]` that are common to a batch take one matrix product, as do samples `[s, ..., q]` of factors.
    """
    if loadings.shape.rank == 3:
        shape = ps.shape(loadings)
        flat = tf.reshape(loadings, [-1, shape[-1]])
        product = tf.matmul(tf.reshape(factors, [-1, shape[-1]]), flat, transpose_b=True)
        return tf.reshape(product, ps.concat([ps.shape(factors)[:-1], shape[:-1]], 0))
    if factors.shape.rank == loadings.shape.rank - 1:
        return tf.einsum('...ndq,s...q->s...nd', loadings, factors)
    return tf.einsum('...ndq,...q->...nd', loadings, factors)
