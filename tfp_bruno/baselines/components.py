"""Principal components of whole volumes, their conditional Gaussian given some slices, and kriging over slices."""

import dataclasses

import numpy as np
from sklearn.decomposition import PCA

_MOST_COMPONENTS = 240
_RESIDUAL_NOISE = 0.02


@dataclasses.dataclass(frozen=True)
class Components:
    """A mean volume and the principal components of the deviations from it.

    Attributes:
        mean: `[K, H, W]`.
        loadings: `[q, K, H, W]`, principal components times their standard deviations, the largest first.
    """

    mean: np.ndarray
    loadings: np.ndarray

    @classmethod
    def fit(cls, images: np.ndarray) -> 'Components':
        """Returns the components of volumes `[S, K, H, W]`: S - 1 of them, at most 240."""
        count = min(_MOST_COMPONENTS, len(images) - 1)
        if not count:
            return cls(images[0], np.zeros((0, *images.shape[1:]), np.float32))
        pca = PCA(n_components=count, svd_solver='full').fit(images.reshape(len(images), -1))
        loadings = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]
        shape = images.shape[1:]
        return cls(pca.mean_.reshape(shape).astype(np.float32), loadings.reshape(count, *shape).astype(np.float32))

    def scores(self, errors: np.ndarray, context_slices: np.ndarray, rank: int, noise: float) -> np.ndarray:
        """Returns the conditional mean `[S, rank]` of the component scores, given context slices.

        Args:
            errors: `[S, n, H, W]`, context slices less their mean.
            context_slices: `[n]`.
            rank: Number of components.
            noise: Standard deviation of a pixel's residual.
        """
        errors = errors.reshape(len(errors), -1)
        seen = self.loadings[:rank, context_slices].reshape(rank, errors.shape[1]).astype(np.float64)
        precision = seen @ seen.T + noise**2 * np.eye(rank)
        return np.linalg.solve(precision, seen @ errors.T).T

    def combine(self, scores: np.ndarray, slices: np.ndarray) -> np.ndarray:
        """Returns the components at slices `[Q]`, weighted by component scores `[S, rank]`: `[S, Q, H, W]`."""
        return np.tensordot(scores.astype(np.float32), self.loadings[: scores.shape[1], slices], 1)

    def predict(
        self,
        scores: np.ndarray,
        errors: np.ndarray,
        context_slices: np.ndarray,
        query_slices: np.ndarray,
        length: float | None,
    ) -> np.ndarray:
        """Predicts deviations from the mean, linear in component scores and context images together.

        Args:
            scores: `[S, rank]`, component scores.
            errors: `[S, n, H, W]`, context slices less their mean.
            context_slices: `[n]`.
            query_slices: `[Q]`.
            length: Length scale over which the residual of the contexts is kriged; None to leave it out.

        Returns:
            `[S, Q, H, W]`.
        """
        predicted = self.combine(scores, query_slices)
        if length is None:
            return predicted
        residual = errors - self.combine(scores, context_slices)
        weights = kriging_weights(context_slices, query_slices, length)
        kriged = np.tensordot(residual.astype(np.float32), weights.astype(np.float32), ([1], [1]))
        return predicted + np.moveaxis(kriged, -1, 1)


def kriging_weights(context_slices: np.ndarray, query_slices: np.ndarray, length: float) -> np.ndarray:
    """Returns the weight of every context slice in every query slice, for a mean of zero.

    Args:
        context_slices: `[n]`, n at least 1.
        query_slices: `[Q]`.
        length: Length scale of the exponential covariance, in slices.

    Returns:
        `[Q, n]`.
    """
    among = _covariance(context_slices, context_slices, length) + _RESIDUAL_NOISE * np.eye(len(context_slices))
    return np.linalg.solve(among, _covariance(context_slices, query_slices, length)).T


def _covariance(first: np.ndarray, second: np.ndarray, length: float) -> np.ndarray:
    return np.exp(-np.abs(np.subtract.outer(first, second)) / length)
