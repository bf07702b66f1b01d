"""The exchangeable Gaussian process: a density of sets that is closed under conditioning."""

import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties

from tfp_bruno.distributions.composite import composite
from tfp_bruno.distributions.exchangeable_process import ExchangeableProcess
from tfp_bruno.distributions.parameters import constrained_parameter

__all__ = ['ExchangeableGaussianProcess']


@composite
class ExchangeableGaussianProcess(ExchangeableProcess):
    """A sequence of vectors whose order does not matter, each dimension Gaussian with constant correlation.

    The limit of `ExchangeableStudentTProcess` for many degrees of freedom, and what the official conditional models
    use. One event has shape `[num_steps, D]`; the D dimensions are independent of each other.

    #### Mathematical Details

    For one dimension with mean `loc`, variance `v` and correlation `rho`, n observations are multivariate Gaussian with

    ```none
    covariance K = a I + b 1 1^T,   a = v (1 - rho),   b = v rho
    log p(z_1..z_n) = -1/2 (n log(2 pi) + (n - 1) log(a) + log(a + n b) + beta)
    beta   = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is the mean of the observations. After n of them, any further ones follow a process of the same class
    with `loc' = loc + b / (a + n b) * n (zbar - loc)`, `a' = a`, `b' = a b / (a + n b)`.

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableGaussianProcess(
        loc=tf.zeros(3), variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
    z = process.sample(seed=(1, 2))                            # [4, 3]
    process.posterior(z, num_steps=2).mean()                   # [2, 3]
    ```

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(
        self,
        loc,
        variance,
        correlation,
        num_steps,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name='ExchangeableGaussianProcess',
    ):
        """Constructs the process.

        Args:
            loc: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it): mean of every
                observation.
            variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: marginal variance.
            correlation: `Tensor` of shape `[B1, ..., Bb, D]` in `[0, 1)`: correlation between any two observations.
            num_steps: Integer `Tensor`, the number of observations of an event.
            independent_targets: Python `bool`: whether the steps of an event are drawn and scored each on its own,
                as in the official code of Conditional BRUNO; conditioning is not changed. Default value: `False`.
            validate_args: Python `bool`: whether parameters and observations are checked at run time. Default value:
                `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `'ExchangeableGaussianProcess'`.

        Raises:
            ValueError: if the shapes of the parameters do not broadcast.
        """
        parameters = dict(locals())
        tensors = {'loc': loc, 'variance': variance, 'correlation': correlation}
        with tf.name_scope(name) as name:
            super().__init__(tensors, num_steps, independent_targets, validate_args, allow_nan_stats, parameters, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        names = ('loc', 'variance', 'correlation')
        return {
            **{name: constrained_parameter(name, dtype) for name in names},
            'num_steps': parameter_properties.ShapeParameterProperties(),
        }
