"""Starts a model from the moments of its training data, so that training begins where a linear model ends."""

import numpy as np
from pydantic.dataclasses import dataclass

from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.distributions.fitting import originals, thinning
from tfp_bruno.settings import STRICT, NonNegative, Positive, Share

__all__ = ['StartSettings', 'initialize_model']

_MAPPED_AT_ONCE = 1000
_STARTED_FROM = 256
_ENCODED_AT_MOST = 600


@dataclass(frozen=True, config=STRICT)
class StartSettings:
    """How the closed form is taken.

    Attributes:
        pixel_share: In [0, 1]: 1 scales every pixel by its own standard deviation, 0 all pixels alike; in between, a
            geometric mean of both.
        smoothing: Variance in logit space that is added, so that constant background keeps a scale.
        inflation: Factor of the variance that a factor process' residual starts with. Neighbouring pixels err
            together, so that they tell less of the factors than as many independent ones would.
    """

    pixel_share: Share = 0.5
    smoothing: NonNegative = 1e-2
    inflation: Positive = 1.0


def initialize_model(model, images, poses, settings=None, subjects=None, overwrite_images=False):
    """Sets what can be set in closed form from training data, before any training.

    Of a flow with an affine map, the mean image of each slice goes into that map, and the process is fitted in the
    space that the flow then opens: for a factor process, the principal components of whole volumes become its loadings
    (as in probabilistic principal component analysis), and what they leave of left-out subjects its residual; for the
    others, moments of latent vectors become variance and correlation. A flow without an affine map starts from a batch,
    and the process from moments of the latent vectors that it gives.

    Args:
        model: A `ConditionalBruno` from `build_model`.
        images: float32 or float16 array `[S, K, H, W, C]` in [0, 1], S >= 3, K >= 3.
        poses: float32 array `[K, P]`.
        settings: `StartSettings`. Default value: `None`, the defaults.
        subjects: Integers `[S]`, the subject that each stack is of, as for `fit_factor_moments`: the first of a subject
            is the subject as it is, the others are augmented copies. With an affine map the mean image is that of the
            subjects as they are, for copies would blur it. Default value: `None`, each its own.
        overwrite_images: Whether `images` may be lost, which saves the memory of a second array of that size. Default
            value: `False`.

    Raises:
        ValueError: if a factor process has no affine map to start with.
    """
    settings = settings or StartSettings()
    flow, step = model.bijector, thinning(images.shape[1])
    is_factor = isinstance(model.distribution, FactorProcess)
    if not flow.settings.pose_affine:
        if is_factor:
            raise ValueError('A factor process needs a flow with `pose_affine=True`, which starts in closed form.')
        flow.initialize_from_data(*_spread(images, poses))
        model.distribution.fit(_encoded(model, images[:, ::step], poses[::step]), step)
        return
    spread = _spread(images, poses)
    logits = images if overwrite_images else np.empty_like(images)
    mean, scale = _standardise(images, logits, flow.settings.alpha, settings, subjects)
    flow.initialize(mean, scale, poses)
    flow.initialize_from_data(*spread)
    # What the flow makes of the mean image.
    model.distribution.loc.assign(_centre(flow, images.shape[2:]))
    if is_factor:
        model.distribution.fit(
            logits.reshape(*logits.shape[:2], -1),
            lambda vectors: _linear_latents(flow, vectors, images.shape[2:]),
            subjects,
            settings.inflation,
        )
    else:
        thinned = logits[:, ::step].astype(np.float32)
        latents = _linear_latents(flow, thinned.reshape(*thinned.shape[:2], -1), images.shape[2:])
        model.distribution.fit(latents, step)


def _spread(images, poses):
    """Returns slices that are spread over subjects and positions, and their poses."""
    subjects, slices = images.shape[:2]
    chosen = np.linspace(0, subjects * slices - 1, min(_STARTED_FROM, subjects * slices)).astype(int)
    # Neighbours in the choice are another subject's, too.
    subject, position = chosen % subjects, chosen // subjects
    return images[subject, position].astype(np.float32), poses[position]


def _encoded(model, images, poses):
    """Returns latent vectors `[S, n, D]` of slices about their mean, which becomes the process' own."""
    # Of a part of the subjects: the networks are slow.
    every = -(-images.shape[0] * images.shape[1] // _ENCODED_AT_MOST)
    latents = np.stack([model.encode(subject.astype(np.float32), poses)[0].numpy() for subject in images[::every]])
    mean = latents.mean((0, 1))
    model.distribution.loc.assign(mean)
    return latents - mean


def _standardise(images, logits, alpha, settings, subjects):
    """Writes standardised logits of images to an array; returns mean and scale of every pixel at every slice.

    One volume after the other, in float32: thousands of them, perhaps of half precision, leave no room for copies.
    """
    mean = np.zeros(images.shape[1:], np.float32)
    first = np.arange(len(images)) if subjects is None else originals(subjects)
    for index in first:
        mean += _to_logit(images[index], alpha) / len(first)
    variance = np.zeros_like(mean)
    for image, logit in zip(images, logits, strict=True):
        deviation = _to_logit(image, alpha) - mean
        variance += np.square(deviation) / len(images)
        logit[...] = deviation
    scale = np.sqrt(variance + settings.smoothing)
    scale = scale**settings.pixel_share * np.sqrt(np.mean(scale**2)) ** (1.0 - settings.pixel_share)
    for logit in logits:
        logit /= scale
    return mean, scale


def _to_logit(image, alpha):
    """Returns what `ImageLogit` makes of an image, many times faster, in float32."""
    scaled = image.astype(np.float32) * np.float32(1.0 - alpha) + np.float32(0.5 * alpha)
    return np.log(scaled / (1.0 - scaled))


def _centre(flow, image_shape):
    """Returns the latent vector `[D]` of standardised logits that are zero."""
    return flow.without_couplings(np.zeros((1, *image_shape), np.float32))[0]


def _linear_latents(flow, vectors, image_shape):
    """Returns the latent vectors of flattened standardised logits `[..., D]`, about that of zero: a linear map."""
    centre = _centre(flow, image_shape).numpy()
    flat = vectors.reshape(-1, *image_shape)
    parts = np.array_split(flat, -(-len(flat) // _MAPPED_AT_ONCE))
    return np.concatenate([flow.without_couplings(part).numpy() - centre for part in parts]).reshape(vectors.shape)
