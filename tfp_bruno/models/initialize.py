"""Starts a model from the moments of its training data, so that training begins where a linear model ends."""

import numpy as np

from tfp_bruno.distributions.factor_process import FactorProcess
from tfp_bruno.distributions.fitting import fit_exponential, fit_factor_moments, thinning
from tfp_bruno.distributions.pose_process import PoseProcess

__all__ = ['initialize_model']

_ROTATED_AT_ONCE = 1000


def initialize_model(model, images, poses, pixel_share=0.5, smoothing=1e-2):
    """Sets the flow's affine map and the process' parameters from training data, before any training.

    The mean image of each slice goes into the flow. For a factor process, the principal components of whole volumes
    become its loadings (as in probabilistic principal component analysis), and what they leave of left-out subjects its
    residual. For the others, moments of latent vectors become variance and correlation.

    Args:
        model: A `ConditionalBruno` from `build_model`.
        images: float32 array `[S, K, H, W, C]` in (0, 1), S >= 3, K >= 3.
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
    if isinstance(model.distribution, FactorProcess):
        _initialize_factors(model, logits)
    else:
        _initialize_dimensions(model, logits)


def _to_logits(images, alpha):
    """Returns what `ImageLogit` makes of images, many times faster, for whole populations are large."""
    logits = images * np.float32(1.0 - alpha)
    logits += np.float32(0.5 * alpha)
    for subject in logits:
        np.log(subject / (1.0 - subject), out=subject)
    return logits


def _latents(model, vectors, image_shape):
    """Returns the latent vectors of flattened standardised logits `[..., D]`: a linear, orthogonal map."""
    flat = vectors.reshape(-1, *image_shape)
    parts = np.array_split(flat, -(-len(flat) // _ROTATED_AT_ONCE))
    return np.concatenate([model.bijector.rotate(part).numpy() for part in parts]).reshape(vectors.shape)


def _initialize_factors(model, logits):
    process, image_shape = model.distribution, logits.shape[2:]
    moments = fit_factor_moments(
        logits.reshape(*logits.shape[:2], -1),
        process.loadings.shape[-1],
        lambda vectors: _latents(model, vectors, image_shape),
    )
    _assign(process, moments, ('loadings', 'variance', 'correlation', 'df'))
    process.kernel.kernel.length_scale.assign(moments.length)


def _assign(process, values, names):
    parameters = process.parameters
    for name in names:
        if name in parameters:
            parameters[name].assign(getattr(values, name))


def _initialize_dimensions(model, logits):
    """Sets variance and correlation of every latent dimension."""
    step = thinning(logits.shape[1])
    thinned = logits[:, ::step]
    latents = _latents(model, thinned.reshape(*thinned.shape[:2], -1), logits.shape[2:])
    steps = latents.shape[1]
    variance = np.maximum(np.mean(latents**2, axis=(0, 1)), 1e-4)
    process = model.distribution
    process.parameters['variance'].assign(variance.astype(np.float32))
    if isinstance(process, PoseProcess):
        _, length = fit_exponential(latents, step)
        process.kernel.kernel.length_scale.assign(length)
        # Neighbours' products, as the kernel and the constant share have it.
        share = np.asarray(process.constant_share)
        products = np.mean(latents[:, 1:] * latents[:, :-1], axis=(0, 1)) / (
            share + (1 - share) * np.exp(-step / length)
        )
    else:
        # The mean product of two different slices of a subject.
        products = np.mean(latents.sum(1) ** 2 - (latents**2).sum(1), axis=0) / (steps * (steps - 1))
    if hasattr(process.correlation, 'assign'):
        process.correlation.assign(np.clip(products / variance, 0.02, 0.95).astype(np.float32))
