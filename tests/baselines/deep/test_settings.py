"""Bad settings of the deep baselines name the setting."""

import pytest

from tfp_bruno import baselines


@pytest.mark.parametrize(
    ('settings', 'word'),
    [
        ({'representation': 'cube'}, 'representation'),
        ({'aggregation': 'max'}, 'aggregation'),
        ({'pose_encoding': 'wave'}, 'pose_encoding'),
        ({'image_shape': (10, 8, 1)}, 'image_shape'),
        ({'steps': 0}, 'steps'),
        ({'kernel_size': 4}, 'kernel_size'),
        ({'representation': 'pyramid', 'representation_channels': 4}, 'representation_channels'),
    ],
    ids=str,
)
def test_bad_settings_of_the_gqn_name_the_argument(settings, word):
    with pytest.raises(ValueError, match=word):
        baselines.GenerativeQueryNetworkSettings(**{'image_shape': (8, 8, 1), 'num_slices': 12, **settings})


@pytest.mark.parametrize('settings', [{'filters': (1, 2)}, {'latent_size': 0}, {'representation': 'pool'}], ids=str)
def test_bad_settings_of_the_vae_name_the_argument(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        baselines.ConditionalVAESettings((8, 8, 1), 12, **settings)
