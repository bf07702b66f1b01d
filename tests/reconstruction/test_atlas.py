"""The atlas of a population: mean, random subjects and modes, centred on world 0."""

import json
import types

import nibabel
import numpy as np
import pytest

from tfp_bruno.reconstruction import OutputSettings
from tfp_bruno.reconstruction.atlas import AtlasSettings, write_atlas

SETTINGS = AtlasSettings(num_samples=1, std_samples=2, seed=3, output=OutputSettings(spacing=4.0))


@pytest.fixture
def modes(ellipsoid):
    images = np.stack([0.9 * ellipsoid, ellipsoid])[np.newaxis]
    return types.SimpleNamespace(images=images, shares=np.array([0.75]), deviations=2.0)


def test_write_atlas_files_keep_their_contract(tmp_path, model, modes, assert_contract):
    write_atlas(model, tmp_path / 'atlas', SETTINGS, modes)
    assert_contract(tmp_path / 'atlas', foreground_mean=700)
    mean = nibabel.load(tmp_path / 'atlas' / 'mean.nii.gz')
    centre = nibabel.affines.apply_affine(mean.affine, (np.array(mean.shape) - 1) / 2)
    np.testing.assert_allclose(centre, 0, atol=1e-5)
    # The mode is written on the grid and the scale of the mean, which is its end at plus two deviations.
    plus, minus = (nibabel.load(tmp_path / 'atlas' / 'modes' / f'mode_0_{end}.nii.gz') for end in ('plus', 'minus'))
    np.testing.assert_array_equal(plus.affine, mean.affine)
    np.testing.assert_array_equal(plus.get_fdata(), mean.get_fdata())
    assert minus.get_fdata().max() == pytest.approx(0.9 * mean.get_fdata().max(), rel=1e-3)
    sidecar = json.loads((tmp_path / 'atlas' / 'atlas.json').read_text())
    assert (sidecar['seed'], sidecar['mode_shares'], sidecar['mode_deviations']) == (3, [0.75], 2.0)
    assert '75.0 %' in (tmp_path / 'atlas' / 'report.html').read_text()


def test_write_atlas_without_modes_says_so(tmp_path, model):
    write_atlas(model, tmp_path / 'atlas', SETTINGS)
    assert not (tmp_path / 'atlas' / 'modes').exists()
    assert 'no factors of the subject' in (tmp_path / 'atlas' / 'report.html').read_text()
