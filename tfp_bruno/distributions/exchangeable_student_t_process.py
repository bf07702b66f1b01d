"""The exchangeable Student-t process: a density of sets that is closed under conditioning."""

import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties

from tfp_bruno.distributions.composite import composite
from tfp_bruno.distributions.exchangeable_process import ExchangeableProcess
from tfp_bruno.distributions.parameters import constrained_parameter

__all__ = ['ExchangeableStudentTProcess']


@composite
class ExchangeableStudentTProcess(ExchangeableProcess):
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
        independent_targets=False,
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
            independent_targets: Python `bool`: whether the steps of an event are drawn and scored each on its own,
                as in the official code of Conditional BRUNO; conditioning is not changed. Default value: `False`.
            validate_args: Python `bool`: whether parameters and observations are checked at run time. Default value:
                `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `'ExchangeableStudentTProcess'`.

        Raises:
            ValueError: if the shapes of the parameters do not broadcast.
        """
        parameters = dict(locals())
        tensors = {'df': df, 'loc': loc, 'variance': variance, 'correlation': correlation}
        with tf.name_scope(name) as name:
            super().__init__(tensors, num_steps, independent_targets, validate_args, allow_nan_stats, parameters, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        names = ('df', 'loc', 'variance', 'correlation')
        return {
            **{name: constrained_parameter(name, dtype) for name in names},
            'num_steps': parameter_properties.ShapeParameterProperties(),
        }

    @property
    def df(self):
        """Degrees of freedom."""
        return self._df_parameter
