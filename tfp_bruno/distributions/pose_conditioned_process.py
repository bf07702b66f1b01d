"""What the processes over poses share: poses as an argument, and a posterior that remembers its observations."""

import tensorflow as tf
from tensorflow_probability.python.internal import dtype_util, parameter_properties
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.batches import can_broadcast
from tfp_bruno.distributions.parameters import constrained_parameter
from tfp_bruno.distributions.process import Process, mask_as_weights

__all__ = ['PoseConditionedProcess']


class PoseConditionedProcess(Process):
    """A process whose density depends on the poses of its steps.

    Poses are bound when the process is constructed (`poses`, or `at(poses)`), or given to each method as
    `conditional_input`; what is given counts. The density is that of (vector, pose) pairs in any order.
    """

    needs_poses = True

    # Whether observed poses `[n, P]` without a batch stay so, for what many sequences at the same poses have in common.
    _keeps_common_poses = False

    def __init__(self, tensors, kernel, num_steps, parameters, **settings):
        """Keeps the parameters; see `Process`.

        Args:
            tensors: Dict of the tensor parameters, `poses`, `observations`, `observed_poses` and `observed_mask` among
                them.
            kernel: `tfp.math.psd_kernels.PositiveSemidefiniteKernel` over poses.
            num_steps: Integer `Tensor`, or `None` where the poses are bound.
            parameters: Dict of the constructor's arguments.
            **settings: Of `Process`.
        """
        if num_steps is None and tensors['poses'] is None:
            raise ValueError(f'{settings["name"]} needs `num_steps`, or `poses`.')
        if (tensors['observations'] is None) != (tensors['observed_poses'] is None):
            raise ValueError(f'{settings["name"]}: `observations` must come with `observed_poses`, one for each.')
        self._kernel = kernel
        self._loc_callable = tensors['loc'] if callable(tensors['loc']) else None
        tensors = {**tensors, 'loc': None if callable(tensors['loc']) else tensors['loc']}
        super().__init__(tensors, num_steps, parameters=parameters, **settings)
        self._check_groups()

    def _group_names(self):
        """Returns the names of the parameters whose last axis is that of the groups of dimensions."""
        return ('constant_share',)

    def _check_groups(self):
        """Raises a ValueError if the parameters of groups are not of one group, or of G that divide the dimensions."""
        sizes = {name: getattr(self, f'_{name}_parameter').shape for name in self._group_names()}
        groups, agree = self._kernel.batch_shape, True
        if groups.rank is None:
            # That of a transformed kernel is not always known.
            groups = tf.TensorShape([])
        for size in sizes.values():
            agree = agree and can_broadcast(groups, size[-1:])
            groups = tf.broadcast_static_shape(groups, size[-1:]) if agree else groups
        if not agree or groups.rank > 1 or self._dimension()[0] % (groups.num_elements() or 1):
            shapes = ' and '.join(f'`{name}` of shape {size}' for name, size in sizes.items())
            raise ValueError(
                f'{self.name}: `kernel` of batch shape {self._kernel.batch_shape} and {shapes} must be of one group, '
                f'or of [G] groups that divide the {self._dimension()[0]} dimensions.'
            )

    @classmethod
    def _pose_parameter_properties(cls, dtype):
        def plain(event_ndims):
            return parameter_properties.ParameterProperties(event_ndims=event_ndims)

        return {
            'constant_share': constrained_parameter('constant_share', dtype),
            'kernel': parameter_properties.BatchedComponentProperties(event_ndims=lambda self: None),
            'num_steps': parameter_properties.ShapeParameterProperties(),
            'poses': plain(2),
            'observations': plain(2),
            'observed_poses': plain(2),
            'observed_mask': plain(1),
        }

    @property
    def kernel(self):
        """Kernel over poses."""
        return self._kernel

    @property
    def loc(self):
        """Mean of every vector: `[..., D]`, or a callable of poses."""
        return self._loc_callable or self._loc_parameter

    def _loc_at(self, poses):
        """Returns the mean at poses `[..., n, P]`, broadcastable to `[..., n, D]`."""
        if self._loc_callable:
            return tf.cast(self._loc_callable(poses), self.dtype)
        return self._parameter('loc')[..., tf.newaxis, :]

    @property
    def constant_share(self):
        """Share of the correlation between steps that does not depend on the poses."""
        return self._constant_share_parameter

    @property
    def poses(self):
        """The poses of the event's steps, or `None` where every method must be given them."""
        return getattr(self, '_poses_parameter', None)

    @property
    def observations(self):
        """The vectors `[..., n, D]` that the process is conditioned on, or `None`."""
        return getattr(self, '_observations_parameter', None)

    def _steps(self):
        return ps.shape(self.poses)[-2] if self._num_steps is None else self._num_steps

    def at(self, poses):
        """Returns the process at the poses `[..., n, P]`, whose methods need no `conditional_input`."""
        return self.copy(poses=poses, num_steps=None)

    def posterior(self, observations, observed_poses, poses=None, num_steps=None, mask=None, name=None):
        """Returns the process of further vectors, given some at known poses.

        Args:
            observations: `Tensor` of shape `[C1, ..., Cc, n, D]`, n >= 0; `[C1, ..., Cc]` broadcasts against the
                batch shape.
            observed_poses: `Tensor` of shape `[..., n, P]`.
            poses: `Tensor` of shape `[..., m, P]`: poses of the result's steps. Default value: `None`, which leaves
                them to `conditional_input`.
            num_steps: Integer, the number of steps of the result, where `poses` are not given. Default value: `None`,
                that of this process.
            mask: Boolean `Tensor` of shape `[..., n]`: which observations count. Default value: `None`, all of them.
            name: Python `str`. Default value: `None`, this process' name.

        Returns:
            A process of the same class that remembers the observations, after those that this one remembers.

        Raises:
            ValueError: if a shape does not fit.
        """
        with self._name_and_control_scope(name or 'posterior'):
            observations = self._checked_observations(observations, mask)
            observed_poses = self._poses_of(observations, observed_poses)
            batch_and_steps = ps.shape(observations)[:-1]
            if not (self._keeps_common_poses and observed_poses.shape.rank == 2 and mask is None):
                observed_poses = tf.broadcast_to(
                    observed_poses, ps.concat([batch_and_steps, ps.shape(observed_poses)[-1:]], 0)
                )
            weights = mask_as_weights(mask, observations, self.name)
            if weights is not None:
                weights = tf.broadcast_to(weights, batch_and_steps)
                observations = tf.where(weights[..., tf.newaxis] > 0.0, observations, tf.zeros([], self.dtype))
            observations, observed_poses, weights = self._with_observations(observations, observed_poses, weights)
            changed = {'observations': observations, 'observed_poses': observed_poses, 'observed_mask': weights}
            if poses is not None:
                changed |= {'poses': tf.convert_to_tensor(poses, dtype_hint=self.dtype), 'num_steps': None}
            elif num_steps is not None:
                changed |= {'poses': None, 'num_steps': num_steps}
            return self.copy(name=name or self._name.rstrip('/'), **changed)

    def update(self, observation, observed_pose, name=None):
        """Returns the process after one more observation `[..., D]` at a pose `[..., P]`: `posterior` for streams."""
        observation = tf.convert_to_tensor(observation, dtype_hint=self.dtype)[..., tf.newaxis, :]
        pose = tf.convert_to_tensor(observed_pose, dtype_hint=self.dtype)[..., tf.newaxis, :]
        return self.posterior(observation, pose, name=name)

    def _poses_of(self, value, poses):
        """Returns the poses of vectors `[..., n, D]`, the bound ones if none are given."""
        poses = self._given_poses(poses)
        one_each = value.shape[-2:-1].is_compatible_with(poses.shape[-2:-1])
        if not (one_each and can_broadcast(value.shape[:-2], poses.shape[:-2])):
            raise ValueError(
                f'{self.name}: there must be one pose per vector, got poses {poses.shape} and vectors {value.shape}.'
            )
        return poses

    def _given_poses(self, poses):
        poses = self.poses if poses is None else poses
        if poses is None:
            raise ValueError(f'{self.name} needs `conditional_input`, the poses of shape [..., n, P].')
        poses = tf.cast(tf.convert_to_tensor(poses, dtype_hint=self.dtype), self.dtype)
        size = self._pose_size()
        if poses.shape.rank < 2 or not poses.shape[-1:].is_compatible_with([size]):
            raise ValueError(
                f'{self.name}: poses must have shape [..., n, {"P" if size is None else size}], got {poses.shape}.'
            )
        if not self.validate_args:
            return poses
        check = tf.debugging.assert_all_finite(poses, message='The poses must not hold NaN or infinity.')
        with tf.control_dependencies([check]):
            return tf.identity(poses)

    def _pose_size(self):
        """Returns the size P of a pose, where a parameter tells it."""
        known = getattr(self, '_observed_poses_parameter', None)
        return None if known is None else known.shape[-1]

    def _observed(self):
        """Returns (observations, their poses, their mask or `None`)."""
        return tuple(self._parameter(name) for name in ('observations', 'observed_poses', 'observed_mask'))

    def _with_observations(self, value, poses, weights):
        """Returns the remembered observations, poses and mask, then the given ones, along the steps."""
        if self.observations is None:
            return value, poses, weights
        seen, seen_poses, seen_weights = self._observed()
        if weights is not None or seen_weights is not None:
            ones = [tf.ones(ps.shape(part)[:-1], self.dtype) for part in (seen, value)]
            seen_weights, weights = (
                one if part is None else part for part, one in zip((seen_weights, weights), ones, strict=True)
            )
            weights = _join(seen_weights[..., tf.newaxis], weights[..., tf.newaxis])[..., 0]
        return _join(seen, value), _join(seen_poses, poses), weights

    def _similarity(self, poses_a, poses_b):
        """Returns `share + (1 - share) k(v, w)` between two sets of poses, `[..., G, n, m]` for G groups."""
        share = self._parameter('constant_share')[..., tf.newaxis, tf.newaxis]
        smooth = self._kernel.matrix(poses_a[..., tf.newaxis, :, :], poses_b[..., tf.newaxis, :, :])
        return share + (1.0 - share) * tf.cast(smooth, self.dtype)

    def _own_similarity(self, poses, weights=None):
        """Returns `_similarity` of poses with themselves; what is masked is similar to nothing."""
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
            pairs = weights[..., tf.newaxis, :, tf.newaxis] * weights[..., tf.newaxis, tf.newaxis, :]
            similarity *= pairs
        return similarity

    def _broadcast_poses(self, conditional_input):
        poses = self._given_poses(conditional_input)
        batch = ps.broadcast_shape(self.batch_shape_tensor(), ps.shape(poses)[:-2])
        return tf.broadcast_to(poses, ps.concat([batch, ps.shape(poses)[-2:]], 0))

    def _sampled_poses(self, conditional_input):
        poses = self._given_poses(conditional_input)
        if not poses.shape[-2:-1].is_compatible_with(self.event_shape[:1]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but there are poses {poses.shape}; for others '
                'use `at(poses).sample(...)`.'
            )
        if tf.broadcast_static_shape(self.batch_shape, poses.shape[:-2]) != self.batch_shape:
            raise ValueError(
                f'{self.name}: cannot draw samples of batch shape {self.batch_shape} at poses {poses.shape}; bind the '
                'poses first: `at(poses).sample(...)`.'
            )
        return poses if self._keeps_common_poses and poses.shape.rank == 2 else self._broadcast_poses(poses)


def _join(first, second):
    batch = ps.broadcast_shape(ps.shape(first)[:-2], ps.shape(second)[:-2])
    parts = [tf.broadcast_to(part, ps.concat([batch, ps.shape(part)[-2:]], 0)) for part in (first, second)]
    return tf.concat(parts, axis=-2)
