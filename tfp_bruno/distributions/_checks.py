"""Checks of shapes and dtypes of vectors and poses; the messages start with the name of the process."""

import tensorflow as tf

from tfp_bruno.distributions._shapes import can_broadcast


def check_vectors(name: str, value: tf.Tensor, size: int, dtype: tf.DType, batch_shape: tf.TensorShape) -> None:
    """Raises a `ValueError` unless vectors have shape `[..., n, D]`, the dtype, and a batch that broadcasts."""
    if value.shape.rank is not None and (value.shape.rank < 2 or not value.shape[-1:].is_compatible_with([size])):
        raise ValueError(f'{name}: vectors must have shape [..., n, {size}], got {value.shape}.')
    if value.dtype != dtype:
        raise ValueError(
            f'{name}: the vectors (argument `value` or `observations`) are {value.dtype.name}, but the process is '
            f'{dtype.name}; cast them.'
        )
    if not can_broadcast(value.shape[:-2], batch_shape):
        raise ValueError(f'{name}: the batch shape {batch_shape} and vectors {value.shape} do not broadcast.')


def check_is_missing(name: str, is_missing: tf.Tensor, value: tf.Tensor) -> None:
    """Raises a `ValueError` unless `is_missing` has shape `[..., n]` for vectors `[..., n, D]`."""
    one_each = is_missing.shape[-1:].is_compatible_with(value.shape[-2:-1])
    if not (one_each and can_broadcast(is_missing.shape, value.shape[:-1])):
        raise ValueError(
            f'{name}: `is_missing` must have shape [..., n], got {is_missing.shape} for vectors of {value.shape}.'
        )


def check_poses(name: str, poses: tf.Tensor, size: int | None) -> None:
    """Raises a `ValueError` unless poses have shape `[..., n, P]`; P is `size`, where it is known."""
    if poses.shape.rank is not None and (poses.shape.rank < 2 or not poses.shape[-1:].is_compatible_with([size])):
        raise ValueError(f'{name}: poses must have shape [..., n, {"P" if size is None else size}], got {poses.shape}.')


def check_one_pose_each(name: str, poses: tf.Tensor, value: tf.Tensor) -> None:
    """Raises a `ValueError` unless there is one pose per vector."""
    one_each = value.shape[-2:-1].is_compatible_with(poses.shape[-2:-1])
    if not (one_each and can_broadcast(value.shape[:-2], poses.shape[:-2])):
        raise ValueError(
            f'{name}: there must be one pose per vector, got poses {poses.shape} and vectors {value.shape}.'
        )


def check_sampled_poses(name: str, poses: tf.Tensor, batch_shape: tf.TensorShape, event_shape: tf.TensorShape) -> None:
    """Raises a `ValueError` unless samples at poses have the batch and event shape of the process."""
    if not poses.shape[-2:-1].is_compatible_with(event_shape[:1]):
        raise ValueError(
            f'{name}: the event shape is {event_shape}, but there are poses {poses.shape}; for others use '
            '`at(poses).sample(...)`.'
        )
    if not can_broadcast(batch_shape, poses.shape[:-2]) or (
        tf.broadcast_static_shape(batch_shape, poses.shape[:-2]) != batch_shape
    ):
        raise ValueError(
            f'{name}: cannot draw samples of batch shape {batch_shape} at poses {poses.shape}; bind the poses first: '
            '`at(poses).sample(...)`.'
        )
