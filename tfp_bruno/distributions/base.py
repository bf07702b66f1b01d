"""The base class of the processes: a distribution of sequences of vectors that is closed under conditioning."""

import abc
import functools

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.distributions import distribution
from tensorflow_probability.python.internal import dtype_util, reparameterization, tensor_util
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions._parameters import range_assertions
from tfp_bruno.distributions._shapes import broadcast_batch, can_broadcast

__all__ = ['Process']


class Process(distribution.AutoCompositeTensorDistribution):
    """Sequences of `num_steps` vectors `[D]`; conditioning gives another process of the same class.

    One event has shape `[num_steps, D]`. Every step has a pose. The poses are bound by `at(poses)` or by the argument
    `poses` of the constructor; the argument `conditional_input` of a method replaces them for one call. All processes
    take poses in the same way. The density of an exchangeable process does not depend on them; only their batch shape
    and their number count there.

    Conventions where TFP leaves a choice: `covariance` is that of the event flattened to one vector, steps outermost,
    `[..., num_steps D, num_steps D]`. Two processes are equal only if they are one object.

    A subclass defines `_joint_log_prob`, `_marginal_log_prob` (each step alone), `_sample_n`, the moments, and
    `_condition`.
    """

    # Names of the parameters whose last axis is that of the D dimensions.
    _dimension_names = ()

    # Size P of a pose, where a parameter tells it.
    _pose_size = None

    def _set_up(self, arguments):
        """Stores the arguments of a constructor as attributes, converted to tensors.

        Nothing is derived from them here: variables may change, and a gradient taken later must reach them.

        Args:
            arguments: Dict of the constructor's arguments, its `locals()`.

        Raises:
            ValueError: if dtypes or shapes do not fit each other, or the number of steps is not known.
        """
        arguments = {key: value for key, value in arguments.items() if key != 'self' and not key.startswith('__')}
        properties = type(self)._parameter_properties(tf.float32)
        name = arguments['name'] or type(self).__name__
        with tf.name_scope(name) as name:
            tensors = {
                key: value
                for key, value in arguments.items()
                if key in properties and properties[key].is_tensor and value is not None and not callable(value)
            }
            dtype = _common_dtype(type(self).__name__, tensors)
            for key, value in arguments.items():
                if key in ('name', 'validate_args', 'allow_nan_stats'):
                    continue
                if key == 'num_steps' and value is not None:
                    value = tensor_util.convert_nonref_to_tensor(
                        value, name=key, dtype_hint=tf.int32, as_shape_tensor=True
                    )
                elif key in tensors:
                    kind = tf.bool if key == 'observations_is_missing' else dtype
                    value = tensor_util.convert_nonref_to_tensor(value, name=key, dtype=kind)
                setattr(self, f'_{key}', value)
            super().__init__(
                dtype=dtype,
                reparameterization_type=reparameterization.FULLY_REPARAMETERIZED,
                validate_args=arguments['validate_args'],
                allow_nan_stats=arguments['allow_nan_stats'],
                parameters=arguments,
                name=name,
            )
        self._check_shapes()

    @property
    def num_steps(self):
        """Number of vectors of an event; `None` where it is that of `poses`."""
        return self._num_steps

    @property
    def poses(self):
        """Poses `[..., num_steps, P]` of the steps, or `None` where they are not bound."""
        return self._poses

    @property
    def independent_targets(self):
        """Whether the steps of an event are drawn and scored each on its own."""
        return self._independent_targets

    def _dimension_parameters(self):
        values = {name: getattr(self, f'_{name}', None) for name in self._dimension_names}
        return {name: value for name, value in values.items() if value is not None and not callable(value)}

    def _check_shapes(self):
        """Raises a ValueError unless the shapes of the parameters fit each other."""
        if self._num_steps is None and self._poses is None:
            raise ValueError(f'{self.name} needs `num_steps`, or `poses`.')
        if self._poses is not None:
            self._check_poses(self._poses)
            steps = None if self._num_steps is None else tf.get_static_value(self._num_steps)
            if not self._poses.shape[-2:-1].is_compatible_with([steps]):
                raise ValueError(f'{self.name}: `num_steps` is {steps}, but `poses` have shape {self._poses.shape}.')
        try:
            self._dimension()
            self._batch_shape()
        except ValueError as error:
            names = type(self)._parameter_properties(tf.float32)
            values = {name: getattr(self, f'_{name}', None) for name in names}
            shapes = ', '.join(
                f'`{name}` {value.shape}' for name, value in values.items() if getattr(value, 'shape', ()) != ()
            )
            raise ValueError(f'{self.name}: the shapes of the parameters do not broadcast: {shapes}.') from error

    def _dimension(self):
        """Returns the static shape `[D]`."""
        shapes = (value.shape[-1:] for value in self._dimension_parameters().values())
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _dimension_tensor(self):
        shapes = (ps.shape(value)[-1:] for value in self._dimension_parameters().values())
        return functools.reduce(ps.broadcast_shape, shapes)

    def _steps(self):
        """Returns the number of steps of an event, static where it is known."""
        return ps.shape(self._poses)[-2] if self._num_steps is None else self._num_steps

    def _event_shape(self):
        return tf.TensorShape([tf.get_static_value(self._steps())]).concatenate(self._dimension())

    def _event_shape_tensor(self):
        return ps.concat([ps.reshape(self._steps(), [1]), self._dimension_tensor()], axis=0)

    def _replace(self, **changes):
        """Returns a process of this class with other arguments.

        Not `copy`, which keeps all earlier arguments and repeats all earlier copies: a long chain of them would take
        time and memory that grow with the square of its length.
        """
        return type(self)(**{**self.parameters, **changes})

    def at(self, poses, name=None):
        """Returns the process with its poses bound: a distribution whose methods need no `conditional_input`.

        Args:
            poses: `Tensor` of shape `[..., n, P]`. The result has n steps, and the batch shape of the poses broadcast
                with that of this process.
            name: Python `str`. Default value: `None`, this process' name.
        """
        poses = self._check_poses(tf.cast(tf.convert_to_tensor(poses, dtype_hint=self.dtype), self.dtype))
        return self._replace(poses=poses, num_steps=None, name=name or self.parameters['name'])

    def posterior(self, observations, observed_poses=None, poses=None, num_steps=None, is_missing=None, name=None):
        """Returns the process of further vectors, given observations.

        Args:
            observations: `Tensor` of shape `[C1, ..., Cc, n, D]`, n >= 0; `[C1, ..., Cc]` broadcasts against the
                batch shape.
            observed_poses: `Tensor` of shape `[..., n, P]`. Default value: `None`, for exchangeable processes only.
            poses: `Tensor` of shape `[..., m, P]`: poses of the result's steps. Default value: `None`, which leaves
                them to `at` or `conditional_input`.
            num_steps: Integer, the number of steps of the result, where `poses` are not given. Default value: `None`,
                the steps (and poses) of this process.
            is_missing: Boolean `Tensor` of shape `[..., n]`, `True` where an observation is missing and does not
                count; its values may be NaN. Default value: `None`, none is missing.
            name: Python `str`. Default value: `None`, this process' name.

        Returns:
            A process of the same class; its batch shape is that of this process broadcast with `[C1, ..., Cc]`. With n
            = 0 it is the prior.

        Raises:
            ValueError: if a shape does not fit.
        """
        with self._name_and_control_scope(name or 'posterior'):
            observations = self._check_values(observations, is_missing)
            observed_poses = self._observed_poses_of(observations, observed_poses)
            changes = self._condition(observations, observed_poses, self._weights(is_missing, observations))
            if poses is not None:
                poses = self._check_poses(tf.cast(tf.convert_to_tensor(poses, dtype_hint=self.dtype), self.dtype))
                changes |= {'poses': poses, 'num_steps': None}
            elif num_steps is not None:
                changes |= {'poses': None, 'num_steps': num_steps}
            return self._replace(**changes, name=name or self.parameters['name'])

    @abc.abstractmethod
    def _condition(self, observations, observed_poses, weights):
        """Returns the constructor's arguments that change by conditioning on observations.

        Args:
            observations: `[..., n, D]`.
            observed_poses: `[..., n, P]`, or `None` where the process needs none.
            weights: `[..., n]`, 0 where an observation is missing and 1 elsewhere, or `None`.
        """

    def update(self, observation, observed_pose=None, name=None):
        """Returns the process after one more observation, with as many steps: `posterior` for streams.

        Args:
            observation: `Tensor` of shape `[..., D]`.
            observed_pose: `Tensor` of shape `[..., P]`. Default value: `None`, for exchangeable processes only.
            name: Python `str`. Default value: `None`, this process' name.
        """
        observation = tf.convert_to_tensor(observation, dtype_hint=self.dtype)[..., tf.newaxis, :]
        if observed_pose is not None:
            observed_pose = tf.convert_to_tensor(observed_pose, dtype_hint=self.dtype)[..., tf.newaxis, :]
        return self.posterior(observation, observed_pose, name=name)

    def marginal_log_prob(self, value, conditional_input=None, name='marginal_log_prob'):
        """Returns the log-density of each step on its own.

        Args:
            value: `Tensor` of shape `[..., n, D]`; n may differ from `num_steps`.
            conditional_input: `Tensor` of shape `[..., n, P]`, the poses. Default value: `None`, the bound ones.
            name: Python `str`. Default value: `'marginal_log_prob'`.

        Returns:
            `Tensor` of shape `[..., n]`.
        """
        with self._name_and_control_scope(name, value):
            value = self._check_values(value)
            return self._marginal_log_prob(value, self._poses_of(value, conditional_input))

    def log_prob_and_mean(self, value, conditional_input=None, name='log_prob_and_mean'):
        """Returns the log-density of the vectors of the first steps, and the mean of all steps.

        Common terms are computed once where that saves time.

        Args:
            value: `Tensor` of shape `[..., n, D]`, n at most the number of all steps.
            conditional_input: `Tensor` of shape `[..., m, P]`, the poses of all steps. Default value: `None`, the bound
                ones.
            name: Python `str`. Default value: `'log_prob_and_mean'`.

        Returns:
            log_prob: `Tensor` of shape `[...]`.
            mean: `Tensor` of shape `[..., m, D]`.
        """
        with self._name_and_control_scope(name, value):
            value = self._check_values(value)
            poses = self._poses_at(conditional_input)
            first = None if poses is None else self._poses_of(value, poses[..., : ps.shape(value)[-2], :])
            return self._log_prob_and_mean(value, first, poses)

    def _log_prob_and_mean(self, value, value_poses, poses):
        return self._log_prob_at(value, value_poses, None), self._mean(conditional_input=poses)

    def _log_prob(self, value, is_missing=None, conditional_input=None):
        value = self._check_values(value, is_missing)
        if not value.shape[-2:-1].is_compatible_with(self.event_shape[:1]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but the value has shape {value.shape}; '
                'use `copy(num_steps=...)` for another number of steps.'
            )
        poses = self._poses_of(value, conditional_input)
        return self._log_prob_at(value, poses, self._weights(is_missing, value))

    def _log_prob_at(self, value, poses, weights):
        """Returns the log-density of any number of vectors `[..., n, D]` at poses `[..., n, P]`."""
        if not self._independent_targets:
            return self._joint_log_prob(value, poses, weights)
        if weights is not None:
            value = tf.where(weights[..., tf.newaxis] > 0.0, value, tf.zeros([], value.dtype))
        each = self._marginal_log_prob(value, poses)
        return tf.reduce_sum(each if weights is None else each * weights, axis=-1)

    def _mode(self, conditional_input=None):
        return self._mean(conditional_input=conditional_input)

    def _default_event_space_bijector(self):
        return tfb.Identity(validate_args=self.validate_args)

    def _parameter_control_dependencies(self, is_init):
        if not self.validate_args:
            return []
        names = type(self)._parameter_properties(self.dtype)
        values = {name: getattr(self, f'_{name}', None) for name in names}
        checked = {
            name: value
            for name, value in values.items()
            if value is not None and not callable(value) and is_init != tensor_util.is_ref(value)
        }
        return range_assertions(checked, self.dtype)

    def _check_values(self, value, is_missing=None):
        """Returns vectors `[..., n, D]` as a `Tensor` after checking shape and dtype, and values if `validate_args`."""
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype, name='vectors')
        size = self._dimension()[0]
        if value.shape.rank is not None and (value.shape.rank < 2 or not value.shape[-1:].is_compatible_with([size])):
            raise ValueError(f'{self.name}: vectors must have shape [..., n, {size}], got {value.shape}.')
        if value.dtype != self.dtype:
            raise ValueError(
                f'{self.name}: the vectors (argument `value` or `observations`) are {value.dtype.name}, but the '
                f'process is {self.dtype.name}; cast them.'
            )
        if not can_broadcast(value.shape[:-2], self.batch_shape):
            raise ValueError(
                f'{self.name}: the batch shape {self.batch_shape} and vectors {value.shape} do not broadcast.'
            )
        if not self.validate_args:
            return value
        weights = self._weights(is_missing, value)
        # A missing value may be NaN.
        present = (
            value if weights is None else tf.where(weights[..., tf.newaxis] > 0.0, value, tf.zeros([], value.dtype))
        )
        message = 'The observations (argument `value` or `observations`) must not hold NaN or infinity.'
        with tf.control_dependencies([tf.debugging.assert_all_finite(present, message=message)]):
            return tf.identity(value)

    def _weights(self, is_missing, value):
        """Returns 0 where a step of vectors `[..., n, D]` is missing and 1 elsewhere, `[..., n]`; `None` for `None`."""
        if is_missing is None:
            return None
        is_missing = tf.cast(tf.convert_to_tensor(is_missing, name='is_missing'), tf.bool)
        one_each = is_missing.shape[-1:].is_compatible_with(value.shape[-2:-1])
        if not (one_each and can_broadcast(is_missing.shape, value.shape[:-1])):
            raise ValueError(
                f'{self.name}: `is_missing` must have shape [..., n], got {is_missing.shape} for vectors of '
                f'{value.shape}.'
            )
        return tf.cast(tf.logical_not(is_missing), self.dtype)

    def _poses_at(self, poses):
        """Returns the poses that a call is about: the given ones, otherwise the bound ones."""
        poses = self._poses if poses is None else poses
        if poses is None:
            raise ValueError(f'{self.name} needs `conditional_input`, the poses of shape [..., n, P].')
        poses = self._check_poses(tf.cast(tf.convert_to_tensor(poses, dtype_hint=self.dtype), self.dtype))
        if not self.validate_args:
            return poses
        check = tf.debugging.assert_all_finite(poses, message='The poses must not hold NaN or infinity.')
        with tf.control_dependencies([check]):
            return tf.identity(poses)

    def _poses_of(self, value, poses):
        """Returns the poses of vectors `[..., n, D]`, likewise."""
        poses = self._poses_at(poses)
        one_each = poses is None or value.shape[-2:-1].is_compatible_with(poses.shape[-2:-1])
        if not one_each or (poses is not None and not can_broadcast(value.shape[:-2], poses.shape[:-2])):
            raise ValueError(
                f'{self.name}: there must be one pose per vector, got poses {poses.shape} and vectors {value.shape}.'
            )
        return poses

    def _observed_poses_of(self, observations, poses):
        """Returns the poses of observations `[..., n, D]`, which must be given."""
        if poses is None:
            raise ValueError(f'{self.name} needs `observed_poses`, the poses of shape [..., n, P].')
        return self._poses_of(observations, poses)

    def _check_poses(self, poses):
        size = self._pose_size
        if poses.shape.rank is not None and (poses.shape.rank < 2 or not poses.shape[-1:].is_compatible_with([size])):
            raise ValueError(
                f'{self.name}: poses must have shape [..., n, {"P" if size is None else size}], got {poses.shape}.'
            )
        return poses

    def _broadcast_poses(self, conditional_input):
        """Returns the poses of a call, broadcast with the batch shape."""
        return broadcast_batch(self._poses_at(conditional_input), 2, self.batch_shape_tensor())

    def _sampled_poses(self, conditional_input):
        """Returns the poses of `sample`, whose result must have this process' batch and event shape."""
        poses = self._poses_at(conditional_input)
        if poses is None:
            return None
        if not poses.shape[-2:-1].is_compatible_with(self.event_shape[:1]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but there are poses {poses.shape}; for others '
                'use `at(poses).sample(...)`.'
            )
        if not can_broadcast(self.batch_shape, poses.shape[:-2]) or (
            tf.broadcast_static_shape(self.batch_shape, poses.shape[:-2]) != self.batch_shape
        ):
            raise ValueError(
                f'{self.name}: cannot draw samples of batch shape {self.batch_shape} at poses {poses.shape}; bind the '
                'poses first: `at(poses).sample(...)`.'
            )
        return poses


def _common_dtype(name, tensors):
    """Returns the dtype of the parameters; float32 where none has one."""
    dtypes = {
        key: dtype_util.base_dtype(value.dtype)
        for key, value in tensors.items()
        if getattr(value, 'dtype', None) is not None and key not in ('num_steps', 'observations_is_missing')
    }
    kinds = {tf.as_dtype(kind) for kind in dtypes.values()} or {tf.float32}
    if len(kinds) > 1 or not kinds <= {tf.float32, tf.float64}:
        found = ', '.join(f'`{key}` {tf.as_dtype(kind).name}' for key, kind in dtypes.items())
        raise ValueError(f'{name}: the parameters must be float32 or float64, all the same, got {found}; cast them.')
    return kinds.pop()
