"""The part that processes over poses share: a kernel over poses, and a posterior that keeps its observations."""

import typing
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability.python.internal import dtype_util, parameter_properties
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions._parameters import NO_BATCH, data, parameter, per_group, vector
from tfp_bruno.distributions._shapes import broadcast_batch, can_broadcast, concat_steps, zero_missing

# The default of `jitter`, in units in the last place of 1. Entries of the kernel's matrix are rounded by half of one,
# so its n eigenvalues err by about the root of n.
_JITTER = 32.0


class PoseDependence:
    """Part of a `Process` whose vectors are correlated by a kernel over poses.

    The correlation between poses is `S = share + (1 - share) k(v, w)`. A posterior keeps its observations, so that
    gradients reach the parameters.
    """

    # Names of the parameters whose last axis is that of the groups of dimensions.
    _group_names: tuple[str, ...] = ('constant_share',)

    if typing.TYPE_CHECKING:
        # The attributes of `Process`.
        def __getattr__(self, name: str) -> Any: ...

    @staticmethod
    def _pose_parameter_properties(dtype: tf.DType) -> dict[str, Any]:
        return {
            'loc': parameter('loc', dtype, event_ndims=lambda self: NO_BATCH if callable(self.loc) else 1),
            'constant_share': parameter('constant_share', dtype, per_group),
            'kernel': parameter_properties.BatchedComponentProperties(event_ndims=NO_BATCH),
            'num_steps': parameter_properties.ShapeParameterProperties(),
            'poses': data(2),
            'observations': data(2),
            'observed_poses': data(2),
            'observations_is_missing': data(1),
        }

    @property
    def loc(self) -> tf.Tensor | Callable[[tf.Tensor], tf.Tensor]:
        """Mean of every vector: `[..., D]`, or a callable of poses."""
        return self._loc

    @property
    def kernel(self) -> psd_kernels.PositiveSemidefiniteKernel:
        """Kernel over poses."""
        return self._kernel

    @property
    def constant_share(self) -> tf.Tensor:
        """Share of the correlation between steps that does not depend on the poses."""
        return self._constant_share

    @property
    def observations(self) -> tf.Tensor | None:
        """The vectors `[..., n, D]` that the process is conditioned on, or `None`."""
        return self._observations

    @property
    def observed_poses(self) -> tf.Tensor | None:
        """Poses `[..., n, P]` of the observations, or `None`."""
        return self._observed_poses

    @property
    def observations_is_missing(self) -> tf.Tensor | None:
        """Which observations are missing, `[..., n]`; `None` where none is."""
        return self._observations_is_missing

    @property
    def jitter(self) -> float | None:
        """Smallest share of independent noise, see the constructor."""
        return self._jitter

    def _check_kernel(self) -> None:
        """Raises a `ValueError` unless kernel, groups and observations fit the other parameters."""
        if (self._observations is None) != (self._observed_poses is None):
            raise ValueError(f'{self.name}: `observations` must come with `observed_poses`, one for each.')
        kernel_dtype = self._kernel.dtype
        if kernel_dtype is not None and kernel_dtype != self.dtype:
            raise ValueError(
                f'{self.name}: `kernel` is {tf.as_dtype(kernel_dtype).name}, but the parameters are {self.dtype.name}; '
                'cast its parameters.'
            )
        sizes = {name: getattr(self, f'_{name}').shape for name in self._group_names}
        # The batch shape of a transformed kernel is not always known.
        kernel = self._kernel.batch_shape
        groups, agree = kernel if kernel.rank is not None else tf.TensorShape([]), True
        for size in sizes.values():
            agree = agree and can_broadcast(groups, size[-1:])
            groups = tf.broadcast_static_shape(groups, size[-1:]) if agree else groups
        if not agree or groups.rank > 1 or self._dimension()[0] % (groups.num_elements() or 1):
            shapes = ' and '.join(f'`{name}` of shape {size}' for name, size in sizes.items())
            raise ValueError(
                f'{self.name}: `kernel` of batch shape {kernel} and {shapes} must be of one group, or of [G] groups '
                f'that divide the {self._dimension()[0]} dimensions.'
            )

    @property
    def _pose_size(self) -> int | None:
        return None if self._observed_poses is None else self._observed_poses.shape[-1]

    def _loc_at(self, poses: tf.Tensor) -> tf.Tensor:
        """Returns the mean at poses `[..., n, P]`, broadcastable to `[..., n, D]`."""
        if callable(self._loc):
            return tf.cast(self._loc(poses), self.dtype)
        return vector(self._loc)[..., tf.newaxis, :]

    def _condition(
        self, observations: tf.Tensor, observed_poses: tf.Tensor, weights: tf.Tensor | None
    ) -> dict[str, Any]:
        batch = ps.broadcast_shape(ps.shape(observations)[:-2], ps.shape(observed_poses)[:-2])
        observations = broadcast_batch(observations, 2, batch)
        if not (self._keeps_common_poses and observed_poses.shape.rank == 2 and weights is None):
            observed_poses = broadcast_batch(observed_poses, 2, batch)
        if weights is not None:
            weights = broadcast_batch(weights, 1, batch)
            observations = zero_missing(observations, weights)
        observations, observed_poses, weights = self._with_observations(observations, observed_poses, weights)
        return {
            'observations': observations,
            'observed_poses': observed_poses,
            'observations_is_missing': None if weights is None else tf.equal(weights, 0.0),
        }

    def _observed(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns the observations, their poses, and their weights or `None`."""
        is_missing = self._observations_is_missing
        weights = None if is_missing is None else tf.cast(tf.logical_not(is_missing), self.dtype)
        return tf.convert_to_tensor(self._observations), tf.convert_to_tensor(self._observed_poses), weights

    def _with_observations(
        self, value: tf.Tensor, poses: tf.Tensor, weights: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns vectors, poses and weights with those of the observations in front, along the steps."""
        if self._observations is None:
            return value, poses, weights
        observed, observed_poses, observed_weights = self._observed()
        if weights is not None or observed_weights is not None:
            pairs = ((observed_weights, observed), (weights, value))
            parts = [tf.ones(ps.shape(part)[:-1], self.dtype) if one is None else one for one, part in pairs]
            weights = concat_steps(*(part[..., tf.newaxis] for part in parts))[..., 0]
        return concat_steps(observed, value), concat_steps(observed_poses, poses), weights

    def _similarity(self, poses_a: tf.Tensor, poses_b: tf.Tensor) -> tf.Tensor:
        """Returns `share + (1 - share) k(v, w)` between two sets of poses, `[..., G, n, m]` for G groups."""
        share = vector(self._constant_share)[..., tf.newaxis, tf.newaxis]
        # Not `kernel.matrix`, which takes distances from products: those of near poses are lost to rounding there.
        pairs = poses_a[..., tf.newaxis, :, tf.newaxis, :], poses_b[..., tf.newaxis, tf.newaxis, :, :]
        smooth = self._kernel.apply(*pairs, example_ndims=2)
        return share + (1.0 - share) * tf.cast(smooth, self.dtype)

    def _own_similarity(self, poses: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Returns `_similarity` between poses of one set, zero for missing steps."""
        similarity = self._similarity(poses, poses)
        if self.validate_args:
            # Rounding moves eigenvalues by a few units in the last place of the largest.
            tolerance = 1e2 * dtype_util.eps(self.dtype) * tf.cast(ps.shape(poses)[-2], self.dtype)
            smallest = tf.reduce_min(tf.linalg.eigvalsh(similarity))
            check = tf.debugging.assert_greater_equal(
                smallest, -tolerance, message='Argument `kernel` must be positive semi-definite over the poses.'
            )
            with tf.control_dependencies([check]):
                similarity = tf.identity(similarity)
        if weights is not None:
            similarity *= weights[..., tf.newaxis, :, tf.newaxis] * weights[..., tf.newaxis, tf.newaxis, :]
        return similarity

    def _noise_share(self, correlation: tf.Tensor) -> tf.Tensor:
        """Returns the share of independent noise in the variance, `1 - correlation`, but at least the jitter."""
        smallest = _JITTER * dtype_util.eps(self.dtype) if self._jitter is None else self._jitter
        return tf.maximum(1.0 - correlation, tf.constant(smallest, self.dtype))

    def _assert_not_singular(self, is_singular: tf.Tensor) -> None:
        """Stops with an error at run time where the correlation between the steps cannot be factorised."""
        message = (
            f'The correlation between the steps is not positive definite in {self.dtype.name}: check `kernel`, '
            '`correlation` and `constant_share`, or give a larger `jitter`.'
        )
        # Not a control dependency of the factors: a `tf.function` runs its assertions anyway, and computes factors that
        # depend on one again for every method that is called in it.
        tf.debugging.assert_equal(is_singular, False, message=message)
