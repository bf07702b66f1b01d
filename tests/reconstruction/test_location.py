"""Where contexts lie in the canonical volume: in the sidecar, in the report, and in a study that is continued."""

import io
import json

import matplotlib.image
import nibabel
import numpy as np
import pytest

from tfp_bruno.data import extract_stack, find_subjects, get_definition
from tfp_bruno.reconstruction import (
    OutputSettings,
    Placing,
    ReconstructionSettings,
    SliceSelection,
    contexts_of_scan,
    no_contexts,
    reconstruct,
)
from tfp_bruno.reconstruction.location import alignment_of, describe_location, locate
from tfp_bruno.reconstruction.pictures import location_mosaic
from tfp_bruno.reconstruction.study import StudySettings, reconstruct_study

FETAL = get_definition('fetal')


@pytest.fixture
def located(oblique_scan, make_locating_model):
    """A model of a canonical volume, and contexts."""
    scan, _ = oblique_scan
    model = make_locating_model(extract_stack(scan, FETAL).images, noise=0.02)
    return model, contexts_of_scan(scan, SliceSelection(slices=(30, 50)), FETAL)


def test_other_models_and_no_contexts_have_no_location(located, make_model):
    model, contexts = located
    plain = make_model(model.truth)
    assert (alignment_of(model), alignment_of(plain)) == ('deformable', None)
    assert locate(plain, contexts) == (contexts, None)
    assert locate(model, no_contexts(FETAL))[1] is None


def test_location_is_in_sidecar_and_report(located, parse_page, tmp_path):
    model, contexts = located
    settings = ReconstructionSettings(std_samples=0, output=OutputSettings(4.0))
    reconstruct(model, contexts, tmp_path / 'out', settings)
    sidecar = json.loads((tmp_path / 'out' / 'reconstruction.json').read_text())
    assert sidecar['alignment'] == 'deformable'
    found = sidecar['location']
    np.testing.assert_allclose(found['size_percent'], [110, 100, 100], atol=1e-3)
    assert found['shift_mm'][2] == pytest.approx(2 * 2.5)
    # The displacement is constant: the first function of the basis is its standard deviation.
    assert found['rms_displacement_mm'] == found['largest_displacement_mm'] == pytest.approx(1.5 * 2.0)
    assert found['shift_std_mm'][1] > 0.1 * 2.0
    assert found['error'] == 0.034
    assert sidecar['warnings'] == ['context slices: are odd.']
    text = (tmp_path / 'out' / 'report.html').read_text()
    page = parse_page(text)
    assert [attributes['id'] for tag, attributes in page.tags if tag == 'img'] == ['planes', 'slices', 'places']
    assert '<tr><td>superior</td><td>110.0 \N{PLUS-MINUS SIGN} ' in text
    assert 'difference is 0.034 of the grey levels. After size and place, the anatomy is displaced by 3.0 mm' in text
    assert 'context slices: are odd.' in text


def test_report_without_a_displacement_has_no_deviations(located):
    model, contexts = located
    model.alignment = 'none'
    _, location = locate(model, contexts)
    location.found.covariance[:] = 0
    shown = describe_location(location, 'LPS')
    assert not shown['has_displacement']
    assert [row['direction'] for row in shown['rows']] == ['superior', 'posterior', 'left']
    assert [row['size'] for row in shown['rows']] == ['110.0', '100.0', '100.0']


def test_location_mosaic_has_a_row_for_each_step(located):
    model, contexts = located
    heights = {}
    for alignment in ('none', 'affine', 'deformable'):
        model.alignment = alignment
        _, location = locate(model, contexts)
        content = location_mosaic(location, contexts.images, contexts.positions, 'LPS')
        heights[alignment] = matplotlib.image.imread(io.BytesIO(content)).shape[0]
    assert heights['affine'] == heights['deformable']
    # Another row of 1.2 inches at 100 or 120 dots.
    assert 100 < heights['affine'] - heights['none'] < 160


def test_study_is_not_continued_with_another_alignment(make_locating_model, ellipsoid, write_scan, tmp_path):
    write_scan(tmp_path / 'study' / 'sub-1_T2w.nii.gz', 0)
    subjects = find_subjects(tmp_path / 'study')
    model = make_locating_model(ellipsoid)
    plain = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(8.0))
    settings = StudySettings(SliceSelection(slices=(40,)), reconstruction=plain)

    def complete():
        return reconstruct_study(model, subjects, tmp_path, settings, progress=False)[0]

    assert [complete().state, complete().state] == ['completed', 'complete before']
    model.alignment = 'none'
    assert 'was made with alignment deformable, not none' in complete().error


def test_study_is_not_continued_with_another_placing(make_locating_model, ellipsoid, write_scan, tmp_path):
    scan = write_scan(tmp_path / 'study' / 'sub-1_T2w.nii.gz', 0)
    axes = ''.join(nibabel.aff2axcodes(nibabel.load(scan).affine))
    subjects = find_subjects(tmp_path / 'study')
    model = make_locating_model(ellipsoid)
    plain = ReconstructionSettings(std_samples=0, report=False, output=OutputSettings(8.0))

    def complete(placing):
        settings = StudySettings(SliceSelection(slices=(40,)), reconstruction=plain, placing=placing)
        return reconstruct_study(model, subjects, tmp_path, settings, progress=False)[0]

    assert [complete(Placing()).state, complete(Placing()).state] == ['completed', 'complete before']
    assert "'placement': 'file'" in complete(Placing('file')).error
    assert f"'scan_axes': '{axes}'" in complete(Placing(scan_axes=axes)).error
