"""The Glow architecture: image shapes, settings, and the parts before the couplings."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings

SMALL = GlowSettings(first_squeeze=2, couplings=(1,), filters=(4,), dense_couplings=1, dense_units=4, pose_units=4)
IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ('image_shape', 'settings'),
    [
        ((16, 16, 1), GlowSettings(first_squeeze=4, couplings=(1, 1), filters=(4, 4), dense_units=4, pose_units=4)),
        ((12, 8, 2), GlowSettings(first_squeeze=2, couplings=(1, 1), filters=(4, 4), dense_units=4, pose_units=4)),
        ((4, 4, 1), SMALL),
        ((4, 4, 1), dataclasses.replace(SMALL, couplings=(0,), dense_couplings=0)),
    ],
)
def test_inverse_undoes_forward_for_other_image_shapes(image_shape, settings):
    flow = ConditionalRealNVP(image_shape, 3, settings, dtype=tf.float64)
    y = np.random.default_rng(1).uniform(size=(2, *image_shape))
    x, log_det = flow.inverse_and_log_det(y, np.eye(3)[:2])
    assert x.shape == (2, np.prod(image_shape))
    back, back_log_det = flow.forward_and_log_det(tf.identity(x), np.eye(3)[:2])
    np.testing.assert_allclose(back, y, atol=1e-10)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-8)


@pytest.mark.parametrize(
    ('image_shape', 'changes', 'message'),
    [
        ((10, 8, 1), {'couplings': (1, 1), 'filters': (4, 4)}, r'`image_shape` \[10, 8, 1\] must be divisible by 4'),
        ((8, 8, 1), {'filters': (4, 4)}, 'one entry per scale'),
        ((8, 8, 1), {'alpha': 1.5}, r'alpha\s.*less than 1'),
    ],
)
def test_bad_glow_settings_name_the_argument(image_shape, changes, message):
    with pytest.raises(ValueError, match=message):
        ConditionalRealNVP(image_shape, 3, dataclasses.replace(SMALL, **changes))


@pytest.mark.parametrize(('every_step', 'actnorms', 'convolutions'), [(True, 4, 4), (False, 0, 3)])
def test_every_step_sets_the_parts_before_the_couplings(make_flow, every_step, actnorms, convolutions):
    settings = GlowSettings(2, (2, 1), (4, 4), dense_couplings=1, dense_units=8, pose_units=4, every_step=every_step)
    flow = make_flow(settings=settings, dtype=tf.float64)
    kinds = [type(part).__name__ for part in flow.submodules]
    assert kinds.count('ActNorm') == actnorms
    # Without `every_step`: one at the start of each of two scales, and one before the dense coupling.
    assert kinds.count('InvertibleConvolution') == convolutions
    latents = flow.inverse(IMAGES, conditional_input=np.eye(3))
    np.testing.assert_allclose(flow.forward(latents, conditional_input=np.eye(3)), IMAGES, atol=1e-8)
