"""What the training of a deep baseline minimises: the negative evidence lower bound of slices given contexts."""

import tensorflow as tf

__all__ = ['bound_loss', 'prediction_error']


def bound_loss(model, images, poses, max_contexts, num_contexts, pixel_std, seed):
    """Returns the negative evidence lower bound of the queries without the constant of the pixels' normal.

    ```none
    loss = |x - mean|^2 / (2 sigma^2) + sum_l KL_l
    -ELBO = loss + H W C (log sigma + log(2 pi) / 2)
    ```

    The constant depends on nothing that is learned, and is larger than all the rest.

    Args:
        model: A `ContextModel`.
        images: `[B, M, H, W, C]` in [0, 1]: `max_contexts` contexts, then the queries.
        poses: `[B, M, P]`.
        max_contexts: `int`, below M.
        num_contexts: int32 `Tensor` `[B]`: how many of its contexts each sequence has.
        pixel_std: Scalar `Tensor`, sigma.
        seed: int32 `Tensor` `[2]`, of the latent variables.

    Returns:
        loss: Scalar `Tensor`, nats per image.
        parts: Dict of scalars: 'reconstruction' and 'kl', the two terms of the loss; 'kl_1', 'kl_2' ..., the parts of
            'kl' in each step; 'squared_error', per pixel.
    """
    mask = tf.sequence_mask(num_contexts, max_contexts)
    representation = model.represent(images[:, :max_contexts], poses[:, :max_contexts], mask)
    queries = images[:, max_contexts:]
    bound = model.bound(queries, poses[:, max_contexts:], representation, seed)
    squares = tf.math.squared_difference(queries, bound.mean)
    reconstruction = tf.reduce_mean(tf.reduce_sum(squares, [2, 3, 4])) / (2.0 * pixel_std**2)
    steps = tf.unstack(tf.reduce_mean(bound.kl, [0, 1]))
    kl = tf.add_n(steps)
    parts = {'reconstruction': reconstruction, 'kl': kl, 'squared_error': tf.reduce_mean(squares)}
    return reconstruction + kl, parts | {f'kl_{number}': step for number, step in enumerate(steps, 1)}


def prediction_error(model, images, poses, max_contexts, num_contexts):
    """Returns the squared error per pixel of queries that only the contexts tell of; arguments as `bound_loss`."""
    mask = tf.sequence_mask(num_contexts, max_contexts)
    representation = model.represent(images[:, :max_contexts], poses[:, :max_contexts], mask)
    predicted = model.mean_image(poses[:, max_contexts:], representation)
    return tf.reduce_mean(tf.math.squared_difference(images[:, max_contexts:], predicted))
