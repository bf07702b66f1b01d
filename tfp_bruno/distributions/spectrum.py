"""One eigendecomposition of the correlation between poses that serves every latent dimension."""

import typing

import tensorflow as tf

__all__ = ['Spectrum', 'decompose']


class Spectrum(typing.NamedTuple):
    """The eigendecomposition `S = Q (diag(values) + off) Q^T`.

    The basis is a constant to gradients: those of eigenvectors are infinite where eigenvalues coincide, as they do
    for a constant correlation. What a change of S does beside the eigenvalues is in `off` instead, whose value is
    zero. A function of S that is right to first order in `off` has the right value and the right first derivatives.

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


def decompose(correlation):
    """Returns the `Spectrum` of symmetric matrices `[..., n, n]`, computed in float64."""
    exact = tf.cast(correlation, tf.float64)
    _, basis = tf.linalg.eigh(tf.stop_gradient(exact))
    rotated = tf.matmul(basis, tf.matmul(exact, basis), transpose_a=True)
    values = tf.linalg.diag_part(rotated)
    parts = basis, values, rotated - tf.linalg.diag(values)
    return Spectrum(*(tf.cast(part, correlation.dtype) for part in parts))
