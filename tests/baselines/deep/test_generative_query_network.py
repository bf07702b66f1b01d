"""The network's equations in NumPy: every step draws on the canvas and sees it."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate
from scipy.special import expit

SEED = tf.constant([3, 4])


def _convolve(layer, value):
    """Maps `[h, w, inputs]` by a convolution with zero padding."""
    kernel = layer.kernel.numpy().astype(float)
    out = np.stack(
        [
            sum(correlate(value[..., i], kernel[..., i, o], mode='constant') for i in range(value.shape[-1]))
            for o in range(kernel.shape[-1])
        ],
        axis=-1,
    )
    return out if layer.bias is None else out + layer.bias.numpy()


def _dense(layer, value):
    return value @ layer.kernel.numpy().astype(float) + (0.0 if layer.bias is None else layer.bias.numpy())


def _advance(core, constant, changing, state):
    cell, hidden = state
    joined = np.concatenate([*changing, hidden], -1)
    gates = sum(_convolve(layer, value) for layer, value in zip(core.constant, constant, strict=True))
    forget, remember, output, value = np.split(gates + _convolve(core.changing, joined), 4, axis=-1)
    cell = expit(forget) * cell + expit(remember) * np.tanh(value)
    return cell, expit(output) * np.tanh(cell)


def _patches(image):
    height, width, _ = image.shape
    return image.reshape(height // 4, 4, width // 4, 4).transpose(0, 2, 1, 3).reshape(height // 4, width // 4, 16)


def _draw_image(model, representation, pose, image=None):
    """Returns the mean of the pixels and the KL of each step, at the means of posteriors (without image: priors)."""
    pose_map = model.pose_map(pose[None])[0].numpy()
    constant = [pose_map, representation]
    grid = (*pose_map.shape[:2], model.settings.hidden_channels)
    state = inferred = (np.zeros(grid), np.zeros(grid))
    canvas, divergences = np.zeros((*grid[:2], 16 * model.settings.canvas_channels)), []
    for step in range(model.settings.steps):
        core = step % len(model.generators)
        mean, raw = np.split(_convolve(model.prior, state[1]), 2, axis=-1)
        if image is not None:
            seen = _dense(model.see_image.dense, _patches(image))
            changing = [state[1], _dense(model.see_canvas, canvas)]
            inferred = _advance(model.inferrers[core], [*constant, seen], changing, inferred)
            posterior = _convolve(model.posterior, inferred[1])[..., : mean.shape[-1]]
            scale = np.log1p(np.exp(raw + np.log(np.e - 1))) + 1e-3
            divergences.append(np.sum(np.log(scale / 1e-3) + (1e-6 + (posterior - mean) ** 2) / (2 * scale**2) - 0.5))
            mean = posterior
        state = _advance(model.generators[core], constant, [mean], state)
        canvas = canvas + _dense(model.draw, state[1])
    pixels = _dense(model.observe, canvas.reshape(*grid[:2], 4, 4, -1))[..., 0]
    return pixels.transpose(0, 2, 1, 3).reshape(4 * grid[0], 4 * grid[1]), divergences


@pytest.mark.parametrize('shared', [pytest.param(False, marks=pytest.mark.slow), True])
def test_mean_image_draws_on_the_canvas_in_every_step(make, batch, shared):
    model = make('gqn', steps=3, shared_cores=shared)
    representation = model.represent(batch.images[:, 2:5], batch.poses[:, 2:5])
    drawn = model.mean_image(batch.poses[:, :1], representation)
    for subject in range(3):
        expected, _ = _draw_image(model, representation[subject].numpy(), batch.poses[subject, 0])
        np.testing.assert_allclose(drawn[subject, 0, ..., 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('shared', [False, True])
def test_bound_infers_from_image_and_canvas_in_every_step(make, batch, shared):
    model = make('gqn', steps=3, shared_cores=shared)
    # With the smallest scale, the posterior's draws are nearly its means.
    latent = model.settings.latent_channels
    model.posterior.bias.assign(np.repeat([0.3, -40.0], latent))
    kernel = model.posterior.kernel.numpy()
    kernel[..., latent:] = 0.0
    model.posterior.kernel.assign(kernel)
    representation = model.represent(batch.images[:, 2:5], batch.poses[:, 2:5])
    bound = model.bound(batch.images[:, :1], batch.poses[:, :1], representation, SEED)
    for subject in range(3):
        image = batch.images[subject, 0]
        expected, divergences = _draw_image(model, representation[subject].numpy(), batch.poses[subject, 0], image)
        np.testing.assert_allclose(bound.mean[subject, 0, ..., 0], expected, rtol=0.02, atol=0.02)
        np.testing.assert_allclose(bound.kl[subject, 0], divergences, rtol=0.02)
