"""A Gaussian process over poses with factors of the subject: what ties the slices of one volume together."""

import tensorflow as tf
from tensorflow_probability.python.internal import parameter_properties

from tfp_bruno.distributions.composite import composite
from tfp_bruno.distributions.factor_process import FactorProcess
from tfp_bruno.distributions.parameters import constrained_parameter

__all__ = ['FactorGaussianProcess']


@composite
class FactorGaussianProcess(FactorProcess):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    One event has shape `[num_steps, D]`; the poses of its steps are bound to the process, or given as
    `conditional_input` to every method. Permuting the (vector, pose) pairs leaves the density unchanged, and any
    subset of the pairs has the density of the same process.

    #### Mathematical Details

    ```none
    z_i = loc(v_i) + L(v_i) h + r_i,   h of covariance I_q, uncorrelated with r
    cov(r_id, r_je) = delta_de variance_d R_ij,   R_ij = rho S_ij + (1 - rho) delta_ij
    S_ij = alpha + (1 - alpha) k(v_i, v_j)
    ```

    where L is a table over one-hot poses or any callable of poses, k is a kernel, rho = `correlation` and alpha =
    `constant_share`. With A = R^-1, E = (z - loc) / sd and M = L / sd, where sd is the root of `variance`,

    ```none
    P = I_q + sum_ij A_ij M_i^T M_j,   u = sum_ij A_ij M_i^T E_j
    log|Sigma| = D log|R| + n sum_d log(variance_d) + log|P|,   beta = sum_ij A_ij E_i . E_j - u^T P^-1 u
    ```

    by the matrix inversion lemma: `O(n D q (n + q))`, with one n x n and one q x q factorisation, memory `O(n D q)`.

    Given observations, `h ~ N(P^-1 u, P^-1)`, and the residual at other poses is kriged from the residual seen. Without
    loadings this is `PoseGaussianProcess` with one correlation for a group of dimensions.

    #### Examples

    ```python
    process = tfp_bruno.distributions.FactorGaussianProcess(
        loc=0., loadings=loadings, variance=variance,                             # [P, D, q], [D]
        correlation=0.9, kernel=kernel, num_steps=9)
    z = process.sample(seed=(1, 2), conditional_input=poses)                      # [9, D] at poses [9, P]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])
    rest.mean()                                                                   # [5, D]
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2 and
    section A.3. MIT Press, 2006. [2]: Michael E. Tipping, Christopher M. Bishop. Probabilistic principal component
    analysis. JRSS B, 1999.
    """

    def __init__(
        self,
        loc,
        loadings,
        variance,
        correlation,
        kernel,
        constant_share=0.0,
        num_steps=None,
        poses=None,
        observations=None,
        observed_poses=None,
        observed_mask=None,
        independent_targets=False,
        validate_args=False,
        allow_nan_stats=True,
        name='FactorGaussianProcess',
    ):
        """Constructs the process.

        Args:
            loc: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it): mean of every vector; or
                a callable that maps poses `[..., n, P]` to `[..., n, D]`, for example a `PoseTable`.
            loadings: Floating-point `Tensor` of shape `[P, D, q]`, of which one-hot poses choose rows, or a callable
                that maps poses `[..., n, P]` of any kind to loadings `[..., n, D, q]`.
            variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: variance of the residual.
            correlation: `Tensor` in `[0, 1)`, scalar or of shape `[..., G]`: correlation of the residual between two
                vectors at the same pose.
            kernel: `tfp.math.psd_kernels.PositiveSemidefiniteKernel` over poses, with `k(v, v) = 1`; with batch shape
                `[G]`, one for each of G groups of D / G neighbouring dimensions.
            constant_share: `Tensor` in [0, 1], scalar or of shape `[..., G]`: share of the correlation that does not
                depend on the poses. Default value: `0.`.
            num_steps: Integer `Tensor`, the number of vectors of an event. Default value: `None`, that of `poses`.
            poses: `Tensor` of shape `[..., num_steps, P]`: where the vectors of an event lie. Default value: `None`,
                which leaves them to the argument `conditional_input` of every method.
            observations: `Tensor` of shape `[..., n, D]`: vectors that the process is conditioned on, see `posterior`.
                Default value: `None`.
            observed_poses: `Tensor` of shape `[..., n, P]`. Default value: `None`.
            observed_mask: `Tensor` of shape `[..., n]`, 1 where an observation counts and 0 elsewhere. Default value:
                `None`, all of them.
            independent_targets: Python `bool`: whether the steps of an event are drawn and scored each on its own,
                as in the official code of Conditional BRUNO; conditioning is not changed. Default value: `False`.
            validate_args: Python `bool`: whether parameters, kernel and observations are checked at run time. Default
                value: `False`.
            allow_nan_stats: Python `bool`. Default value: `True`.
            name: Python `str`. Default value: `'FactorGaussianProcess'`.

        Raises:
            ValueError: if shapes do not fit each other, or the number of steps is not known.
        """
        parameters = dict(locals())
        tensors = {
            'loc': loc,
            'variance': variance,
            'correlation': correlation,
            'constant_share': constant_share,
            'poses': poses,
            'observations': observations,
            'observed_poses': observed_poses,
            'observed_mask': observed_mask,
        }
        with tf.name_scope(name) as name:
            super().__init__(
                loadings,
                tensors,
                kernel,
                num_steps,
                parameters,
                independent_targets=independent_targets,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        own = {name: constrained_parameter(name, dtype) for name in ('loc', 'variance', 'correlation')}
        loadings = parameter_properties.ParameterProperties(event_ndims=3)
        return {**own, 'loadings': loadings, **cls._pose_parameter_properties(dtype)}
