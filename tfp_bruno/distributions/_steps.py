"""Linear maps over the steps of sequences, one for each group of dimensions, and eigendecompositions of them."""

import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['Spectrum', 'block_covariance', 'decompose', 'expand_groups', 'expand_matrices', 'mix_steps', 'steps_first']


def mix_steps(matrix, value, event_ndims=2):
    """Applies matrices over the steps.

    Args:
        matrix: `[..., G, m, n]`; G groups of equally many, neighbouring dimensions each have their own.
        value: `[..., n, D]`, D a multiple of G, or with `event_ndims` 3 `[..., n, D, q]`.
        event_ndims: 2 or 3.

    Returns:
        `[..., m, D]` or `[..., m, D, q]`.
    """
    shape = ps.shape(value)
    batch, steps, rest = shape[:-event_ndims], shape[-event_ndims], shape[1 - event_ndims :]
    size = ps.reduce_prod(rest)
    groups = matrix.shape[-3]
    if groups == 1:
        flat = tf.reshape(value, ps.concat([batch, [steps, size]], 0))
        mixed = tf.matmul(matrix[..., 0, :, :], flat)
    else:
        flat = tf.reshape(value, ps.concat([batch, [steps, groups, size // groups]], 0))
        mixed = _swap(tf.matmul(matrix, _swap(flat)))
        mixed = tf.reshape(mixed, ps.concat([ps.shape(mixed)[:-2], [size]], 0))
    return tf.reshape(mixed, ps.concat([ps.shape(mixed)[:-1], rest], 0))


def expand_groups(value, dimension):
    """Returns the values `[..., G, n]` of G groups for each of D dimensions, `[..., n, D]` (or `[..., n, 1]`)."""
    value = tf.linalg.matrix_transpose(value)
    groups = value.shape[-1]
    return value if groups == 1 else tf.repeat(value, dimension // groups, axis=-1)


def expand_matrices(matrix, dimension):
    """Returns the matrices `[..., G, m, n]` of G groups for each of D dimensions, `[..., D, m, n]`."""
    return tf.repeat(matrix, dimension // matrix.shape[-3], axis=-3)


def steps_first(matrix):
    """Returns matrices `[..., D, m, n]` with the dimensions last, `[..., m, n, D]`."""
    rank = matrix.shape.rank
    return tf.transpose(matrix, [*range(rank - 3), rank - 2, rank - 1, rank - 3])


def block_covariance(within):
    """Returns the covariance `[..., n D, n D]` of flattened events, given those of D dimensions, `[..., n, n, D]`."""
    shape = ps.shape(within)
    size = shape[-1] * shape[-2]
    blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(shape[-1], dtype=within.dtype))
    return tf.reshape(blocks, ps.concat([shape[:-3], [size, size]], 0))


class Spectrum(typing.NamedTuple):
    """The eigendecomposition `S = Q (diag(values) + off) Q^T`.

    The basis is a constant to gradients: derivatives of eigenvectors are infinite where eigenvalues coincide, as they
    do for a constant correlation. A change of S that rotates the basis appears in `off` instead, whose value is zero. A
    function of S that is right to first order in `off` has the right value and the right first derivatives.

    Attributes:
        basis: Q, `[..., n, n]`, one eigenvector a column.
        values: `[..., n]`.
        off: `[..., n, n]`.
    """

    basis: tf.Tensor
    values: tf.Tensor
    off: tf.Tensor

    def square_root(self):
        """Returns the symmetric F, `[..., n, n]`, such that `F F = S`: a smooth function of S, as samples need."""
        # The floor keeps the gradient of the root finite where S has no inverse.
        roots = tf.sqrt(tf.maximum(self.values, 1e-10))
        sums = roots[..., :, tf.newaxis] + roots[..., tf.newaxis, :]
        rotated = tf.matmul(self.basis, tf.linalg.diag(roots) + self.off / sums)
        return tf.matmul(rotated, self.basis, transpose_b=True)

    def cast(self, dtype):
        """Returns it in another dtype."""
        return Spectrum(*(tf.cast(part, dtype) for part in self))


def decompose(correlation):
    """Returns the float64 `Spectrum` of symmetric matrices `[..., n, n]`."""
    exact = tf.cast(correlation, tf.float64)
    _, basis = tf.linalg.eigh(tf.stop_gradient(exact))
    rotated = tf.matmul(basis, tf.matmul(exact, basis), transpose_a=True)
    values = tf.linalg.diag_part(rotated)
    return Spectrum(basis, values, rotated - tf.linalg.diag(values))


def _swap(value):
    rank = value.shape.rank
    return tf.transpose(value, [*range(rank - 3), rank - 2, rank - 3, rank - 1])
