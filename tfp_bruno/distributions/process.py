"""The base class of the processes: a distribution of sequences of vectors that is closed under conditioning."""

import functools

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability.python.distributions import distribution as tfd_distribution
from tensorflow_probability.python.internal import (
    auto_composite_tensor,
    dtype_util,
    reparameterization,
    tensor_util,
)
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.batches import can_broadcast, split_shape, with_batch
from tfp_bruno.distributions.parameters import range_assertions

__all__ = ['Process', 'mask_as_weights']


class Process(tfd_distribution.Distribution, auto_composite_tensor.AutoCompositeTensor):
    """Sequences of `num_steps` vectors `[D]`, a distribution that conditioning turns into another of its class.

    A subclass writes `_marginal_log_prob` (each step alone), `_joint_log_prob` and `_sample_n`; with
    `independent_targets`, the steps are drawn and scored each on its own.
    """

    # Whether the density depends on the poses of the steps, given as `conditional_input`.
    needs_poses = False

    def __init__(self, tensors, num_steps, independent_targets, validate_args, allow_nan_stats, parameters, name):
        """Keeps the parameters.

        Args:
            tensors: Dict of the tensor parameters by argument name; `None` where one was not given.
            num_steps: Integer `Tensor`, or `None`.
            independent_targets: Python `bool`.
            validate_args: Python `bool`.
            allow_nan_stats: Python `bool`.
            parameters: Dict of the constructor's arguments.
            name: Python `str`.
        """
        given = {key: value for key, value in tensors.items() if value is not None}
        dtype = dtype_util.common_dtype(list(given.values()), tf.float32)
        self._tensor_names = tuple(given)
        for key, value in given.items():
            # Not `_variance`, which is the method.
            setattr(self, f'_{key}_parameter', tensor_util.convert_nonref_to_tensor(value, name=key, dtype=dtype))
        self._independent_targets = independent_targets
        self._num_steps = (
            None
            if num_steps is None
            else tensor_util.convert_nonref_to_tensor(
                num_steps, name='num_steps', dtype_hint=tf.int32, as_shape_tensor=True
            )
        )
        super().__init__(
            dtype=dtype,
            reparameterization_type=reparameterization.FULLY_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )
        self._check_sizes()

    @property
    def num_steps(self):
        """Number of vectors of an event."""
        return self._num_steps

    @property
    def independent_targets(self):
        """Whether the steps of an event are drawn and scored each on its own, as the official code does."""
        return self._independent_targets

    def _parameter(self, name):
        """Returns a parameter as a `Tensor` with an axis for the dimensions, or `None` where it was not given."""
        if name not in self._tensor_names:
            return None
        value = tf.convert_to_tensor(getattr(self, f'_{name}_parameter'))
        return value[tf.newaxis] if value.shape.rank == 0 else value

    def _tensor_parameters(self):
        """Returns the parameters by name.

        TFP looks for parameters among the attributes, where `variance` is the method. So what it derives from them
        (batch shape, slices, the type spec) is derived here instead.
        """
        return {name: getattr(self, f'_{name}_parameter') for name in self._tensor_names}

    def _event_ndims(self, name):
        return type(self)._parameter_properties(self.dtype)[name].event_ndims

    def _check_sizes(self):
        """Raises a ValueError if the parameters of the D dimensions do not go together, in a pair or in batch."""
        sizes = {name: getattr(self, f'_{name}_parameter').shape for name in self._dimension_names()}
        try:
            functools.reduce(tf.broadcast_static_shape, (shape[-1:] for shape in sizes.values()))
            self._batch_shape()
        except ValueError as error:
            shapes = ', '.join(f'`{name}` {shape}' for name, shape in self._all_shapes().items())
            raise ValueError(f'{self.name}: the shapes of the parameters do not broadcast: {shapes}.') from error

    def _unbatched_names(self):
        """Returns the names of the parameters that never have a batch."""
        return ()

    def _all_shapes(self):
        return {name: value.shape for name, value in self._tensor_parameters().items()}

    def _dimension_names(self):
        """Returns the names of the parameters whose last axis is that of the D dimensions."""
        return [name for name in ('loc', 'variance', 'correlation', 'df') if name in self._tensor_names]

    def _dimension(self):
        shapes = (getattr(self, f'_{name}_parameter').shape[-1:] for name in self._dimension_names())
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _dimension_tensor(self):
        shapes = (ps.shape(getattr(self, f'_{name}_parameter'))[-1:] for name in self._dimension_names())
        return functools.reduce(ps.broadcast_shape, shapes)

    def _batch_shape(self):
        shapes = (
            shape[: max(0, shape.rank - self._event_ndims(name))]
            for name, shape in self._all_shapes().items()
            if name not in self._unbatched_names()
        )
        return functools.reduce(tf.broadcast_static_shape, shapes, tf.TensorShape([]))

    def _batch_shape_tensor(self, **parameter_kwargs):
        values = {**self._tensor_parameters(), **parameter_kwargs}
        batch = ps.convert_to_shape_tensor([], dtype=tf.int32)
        for name, value in values.items():
            if name in self._tensor_names and name not in self._unbatched_names():
                batch = ps.broadcast_shape(batch, split_shape(value, self._event_ndims(name))[0])
        return batch

    def _steps(self):
        """Returns the number of steps of an event, static where it can be."""
        return self._num_steps

    def _event_shape(self):
        steps = self._steps()
        steps = None if steps is None else tf.get_static_value(steps)
        return tf.TensorShape([steps]).concatenate(self._dimension())

    def _event_shape_tensor(self):
        return ps.concat([ps.reshape(self._steps(), [1]), self._dimension_tensor()], axis=0)

    def _broadcast_parameters_with_batch_shape(self, batch_shape):
        batch_shape = ps.broadcast_shape(batch_shape, self.batch_shape_tensor())
        return self.copy(
            **{
                name: with_batch(value, self._event_ndims(name), batch_shape)
                for name, value in self._tensor_parameters().items()
                if name not in self._unbatched_names()
            }
        )

    def __getitem__(self, slices):
        slices = slices if isinstance(slices, tuple) else (slices,)
        over_batch = slices if any(part is Ellipsis for part in slices) else (*slices, Ellipsis)
        whole = self._broadcast_parameters_with_batch_shape(self.batch_shape_tensor())
        return self.copy(
            **{
                name: value[(*over_batch, *[slice(None)] * self._event_ndims(name))]
                for name, value in whole._tensor_parameters().items()
                if name not in self._unbatched_names()
            }
        )

    @property
    def _type_spec(self):
        return self._spec_class.from_instance(self, omit_kwargs=('parameters',), non_identifying_kwargs=('name',))

    def _convert_variables_to_tensors(self):
        return auto_composite_tensor.convert_variables_to_tensors(self)

    def _check_vectors(self, value):
        """Returns vectors `[..., n, D]` as a `Tensor` of this dtype."""
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype, name='vectors')
        size = self._dimension()[0]
        if value.shape.rank is not None and (value.shape.rank < 2 or not value.shape[-1:].is_compatible_with([size])):
            raise ValueError(f'{self.name}: vectors must have shape [..., n, {size}], got {value.shape}.')
        if not can_broadcast(value.shape[:-2], self.batch_shape):
            raise ValueError(
                f'{self.name}: the batch shape {self.batch_shape} and vectors {value.shape} do not broadcast.'
            )
        return value

    def _check_steps(self, value):
        """Raises a ValueError if a value has another number of steps than the event."""
        if not value.shape[-2:-1].is_compatible_with(self.event_shape[:1]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but the value has shape {value.shape}; '
                'use `copy(num_steps=...)` for another number of steps.'
            )

    def _checked_observations(self, observations, mask=None):
        observations = self._check_vectors(observations)
        with tf.control_dependencies(self._sample_control_dependencies(observations, mask=mask)):
            return tf.identity(observations)

    def marginal_log_prob(self, value, name='marginal_log_prob', **kwargs):
        """Returns the log-density of each step on its own.

        Args:
            value: `Tensor` of shape `[..., n, D]`; n may differ from `num_steps`.
            name: Python `str`. Default value: `'marginal_log_prob'`.
            **kwargs: As for `log_prob`, without `mask`.

        Returns:
            `Tensor` of shape `[..., n]`.
        """
        with self._name_and_control_scope(name, value, kwargs):
            value = self._checked_observations(value)
            return self._marginal_log_prob(value, **kwargs)

    def log_prob_and_mean(self, value, conditional_input=None, name='log_prob_and_mean'):
        """Returns the log-density of the vectors of the first steps, and the mean of all steps.

        What both need of the observations is computed once where it takes long.

        Args:
            value: `Tensor` of shape `[..., n, D]`, n at most the number of all steps.
            conditional_input: `Tensor` of shape `[..., m, P]`, the poses of all steps. Default value: `None`, the bound
                ones; for a process that needs no poses there are none.
            name: Python `str`. Default value: `'log_prob_and_mean'`.

        Returns:
            log_prob: `Tensor` of shape `[...]`.
            mean: `Tensor` of shape `[..., m, D]`, m is `num_steps` where no poses are needed.
        """
        with self._name_and_control_scope(name, value):
            value = self._checked_observations(value)
            return self._log_prob_and_mean(value, self._given_poses(conditional_input) if self.needs_poses else None)

    def _log_prob_and_mean(self, value, poses):
        of_all = {} if poses is None else {'conditional_input': poses}
        of_first = {key: given[..., : ps.shape(value)[-2], :] for key, given in of_all.items()}
        return self._log_prob_of(value, None, **of_first), self._mean(**of_all)

    def _log_prob(self, value, mask=None, **kwargs):
        value = self._check_vectors(value)
        self._check_steps(value)
        return self._log_prob_of(value, mask_as_weights(mask, value, self.name), **kwargs)

    def _log_prob_of(self, value, mask, **kwargs):
        """Returns the log-density of vectors `[..., n, D]`, whatever n."""
        if not self._independent_targets:
            return self._joint_log_prob(value, mask, **kwargs)
        if mask is not None:
            value = tf.where(mask[..., tf.newaxis] > 0.0, value, tf.zeros([], value.dtype))
        each = self._marginal_log_prob(value, **kwargs)
        return tf.reduce_sum(each if mask is None else each * mask, axis=-1)

    def _mode(self, **kwargs):
        return self._mean(**kwargs)

    def _default_event_space_bijector(self):
        return tfb.Identity(validate_args=self.validate_args)

    def _parameter_control_dependencies(self, is_init):
        if not self.validate_args:
            return []
        parameters = {
            name: value for name, value in self._tensor_parameters().items() if is_init != tensor_util.is_ref(value)
        }
        return range_assertions(parameters, self.dtype)

    def _sample_control_dependencies(self, value, mask=None, **kwargs):
        if not self.validate_args:
            return []
        value = tf.convert_to_tensor(value, dtype_hint=self.dtype)
        if mask is not None:
            # What is masked may be NaN.
            weights = mask_as_weights(mask, value, self.name)[..., tf.newaxis]
            value = tf.where(weights > 0.0, value, tf.zeros([], value.dtype))
        message = 'The observations (argument `value` or `observations`) must not hold NaN or infinity.'
        return [tf.debugging.assert_all_finite(value, message=message)]


def mask_as_weights(mask, value, name):
    """Returns a mask `[..., n]` as ones and zeros of the values' dtype, or `None`."""
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask, name='mask')
    if not (mask.shape[-1:].is_compatible_with(value.shape[-2:-1]) and can_broadcast(mask.shape, value.shape[:-1])):
        raise ValueError(f'{name}: `mask` must have shape [..., n], got {mask.shape} for vectors of {value.shape}.')
    return tf.cast(tf.cast(mask, tf.bool), value.dtype)
