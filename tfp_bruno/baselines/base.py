"""What the classical baselines share: the checks of their arguments, and `predict`."""

import abc

import numpy as np
from numpy.typing import ArrayLike


class Baseline(abc.ABC):
    """Predicts slices of a stack from other slices of it, see `tfp_bruno.contracts.Predictor`.

    A subclass defines `_predict`, whose arguments are checked arrays.

    Attributes:
        stack_shape: `(K, H, W)` of the training stacks.
    """

    def __init__(self, stack_shape: tuple[int, ...]) -> None:
        self.stack_shape = stack_shape

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Predicts slices of each of S subjects.

        Args:
            context_images: `[S, n, H, W]`, intensities in [0, 1]; n may be 0.
            context_slices: `[n]`, slice numbers of the contexts, from 0, each once, in any order.
            query_slices: `[Q]`, slice numbers to predict, from 0.

        Returns:
            float32 `[S, Q, H, W]` in [0, 1].

        Raises:
            ValueError: If the shapes do not match, a slice number is outside the stack or a context is given twice.
        """
        query = check_query(context_images, context_slices, query_slices, self.stack_shape)
        return self._predict(*query).astype(np.float32, copy=False)

    @abc.abstractmethod
    def _predict(
        self, context_images: np.ndarray, context_slices: np.ndarray, query_slices: np.ndarray
    ) -> np.ndarray: ...


def check_training_images(train_images: ArrayLike) -> np.ndarray:
    """Checks the training population of a baseline.

    Args:
        train_images: `[S, K, H, W]`, intensities in [0, 1], at least one subject.

    Returns:
        The images as an array, not copied where they are one.

    Raises:
        ValueError: If the shape is wrong or there is no subject.
    """
    train_images = np.asarray(train_images)
    if train_images.ndim != 4 or not train_images.size:
        raise ValueError(f'`train_images`: must be [S, K, H, W] with at least one subject, not {train_images.shape}.')
    return train_images


def check_query(
    context_images: ArrayLike, context_slices: ArrayLike, query_slices: ArrayLike, stack_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checks the arguments of `Baseline.predict` against the shape `(K, H, W)` of the training stacks.

    Returns:
        The three as arrays, the slice numbers as integers.

    Raises:
        ValueError: If the shapes do not match, a slice number is outside the stack or a context is given twice.
    """
    context_images = np.asarray(context_images)
    contexts, queries = (np.asarray(slices, dtype=int).reshape(-1) for slices in (context_slices, query_slices))
    num_slices, height, width = stack_shape
    if context_images.ndim != 4 or context_images.shape[1:] != (len(contexts), height, width):
        raise ValueError(
            f'`context_images`: must be [S, {len(contexts)}, {height}, {width}] to match `context_slices` and the '
            f'training images, not {context_images.shape}.'
        )
    for name, slices in (('context_slices', contexts), ('query_slices', queries)):
        if np.any((slices < 0) | (slices >= num_slices)):
            raise ValueError(f'`{name}`: must be slice numbers from 0 to {num_slices - 1}, not {slices.tolist()}.')
    if len(np.unique(contexts)) != len(contexts):
        raise ValueError(f'`context_slices`: each slice may be given once, not {contexts.tolist()}.')
    return context_images, contexts, queries
