"""Random augmentation of a subject's volume, drawn anew for every sequence of slices."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfp_bruno.runs import AugmentationSettings

_FEATURES = 24


def augment_slices(
    volume: tf.Tensor, slices: tf.Tensor, spacing: Sequence[float], settings: AugmentationSettings, seed: tf.Tensor
) -> tf.Tensor:
    """Draws slices of a randomly augmented copy of a volume.

    The displacement is a Gaussian process over space with a squared-exponential covariance, in its random-feature
    form (Rahimi and Recht, 2007). Its cosines factor over the three axes, so all points of the slices cost one matrix
    product.

    Args:
        volume: float32 `[K, H, W]` in [0, 1].
        slices: int32 `[M]`, the slices to draw.
        spacing: Distance between neighbouring voxels along (K, H, W), mm.
        settings: Strengths of the changes.
        seed: int32 `[2]`, a stateless seed.

    Returns:
        float32 `[M, H, W]` in [0, 1]. All slices of one call show the same augmented subject.
    """
    shape = volume.shape.as_list()
    seeds = tf.unstack(tf.random.split(seed, 6))
    centres = [(size - 1) / 2 for size in shape]
    rows = [tf.cast(slices, tf.float32), tf.range(shape[1], dtype=tf.float32), tf.range(shape[2], dtype=tf.float32)]
    axes = [(row - centre) * step for row, centre, step in zip(rows, centres, spacing, strict=True)]
    fields = _smooth_fields(axes, settings.length, seeds[0])
    grid = tf.stack(tf.meshgrid(*axes, indexing='ij'), axis=-1)
    linear = tf.eye(3) * (1.0 + settings.scaling * tf.random.stateless_normal([], seeds[1]))
    linear += settings.shear * tf.random.stateless_normal([3, 3], seeds[2])
    shift = settings.shift * tf.random.stateless_normal([3], seeds[3])
    points = tf.einsum('mhwc,dc->mhwd', grid, linear) + shift + settings.displacement * fields[..., :3]
    augmented = _interpolate(volume, points / tf.constant(spacing, tf.float32) + tf.constant(centres, tf.float32))
    exponent = tf.exp(settings.contrast * tf.random.stateless_normal([], seeds[4]))
    augmented = tf.pow(augmented, exponent) * tf.exp(settings.bias * fields[..., 3])
    return tf.clip_by_value(augmented, 0.0, 1.0)


def _smooth_fields(axes: Sequence[tf.Tensor], length: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns four independent smooth fields of unit variance on the grid of the axes, `[M, H, W, 4]`."""
    frequency_seed, phase_seed, weight_seed = tf.unstack(tf.random.split(seed, 3))
    frequencies = tf.unstack(tf.random.stateless_normal([3, _FEATURES], frequency_seed) / length)
    phases = tf.random.stateless_uniform([_FEATURES], phase_seed, maxval=2.0 * math.pi)
    weights = tf.random.stateless_normal([_FEATURES, 4], weight_seed) * math.sqrt(2.0 / _FEATURES)
    along = [_unit_phase(axis[:, None] * frequency) for axis, frequency in zip(axes, frequencies, strict=True)]
    planes = along[0][:, None] * along[1][None] * _unit_phase(phases)
    columns = along[2][:, :, None] * tf.cast(weights, tf.complex64)[None]
    size = [axis.shape[0] for axis in axes]
    # Re(a b) = Re a Re b - Im a Im b: two real products are faster than one complex one.
    left = tf.reshape(tf.concat([tf.math.real(planes), -tf.math.imag(planes)], -1), [-1, 2 * _FEATURES])
    right = tf.concat([tf.math.real(columns), tf.math.imag(columns)], 1)
    right = tf.reshape(tf.transpose(right, [1, 0, 2]), [2 * _FEATURES, -1])
    return tf.reshape(left @ right, [size[0], size[1], size[2], 4])


def _unit_phase(angle: tf.Tensor) -> tf.Tensor:
    return tf.complex(tf.cos(angle), tf.sin(angle))


def _interpolate(volume: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Interpolates linearly at points `[M, H, W, 3]` in voxels; outside, the nearest slice and the background 0."""
    depth, height, width = volume.shape.as_list()
    # A border of background within the slices; beyond the first and last slice the anatomy is unknown.
    padded = tf.reshape(tf.pad(volume, [[0, 0], [1, 1], [1, 1]]), [-1])
    limits = tf.constant([depth - 1.001, height + 0.999, width + 0.999], tf.float32)
    points = tf.clip_by_value(points + tf.constant([0.0, 1.0, 1.0]), 0.0, limits)
    floor = tf.floor(points)
    fraction = points - floor
    corner = tf.cast(floor, tf.int32)
    strides = (height + 2) * (width + 2), width + 2, 1
    base = sum(corner[..., axis] * stride for axis, stride in enumerate(strides))
    total = 0.0
    for k in (0, 1):
        for h in (0, 1):
            for w in (0, 1):
                offset = k * strides[0] + h * strides[1] + w
                weight = tf.ones([])
                for axis, upper in enumerate((k, h, w)):
                    weight *= fraction[..., axis] if upper else 1.0 - fraction[..., axis]
                total += weight * tf.gather(padded, base + offset)
    return total
