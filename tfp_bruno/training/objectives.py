"""What training minimises, for a batch of sequences of one subject each."""

import dataclasses

import tensorflow as tf

__all__ = ['ObjectiveSettings', 'conditional_terms', 'joint_loss', 'training_loss']


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """Weights of the terms of the training loss.

    Attributes:
        joint: Weight of the joint negative log-likelihood per dimension.
        conditional: Weight of the negative log-likelihood of targets given contexts per dimension.
        predictive: Weight of the squared error of the decoded predictive mean, per pixel, over `2 sigma^2`.
        sigma: Intensity scale of the predictive error.
        max_contexts: Largest number of contexts in training.
    """

    joint: float = 1.0
    conditional: float = 0.0
    predictive: float = 0.0
    sigma: float = 0.1
    max_contexts: int = 8


def joint_loss(model, poses, latents, log_dets):
    """Returns the mean of `-log p(x_1..x_M | poses)` per dimension, nats.

    Args:
        model: `ConditionalBruno`.
        poses: `[B, M, P]`.
        latents: `[B, M, D]`, from `model.encode`.
        log_dets: `[B, M]`, likewise.
    """
    log_prob = model.latent_log_prob(latents, poses) + tf.reduce_sum(log_dets, -1)
    return -tf.reduce_mean(log_prob) / tf.cast(tf.size(latents[0]), latents.dtype)


def conditional_terms(model, images, poses, latents, log_dets, num_contexts, decode=True):
    """Returns the two losses of the targets given the first `num_contexts` slices.

    Args:
        model: `ConditionalBruno`.
        images: `[B, M, H, W, C]`.
        poses: `[B, M, P]`.
        latents: `[B, M, D]`, from `model.encode`.
        log_dets: `[B, M]`, likewise.
        num_contexts: int32 `Tensor`, 0 to M - 1.
        decode: Python `bool`: whether the squared error is wanted; it costs a pass through the flow.

    Returns:
        negative_log_likelihood: Mean of `-log p(targets | contexts, poses)` per dimension, nats.
        squared_error: Mean squared error of the decoded predictive mean against the targets, per pixel; 0 without `decode`.
    """
    num_targets = tf.shape(latents)[1] - num_contexts
    target_poses = poses[:, num_contexts:]
    predictive = model.latent_posterior(latents[:, :num_contexts], poses[:, :num_contexts], num_targets)
    log_prob = predictive.latent_log_prob(latents[:, num_contexts:], target_poses)
    log_prob += tf.reduce_sum(log_dets[:, num_contexts:], -1)
    size = tf.cast(num_targets * latents.shape[-1], latents.dtype)
    negative_log_likelihood = -tf.reduce_mean(log_prob) / size
    if not decode:
        return negative_log_likelihood, tf.zeros([])
    return negative_log_likelihood, tf.reduce_mean((predictive.mean_image(target_poses) - images[:, num_contexts:]) ** 2)


def training_loss(model, images, poses, settings, num_contexts):
    """Returns the weighted loss and its parts.

    Args:
        model: `ConditionalBruno`.
        images: `[B, M, H, W, C]` in [0, 1].
        poses: `[B, M, P]`.
        settings: `ObjectiveSettings`.
        num_contexts: int32 `Tensor`, 0 to M - 1.

    Returns:
        loss: Scalar `Tensor`.
        parts: Dict of scalars: 'joint' (where it has a weight) and 'conditional', nats per dimension; 'squared_error' per pixel.
    """
    latents, log_dets = model.encode(images, poses)
    parts = {'joint': joint_loss(model, poses, latents, log_dets)} if settings.joint > 0 else {}
    conditional, squared_error = conditional_terms(
        model, images, poses, latents, log_dets, num_contexts, decode=settings.predictive > 0
    )
    loss = settings.conditional * conditional + settings.predictive * squared_error / (2.0 * settings.sigma**2)
    if parts:
        loss += settings.joint * parts['joint']
    return loss, {**parts, 'conditional': conditional, 'squared_error': squared_error}
