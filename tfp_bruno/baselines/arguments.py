"""Checks of what every baseline is given."""

import numpy as np


def check_training_images(train_images):
    """Checks the training population of a baseline.

    Args:
        train_images: `[S, K, H, W]`, intensities in [0, 1], at least one subject.

    Returns:
        The images as an array, not copied where they are one.

    Raises:
        ValueError: The shape is another or there is no subject.
    """
    train_images = np.asarray(train_images)
    if train_images.ndim != 4 or not train_images.size:
        raise ValueError(f'train_images must be [S, K, H, W] with at least one subject, not {train_images.shape}')
    return train_images


def check_query(context_images, context_slices, query_slices, stack_shape):
    """Checks the arguments of `predict` against the shape of the training stacks.

    Args:
        context_images: `[S, n, H, W]`, the slices that are known; n may be 0.
        context_slices: `[n]`, their slice numbers, from 0, each once, in any order.
        query_slices: `[Q]`, slice numbers to predict, from 0.
        stack_shape: `(K, H, W)` of the training stacks.

    Returns:
        The three as arrays, the slice numbers as integers.

    Raises:
        ValueError: The shapes do not belong together, a slice number is outside the stack or a context is given twice.
    """
    context_images = np.asarray(context_images)
    context_slices = np.asarray(context_slices, dtype=int).reshape(-1)
    query_slices = np.asarray(query_slices, dtype=int).reshape(-1)
    num_slices, *image_shape = stack_shape
    if context_images.ndim != 4 or context_images.shape[1:] != (len(context_slices), *image_shape):
        raise ValueError(
            f'context_images must be [S, {len(context_slices)}, {image_shape[0]}, {image_shape[1]}] as context_slices '
            f'and the training images say, not {context_images.shape}'
        )
    for slices in (context_slices, query_slices):
        if np.any((slices < 0) | (slices >= num_slices)):
            raise ValueError(f'slice numbers must lie in 0 to {num_slices - 1}, not {slices.tolist()}')
    if len(np.unique(context_slices)) != len(context_slices):
        raise ValueError(f'each context slice may be given once, not {context_slices.tolist()}')
    return context_images, context_slices, query_slices
