"""The base class of the processes: distributions of sequences of vectors, closed under conditioning."""

from __future__ import annotations

import abc
import functools
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.distributions import distribution
from tensorflow_probability.python.internal import prefer_static as ps
from tensorflow_probability.python.internal import reparameterization, tensor_util

from tfp_bruno.distributions import _checks as checks
from tfp_bruno.distributions._parameters import common_dtype, range_assertions, vector
from tfp_bruno.distributions._shapes import TensorLike, broadcast_batch, zero_missing


class Process(distribution.AutoCompositeTensorDistribution):
    """A sequence of `num_steps` vectors `[D]`, which conditioning turns into another process of the same class.

    One event has shape `[num_steps, D]`. Every step has a pose. The poses are bound by `at(poses)` or by the argument
    `poses` of the constructor; the argument `conditional_input` of a method replaces them for one call. All processes
    take poses in the same way. The density of an exchangeable process does not depend on them: it uses only their batch
    shape and their number.

    Conventions where TFP leaves a choice: `covariance` is that of the event flattened to one vector, steps outermost,
    `[..., num_steps D, num_steps D]`. Two processes are equal only if they are one object.

    A subclass defines `_joint_log_prob`, `_marginal_log_prob` (of each step on its own), `_sample_n`, the moments, and
    `_condition`.
    """

    # Names of the parameters whose last axis is that of the D dimensions.
    _dimension_names: tuple[str, ...] = ()

    # Whether poses `[n, P]` stay without a batch, so that what depends on them alone is computed once for a batch.
    _keeps_common_poses = False

    def _set_up(self, arguments: dict[str, Any]) -> None:
        """Stores the arguments of a constructor as attributes, converted to tensors.

        Nothing is derived from them here: variables may change, and a gradient taken later must reach them.

        Args:
            arguments: The constructor's arguments, its `locals()`.

        Raises:
            ValueError: If dtypes or shapes do not fit each other, or the number of steps is not known.
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
            dtype = common_dtype(type(self).__name__, tensors)
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
    def num_steps(self) -> tf.Tensor | None:
        """Number of vectors of an event; `None` where `poses` have one each."""
        return self._num_steps

    @property
    def poses(self) -> tf.Tensor | None:
        """Poses `[..., num_steps, P]` of the steps; `None` where they are not bound."""
        return self._poses

    @property
    def independent_targets(self) -> bool:
        """Whether the steps of an event are drawn and scored independently of each other."""
        return self._independent_targets

    @property
    def _pose_size(self) -> int | None:
        """Size P of a pose, where a parameter has it."""
        return None

    def _degrees(self) -> tf.Tensor | None:
        """Returns the degrees of freedom, `[..., D]`, or `None` of a Gaussian."""
        df = getattr(self, '_df', None)
        return None if df is None else vector(df)

    def _dimension_parameters(self) -> dict[str, tf.Tensor]:
        values = {name: getattr(self, f'_{name}', None) for name in self._dimension_names}
        return {name: value for name, value in values.items() if value is not None and not callable(value)}

    def _check_shapes(self) -> None:
        """Raises a `ValueError` unless the shapes of the parameters fit each other."""
        if self._poses is not None:
            checks.check_poses(self.name, self._poses, self._pose_size)
            steps = None if self._num_steps is None else tf.get_static_value(self._num_steps)
            if not self._poses.shape[-2:-1].is_compatible_with([steps]):
                raise ValueError(f'{self.name}: `num_steps` is {steps}, but `poses` have shape {self._poses.shape}.')
        elif self._num_steps is None:
            raise ValueError(f'{self.name} needs `num_steps`, or `poses`.')
        try:
            self._dimension()
            self._batch_shape()
        except ValueError as error:
            names = type(self)._parameter_properties(tf.float32)
            known = {name: getattr(getattr(self, f'_{name}', None), 'shape', ()) for name in names}
            shapes = ', '.join(f'`{name}` {shape}' for name, shape in known.items() if shape != ())
            raise ValueError(f'{self.name}: the shapes of the parameters do not broadcast: {shapes}.') from error

    def _dimension(self) -> tf.TensorShape:
        """Returns the static shape `[D]`."""
        shapes = (value.shape[-1:] for value in self._dimension_parameters().values())
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _dimension_tensor(self) -> TensorLike:
        shapes = (ps.shape(value)[-1:] for value in self._dimension_parameters().values())
        return functools.reduce(ps.broadcast_shape, shapes)

    def _steps(self) -> TensorLike:
        """Returns the number of steps of an event, static where it is known."""
        return ps.shape(self._poses)[-2] if self._num_steps is None else self._num_steps

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([tf.get_static_value(self._steps())]).concatenate(self._dimension())

    def _event_shape_tensor(self) -> TensorLike:
        return ps.concat([ps.reshape(self._steps(), [1]), self._dimension_tensor()], axis=0)

    def _replace(self, **changes: Any) -> Process:
        """Returns a process of this class with other arguments.

        Not `copy`, which keeps all earlier arguments and repeats all earlier copies: a long chain of them would take
        time and memory that grow with the square of its length.
        """
        return type(self)(**{**self.parameters, **changes})

    def at(self, poses: TensorLike, name: str | None = None) -> Process:
        """Returns the process with its poses bound: a distribution whose methods need no `conditional_input`.

        Args:
            poses: `[..., n, P]`. The result has n steps, and the batch shape of the poses broadcast with that of this
                process.
            name: Name of the result; `None` keeps this process' name.
        """
        return self._replace(poses=self._convert_poses(poses), num_steps=None, name=name or self.parameters['name'])

    def posterior(
        self,
        observations: TensorLike,
        observed_poses: TensorLike | None = None,
        poses: TensorLike | None = None,
        num_steps: TensorLike | None = None,
        is_missing: TensorLike | None = None,
        name: str | None = None,
    ) -> Process:
        """Returns the process of further vectors, given observations.

        Args:
            observations: `[C1, ..., Cc, n, D]`, n >= 0; `[C1, ..., Cc]` broadcasts against the batch shape.
            observed_poses: `[..., n, P]`; `None` for exchangeable processes only.
            poses: Poses of the result's steps, `[..., m, P]`; `None` leaves them to `at` or `conditional_input`.
            num_steps: Number of steps of the result, where `poses` are not given; `None` keeps the steps (and poses) of
                this process.
            is_missing: `[..., n]`, `True` where an observation is missing and ignored; its values may be NaN. `None`:
                none is missing.
            name: Name of the result; `None` keeps this process' name.

        Returns:
            A process of the same class; its batch shape is that of this process broadcast with `[C1, ..., Cc]`. With n
            = 0 it is the prior.

        Raises:
            ValueError: If a shape does not fit.
        """
        with self._name_and_control_scope(name or 'posterior'):
            observations = self._check_values(observations, is_missing)
            observed_poses = self._observed_poses_of(observations, observed_poses)
            changes = self._condition(observations, observed_poses, self._weights(is_missing, observations))
            if poses is not None:
                changes |= {'poses': self._convert_poses(poses), 'num_steps': None}
            elif num_steps is not None:
                changes |= {'poses': None, 'num_steps': num_steps}
            return self._replace(**changes, name=name or self.parameters['name'])

    @abc.abstractmethod
    def _condition(
        self, observations: tf.Tensor, observed_poses: tf.Tensor | None, weights: tf.Tensor | None
    ) -> dict[str, Any]:
        """Returns the constructor's arguments that change by conditioning on observations.

        Args:
            observations: `[..., n, D]`.
            observed_poses: `[..., n, P]`, or `None` where the process needs none.
            weights: `[..., n]`, 0 where an observation is missing and 1 elsewhere, or `None`.
        """

    def update(
        self, observation: TensorLike, observed_pose: TensorLike | None = None, name: str | None = None
    ) -> Process:
        """Returns the process given one more observation, with as many steps: `posterior` for streams.

        Args:
            observation: `[..., D]`.
            observed_pose: `[..., P]`; `None` for exchangeable processes only.
            name: Name of the result; `None` keeps this process' name.
        """
        observation = tf.convert_to_tensor(observation, dtype_hint=self.dtype)[..., tf.newaxis, :]
        if observed_pose is not None:
            observed_pose = tf.convert_to_tensor(observed_pose, dtype_hint=self.dtype)[..., tf.newaxis, :]
        return self.posterior(observation, observed_pose, name=name)

    def marginal_log_prob(
        self, value: TensorLike, conditional_input: TensorLike | None = None, name: str = 'marginal_log_prob'
    ) -> tf.Tensor:
        """Returns the log-density of each step on its own, `[..., n]`.

        Args:
            value: `[..., n, D]`; n may differ from `num_steps`.
            conditional_input: Poses `[..., n, P]`; `None` uses the bound ones.
            name: Name of the operations.
        """
        with self._name_and_control_scope(name, value):
            value = self._check_values(value)
            return self._marginal_log_prob(value, self._poses_of(value, conditional_input))

    def log_prob_and_mean(
        self, value: TensorLike, conditional_input: TensorLike | None = None, name: str = 'log_prob_and_mean'
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the log-density of the vectors of the first steps, and the mean of all steps.

        Terms that both need are computed once where that saves time.

        Args:
            value: `[..., n, D]`, n at most the number of all steps.
            conditional_input: Poses of all steps, `[..., m, P]`; `None` uses the bound ones.
            name: Name of the operations.

        Returns:
            log_prob: `[...]`.
            mean: `[..., m, D]`.
        """
        with self._name_and_control_scope(name, value):
            value = self._check_values(value)
            poses = self._poses_at(conditional_input)
            first = None if poses is None else self._poses_of(value, poses[..., : ps.shape(value)[-2], :])
            return self._log_prob_and_mean(value, first, poses)

    def _log_prob_and_mean(
        self, value: tf.Tensor, value_poses: tf.Tensor | None, poses: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self._log_prob_at(value, value_poses, None), self._mean(conditional_input=poses)

    def _log_prob(
        self, value: TensorLike, is_missing: TensorLike | None = None, conditional_input: TensorLike | None = None
    ) -> tf.Tensor:
        value = self._check_values(value, is_missing)
        if not value.shape[-2:-1].is_compatible_with(self.event_shape[:1]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but the value has shape {value.shape}; '
                'use `copy(num_steps=...)` for another number of steps.'
            )
        poses = self._poses_of(value, conditional_input)
        return self._log_prob_at(value, poses, self._weights(is_missing, value))

    def _log_prob_at(self, value: tf.Tensor, poses: tf.Tensor | None, weights: tf.Tensor | None) -> tf.Tensor:
        """Returns the log-density of any number of vectors `[..., n, D]` at poses `[..., n, P]`."""
        if not self._independent_targets:
            return self._joint_log_prob(value, poses, weights)
        if weights is not None:
            value = zero_missing(value, weights)
        each = self._marginal_log_prob(value, poses)
        return tf.reduce_sum(each if weights is None else each * weights, axis=-1)

    def _mode(self, conditional_input: TensorLike | None = None) -> tf.Tensor:
        return self._mean(conditional_input=conditional_input)

    def _default_event_space_bijector(self) -> tfb.Bijector:
        return tfb.Identity(validate_args=self.validate_args)

    def _parameter_control_dependencies(self, is_init: bool) -> list[tf.Operation]:
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

    def _check_values(self, value: TensorLike, is_missing: TensorLike | None = None) -> tf.Tensor:
        """Returns vectors `[..., n, D]` as a tensor after checking shape and dtype, and values if `validate_args`."""
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype, name='vectors')
        checks.check_vectors(self.name, value, self._dimension()[0], self.dtype, self.batch_shape)
        if not self.validate_args:
            return value
        weights = self._weights(is_missing, value)
        present = value if weights is None else zero_missing(value, weights)
        message = 'The observations (argument `value` or `observations`) must not hold NaN or infinity.'
        with tf.control_dependencies([tf.debugging.assert_all_finite(present, message=message)]):
            return tf.identity(value)

    def _weights(self, is_missing: TensorLike | None, value: tf.Tensor) -> tf.Tensor | None:
        """Returns 0 where a step of vectors `[..., n, D]` is missing and 1 elsewhere, `[..., n]`; `None` for `None`."""
        if is_missing is None:
            return None
        is_missing = tf.cast(tf.convert_to_tensor(is_missing, name='is_missing'), tf.bool)
        checks.check_is_missing(self.name, is_missing, value)
        return tf.cast(tf.logical_not(is_missing), self.dtype)

    def _poses_at(self, poses: TensorLike | None) -> tf.Tensor | None:
        """Returns the given poses of a call, or else the bound ones."""
        poses = self._poses if poses is None else poses
        if poses is None:
            raise ValueError(f'{self.name} needs `conditional_input`, the poses of shape [..., n, P].')
        poses = self._convert_poses(poses)
        if not self.validate_args:
            return poses
        check = tf.debugging.assert_all_finite(poses, message='The poses must not hold NaN or infinity.')
        with tf.control_dependencies([check]):
            return tf.identity(poses)

    def _poses_of(self, value: tf.Tensor, poses: TensorLike | None) -> tf.Tensor | None:
        """Returns the poses of vectors `[..., n, D]`: the given ones, or else the bound ones."""
        poses = self._poses_at(poses)
        if poses is not None:
            checks.check_one_pose_each(self.name, poses, value)
        return poses

    def _observed_poses_of(self, observations: tf.Tensor, poses: TensorLike | None) -> tf.Tensor | None:
        """Returns the poses of observations `[..., n, D]`, which must be given."""
        if poses is None:
            raise ValueError(f'{self.name} needs `observed_poses`, the poses of shape [..., n, P].')
        return self._poses_of(observations, poses)

    def _convert_poses(self, poses: TensorLike) -> tf.Tensor:
        """Returns poses as a tensor of this process' dtype, after checking their shape."""
        poses = tf.cast(tf.convert_to_tensor(poses, dtype_hint=self.dtype), self.dtype)
        checks.check_poses(self.name, poses, self._pose_size)
        return poses

    def _broadcast_poses(self, conditional_input: TensorLike | None) -> tf.Tensor:
        """Returns the poses of a call, broadcast with the batch shape."""
        return broadcast_batch(self._poses_at(conditional_input), 2, self.batch_shape_tensor())

    def _sampled_poses(self, conditional_input: TensorLike | None) -> tf.Tensor | None:
        """Returns the poses of `sample`, whose result must have this process' batch and event shape."""
        poses = self._poses_at(conditional_input)
        if poses is None:
            return None
        checks.check_sampled_poses(self.name, poses, self.batch_shape, self.event_shape)
        return poses if self._keeps_common_poses and poses.shape.rank == 2 else self._broadcast_poses(poses)
