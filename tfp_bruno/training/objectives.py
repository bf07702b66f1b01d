"""What training minimises, for a batch of sequences of one subject each."""

import tensorflow as tf

from tfp_bruno.data import FOREGROUND_THRESHOLD

__all__ = [
    'conditional_terms',
    'joint_loss',
    'structural_error',
    'training_loss',
]


def joint_loss(model, poses, latents, log_dets):
    """Returns the mean of `-log p(x_1..x_M | poses)` per dimension, nats.

    Args:
        model: `ConditionalBruno`.
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        latents: `[B, M, D]`, from `model.encode`.
        log_dets: `[B, M]`, likewise.
    """
    log_prob = model.latent_log_prob(latents, poses) + tf.reduce_sum(log_dets, -1)
    return -tf.reduce_mean(log_prob) / tf.cast(tf.size(latents[0]), latents.dtype)


def conditional_terms(model, poses, latents, log_dets, num_contexts, decode=True, independent_targets=False):
    """Returns what the first `num_contexts` slices tell of the others.

    Args:
        model: `ConditionalBruno`.
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        latents: `[B, m, D]`, from `model.encode`: of the contexts, and of those targets that are scored.
        log_dets: `[B, m]`, likewise.
        num_contexts: int32 `Tensor`, 0 to m - 1.
        decode: Python `bool`: whether the decoded mean is wanted; it costs a pass through the flow.
        independent_targets: Python `bool`: whether each target counts on its own.

    Returns:
        negative_log_likelihood: Mean of `-log p(scored targets | contexts, poses)` per dimension, nats.
        decoded: The decoded predictive mean of all targets, `[B, M - num_contexts, H, W, C]`; `None` without `decode`.
    """
    context_poses, target_poses = poses[..., :num_contexts, :], poses[..., num_contexts:, :]
    posterior = model.latent_posterior(latents[:, :num_contexts], context_poses, tf.shape(target_poses)[-2])
    scored = latents[:, num_contexts:]
    log_prob, mean = posterior.latent_log_prob_and_mean(scored, target_poses, independent_targets)
    log_prob += tf.reduce_sum(log_dets[:, num_contexts:], -1)
    size = tf.cast(tf.size(scored[0]), latents.dtype)
    return -tf.reduce_mean(log_prob) / size, posterior.decode(mean, target_poses) if decode else None


def structural_error(truth, decoded, foreground_share=0.5):
    """Returns 1 - SSIM of decoded images (Wang et al. 2004), a mean of that of their foreground and of whole slices.

    Args:
        truth: `[B, T, H, W, C]` in [0, 1], H and W at least 11.
        decoded: `[B, T, H, W, C]`.
        foreground_share: `float` in [0, 1], what the foreground counts. Default value: 0.5.

    Returns:
        Scalar `Tensor` in [0, 2]; the foreground is where the truth is above 0.02.
    """
    flat, decoded = (tf.reshape(images, [-1, *truth.shape[2:]]) for images in (truth, decoded))
    similarity = tf.image.ssim(flat, decoded, 1.0, return_index_map=True)
    border = (flat.shape[1] - similarity.shape[1]) // 2
    inner = flat[:, border : flat.shape[1] - border, border : flat.shape[2] - border]
    foreground = tf.cast(tf.reduce_max(inner, -1) > FOREGROUND_THRESHOLD, similarity.dtype)
    in_foreground = tf.math.divide_no_nan(tf.reduce_sum(similarity * foreground), tf.reduce_sum(foreground))
    return 1.0 - foreground_share * in_foreground - (1.0 - foreground_share) * tf.reduce_mean(similarity)


def training_loss(model, images, poses, settings, num_contexts):
    """Returns the weighted loss and its parts.

    Args:
        model: `ConditionalBruno`.
        images: `[B, M, H, W, C]` in [0, 1].
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        settings: `ObjectiveSettings`.
        num_contexts: int32 `Tensor`, 0 to M - 1.

    Returns:
        loss: Scalar `Tensor`.
        parts: Dict of scalars: 'joint' (where it has a weight) and 'conditional', nats per dimension; 'squared_error'
            per pixel (where an error of the decoded mean has a weight), and 'structural' (where it has one).
    """
    scored = slice(None, None if settings.scored_targets is None else num_contexts + settings.scored_targets)
    encoded = slice(None) if settings.joint > 0 else scored
    latents, log_dets = model.encode(images[:, encoded], poses[..., encoded, :])
    parts = {'joint': joint_loss(model, poses, latents, log_dets)} if settings.joint > 0 else {}
    decodes = max(settings.structural, settings.squared_error, settings.prior_squared_error or 0.0) > 0
    conditional, decoded = conditional_terms(
        model, poses, latents[:, scored], log_dets[:, scored], num_contexts, decodes, settings.independent_targets
    )
    parts['conditional'] = conditional
    if decoded is not None:
        targets = images[:, num_contexts:]
        if settings.structural > 0:
            parts['structural'] = structural_error(targets, decoded, settings.foreground_share)
        parts['squared_error'] = tf.reduce_mean(tf.math.squared_difference(decoded, targets))
    weights = {name: getattr(settings, name) for name in parts}
    if decoded is not None and settings.prior_squared_error is not None:
        weights['squared_error'] = _squared_error_weight(settings, num_contexts)
    return sum(weights[name] * part for name, part in parts.items()), parts


def _squared_error_weight(settings, num_contexts):
    """Returns the weight of the squared error, which falls from that without contexts to that with many."""
    if settings.prior_decay is None:
        return tf.where(num_contexts > 0, settings.squared_error, settings.prior_squared_error)
    share = tf.pow(1.0 + tf.cast(num_contexts, tf.float32), -settings.prior_decay)
    return settings.squared_error + (settings.prior_squared_error - settings.squared_error) * share
