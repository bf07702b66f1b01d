"""The Gaussian processes: exchangeable, over poses, and with factors."""

from tfp_bruno.distributions.exchangeable import ExchangeableProcess
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.distributions.pose import PoseProcess


class ExchangeableGaussianProcess(ExchangeableProcess):
    """A sequence of vectors whose order does not matter, each dimension Gaussian with constant correlation.

    The limit of `ExchangeableStudentTProcess` for many degrees of freedom, and what the official conditional models
    use. One event has shape `[num_steps, D]`; the D dimensions are independent of each other.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v` and correlation `rho`, n observations are multivariate
    Gaussian with covariance `K = a I + b 1 1^T`, where `a = v (1 - rho)` and `b = v rho`:

    ```none
    log p(z_1..z_n) = -1/2 (n log(2 pi) + (n - 1) log(a) + log(a + n b) + beta)
    beta   = sum_i (z_i - zbar)^2 / a + n (zbar - loc)^2 / (a + n b)
    ```

    where `zbar` is the mean of the observations. After n of them, any further ones follow a process of the same class
    with `loc' = loc + b / (a + n b) * n (zbar - loc)`, `a' = a`, `b' = a b / (a + n b)`.

    #### Examples

    ```python
    process = tfp_bruno.distributions.ExchangeableGaussianProcess(
        loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.5 * tf.ones(3), num_steps=4)
    z = process.sample(seed=(1, 2))                            # [4, 3]
    process.posterior(z, num_steps=2).mean()                   # [2, 3]
    ```

    #### References

    [1]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """


class PoseGaussianProcess(PoseProcess):
    """Vectors at poses, each dimension a Gaussian process whose correlation depends on the poses.

    One event has shape `[num_steps, D]`. The D dimensions are independent of each other. Permuting the (vector, pose)
    pairs leaves the density unchanged, and any subset of the pairs has the density of the same process.

    #### Mathematical Details

    For one dimension with mean `loc`, marginal variance `v`, correlation `rho` and `share = alpha`, n vectors at poses
    `v_1 ... v_n` are multivariate Gaussian with

    ```none
    covariance K_ij = v rho S_ij + v (1 - rho) delta_ij,   S_ij = alpha + (1 - alpha) k(v_i, v_j)
    ```

    With alpha = 1 this is `ExchangeableGaussianProcess`. Given observations with Gram matrix K and cross-covariance
    C, further vectors are Gaussian with `loc' = loc + C K^-1 (z - loc)` and `covariance' = K' - C K^-1 C^T`.

    One eigendecomposition of S serves all dimensions of a group, so density and conditioning cost `O(n^2 D + n^3)`.
    First derivatives are exact; second derivatives with respect to kernel, share and poses are not.

    #### Examples

    ```python
    kernel = tfp.math.psd_kernels.MaternOneHalf(length_scale=8.)
    process = tfp_bruno.distributions.PoseGaussianProcess(
        loc=tf.zeros(3), marginal_variance=tf.ones(3), correlation=0.9 * tf.ones(3), kernel=kernel, num_steps=9)
    subject = process.at(poses)                                                   # [9, P]
    z = subject.sample(seed=(1, 2))                                               # [9, 3]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])                   # again such a process
    rest.log_prob(z[4:])                                                          # []
    rest.mean(conditional_input=other_poses)                                      # at other poses
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2. MIT
    Press, 2006. [2]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """


class FactorGaussianProcess(FactorProcess):
    """Vectors at poses: a few factors of the subject, loaded by pose, plus a residual that is smooth over poses.

    One event has shape `[num_steps, D]`. Permuting the (vector, pose) pairs leaves the density unchanged, and any
    subset of the pairs has the density of the same process.

    #### Mathematical Details

    ```none
    z_i = loc(v_i) + L(v_i) h + r_i,   h of covariance I_q, uncorrelated with r
    cov(r_id, r_je) = delta_de variance_d R_ij,   R_ij = rho S_ij + (1 - rho) delta_ij
    S_ij = alpha + (1 - alpha) k(v_i, v_j)
    ```

    where L is a table over one-hot poses or any callable of poses, k is a kernel, variance = `residual_variance`, rho =
    `correlation` and alpha = `constant_share`. With A = R^-1, E = (z - loc) / sd and M = L / sd, where sd is the root
    of the residual's variance,

    ```none
    P = I_q + sum_ij A_ij M_i^T M_j,   u = sum_ij A_ij M_i^T E_j
    log|Sigma| = D log|R| + n sum_d log(variance_d) + log|P|,   beta = sum_ij A_ij E_i . E_j - u^T P^-1 u
    ```

    by the matrix inversion lemma: `O(n D q (n + q))`, with one n x n and one q x q factorisation, memory `O(n D q)`.

    Given observations, `h ~ N(P^-1 u, P^-1)`, and the residual at other poses is kriged from that at the observed
    ones. Without loadings this is `PoseGaussianProcess` with one correlation for a group of dimensions.

    #### Examples

    ```python
    process = tfp_bruno.distributions.FactorGaussianProcess(
        loc=0., loadings=loadings, residual_variance=variance,                    # [P, D, q], [D]
        correlation=0.9, kernel=kernel, num_steps=9)
    z = process.at(poses).sample(seed=(1, 2))                                     # [9, D] at poses [9, P]
    rest = process.posterior(z[:4], poses[:4], poses=poses[4:])
    rest.mean()                                                                   # [5, D]
    ```

    #### References

    [1]: Carl Edward Rasmussen, Christopher K. I. Williams. Gaussian processes for machine learning, chapter 2 and
    section A.3. MIT Press, 2006. [2]: Michael E. Tipping, Christopher M. Bishop. Probabilistic principal component
    analysis. JRSS B, 1999.
    """
