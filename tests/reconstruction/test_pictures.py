"""The mosaic shows the right slices, and planes the right sides."""

import io

import matplotlib.image
import numpy as np
from scipy import ndimage

from tfp_bruno.reconstruction import complete
from tfp_bruno.reconstruction.pictures import choose_columns, three_planes, write_mosaic


def test_choose_columns_are_contexts_and_evenly_spread_slices():
    assert choose_columns((), 80) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert choose_columns((10, 70), 80) == [5, 10, 15, 25, 35, 45, 55, 65, 70, 75]
    many = choose_columns(tuple(range(0, 80, 2)), 80)
    assert len(many) == 12
    assert (many[0], many[-1]) == (0, 78)


def test_write_mosaic_shows_every_row(tmp_path, model, ellipsoid):
    completion = complete(model, ellipsoid[[20, 60]], (20, 60), num_samples=3, seed=0)
    write_mosaic(tmp_path / 'mosaic.png', completion, 'title')
    picture = matplotlib.image.imread(tmp_path / 'mosaic.png')[..., :3]
    assert picture.shape[0] > 500
    # Grey values of the anatomy and the yellow of the side labels are there.
    assert np.any(np.abs(picture - 0.8).max(-1) < 0.02)
    assert np.any((picture[..., 0] > 0.9) & (picture[..., 2] < 0.1))
    assert [path.name for path in tmp_path.iterdir()] == ['mosaic.png']


def test_three_planes_are_in_radiological_convention():
    # A bright block at the right, anterior, superior corner of the anatomy; axes grow to right, anterior, superior.
    mask = np.zeros((30, 36, 40), bool)
    mask[4:26, 4:32, 4:36] = True
    data = mask * 0.3
    data[20:26, 26:32, 30:36] = 1.0
    picture = matplotlib.image.imread(io.BytesIO(three_planes([('mean', data, 'gray')], mask, '')))[..., :3]
    # In each strip, the block is on the left of a plane (R, R, A), at the top.
    strips = _strips(picture)
    assert len(strips) == 3
    for strip in strips:
        rows, columns = np.nonzero(strip > 0.95)
        assert len(rows) > 20
        width = strip.shape[1] / 7
        assert (columns % width < 0.45 * width).mean() > 0.95
        assert np.median(rows) < strip.shape[0] / 2


def _strips(picture):
    """The three pictures of planes: rows that are mostly not white."""
    grey = picture.min(-1)
    dark = (grey < 0.9).mean(1) > 0.5
    labels, count = ndimage.label(dark)
    parts = []
    for number in range(1, count + 1):
        rows = np.nonzero(labels == number)[0]
        if len(rows) > 20:
            block = picture[rows[0] : rows[-1] + 1]
            columns = np.nonzero((block.min(-1) < 0.9).mean(0) > 0.5)[0]
            # Without the mixed pixels of the frame.
            part = block[3:-3, columns[0] + 3 : columns[-1] - 2]
            # The labels are yellow.
            parts.append(np.where(part[..., 0] - part[..., 2] > 0.2, 0, part.min(-1)))
    return parts
