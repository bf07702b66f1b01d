"""The training losses: likelihoods of a `ConditionalBruno`, and the evidence lower bound of a deep baseline."""

import tensorflow as tf

from tfp_bruno.baselines.deep import ContextModel
from tfp_bruno.data import FOREGROUND_THRESHOLD
from tfp_bruno.models import ConditionalBruno
from tfp_bruno.runs import ObjectiveSettings

# Pixels on each side of an image at which the window of the structural similarity does not fit.
_BORDER = 5


def joint_loss(model: ConditionalBruno, poses: tf.Tensor, latents: tf.Tensor, log_dets: tf.Tensor) -> tf.Tensor:
    """Returns the mean of `-log p(x_1..x_M | poses)` per dimension, nats.

    Args:
        model: The model.
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        latents: `[B, M, D]`, from `model.encode`.
        log_dets: `[B, M]`, likewise.
    """
    log_prob = model.distribution.log_prob(latents, conditional_input=poses) + tf.reduce_sum(log_dets, -1)
    return -tf.reduce_mean(log_prob) / tf.cast(tf.size(latents[0]), latents.dtype)


def conditional_terms(
    model: ConditionalBruno,
    poses: tf.Tensor,
    latents: tf.Tensor,
    log_dets: tf.Tensor,
    num_contexts: tf.Tensor,
    decode: bool = True,
    independent_targets: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the loss and the predictive mean of the other slices, given the first `num_contexts`.

    Args:
        model: The model.
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        latents: `[B, m, D]`, from `model.encode`: of the contexts, and of the targets that are scored.
        log_dets: `[B, m]`, likewise.
        num_contexts: int32 scalar, 0 to m - 1.
        decode: Whether to decode the mean, which costs a pass through the flow.
        independent_targets: Whether to score each target by itself, not all of them jointly.

    Returns:
        negative_log_likelihood: Mean of `-log p(scored targets | contexts, poses)` per dimension, nats.
        decoded: The decoded predictive mean of all targets, `[B, M - num_contexts, H, W, C]`; `None` without `decode`.
    """
    context_poses, target_poses = poses[..., :num_contexts, :], poses[..., num_contexts:, :]
    posterior = model.distribution.posterior(
        latents[:, :num_contexts], context_poses, num_steps=tf.shape(target_poses)[-2]
    )
    scored = latents[:, num_contexts:]
    if independent_targets:
        scored_poses = target_poses[..., : tf.shape(scored)[-2], :]
        log_prob = tf.reduce_sum(posterior.marginal_log_prob(scored, scored_poses), -1)
        mean = posterior.mean(conditional_input=target_poses)
    else:
        log_prob, mean = posterior.log_prob_and_mean(scored, target_poses)
    log_prob += tf.reduce_sum(log_dets[:, num_contexts:], -1)
    size = tf.cast(tf.size(scored[0]), latents.dtype)
    return -tf.reduce_mean(log_prob) / size, model.decode(mean, target_poses) if decode else None


def foreground_size(truth: tf.Tensor) -> tf.Tensor:
    """Returns the number of foreground pixels, a scalar, of images `[B, T, H, W, C]` in `structural_error`."""
    return tf.reduce_sum(_inner_foreground(truth))


def structural_error(
    truth: tf.Tensor, decoded: tf.Tensor, foreground_share: float = 0.5, foreground: tf.Tensor | None = None
) -> tf.Tensor:
    """Returns 1 - SSIM of decoded images (Wang et al. 2004), averaged over the foreground and over whole slices.

    Args:
        truth: `[B, T, H, W, C]` in [0, 1], H and W at least 11. The foreground is where it is above 0.02.
        decoded: `[B, T, H, W, C]`.
        foreground_share: In [0, 1], weight of the foreground; whole slices have the rest.
        foreground: Number of pixels by which the sum over the foreground is divided; `None`: `foreground_size(truth)`.
            If it is the mean size of the parts of a batch, the mean of their errors is the error of the batch.

    Returns:
        Scalar in [0, 2], if `foreground` is None.
    """
    flat, decoded = (tf.reshape(images, [-1, *truth.shape[2:]]) for images in (truth, decoded))
    similarity = tf.image.ssim(flat, decoded, 1.0, filter_size=2 * _BORDER + 1, return_index_map=True)
    inside = _inner_foreground(flat)
    size = tf.reduce_sum(inside) if foreground is None else foreground
    in_foreground = tf.math.divide_no_nan(tf.reduce_sum(similarity * inside), size)
    return 1.0 - foreground_share * in_foreground - (1.0 - foreground_share) * tf.reduce_mean(similarity)


def _inner_foreground(truth: tf.Tensor) -> tf.Tensor:
    """Returns 1 in the foreground and 0 elsewhere, `[..., H - 2 B, W - 2 B]`, without the border of the SSIM."""
    inner = truth[..., _BORDER:-_BORDER, _BORDER:-_BORDER, :]
    return tf.cast(tf.reduce_max(inner, -1) > FOREGROUND_THRESHOLD, truth.dtype)


def training_loss(
    model: ConditionalBruno,
    images: tf.Tensor,
    poses: tf.Tensor,
    settings: ObjectiveSettings,
    num_contexts: tf.Tensor,
    foreground: tf.Tensor | None = None,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the weighted loss of a `ConditionalBruno` and its parts.

    Args:
        model: The model.
        images: `[B, M, H, W, C]` in [0, 1], one subject in each sequence.
        poses: `[B, M, P]`, or `[M, P]` for all sequences.
        settings: Weights of the parts.
        num_contexts: int32 scalar, 0 to M - 1.
        foreground: See `structural_error`.

    Returns:
        loss: Scalar.
        parts: Scalars by name: 'joint' (if it has a weight) and 'conditional', nats per dimension; 'squared_error' per
            pixel (if an error of the decoded mean has a weight), and 'structural' (if it has one).
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
            parts['structural'] = structural_error(targets, decoded, settings.foreground_share, foreground)
        parts['squared_error'] = tf.reduce_mean(tf.math.squared_difference(decoded, targets))
    weights = {name: getattr(settings, name) for name in parts}
    if decoded is not None and settings.prior_squared_error is not None:
        weights['squared_error'] = _squared_error_weight(settings, settings.prior_squared_error, num_contexts)
    return sum(weights[name] * part for name, part in parts.items()), parts


def _squared_error_weight(settings: ObjectiveSettings, without_contexts: float, num_contexts: tf.Tensor) -> tf.Tensor:
    """Returns the weight of the squared error, which falls from its value without contexts as contexts are added."""
    if settings.prior_decay is None:
        return tf.where(num_contexts > 0, settings.squared_error, without_contexts)
    share = tf.pow(1.0 + tf.cast(num_contexts, tf.float32), -settings.prior_decay)
    return settings.squared_error + (without_contexts - settings.squared_error) * share


def bound_loss(
    model: ContextModel,
    images: tf.Tensor,
    poses: tf.Tensor,
    max_contexts: int,
    num_contexts: tf.Tensor,
    pixel_std: tf.Tensor,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the negative evidence lower bound of a deep baseline, without the constant of the pixels' normal.

    ```none
    loss = |x - mean|^2 / (2 sigma^2) + sum_l KL_l
    -ELBO = loss + H W C (log sigma + log(2 pi) / 2)
    ```

    The constant depends on nothing that is learned, and is larger than all other terms.

    Args:
        model: The baseline.
        images: `[B, M, H, W, C]` in [0, 1]: `max_contexts` contexts, then the queries.
        poses: `[B, M, P]`.
        max_contexts: Number of slices reserved for contexts, below M.
        num_contexts: int32 `[B]`, number of contexts that each sequence uses.
        pixel_std: Scalar, sigma.
        seed: int32 `[2]`, of the latent variables.

    Returns:
        loss: Scalar, nats per image.
        parts: Scalars by name: 'reconstruction' and 'kl', the two terms of the loss; 'kl_1', 'kl_2' ..., the terms of
            'kl' in each step; 'squared_error', per pixel.
    """
    representation = _represent(model, images, poses, max_contexts, num_contexts)
    queries = images[:, max_contexts:]
    bound = model.bound(queries, poses[:, max_contexts:], representation, seed)
    squares = tf.math.squared_difference(queries, bound.mean)
    reconstruction = tf.reduce_mean(tf.reduce_sum(squares, [2, 3, 4])) / (2.0 * pixel_std**2)
    steps = tf.unstack(tf.reduce_mean(bound.kl, [0, 1]))
    kl = tf.add_n(steps)
    parts = {'reconstruction': reconstruction, 'kl': kl, 'squared_error': tf.reduce_mean(squares)}
    return reconstruction + kl, parts | {f'kl_{number}': step for number, step in enumerate(steps, 1)}


def prediction_error(
    model: ContextModel, images: tf.Tensor, poses: tf.Tensor, max_contexts: int, num_contexts: tf.Tensor
) -> tf.Tensor:
    """Returns the squared error per pixel of queries predicted from the contexts alone; arguments as `bound_loss`."""
    representation = _represent(model, images, poses, max_contexts, num_contexts)
    predicted = model.mean_image(poses[:, max_contexts:], representation)
    return tf.reduce_mean(tf.math.squared_difference(images[:, max_contexts:], predicted))


def _represent(
    model: ContextModel, images: tf.Tensor, poses: tf.Tensor, max_contexts: int, num_contexts: tf.Tensor
) -> tf.Tensor:
    mask = tf.sequence_mask(num_contexts, max_contexts)
    return model.represent(images[:, :max_contexts], poses[:, :max_contexts], mask)
