"""Starts a model from the moments of its training data, so that training begins where a linear model ends."""

import numpy as np

from tfp_bruno.distributions import FactorGaussianProcess

__all__ = ['initialize_model']

# Every so many subjects are left out to measure what the components leave of a subject that they have not seen, on
# every so many slices.
_LEFT_OUT = 5
_THINNING = 4
_ROTATED_AT_ONCE = 1000


def initialize_model(model, images, poses, pixel_share=0.5, smoothing=1e-2):
    """Sets the flow's affine map and the process' parameters from training data, before any training.

    The mean image of each slice goes into the flow. For a `FactorGaussianProcess`, the principal components of whole
    volumes become its loadings (as in probabilistic principal component analysis), and what they leave of left-out
    subjects its residual scale. For an `ExchangeableStudentTProcess`, moments of latent vectors become its variance
    and correlation.

    Args:
        model: A `ConditionalBruno` from `build_model`.
        images: float32 array `[S, K, H, W, C]` in (0, 1), S >= 2, K >= 3.
        poses: float32 array `[K, P]`.
        pixel_share: `float` in [0, 1]: 1 scales every pixel by its own standard deviation, 0 all pixels alike; in
            between, a geometric mean of both.
        smoothing: `float`, variance in logit space that is added, so that constant background keeps a scale.
    """
    flow = model.bijector
    logits = _to_logits(images, flow.settings.alpha)
    mean = logits.mean(0)
    logits -= mean
    scale = np.sqrt(np.einsum('s...,s...->...', logits, logits) / len(logits) + smoothing)
    scale = scale**pixel_share * np.sqrt(np.mean(scale**2)) ** (1.0 - pixel_share)
    logits /= scale
    flow.initialize(mean, scale, poses)
    if isinstance(model.distribution, FactorGaussianProcess):
        _initialize_factors(model, logits)
    else:
        _initialize_exchangeable(model, logits)


def _to_logits(images, alpha):
    """Returns what `ImageLogit` makes of images, many times faster, for whole populations are large."""
    logits = images * np.float32(1.0 - alpha)
    logits += np.float32(0.5 * alpha)
    for subject in logits:
        np.log(subject / (1.0 - subject), out=subject)
    return logits


def _latents(model, standardised):
    """Returns latent vectors `[N, D]` of standardised logits `[N, H, W, C]`: a linear, orthogonal map."""
    parts = np.array_split(standardised, -(-len(standardised) // _ROTATED_AT_ONCE))
    return np.concatenate([model.bijector.rotate(part).numpy() for part in parts])


def _thinning(num_slices):
    """Returns the distance between the slices that are looked at; three are left of the shortest stack."""
    return max(1, min(_THINNING, (num_slices - 1) // 2))


def _initialize_exchangeable(model, logits):
    thinned = logits[:, :: _thinning(logits.shape[1])]
    latents = _latents(model, thinned.reshape(-1, *logits.shape[2:])).reshape(*thinned.shape[:2], -1)
    steps = latents.shape[1]
    variance = np.maximum(np.mean(latents**2, axis=(0, 1)), 1e-4)
    # The mean product of two different slices of a subject.
    products = (latents.sum(1) ** 2 - (latents**2).sum(1)) / (steps * (steps - 1))
    process = model.distribution
    process.parameters['variance'].assign(variance)
    process.correlation.assign(np.clip(products.mean(0) / variance, 0.02, 0.95))


def _initialize_factors(model, logits):
    process = model.distribution
    slices, size, count = process.loadings.shape
    image_shape = logits.shape[2:]
    flat = logits.reshape(len(logits), -1)
    left_out = np.arange(len(logits)) % _LEFT_OUT == 0
    step = _thinning(slices)
    thinned = logits[:, ::step].reshape(len(logits), -1)
    axes, _ = principal_axes(thinned[~left_out], count)
    residual = thinned[left_out] - (thinned[left_out] @ axes.T) @ axes
    share, length = fit_exponential(residual.reshape(int(left_out.sum()), -1, size), step)
    process.smooth_share.assign(share)
    process.kernel.kernel.length_scale.assign(length)
    residual = _latents(model, residual.reshape(-1, *image_shape))
    process.scale.assign(np.maximum(np.sqrt(np.mean(residual**2, axis=0)), 1e-2))
    axes, deviations = principal_axes(flat, count)
    loadings = np.zeros([slices, size, count], np.float32)
    rotated = _latents(model, (axes * deviations[:, None]).reshape(-1, *image_shape))
    loadings[..., : len(axes)] = np.moveaxis(rotated.reshape(len(axes), slices, size), 0, -1)
    process.loadings.assign(loadings)


def principal_axes(samples, count):
    """Returns the principal components of samples whose mean is zero.

    Args:
        samples: float32 array `[S, N]`, S much smaller than N.
        count: Integer; at most S - 1 components are returned.

    Returns:
        axes: float32 array `[min(count, S - 1), N]`, orthonormal rows, the largest first.
        deviations: float32 array `[min(count, S - 1)]`, standard deviations along them.
    """
    count = min(count, len(samples) - 1)
    values, vectors = np.linalg.eigh((samples @ samples.T).astype(np.float64) / len(samples))
    values, vectors = np.maximum(values[::-1][:count], 1e-12), vectors[:, ::-1][:, :count]
    axes = (vectors / np.sqrt(values * len(samples))).T.astype(np.float32) @ samples
    return axes, np.sqrt(values).astype(np.float32)


def fit_exponential(residual, step):
    """Fits `share * exp(-distance / length)` to the correlation between slices at two distances.

    Args:
        residual: float32 array `[S, n, D]`, n >= 3: slices that lie `step` apart.
        step: Distance between neighbouring slices.

    Returns:
        share: `float` in [0.05, 0.97].
        length: `float` in [step / 4, 10 step].
    """
    power = np.mean(residual**2)
    near = np.mean(residual[:, 1:] * residual[:, :-1]) / power
    far = np.mean(residual[:, 2:] * residual[:, :-2]) / power
    decay = np.clip(far / max(near, 1e-6), np.exp(-4.0), np.exp(-0.1))
    return float(np.clip(near / decay, 0.05, 0.97)), float(-step / np.log(decay))
