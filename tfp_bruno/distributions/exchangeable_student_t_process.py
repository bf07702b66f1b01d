"""The exchangeable Student-t process: a density of sets that is closed under conditioning."""

import functools
import math

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import math as tfp_math
from tensorflow_probability.python.distributions import distribution as tfd_distribution
from tensorflow_probability.python.distributions import gamma
from tensorflow_probability.python.internal import (
    assert_util,
    auto_composite_tensor,
    dtype_util,
    parameter_properties,
    reparameterization,
    samplers,
    tensor_util,
)
from tensorflow_probability.python.internal import prefer_static as ps

__all__ = ['ExchangeableStudentTProcess']


class ExchangeableStudentTProcess(tfd_distribution.Distribution, auto_composite_tensor.AutoCompositeTensor):
    """A sequence of vectors whose order does not matter, each dimension a Student-t process with constant correlation.

    One event has shape `[num_steps, D]`: observations `z_1 ... z_n`. The D dimensions are independent of each other;
    within a dimension, any two observations have the same correlation. Such a sequence is exchangeable: its density
    does not change when its observations are permuted, and every sub-sequence has the density of the same process
    with fewer steps.

    #### Mathematical Details

    For one dimension with mean `loc`, variance `v`, correlation `rho` and `df = nu`, n observations are multivariate
    Student-t with

    ```none
    covariance K = a I + b 1 1^T,   a = v (1 - rho),   b = v rho
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    log|K| = (n - 1) log(a) + log(a + n b)
    beta   = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is the mean of the observations. K is the covariance; the scale matrix is `(nu - 2) / nu K`. The
    density costs two sums over the steps, `O(n D)`, without a factorisation.

    After n observations, any further ones follow a process of the same class with

    ```none
    nu'  = nu + n
    loc' = loc + b / (a + n b) * n (zbar - loc)
    k    = (nu + beta - 2) / (nu + n - 2)
    a'   = k a,   b' = k a b / (a + n b),   v' = a' + b',   rho' = b' / v'
    ```

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableStudentTProcess(
        df=5., loc=tf.zeros(3), variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
    z = process.sample(seed=(1, 2))                            # [4, 3]
    process.log_prob(z)                                        # []
    further = process.posterior(z, num_steps=2)                # again such a process
    further.sample(10, seed=(1, 2))                            # [10, 2, 3], drawn jointly
    ```

    #### References

    [1]: Iryna Korshunova et al. BRUNO: a deep recurrent model for exchangeable data. NeurIPS 2018.
    [2]: Amar Shah, Andrew Gordon Wilson, Zoubin Ghahramani. Student-t processes as alternatives to Gaussian
    processes. AISTATS 2014. [3]: Benjamin Hou et al. Flexible conditional image generation of missing data with
    learned mental maps. 2019.
    """

    def __init__(
        self,
        df,
        loc,
        variance,
        correlation,
        num_steps,
        validate_args=False,
        allow_nan_stats=True,
        name='ExchangeableStudentTProcess',
    ):
        """Constructs the process.

        Args:
            df: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it) above 2: degrees of
                freedom.
            loc: `Tensor` of shape `[B1, ..., Bb, D]`: mean of every observation.
            variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: marginal variance.
            correlation: `Tensor` of shape `[B1, ..., Bb, D]` in `[0, 1)`: correlation between any two observations.
            num_steps: Integer `Tensor`, the number of observations of an event.
            validate_args: Python `bool`: whether parameters and observations are checked at run time. Default value:
                `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `'ExchangeableStudentTProcess'`.
        """
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            dtype = dtype_util.common_dtype([df, loc, variance, correlation], tf.float32)
            self._df = tensor_util.convert_nonref_to_tensor(df, name='df', dtype=dtype)
            self._loc = tensor_util.convert_nonref_to_tensor(loc, name='loc', dtype=dtype)
            self._variance_parameter = tensor_util.convert_nonref_to_tensor(variance, name='variance', dtype=dtype)
            self._correlation = tensor_util.convert_nonref_to_tensor(correlation, name='correlation', dtype=dtype)
            self._num_steps = tensor_util.convert_nonref_to_tensor(
                num_steps, name='num_steps', dtype_hint=tf.int32, as_shape_tensor=True
            )
            super().__init__(
                dtype=dtype,
                reparameterization_type=reparameterization.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        low = dtype_util.eps(dtype)
        return {
            'df': parameter_properties.ParameterProperties(
                event_ndims=1,
                default_constraining_bijector_fn=lambda: tfb.Softplus(low=dtype_util.as_numpy_dtype(dtype)(2.0)),
            ),
            'loc': parameter_properties.ParameterProperties(event_ndims=1),
            'variance': parameter_properties.ParameterProperties(
                event_ndims=1, default_constraining_bijector_fn=lambda: tfb.Softplus(low=low)
            ),
            'correlation': parameter_properties.ParameterProperties(
                event_ndims=1, default_constraining_bijector_fn=tfb.Sigmoid
            ),
            'num_steps': parameter_properties.ShapeParameterProperties(),
        }

    @property
    def df(self):
        """Degrees of freedom."""
        return self._df

    @property
    def loc(self):
        """Mean of every observation."""
        return self._loc

    @property
    def correlation(self):
        """Correlation between any two observations."""
        return self._correlation

    @property
    def num_steps(self):
        """Number of observations of an event."""
        return self._num_steps

    def _tensor_parameters(self):
        """Returns the parameters by name.

        TFP looks for parameters among the attributes, where `variance` is the method. So what it derives from them
        (batch shape, slices, the type spec) is derived here instead.
        """
        return {
            'df': self._df,
            'loc': self._loc,
            'variance': self._variance_parameter,
            'correlation': self._correlation,
        }

    def _batch_shape(self):
        shapes = (parameter.shape[:-1] for parameter in self._tensor_parameters().values())
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _batch_shape_tensor(self, **parameter_kwargs):
        return super()._batch_shape_tensor(**{**self._tensor_parameters(), **parameter_kwargs})

    def _broadcast_parameters_with_batch_shape(self, batch_shape):
        batch_shape = ps.broadcast_shape(batch_shape, self.batch_shape_tensor())
        shape = ps.concat([batch_shape, self.event_shape_tensor()[1:]], axis=0)
        return self.copy(**{name: tf.broadcast_to(value, shape) for name, value in self._tensor_parameters().items()})

    def __getitem__(self, slices):
        slices = slices if isinstance(slices, tuple) else (slices,)
        over_batch = slices if any(part is Ellipsis for part in slices) else (*slices, Ellipsis)
        whole = self._broadcast_parameters_with_batch_shape(self.batch_shape_tensor())
        return self.copy(
            **{name: value[(*over_batch, slice(None))] for name, value in whole._tensor_parameters().items()}
        )

    @property
    def _type_spec(self):
        return _ProcessSpec.from_instance(self, omit_kwargs=('parameters',), non_identifying_kwargs=('name',))

    def _convert_variables_to_tensors(self):
        return auto_composite_tensor.convert_variables_to_tensors(self)

    def _dimension(self):
        shapes = (parameter.shape[-1:] for parameter in self._tensor_parameters().values())
        return functools.reduce(tf.broadcast_static_shape, shapes)

    def _event_shape(self):
        steps = tf.get_static_value(self._num_steps)
        return tf.TensorShape([steps]).concatenate(self._dimension())

    def _event_shape_tensor(self):
        shapes = (ps.shape(parameter)[-1:] for parameter in self._tensor_parameters().values())
        dimension = functools.reduce(ps.broadcast_shape, shapes)
        return ps.concat([ps.reshape(self._num_steps, [1]), dimension], axis=0)

    def _components(self):
        """Returns (df, loc, a, b): the parameters, the independent and the shared part of the variance."""
        variance = tf.convert_to_tensor(self._variance_parameter)
        correlation = tf.convert_to_tensor(self._correlation)
        return (
            tf.convert_to_tensor(self._df),
            tf.convert_to_tensor(self._loc),
            variance * (1.0 - correlation),
            variance * correlation,
        )

    def _statistics(self, observations, loc, a, b):
        """Returns (n, sum of deviations from loc, beta) of observations `[..., n, D]`."""
        n = tf.cast(ps.shape(observations)[-2], self.dtype)
        deviations = observations - loc[..., tf.newaxis, :]
        total = tf.reduce_sum(deviations, axis=-2)
        centre = tf.math.divide_no_nan(total, n)
        # Sums about the observations' own mean: the textbook difference of two sums cancels in float32.
        spread = tf.reduce_sum((deviations - centre[..., tf.newaxis, :]) ** 2, axis=-2)
        beta = spread / a + total * centre / (a + n * b)
        return n, total, beta

    def _check_observations(self, observations):
        expected = self._dimension()
        if not observations.shape[-1:].is_compatible_with(expected) or observations.shape.rank < 2:
            raise ValueError(
                f'{self.name}: observations must have shape [..., n, {expected[0]}], got {observations.shape}.'
            )
        return observations

    def _log_prob(self, value):
        value = self._check_observations(value)
        steps = tf.get_static_value(self._num_steps)
        if steps is not None and not value.shape[-2:-1].is_compatible_with([int(steps)]):
            raise ValueError(
                f'{self.name}: the event shape is {self.event_shape}, but the value has shape {value.shape}; '
                'use `copy(num_steps=...)` for another number of steps.'
            )
        df, loc, a, b = self._components()
        n, _, beta = self._statistics(value, loc, a, b)
        log_det = (n - 1.0) * tf.math.log(a) + tf.math.log(a + n * b)
        log_normaliser = tfp_math.log_gamma_difference(0.5 * n, 0.5 * df) + 0.5 * n * tf.math.log(math.pi * (df - 2.0))
        log_prob = -log_normaliser - 0.5 * log_det - 0.5 * (df + n) * tf.math.log1p(beta / (df - 2.0))
        return tf.reduce_sum(log_prob, axis=-1)

    def _sample_n(self, n, seed=None):
        df, loc, a, b = self._components()
        shape = ps.concat([[n], self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        shared_shape = ps.concat([shape[:-2], shape[-1:]], axis=0)
        mixing_seed, shared_seed, own_seed = samplers.split_seed(seed, n=3, salt='exchangeable_student_t_process')
        # With w ~ chi-squared(df), sqrt((df - 2) / w) turns a Gaussian process of covariance K into this one.
        half_chi_squared = gamma.Gamma(tf.broadcast_to(0.5 * df, shared_shape), tf.ones([], self.dtype)).sample(
            seed=mixing_seed
        )
        mixing = tf.sqrt((0.5 * df - 1.0) / half_chi_squared)
        shared = tf.sqrt(b) * samplers.normal(shared_shape, seed=shared_seed, dtype=self.dtype)
        own = tf.sqrt(a)[..., tf.newaxis, :] * samplers.normal(shape, seed=own_seed, dtype=self.dtype)
        return loc[..., tf.newaxis, :] + mixing[..., tf.newaxis, :] * (shared[..., tf.newaxis, :] + own)

    def posterior(self, observations, num_steps, name=None):
        """Returns the process of further observations, given some.

        Args:
            observations: `Tensor` of shape `[C1, ..., Cc, n, D]`, n >= 0; `[C1, ..., Cc]` broadcasts against the
                batch shape.
            num_steps: Integer, the number of steps of the result.
            name: Python `str`. Default value: `None`, this process' name.

        Returns:
            An `ExchangeableStudentTProcess` of batch shape broadcast(`[C1, ..., Cc]`, batch shape). With n = 0 it is
            the prior.

        Raises:
            ValueError: if the observations have another size than D.
        """
        with self._name_and_control_scope(name or 'posterior'):
            observations = tf.convert_to_tensor(observations, dtype_hint=self.dtype, name='observations')
            observations = self._check_observations(observations)
            with tf.control_dependencies(self._sample_control_dependencies(observations)):
                observations = tf.identity(observations)
            df, loc, a, b = self._components()
            n, total, beta = self._statistics(observations, loc, a, b)
            shrinkage = b / (a + n * b)
            inflation = (df - 2.0 + beta) / (df - 2.0 + n)
            own, shared = inflation * a, inflation * a * shrinkage
            return ExchangeableStudentTProcess(
                df=df + n,
                loc=loc + shrinkage * total,
                variance=own + shared,
                correlation=shared / (own + shared),
                num_steps=num_steps,
                validate_args=self.validate_args,
                allow_nan_stats=self.allow_nan_stats,
                name=name or self._name.rstrip('/'),
            )

    def _broadcast_to_event(self, value):
        shape = ps.concat([self.batch_shape_tensor(), self.event_shape_tensor()], axis=0)
        return tf.broadcast_to(value[..., tf.newaxis, :], shape)

    def _mean(self):
        return self._broadcast_to_event(tf.convert_to_tensor(self._loc))

    def _mode(self):
        return self._mean()

    def _variance(self):
        return self._broadcast_to_event(tf.convert_to_tensor(self._variance_parameter))

    def _covariance(self):
        """Covariance of the flattened event, steps outermost: `[B1, ..., Bb, num_steps D, num_steps D]`."""
        _, _, a, b = self._components()
        steps, dimension = ps.unstack(self.event_shape_tensor())
        within = (
            b[..., tf.newaxis, tf.newaxis, :]
            + a[..., tf.newaxis, tf.newaxis, :] * tf.eye(steps, dtype=self.dtype)[..., tf.newaxis]
        )
        blocks = tf.einsum('...ijd,de->...idje', within, tf.eye(dimension, dtype=self.dtype))
        shape = ps.concat([self.batch_shape_tensor(), [steps * dimension, steps * dimension]], axis=0)
        return tf.broadcast_to(tf.reshape(blocks, ps.concat([ps.shape(blocks)[:-4], shape[-2:]], axis=0)), shape)

    def _default_event_space_bijector(self):
        return tfb.Identity(validate_args=self.validate_args)

    def _parameter_control_dependencies(self, is_init):
        if not self.validate_args:
            return []
        checks = (
            ('df', self._df, assert_util.assert_greater, 'greater than', 2.0),
            ('variance', self._variance_parameter, assert_util.assert_greater, 'greater than', 0.0),
            ('correlation', self._correlation, assert_util.assert_greater_equal, 'at least', 0.0),
            ('correlation', self._correlation, assert_util.assert_less, 'less than', 1.0),
        )
        return [
            check(parameter, tf.constant(bound, self.dtype), message=f'Argument `{label}` must be {words} {bound:g}.')
            for label, parameter, check, words, bound in checks
            if is_init != tensor_util.is_ref(parameter)
        ]

    def _sample_control_dependencies(self, value):
        if not self.validate_args:
            return []
        return [tf.debugging.assert_all_finite(value, message='Argument `value` must not hold NaN or infinity.')]


@auto_composite_tensor.type_spec_register('tfp_bruno.distributions.ExchangeableStudentTProcessSpec')
class _ProcessSpec(auto_composite_tensor._AutoCompositeTensorTypeSpec):
    """The type spec with which a process crosses a `tf.function`."""

    @property
    def value_type(self):
        return ExchangeableStudentTProcess

    @classmethod
    def from_instance(cls, instance, omit_kwargs=(), non_identifying_kwargs=()):
        values = instance._tensor_parameters()
        others = {name: getattr(instance, name) for name in ('validate_args', 'allow_nan_stats', 'name')}
        steps = tf.get_static_value(instance.num_steps)
        if steps is None:
            values['num_steps'] = instance.num_steps
        else:
            others['num_steps'] = int(steps)
        return cls(
            param_specs={name: auto_composite_tensor._extract_type_spec_recursively(v) for name, v in values.items()},
            non_tensor_params=others,
            omit_kwargs=omit_kwargs,
            prefer_static_value=('num_steps',),
            non_identifying_kwargs=non_identifying_kwargs,
        )

    def _to_components(self, obj):
        values = {**obj._tensor_parameters(), 'num_steps': obj.num_steps}
        return {name: values[name] for name in self._param_specs}
