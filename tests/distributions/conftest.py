"""The six processes with small parameters, and their dense reference in NumPy and SciPy, float64."""

import dataclasses

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_bruno import distributions

NUM_POSES, DIMENSION, NUM_FACTORS = 6, 4, 2
PROCESSES = tuple(name for name in distributions.__all__ if name.endswith('Process'))
# The Gaussian processes run the same code as the Student-t ones, without a radius. `test_dense_reference.py` has all.
PARAMS = [pytest.param(name, marks=[pytest.mark.slow] if 'Gaussian' in name else []) for name in PROCESSES]


def log_density(z, loc, covariance, df=None):
    """Log-density of one vector under a Gaussian (`df` None) or Student-t of that covariance."""
    n = len(z)
    _, log_det = np.linalg.slogdet(covariance)
    beta = (z - loc) @ np.linalg.solve(covariance, z - loc)
    if df is None:
        return -0.5 * (n * np.log(2 * np.pi) + log_det + beta)
    return (
        scipy.special.gammaln((df + n) / 2)
        - scipy.special.gammaln(df / 2)
        - 0.5 * (n * np.log(np.pi * (df - 2)) + log_det)
        - 0.5 * (df + n) * np.log1p(beta / (df - 2))
    )


def condition(z_seen, loc, covariance, df=None):
    """Returns (df, loc, covariance) of the remaining numbers given the first ones."""
    cut = len(z_seen)
    if not cut:
        return df, loc, covariance
    gain = np.linalg.solve(covariance[:cut, :cut], covariance[:cut, cut:]).T
    rest = covariance[cut:, cut:] - gain @ covariance[:cut, cut:]
    error = z_seen - loc[:cut]
    if df is not None:
        beta = error @ np.linalg.solve(covariance[:cut, :cut], error)
        rest, df = rest * (df + beta - 2) / (df + cut - 2), df + cut
    return df, loc[cut:] + gain @ error, rest


def entropy(covariance, df=None):
    """SciPy's differential entropy of numbers of that covariance."""
    if df is None:
        return float(scipy.stats.multivariate_normal(cov=covariance).entropy())
    if len(covariance) == 1:
        return float(scipy.stats.t(df, scale=np.sqrt((df - 2) / df * covariance[0, 0])).entropy())
    return float(scipy.stats.multivariate_t(shape=(df - 2) / df * covariance, df=df).entropy())


@dataclasses.dataclass(frozen=True)
class Law:
    """The joint distribution of `m` vectors `[D]`: blocks of dimensions that are independent of each other.

    Attributes:
        blocks: Tuples of (indices into the flattened `[m D]` numbers, df or None, loc, covariance).
        shape: (m, D).
    """

    blocks: tuple
    shape: tuple

    def log_prob(self, z):
        flat = np.ravel(z)
        return sum(log_density(flat[at], loc, covariance, df) for at, df, loc, covariance in self.blocks)

    def _each_step(self):
        """Yields (step, indices of its numbers into the flattened vectors, df, loc, covariance) of each block."""
        for step in range(self.shape[0]):
            for at, df, loc, covariance in self.blocks:
                own = np.flatnonzero(at // self.shape[1] == step)
                yield step, at[own], df, loc[own], covariance[np.ix_(own, own)]

    def marginal_log_prob(self, z):
        flat, total = np.ravel(z), np.zeros(self.shape[0])
        for step, at, df, loc, covariance in self._each_step():
            total[step] += log_density(flat[at], loc, covariance, df)
        return total

    def entropy(self):
        return sum(entropy(covariance, df) for _, df, _, covariance in self.blocks)

    def independent_entropy(self):
        return sum(entropy(covariance, df) for _, _, df, _, covariance in self._each_step())

    @property
    def mean(self):
        mean = np.zeros(np.prod(self.shape))
        for at, _, loc, _ in self.blocks:
            mean[at] = loc
        return mean.reshape(self.shape)

    @property
    def covariance(self):
        size = np.prod(self.shape)
        covariance = np.zeros((size, size))
        for at, _, _, block in self.blocks:
            covariance[np.ix_(at, at)] = block
        return covariance

    @property
    def variance(self):
        return np.diag(self.covariance).reshape(self.shape)


def make_kernel(length, dtype=np.float64):
    """`exp(-distance / length)` between the positions 0, 1, ... of one-hot poses; lengths `[G]` or scalar."""
    positions = tf.range(NUM_POSES, dtype=dtype)[:, tf.newaxis]
    length = length if tf.is_tensor(length) or hasattr(length, 'trainable_variables') else tf.constant(length, dtype)
    matern = tfp.math.psd_kernels.MaternOneHalf(length_scale=length)
    return tfp.math.psd_kernels.FeatureTransformed(matern, lambda poses, *_: poses @ positions)


@dataclasses.dataclass(frozen=True)
class Model:
    """One of the six processes and its numbers.

    Attributes:
        name: Of the class.
        parameters: NumPy arrays by argument name.
        length: Of the kernel, scalar or `[G]`.
    """

    name: str
    parameters: dict
    length: np.ndarray

    @property
    def process_class(self):
        return getattr(distributions, self.name)

    @property
    def is_student(self):
        return 'StudentT' in self.name

    @property
    def is_factor(self):
        return 'Factor' in self.name

    @property
    def is_exchangeable(self):
        return 'Exchangeable' in self.name

    @property
    def variance_name(self):
        return 'residual_variance' if self.is_factor else 'marginal_variance'

    @property
    def variance(self):
        return self.parameters[self.variance_name]

    def with_parameters(self, **changes):
        return dataclasses.replace(self, parameters={**self.parameters, **changes})

    def make(self, num_steps, dtype=np.float64, length=None, **changes):
        """The process; changes are arguments of its constructor, and `length` of its kernel."""
        arguments = {name: np.asarray(value, dtype) for name, value in self.parameters.items()}
        if not self.is_exchangeable and 'kernel' not in changes:
            arguments['kernel'] = make_kernel(self.length if length is None else length, dtype)
        return self.process_class(**{**arguments, 'num_steps': num_steps, **changes})

    def poses(self, slices, dtype=np.float64):
        """One-hot poses `[..., n, P]` of slices `[..., n]`."""
        return np.eye(NUM_POSES, dtype=dtype)[np.asarray(slices, int)]

    def at(self, slices, dtype=np.float64):
        """The poses of slices as the keyword argument of a method."""
        return {'conditional_input': self.poses(slices, dtype)}

    def posterior(self, process, z, slices, num_steps, **kwargs):
        poses = self.poses(slices, process.dtype.as_numpy_dtype)
        return process.posterior(z, poses, num_steps=num_steps, **kwargs)

    def update(self, process, z, at):
        return process.update(z, self.poses(at, process.dtype.as_numpy_dtype))

    def covariance(self, slices):
        """Covariance `[n D, n D]` of vectors at slices, flattened with the steps outermost."""
        n, dimension = len(slices), self.variance.shape[-1]
        correlation, share, length = (
            np.repeat(value, dimension // np.size(value))
            for value in (self.parameters['correlation'], self.parameters.get('constant_share', 1.0), self.length)
        )
        distance = np.abs(np.subtract.outer(slices, slices))
        covariance = np.zeros((n, dimension, n, dimension))
        for d, variance in enumerate(self.variance):
            similarity = share[d] + (1 - share[d]) * np.exp(-distance / length[d])
            covariance[:, d, :, d] = variance * (correlation[d] * similarity + (1 - correlation[d]) * np.eye(n))
        if self.is_factor:
            loadings = self.parameters['loadings'][np.asarray(slices, int)]
            covariance += np.einsum('idq,jeq->idje', loadings, loadings)
        return covariance.reshape(n * dimension, n * dimension)

    def law(self, wanted, z_seen=(), seen=()):
        """The dense `Law` of the vectors at slices `wanted` given some at slices `seen`."""
        dimension = self.variance.shape[-1]
        whole = self.covariance([*seen, *wanted])
        z_seen = np.reshape(z_seen, (-1, dimension))
        # The numbers of a block share a radius: those of one dimension, or of a factor process all.
        groups = [np.arange(dimension)] if self.is_factor else [np.array([d]) for d in range(dimension)]
        dfs = np.broadcast_to(self.parameters['df'] if self.is_student else None, len(groups))
        blocks = []
        for dims, df in zip(groups, dfs, strict=True):
            at = (np.arange(len(seen) + len(wanted))[:, np.newaxis] * dimension + dims).ravel()
            loc = np.tile(self.parameters['loc'][dims], len(seen) + len(wanted))
            conditioned = condition(z_seen[:, dims].ravel(), loc, whole[np.ix_(at, at)], df)
            at_wanted = (np.arange(len(wanted))[:, np.newaxis] * dimension + dims).ravel()
            blocks.append((at_wanted, *conditioned))
        return Law(tuple(blocks), (len(wanted), dimension))


def make_model(name, groups=1):
    rng = np.random.default_rng(0)
    variance = 'residual_variance' if 'Factor' in name else 'marginal_variance'
    parameters = {'loc': rng.normal(size=DIMENSION), variance: rng.uniform(0.5, 1.5, DIMENSION)}
    parameters['correlation'] = rng.uniform(0.2, 0.95, DIMENSION)
    length = np.float64(2.5) if groups == 1 else np.array([1.0, 4.0])
    if 'Exchangeable' not in name:
        parameters['constant_share'] = np.float64(0.3) if groups == 1 else np.array([0.2, 0.6])
    if 'StudentT' in name:
        parameters['df'] = np.array([4.5, 6.0, 8.0, 30.0])
    if 'Factor' in name:
        parameters['correlation'] = np.float64(0.8) if groups == 1 else np.array([0.5, 0.9])
        parameters['loadings'] = rng.normal(size=(NUM_POSES, DIMENSION, NUM_FACTORS))
        if 'df' in parameters:
            parameters['df'] = np.float64(7.0)
    return Model(name, parameters, length)


@pytest.fixture
def models():
    """A function from the name of a process and the number of groups of dimensions to its `Model`."""
    return make_model


@pytest.fixture(params=PARAMS)
def model(request):
    """The `Model` of each of the six processes; the test runs once per process."""
    return make_model(request.param)


@pytest.fixture(params=[name for name in PROCESSES if 'StudentT' in name])
def student_model(request):
    """The `Model` of each Student-t process, for slow tests."""
    return make_model(request.param)


@pytest.fixture(params=[param for param in PARAMS if 'Exchangeable' not in param.values[0]])
def pose_model(request):
    """The `Model` of each process over poses."""
    return make_model(request.param)


@pytest.fixture
def kernel():
    """A function from length (and dtype) to the kernel over one-hot poses."""
    return make_kernel


@pytest.fixture
def draw():
    """A function from a shape to the same random numbers every time."""
    return lambda *shape, seed=0: np.random.default_rng(seed).normal(size=shape) * 1.5 + 0.5
