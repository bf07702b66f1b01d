"""The eigendecomposition that makes the covariance over the steps diagonal, in every dimension at once."""

from __future__ import annotations

import typing

import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._shapes import expand_groups, expand_matrices, mix_steps


class Spectrum(typing.NamedTuple):
    """The eigendecomposition `S = Q (diag(values) + off) Q^T` of similarities between steps, one for each of G groups.

    The basis is a constant to gradients: derivatives of eigenvectors are infinite where eigenvalues coincide, as they
    do for a constant correlation. A change of S that rotates the basis appears in `off` instead, whose value is zero. A
    function of S that is correct to first order in `off` has the correct value and the correct first derivatives.

    For dimensions of covariance `K = variance (correlation S + noise I)`, `scales` are the eigenvalues of K / variance,
    `correlation values + noise`, `[..., n, D]`.

    Attributes:
        basis: Q, `[..., G, n, n]`, one eigenvector a column.
        values: `[..., G, n]`.
        off: `[..., G, n, n]`.
    """

    basis: tf.Tensor
    values: tf.Tensor
    off: tf.Tensor

    def cast(self, dtype: tf.DType) -> Spectrum:
        """Returns the decomposition in another dtype."""
        return Spectrum(*(tf.cast(part, dtype) for part in self))

    def square_root(self) -> tf.Tensor:
        """Returns the symmetric F, `[..., G, n, n]`, with `F F = S`: a smooth function of S, as samples need."""
        # The floor keeps the gradient of the root finite where S is singular.
        roots = tf.sqrt(tf.maximum(self.values, 1e-10))
        sums = roots[..., :, tf.newaxis] + roots[..., tf.newaxis, :]
        rotated = tf.matmul(self.basis, tf.linalg.diag(roots) + self.off / sums)
        return tf.matmul(rotated, self.basis, transpose_b=True)

    def scales(self, correlation: tf.Tensor, noise: tf.Tensor, dimension: int) -> tf.Tensor:
        """Returns the eigenvalues of K / variance, `[..., n, D]`, of correlations and noise shares `[..., 1, D]`."""
        return correlation * expand_groups(self.values, dimension) + noise

    def rotate(self, value: tf.Tensor) -> tf.Tensor:
        """Returns vectors `[..., n, D]` in the eigenbasis."""
        return mix_steps(tf.linalg.matrix_transpose(self.basis), value)

    def solve(self, rotated: tf.Tensor, scales: tf.Tensor, correlation: tf.Tensor) -> tf.Tensor:
        """Returns `(K / variance)^-1` times vectors `[..., n, D]`, both in the eigenbasis."""
        solved = rotated / scales
        return solved - correlation / scales * mix_steps(self.off, solved)

    def explained_variance(self, cross: tf.Tensor, scales: tf.Tensor, correlation: tf.Tensor) -> tf.Tensor:
        """Returns the diagonal of `C K^-1 C^T / variance`, `[..., m, D]`.

        Args:
            cross: `C / (variance correlation)` of m other steps with the n steps, in the eigenbasis, `[..., G, m, n]`.
            scales: `[..., n, D]`.
            correlation: `[..., 1, D]`.
        """
        inverse = 1.0 / scales
        # All pairs of eigenvectors.
        pairs = cross[..., :, tf.newaxis] * cross[..., tf.newaxis, :] * self.off[..., tf.newaxis, :, :]
        pairs = tf.reshape(pairs, ps.concat([ps.shape(pairs)[:-2], [-1]], 0))
        inverses = inverse[..., :, tf.newaxis, :] * inverse[..., tf.newaxis, :, :]
        inverses = tf.reshape(inverses, ps.concat([ps.shape(inverses)[:-3], [-1], ps.shape(inverses)[-1:]], 0))
        by_value = tf.square(correlation) * mix_steps(tf.square(cross), inverse)
        return by_value - correlation**3 * mix_steps(pairs, inverses)

    def explained_covariance(self, cross: tf.Tensor, scales: tf.Tensor, correlation: tf.Tensor) -> tf.Tensor:
        """Returns `C K^-1 C^T / variance` of each dimension, `[..., D, m, m]`; arguments as above."""
        correlation = tf.linalg.matrix_transpose(correlation)[..., tf.newaxis]
        dimension = scales.shape[-1]
        cross = expand_matrices(cross, dimension)
        inverse = 1.0 / tf.linalg.matrix_transpose(scales)[..., tf.newaxis, :]
        solved = cross * inverse
        solved -= tf.matmul(solved, correlation * expand_matrices(self.off, dimension)) * inverse
        return tf.square(correlation) * tf.matmul(solved, cross, transpose_b=True)


def decompose(similarity: tf.Tensor) -> Spectrum:
    """Returns the float64 `Spectrum` of symmetric matrices `[..., G, n, n]`."""
    exact = tf.cast(similarity, tf.float64)
    _, basis = tf.linalg.eigh(tf.stop_gradient(exact))
    rotated = tf.matmul(basis, tf.matmul(exact, basis), transpose_a=True)
    values = tf.linalg.diag_part(rotated)
    return Spectrum(basis, values, rotated - tf.linalg.diag(values))
