"""The page on the registration of the training subjects."""

import dataclasses
import re

import numpy as np
import pytest

from tfp_bruno.data import Population, get_definition
from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.registration import Frame, Registration, RegistrationQuality, make_space
from tfp_bruno.training.registration_report import write_registration_report

DEFINITION = dataclasses.replace(
    get_definition('fetal'), num_slices=12, image_size=16, context_slices={0: (), 4: (1, 4, 7, 10)}
)
VOXEL_SIZE = (DEFINITION.slice_spacing, DEFINITION.pixel_spacing, DEFINITION.pixel_spacing)


@pytest.fixture
def subjects(discs):
    names = tuple(f'sub-<{number:02d}>' for number in range(16))
    return Population(discs, names, ('train',) * 16, True, 'balls')


@pytest.fixture
def registration(discs):
    """Size and place alone, and one subject that was not registered well."""
    frames = [Frame.measure(stack) for stack in discs]
    space = make_space(frames, discs.shape[1:], VOXEL_SIZE)
    maps = [space.identity._replace(frame=frame) for frame in frames]
    found = Registration.of_maps(discs, VOXEL_SIZE, maps)
    found.volumes[5] = 1 - found.volumes[5]
    return found


def test_page_has_means_spreads_and_every_subject(tmp_path, subjects, registration, discs):
    path = tmp_path / 'registration.html'
    with collect_warnings() as warnings:
        write_registration_report(path, DEFINITION, subjects, registration)
    quality = RegistrationQuality.measure(discs, registration)
    assert quality.outliers.tolist() == [5]
    [warning] = warnings
    assert re.search(r'training subjects: sub-<05> are far from the mean .* look at .*registration\.html', warning)
    text = path.read_text()
    assert text.count('src="data:image/png;base64,iVBOR') == 2
    # Names are escaped; the outlier comes first.
    rows = re.findall(r'<tr class="(.*)"><td>(.*?)</td>.*?>([\d.]+)</td>.*?>([\d.]+)</td>', text)
    order = np.argsort(-quality.residuals)
    assert [row[1] for row in rows] == [f'sub-&lt;{number:02d}&gt;' for number in order]
    assert [row[0] for row in rows] == ['failed'] + [''] * 15
    assert [float(row[3]) for row in rows] == pytest.approx(quality.residuals[order], abs=6e-5)
    assert f'{quality.spread_before:.3f}' in text
    sizes = quality.sizes[:, 0]
    assert f'<td>superior</td><td>{sizes.std():.1f} ({sizes.min():.1f} to {sizes.max():.1f})</td>' in text
    assert 'phantoms (synthetic data)' in text


def test_page_without_outliers_has_no_warning(tmp_path, subjects, registration, discs):
    volumes = np.stack([discs[0] + 0.01 * number for number in range(16)])
    with collect_warnings() as warnings:
        write_registration_report(
            tmp_path / 'page.html', DEFINITION, subjects, dataclasses.replace(registration, volumes=volumes)
        )
    assert not warnings
    text = (tmp_path / 'page.html').read_text()
    assert 'class="note warning"' not in text
    assert text.count('<img') == 1


def test_a_page_that_cannot_be_written_is_an_error(tmp_path, subjects, registration):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(UserError, match='cannot be written'):
        write_registration_report(tmp_path / 'file' / 'page.html', DEFINITION, subjects, registration)
