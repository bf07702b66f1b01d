"""The Student-t processes: exchangeable, over poses, and with factors."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability.python.math import psd_kernels

from tfp_bruno.distributions._parameters import parameter, per_sequence
from tfp_bruno.distributions._shapes import TensorLike
from tfp_bruno.distributions.exchangeable import ExchangeableProcess
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.distributions.pose import PoseProcess


class ExchangeableStudentTProcess(ExchangeableProcess):
    """A sequence of vectors whose order does not matter, each dimension a Student-t process with constant correlation.

    One event has shape `[num_steps, D]`: observations `z_1 ... z_n`. The D dimensions are independent of each other;
    within a dimension, any two observations have the same correlation. Such a sequence is exchangeable: its density
    does not change when its observations are permuted, and every sub-sequence has the density of the same process
    with fewer steps.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v`, correlation `rho` and `df = nu`, n observations are
    multivariate Student-t with covariance `K = a I + b 1 1^T`, where `a = v (1 - rho)` and `b = v rho`:

    ```none
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    ```

    with log|K| and beta as for `ExchangeableProcess`. K is the covariance; the scale matrix is `(nu - 2) / nu K`.
    After n observations of mean `zbar`, any further ones follow a process of the same class with

    ```none
    nu'  = nu + n
    loc' = loc + b / (a + n b) * n (zbar - loc)
    k    = (nu + beta - 2) / (nu + n - 2)
    a'   = k a,   b' = k a b / (a + n b),   v' = a' + b',   rho' = b' / v'
    ```

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableStudentTProcess(
        df=5., loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
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
        df: TensorLike,
        loc: TensorLike,
        marginal_variance: TensorLike,
        correlation: TensorLike,
        num_steps: TensorLike | None = None,
        poses: TensorLike | None = None,
        independent_targets: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Constructs the process from the arguments of `ExchangeableGaussianProcess` and the degrees of freedom.

        `df` has shape `[B1, ..., Bb, D]` (or is broadcastable to it), and is above 2.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return {'df': parameter('df', dtype), **super()._parameter_properties(dtype)}

    @property
    def df(self) -> tf.Tensor:
        """Degrees of freedom."""
        return self._df


class PoseStudentTProcess(PoseProcess):
    """Vectors at poses, each dimension a Student-t process whose correlation depends on the poses.

    One event has shape `[num_steps, D]`. The D dimensions are independent of each other. Permuting the (vector, pose)
    pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    With the covariance K of `PoseGaussianProcess` and `df = nu`, n vectors of one dimension are multivariate Student-t
    with

    ```none
    beta = (z - loc)^T K^-1 (z - loc)
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    ```

    K is the covariance; the scale matrix is `(nu - 2) / nu K`. With alpha = 1 this is `ExchangeableStudentTProcess`.
    Given n observations with Gram matrix K and cross-covariance C, further vectors are Student-t with

    ```none
    nu' = nu + n,   loc' = loc + C K^-1 (z - loc),   covariance' = (nu + beta - 2) / (nu + n - 2) (K' - C K^-1 C^T)
    ```

    #### References

    [1]: Amar Shah, Andrew Gordon Wilson, Zoubin Ghahramani. Student-t processes as alternatives to Gaussian processes.
    AISTATS 2014. [2]: Iryna Korshunova et al. BRUNO: a deep recurrent model for exchangeable data. NeurIPS 2018.
    """

    def __init__(
        self,
        df: TensorLike,
        loc: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        marginal_variance: TensorLike,
        correlation: TensorLike,
        kernel: psd_kernels.PositiveSemidefiniteKernel,
        constant_share: TensorLike = 0.0,
        num_steps: TensorLike | None = None,
        poses: TensorLike | None = None,
        observations: TensorLike | None = None,
        observed_poses: TensorLike | None = None,
        observations_is_missing: TensorLike | None = None,
        jitter: float | None = None,
        independent_targets: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Constructs the process from the arguments of `PoseGaussianProcess` and the degrees of freedom.

        `df` has shape `[B1, ..., Bb, D]` (or is broadcastable to it), and is above 2.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return {'df': parameter('df', dtype), **super()._parameter_properties(dtype)}

    @property
    def df(self) -> tf.Tensor:
        """Degrees of freedom of the prior; given n observations they are `df + n`."""
        return self._df


class FactorStudentTProcess(FactorProcess):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    #### Mathematical Details

    With the covariance Sigma of `FactorGaussianProcess`, all N = n D numbers of a subject are one multivariate
    Student-t with a single `df = nu`. A subject far from the mean is so in all its slices at once, and observations
    far from the mean widen the prediction of the others:

    ```none
    log p(z) = lgamma((nu + N) / 2) - lgamma(nu / 2) - N/2 log(pi (nu - 2))
               - 1/2 log|Sigma| - (nu + N)/2 log(1 + beta / (nu - 2)),   beta = (z - loc)^T Sigma^-1 (z - loc)
    ```

    Given N observed ones, `nu' = nu + N`, the mean is the Gaussian's and the covariance is the Gaussian's times
    `(nu + beta - 2) / (nu + N - 2)`. Without loadings and with D = 1 this is `PoseStudentTProcess`; for D > 1
    `PoseStudentTProcess` has one radius per dimension, and this process a common one.
    """

    def __init__(
        self,
        df: TensorLike,
        loc: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        loadings: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        residual_variance: TensorLike,
        correlation: TensorLike,
        kernel: psd_kernels.PositiveSemidefiniteKernel,
        constant_share: TensorLike = 0.0,
        num_steps: TensorLike | None = None,
        poses: TensorLike | None = None,
        observations: TensorLike | None = None,
        observed_poses: TensorLike | None = None,
        observations_is_missing: TensorLike | None = None,
        jitter: float | None = None,
        independent_targets: bool = False,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str | None = None,
    ) -> None:
        """Constructs the process from the arguments of `FactorGaussianProcess` and the degrees of freedom.

        `df` has shape `[B1, ..., Bb]`, one for all numbers of a subject, and is above 2.
        """
        self._set_up(dict(locals()))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return {'df': parameter('df', dtype, per_sequence, event_ndims=0), **super()._parameter_properties(dtype)}

    @property
    def df(self) -> tf.Tensor:
        """Degrees of freedom of the prior; given n observations they are `df + n D`."""
        return self._df
