"""Sets the initial parameters of a model in closed form, so that training starts from the best linear model."""

import numpy as np
import tensorflow as tf
from pydantic.dataclasses import dataclass
from scipy import ndimage

from tfp_bruno.bijectors import ConditionalRealNVP
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.distributions.fitting import held_out_residual, originals, thinning
from tfp_bruno.models.conditional_bruno import ConditionalBruno
from tfp_bruno.settings import STRICT, NonNegative, Positive, Share

_MAPPED_AT_ONCE = 1000
_STARTED_FROM = 256
_ENCODED_AT_MOST = 600
# The residual's variance at a voxel is that of a few subjects: it is smoothed over as many voxels, and has a floor.
_RESIDUAL_SMOOTHING = 1.0
_RESIDUAL_FLOOR = 0.02


@dataclass(frozen=True, config=STRICT)
class StartSettings:
    """Settings of the closed-form start.

    Attributes:
        pixel_share: In [0, 1]: 1 scales every pixel by its own standard deviation, 0 all pixels alike; in between, a
            geometric mean of both.
        smoothing: Variance in logit space that is added, so that constant background keeps a scale.
        inflation: Factor of the initial variance of a factor process' residual. Neighbouring pixels err together, so
            they determine the factors less precisely than as many independent ones would.
    """

    pixel_share: Share = 0.5
    smoothing: NonNegative = 1e-2
    inflation: Positive = 1.0


def initialize_model(
    model: ConditionalBruno,
    images: np.ndarray,
    poses: np.ndarray,
    settings: StartSettings | None = None,
    subjects: np.ndarray | None = None,
    overwrite_images: bool = False,
) -> None:
    """Sets the parameters that have a closed form from training data, before any training.

    If the flow has an affine map, that map takes the mean image of each slice, and the process is fitted to latent
    vectors of the flow without couplings. For a factor process, the principal components of whole volumes become its
    loadings (as in probabilistic principal component analysis), and their error on held-out subjects its residual; for
    the others, moments of latent vectors become variance and correlation. A flow without an affine map is initialised
    from a batch, and the process from moments of the resulting latent vectors.

    If latent vectors are frequencies, every pixel is scaled so that the residual has the same variance at all of them:
    with independent frequencies it could not differ from pixel to pixel.

    Where a pose is a place in a canonical volume, the images are canonical volumes: their moments become the volumes
    of the affine map, and their components those of the loadings. Latent vectors are the standardised logits.

    Args:
        model: A model from `build_model`.
        images: `[S, K, H, W, C]` in [0, 1], float32 or float16, S >= 3, K >= 3.
        poses: `[K, P]`, float32; without effect on canonical volumes.
        settings: `None`: the defaults.
        subjects: Subject of each stack, integers `[S]`, as for `fit_factor_moments`: the first stack of a subject is
            the subject itself, the others are augmented copies. Copies do not enter the mean image of the affine map,
            which they would blur. `None`: each its own.
        overwrite_images: Whether `images` may be overwritten, which saves the memory of a second array of that size.

    Raises:
        ValueError: If the process has factors, but the flow has no affine map.
    """
    settings = settings or StartSettings()
    flow, step = model.bijector, thinning(images.shape[1])
    is_factor = isinstance(model.distribution, FactorProcess)
    if not flow.settings.pose_affine:
        if is_factor:
            raise ValueError(
                '`pose_affine=False`: a factor process needs a flow with an affine map; set `pose_affine`.'
            )
        flow.initialize_from_data(*_spread(images, poses))
        model.distribution.fit(_encoded(model, images[:, ::step], poses[::step]), step)
        return
    # With statistics of channels, latent vectors would not be standardised logits.
    spread = _spread(images, poses) if flow.latents == 'flow' else None
    logits = images if overwrite_images else np.empty_like(images)
    mean, scale = _standardise(images, logits, flow.settings.alpha, settings, subjects)
    if is_factor and flow.latents == 'frequencies':
        scale *= _divide_by_residual(logits, model.distribution.loadings.shape[-1], subjects)
    flow.initialize(mean, scale, poses)
    if spread is not None:
        flow.initialize_from_data(*spread)
    # The latent vector of the mean image.
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


def _spread(images: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns slices that are spread over subjects and positions, and their poses."""
    subjects, slices = images.shape[:2]
    chosen = np.linspace(0, subjects * slices - 1, min(_STARTED_FROM, subjects * slices)).astype(int)
    # Consecutive choices also differ in the subject.
    subject, position = chosen % subjects, chosen // subjects
    return images[subject, position].astype(np.float32), poses[position]


def _encoded(model: ConditionalBruno, images: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Returns latent vectors `[S, n, D]` of slices less their mean, which becomes the mean of the process."""
    # A part of the subjects: the networks are slow.
    every = -(-images.shape[0] * images.shape[1] // _ENCODED_AT_MOST)
    latents = np.stack([model.encode(subject.astype(np.float32), poses)[0].numpy() for subject in images[::every]])
    mean = latents.mean((0, 1))
    model.distribution.loc.assign(mean)
    return latents - mean


def _standardise(
    images: np.ndarray, logits: np.ndarray, alpha: float, settings: StartSettings, subjects: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Writes standardised logits of images to an array; returns mean and scale of every pixel at every slice.

    One volume after the other, in float32: thousands of volumes, perhaps in half precision, leave no memory for copies.
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


def _divide_by_residual(logits: np.ndarray, num_factors: int, subjects: np.ndarray | None) -> np.ndarray:
    """Divides standardised logits `[S, K, H, W, C]` by the residual's standard deviation at each pixel; returns it."""
    residual = held_out_residual(logits.reshape(*logits.shape[:2], -1), num_factors, subjects)
    variance = np.mean(residual**2, axis=0).reshape(logits.shape[1:])
    variance = ndimage.gaussian_filter(variance, (*[_RESIDUAL_SMOOTHING] * 3, 0.0))
    deviation = np.sqrt(variance + _RESIDUAL_FLOOR)
    for logit in logits:
        logit /= deviation
    return deviation


def _to_logit(image: np.ndarray, alpha: float) -> np.ndarray:
    """Returns the same as `ImageLogit` for an image, many times faster, in float32."""
    scaled = image.astype(np.float32) * np.float32(1.0 - alpha) + np.float32(0.5 * alpha)
    return np.log(scaled / (1.0 - scaled))


def _centre(flow: ConditionalRealNVP, image_shape: tuple[int, ...]) -> tf.Tensor:
    """Returns the latent vector `[D]` of standardised logits that are zero."""
    return flow.without_couplings(np.zeros((1, *image_shape), np.float32))[0]


def _linear_latents(flow: ConditionalRealNVP, vectors: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """Returns the latent vectors of flattened standardised logits `[..., D]`, less that of zero: a linear map."""
    centre = _centre(flow, image_shape).numpy()
    flat = vectors.reshape(-1, *image_shape)
    parts = np.array_split(flat, -(-len(flat) // _MAPPED_AT_ONCE))
    return np.concatenate([flow.without_couplings(part).numpy() - centre for part in parts]).reshape(vectors.shape)
