"""A toy task that a Generative Query Network is known to solve: one solid shape, seen from all around.

The shape is five balls of different size; a scene is the shape with a random brightness of each ball. A view is a
parallel projection from a random azimuth, a little from above, which is its pose. So a model must learn what the shape
looks like from everywhere, and find out from the views that it is given how bright each ball is.
"""

import numpy as np

__all__ = ['make_scenes']

# Centres (right, up, towards the viewer) and radii, for a picture of [-1, 1] x [-1, 1].
_CENTRES = np.array([[0.0, 0.0, 0.0], [0.45, 0.0, 0.0], [0.0, 0.5, 0.1], [-0.5, -0.1, 0.25], [0.1, -0.45, -0.4]])
_RADII = np.array([0.3, 0.25, 0.28, 0.2, 0.24])
_ELEVATION = np.deg2rad(25.0)
_EDGE = 0.03


def make_scenes(count, views, size, seed):
    """Renders scenes.

    Args:
        count: `int`, number of scenes S.
        views: `int`, number of views M of each.
        size: `int`, H = W.
        seed: `int`.

    Returns:
        images: float32 `[S, M, H, W, 1]` in [0, 1].
        poses: float32 `[S, M, 2]`, cosine and sine of the azimuth.
    """
    rng = np.random.default_rng(seed)
    azimuths = rng.uniform(0.0, 2.0 * np.pi, (count, views))
    levels = np.repeat(rng.uniform(0.2, 1.0, (count, 1, len(_RADII))), views, axis=1)
    images = _render(azimuths.ravel(), levels.reshape(-1, len(_RADII)), size)
    poses = np.stack([np.cos(azimuths), np.sin(azimuths)], axis=-1)
    return images.reshape(count, views, size, size, 1), poses.astype(np.float32)


def _render(angles, levels, size):
    """Returns images `[N, H, W]` of the shape turned by angles `[N]` with brightnesses `[N, 5]`, far balls first."""
    right, up, near = _CENTRES.T
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    right, near = cos * right + sin * near, cos * near - sin * right
    up, near = np.cos(_ELEVATION) * up - np.sin(_ELEVATION) * near, np.cos(_ELEVATION) * near + np.sin(_ELEVATION) * up
    axis = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    order, rows = np.argsort(near, axis=1), np.arange(len(angles))
    images = np.zeros((len(angles), size, size))
    for ball in order.T:
        across = axis[None, None, :] - right[rows, ball][:, None, None]
        along = -axis[None, :, None] - up[rows, ball][:, None, None]
        radius = _RADII[ball][:, None, None]
        distance = np.hypot(across, along)
        cover = 1.0 / (1.0 + np.exp((distance - radius) / _EDGE))
        # Lit from the viewer's side.
        shade = 0.4 + 0.6 * np.sqrt(np.clip(1.0 - (distance / radius) ** 2, 0.0, 1.0))
        images += cover * (levels[rows, ball][:, None, None] * shade - images)
    return images.astype(np.float32)
