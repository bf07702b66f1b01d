"""The Student-t process over poses: neighbouring slices resemble each other more than distant ones."""

import tensorflow as tf

from tfp_bruno.distributions.composite import composite
from tfp_bruno.distributions.parameters import constrained_parameter
from tfp_bruno.distributions.pose_process import PoseProcess

__all__ = ['PoseStudentTProcess']


@composite
class PoseStudentTProcess(PoseProcess):
    """Vectors at poses, each dimension a Student-t process whose correlation depends on the poses.

    One event has shape `[num_steps, D]`; the poses of its steps are bound to the process, or given as
    `conditional_input` to every method. The D dimensions are independent of each other. Permuting the (vector, pose)
    pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    For one dimension with mean `loc`, variance `v`, correlation `rho`, `df = nu` and `share = alpha`, n vectors at
    poses `v_1 ... v_n` are multivariate Student-t with

    ```none
    covariance K_ij = v rho S_ij + v (1 - rho) delta_ij,   S_ij = alpha + (1 - alpha) k(v_i, v_j)
    beta = (z - loc)^T K^-1 (z - loc)
    log p(z_1..z_n) = lgamma((nu + n) / 2) - lgamma(nu / 2) - n/2 log(pi (nu - 2))
                      - 1/2 log|K| - (nu + n)/2 log(1 + beta / (nu - 2))
    ```

    K is the covariance; the scale matrix is `(nu - 2) / nu K`. With alpha = 1 this is `ExchangeableStudentTProcess`.
    Given n observations with Gram matrix K and cross-covariance C, further vectors are Student-t with

    ```none
    nu' = nu + n,   loc' = loc + C K^-1 (z - loc),   covariance' = (nu + beta - 2) / (nu + n - 2) (K' - C K^-1 C^T)
    ```

    One eigendecomposition of S serves all dimensions of a group, so density and conditioning cost `O(n^2 D + n^3)`.
    First derivatives are exact; second derivatives with respect to kernel, share and poses are not.

    #### Examples

    ```python
    kernel = tfp.math.psd_kernels.MaternOneHalf(length_scale=8.)
    process = tfp_bruno.distributions.PoseStudentTProcess(
        df=5., loc=tf.zeros(3), variance=tf.ones(3), correlation=0.9 * tf.ones(3), kernel=kernel, poses=poses)  # [9, P]
    z = process.sample(seed=(1, 2))                                               # [9, 3]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])                   # again such a process
    rest.log_prob(z[4:])                                                          # []
    rest.mean(conditional_input=other_poses)                                      # at other poses
    ```

    #### References

    [1]: Amar Shah, Andrew Gordon Wilson, Zoubin Ghahramani. Student-t processes as alternatives to Gaussian processes.
    AISTATS 2014. [2]: Iryna Korshunova et al. BRUNO: a deep recurrent model for exchangeable data. NeurIPS 2018.
    """

    def __init__(
        self,
        df,
        loc,
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
        name='PoseStudentTProcess',
    ):
        """Constructs the process.

        Args:
            df: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it) above 2: degrees of
                freedom.
            loc: Floating-point `Tensor` of shape `[B1, ..., Bb, D]` (or broadcastable to it): mean of every vector; or
                a callable that maps poses `[..., n, P]` to `[..., n, D]`, for example a `PoseTable`.
            variance: Positive `Tensor` of shape `[B1, ..., Bb, D]`: marginal variance.
            correlation: `Tensor` of shape `[B1, ..., Bb, D]` in `[0, 1)`: correlation between two vectors at the same
                pose.
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
            name: Python `str`. Default value: `'PoseStudentTProcess'`.

        Raises:
            ValueError: if shapes do not fit each other, or the number of steps is not known.
        """
        parameters = dict(locals())
        tensors = {
            'df': df,
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
        own = {name: constrained_parameter(name, dtype) for name in ('df', 'loc', 'variance', 'correlation')}
        return {**own, **cls._pose_parameter_properties(dtype)}

    @property
    def df(self):
        """Degrees of freedom of the prior; given n observations they are `df + n`."""
        return self._df_parameter
