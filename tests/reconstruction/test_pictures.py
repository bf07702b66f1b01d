"""The picture has the slices it should have."""

import matplotlib.image
import numpy as np

from tfp_bruno.reconstruction import complete
from tfp_bruno.reconstruction.mosaic import choose_columns, write_mosaic


def test_the_columns_hold_the_contexts_and_spread_slices():
    assert choose_columns((), 80) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert choose_columns((10, 70), 80) == [5, 10, 15, 25, 35, 45, 55, 65, 70, 75]
    many = choose_columns(tuple(range(0, 80, 2)), 80)
    assert len(many) == 12
    assert (many[0], many[-1]) == (0, 78)


def test_the_picture_shows_every_row(tmp_path, model, ellipsoid):
    completion = complete(model, ellipsoid[[20, 60]], (20, 60), num_samples=3, seed=0)
    write_mosaic(tmp_path / 'mosaic.png', completion, 'title')
    picture = matplotlib.image.imread(tmp_path / 'mosaic.png')[..., :3]
    assert picture.shape[0] > 500
    # Grey values of the anatomy and the yellow of the side labels are there.
    assert np.any(np.abs(picture - 0.8).max(-1) < 0.02)
    assert np.any((picture[..., 0] > 0.9) & (picture[..., 2] < 0.1))
    assert [path.name for path in tmp_path.iterdir()] == ['mosaic.png']
