"""Each volume has a mask of its own, or causes an error; label maps are recognised by their voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tfp_bruno.data.masks import MaskFinder, is_label_map
from tfp_bruno.errors import UserError
from tfp_bruno.phantoms.subject import generate


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ('volume', 'mask'),
    [
        ('case_01.nii.gz', 'case_01_mask.nii.gz'),
        ('case_01.nii.gz', 'mask_case_01.NII'),
        ('sub-01_T2w.nii', 'sub-01_mask.nii.gz'),
        ('sub-01_T2w.nii', 'sub-01_T2w_mask.nii.gz'),
        ('sub-01_ses-1_run-2_T2w.nii.gz', 'sub-01_ses-1_run-2_desc-brain_mask.nii.gz'),
        ('sub-01_ses-1_run-2_T2w.nii.gz', 'sub-01_ses-1_run-2_T2w_desc-brain_mask.nii.gz'),
        ('sub-01_space-T2w_desc-preproc_T1w.nii.gz', 'sub-01_space-T2w_desc-brain_mask.nii.gz'),
        ('sub-01.nii.gz', 'sub-01_mask.nii.gz'),
        ('T2w.NII.GZ', 'T2w_mask.Nii'),
    ],
)
def test_mask_finder_accepts_all_names_of_masks(tmp_path, volume, mask):
    touch(tmp_path, volume, mask, 'case_mask.nii.gz', 'sub-0_mask.nii.gz')
    assert MaskFinder([tmp_path / volume]).find(tmp_path / volume) == tmp_path / mask


def test_mask_finder_ignores_a_mask_named_after_neither_volume(tmp_path):
    touch(tmp_path, 'case_01.nii.gz', 'case_02.nii.gz', 'case_mask.nii.gz')
    finder = MaskFinder([tmp_path / 'case_01.nii.gz', tmp_path / 'case_02.nii.gz'])
    for name in ('case_01', 'case_02'):
        with pytest.raises(UserError, match=rf'{name}\.nii\.gz: has no mask; .* named {name}_mask or mask_{name} \('):
            finder.find(tmp_path / f'{name}.nii.gz')


def test_mask_finder_refuses_shared_and_ambiguous_masks(tmp_path):
    touch(tmp_path, 'sub-1_desc-a_T2w.nii', 'sub-1_desc-b_T2w.nii', 'sub-1_mask.nii')
    one, two = (tmp_path / f'sub-1_desc-{name}_T2w.nii' for name in 'ab')
    with pytest.raises(UserError, match=r'sub-1_mask\.nii: would be the mask of both .*desc-a.* and .*desc-b'):
        MaskFinder([one, two]).find(one)
    assert MaskFinder([one]).find(one).name == 'sub-1_mask.nii'
    touch(tmp_path, 'sub-1_mask.nii.gz')
    with pytest.raises(UserError, match=r'has two masks, sub-1_mask\.nii and sub-1_mask\.nii\.gz; remove one'):
        MaskFinder([one]).find(one)


def test_mask_finder_searches_the_folder_of_the_volume(tmp_path):
    touch(tmp_path, 'ses-1/T2w.nii', 'ses-1/T2w_mask.nii', 'ses-2/T2w.nii')
    finder = MaskFinder([tmp_path / 'ses-1' / 'T2w.nii', tmp_path / 'ses-2' / 'T2w.nii'])
    assert finder.find(tmp_path / 'ses-1' / 'T2w.nii') == tmp_path / 'ses-1' / 'T2w_mask.nii'
    with pytest.raises(UserError, match='has no mask'):
        finder.find(tmp_path / 'ses-2' / 'T2w.nii')


def test_mask_finder_finds_broken_links(tmp_path):
    touch(tmp_path, 'a.nii')
    (tmp_path / 'a_mask.nii').symlink_to('nowhere')
    assert MaskFinder([tmp_path / 'a.nii']).find(tmp_path / 'a.nii') == tmp_path / 'a_mask.nii'


def field(seed, size=40):
    """A smooth random field in [0, 1], 0 outside a ball."""
    data = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size,) * 3), 4)
    data = (data - data.min()) / np.ptp(data)
    x = np.linspace(-1, 1, size)
    ball = x[:, None, None] ** 2 + x[:, None] ** 2 + x**2 < 0.8
    return data * ball, ball


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 7))
def test_is_label_map_recognises_regions_of_few_whole_numbers(seed, count):
    data, ball = field(seed)
    labels = ball * (1 + np.digitize(data, np.linspace(0.3, 0.7, count - 1)))
    assert is_label_map(labels.astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([15, 63, 255, 4095]))
def test_is_label_map_rejects_noisy_intensities_of_any_depth(seed, most):
    data, ball = field(seed)
    noisy = np.clip(data + ball * np.random.default_rng(seed).normal(0, 0.1, data.shape), 0, 1)
    assert not is_label_map(np.round(noisy * most).astype(np.float32))
    assert not is_label_map(noisy.astype(np.float32))


def test_is_label_map_recognises_masks_but_not_phantoms():
    made = generate('fetal', 1)
    assert not is_label_map(made.image)
    assert not is_label_map(np.round(made.image * 255))
    assert is_label_map(made.mask.astype(np.float32))
    assert is_label_map(made.mask.astype(np.float32) * 255)
    # Two values that are no whole numbers are a phantom's.
    assert not is_label_map(made.mask.astype(np.float32) * 0.6)


def test_is_label_map_rejects_hounsfield_units_and_sparse_numbers():
    data, ball = field(0)
    assert not is_label_map(np.where(ball, 40, -1000).astype(np.float32))
    assert not is_label_map((300 * np.digitize(data, [0.3, 0.5, 0.7])).astype(np.float32))
