"""Format, subject, session and kind of image by file name."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data.file_names import (
    derived_from,
    is_broken_link,
    is_labels,
    is_nifti,
    is_other_image,
    name_some,
    parse_name,
    split_kind,
    stem_of,
)

WORD = st.text('abcdefgXYZ0123456789', min_size=1, max_size=6)


@given(WORD, st.sampled_from(['.nii', '.nii.gz']), st.data())
def test_is_nifti_ignores_case(name, suffix, data):
    suffix = ''.join(data.draw(st.sampled_from([letter, letter.upper()])) for letter in suffix)
    path = pathlib.Path('folder') / f'{name}{suffix}'
    assert is_nifti(path)
    assert stem_of(path) == name
    assert not is_other_image(path)
    assert not is_nifti(path.with_name(f'.{path.name}'))


@pytest.mark.parametrize('name', ['a.img', 'a.HDR', 'a.mgz', 'a.nrrd', 'IM0001.dcm', 'a.img.gz', 'a.nii.bz2'])
def test_is_other_image_recognises_other_formats(name):
    assert is_other_image(pathlib.Path(name))
    assert not is_nifti(pathlib.Path(name))


@given(
    st.from_regex(r'[A-Za-z0-9]{1,6}', fullmatch=True),
    st.lists(st.sampled_from(['ses-2', 'run-1', 'acq-fast', 'desc-preproc', 'rec-irtk']), unique=True),
    st.sampled_from(['', 'T2w', 'T1w', 'CT']),
)
def test_parse_name_splits_bids_names(label, entities, kind):
    parts = parse_name('_'.join(filter(None, (f'sub-{label}', *entities, kind))))
    assert (parts.subject, parts.entities, parts.kind) == (f'sub-{label}', tuple(entities), kind)
    assert parts.session == ('ses-2' if 'ses-2' in entities else '')


@pytest.mark.parametrize(
    ('stem', 'subject', 'session', 'kind'),
    [
        ('case_01', 'case_01', '', ''),
        ('case_01_ses-1', 'case_01', 'ses-1', ''),
        ('case_01_ses-1_T2w', 'case_01', 'ses-1', 'T2w'),
        ('case_01_visit2', 'case_01', 'visit2', ''),
        ('case_01_run-3', 'case_01', '', ''),
        ('sub-01_T2w_2', 'sub-01', '', 'T2w'),
        # Words before a hyphen that are no entity are a part of the name.
        ('patient_id-7', 'patient_id-7', '', ''),
        ('002_S_0295', '002_S_0295', '', ''),
        ('ses-1', 'ses-1', '', ''),
    ],
)
def test_parse_name_splits_names_that_are_not_bids(stem, subject, session, kind):
    parts = parse_name(stem)
    assert (parts.subject, parts.session, parts.kind) == (subject, session, kind)


def test_split_kind_splits_off_contrast_and_processing():
    assert split_kind('case_01_T1') == ('case_01', 'T1')
    assert split_kind('case_01_t2w_brain') == ('case_01', 't2w_brain')
    assert split_kind('T1') == ('T1', '')
    assert split_kind('case_01') == ('case_01', '')


@pytest.mark.parametrize('stem', ['a_mask', 'mask_3', 'a-label1', 'sub-1_desc-aseg_dseg', 'a.aparc+aseg', 'a_seg_02'])
def test_is_labels_recognises_label_words(stem):
    assert is_labels(pathlib.Path(f'{stem}.NII.gz'))


@pytest.mark.parametrize('stem', ['case_01', 'unmasked', 'STA21_tissue', 'segovia', 'maskell'])
def test_is_labels_ignores_similar_words(stem):
    assert not is_labels(pathlib.Path(f'{stem}.nii'))


MADE = ('Tilt_1', 'Eq_1', 'Tilt_Eq_1', 'ROI1', 'ADC', 'real', 'imaginary', 'ph', 'e2_ph')
MADE += ('tissue', 'regional', 'cp', 'tissue_dilated', 'pve_0')


@pytest.mark.parametrize('end', MADE)
def test_derived_from_needs_the_original_file(end):
    assert derived_from(f'STA21_{end}', {'STA21', f'STA21_{end}'}) == 'STA21'
    assert derived_from(f'STA21_{end}', {f'STA21_{end}', 'STA22'}) is None


def test_derived_from_recognises_parts_of_complex_images():
    assert derived_from('sub-1_part-phase_T1w', {'sub-1_part-mag_T1w'}) == 'sub-1_part-mag_T1w'
    assert derived_from('sub-1_part-imag_T1w', {'sub-1_T1w'}) == 'sub-1_T1w'
    assert derived_from('sub-1_part-mag_T1w', {'sub-1_part-mag_T1w', 'sub-1_T1w'}) is None


def test_is_broken_link_needs_a_link_without_a_target(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    assert is_broken_link(tmp_path / 'link')
    (tmp_path / 'file').touch()
    assert not is_broken_link(tmp_path / 'link')
    assert not is_broken_link(tmp_path / 'none')


def test_name_some_counts_the_rest():
    paths = [pathlib.Path(f'x/{number}.nii') for number in range(7)]
    assert name_some(paths[:2]) == '0.nii, 1.nii'
    assert name_some(paths) == '0.nii, 1.nii, 2.nii, 3.nii, 4.nii and 2 more'
