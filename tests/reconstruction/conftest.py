"""A model without training, scans, and scores."""

import html.parser
import pathlib

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Volume, get_definition
from tfp_bruno.errors import warn
from tfp_bruno.registration import CanonicalModel, CanonicalSpace, FoundMap, Frame, Location, SmoothBasis, SubjectMap


class FakeModel:
    """Stands in for a trained model: it predicts one stack, and its samples add seeded noise."""

    name, sampling, temperature = 'fake', {}, 1.0

    def __init__(self, truth, dataset='fetal', noise=0.1):
        self.definition = get_definition(dataset)
        self.info = RunInfo(None, 'built-in phantom population (synthetic)', True, 6, seed=0, preset='cpu')
        self.truth, self.noise = truth, noise
        self.calls = []

    def predict(self, context_images, context_slices, query_slices):
        self.calls.append((context_images, tuple(context_slices)))
        return np.repeat(self.truth[np.newaxis, query_slices], len(context_images), axis=0)

    def sample(self, context_images, context_slices, query_slices, num_samples, seed):
        noise = np.random.default_rng(seed).normal(0, self.noise, (num_samples, 1, len(query_slices), 1, 1))
        present = self.truth[query_slices] > 0
        return (self.truth[query_slices] + noise * present)[:, :].astype(np.float32)


class LocatingFake(FakeModel):
    """A fake whose subjects lie in a canonical volume: the one stack that it predicts."""

    alignment, has_exact_log_prob = 'deformable', True

    def log_prob(self, images, slices):
        raise NotImplementedError

    def with_temperature(self, temperature):
        raise NotImplementedError

    def with_alignment(self, alignment):
        raise NotImplementedError

    def predict_in_frame(self, frame, query_slices):
        raise NotImplementedError

    def log_posterior(self, images, slices, coarse=False):
        raise NotImplementedError

    def locate(self, images, slices):
        basis = SmoothBasis(self.truth.shape, (2.0, 2.5, 2.5), 20.0, 2.0, num_modes=5)
        space = CanonicalSpace(Frame.measure(self.truth), basis)
        coefficients = np.zeros((3, basis.size))
        coefficients[1, 0] = 1.5
        frame = Frame(space.frame.size * [1.1, 1, 1], space.frame.place + np.array([0, 0, 2]))
        covariance = 0.01 * np.eye(coefficients.size + 6)
        found = FoundMap(SubjectMap(frame, coefficients), np.zeros(0), covariance, error=0.034)
        warn('context slices: are odd.')
        return Location(CanonicalModel(space, self.truth, np.zeros((*self.truth.shape, 0))), found, self.alignment)


@pytest.fixture
def ellipsoid():
    """A smooth off-centre ellipsoid, `[80, 64, 64]` in [0, 0.8], background 0."""
    k, h, w = np.meshgrid(np.arange(80), np.arange(64), np.arange(64), indexing='ij')
    inside = ((k - 42) / 28) ** 2 + ((h - 30) / 18) ** 2 + ((w - 35) / 14) ** 2 < 1
    return ndimage.gaussian_filter(0.8 * inside.astype(np.float32), 1.0) * inside


@pytest.fixture
def model(ellipsoid):
    return FakeModel(ellipsoid)


@pytest.fixture(scope='session')
def make_model():
    return FakeModel


@pytest.fixture(scope='session')
def make_locating_model():
    return LocatingFake


@pytest.fixture(scope='session')
def oblique_scan():
    """A scan whose file order is (posterior, superior, right), oblique by 20 degrees, with a bright blob.

    Returns the Volume and the world point of the blob.
    """
    axes = np.array([[0, 0, 1.2], [-1.5, 0, 0], [0, 2.0, 0]])
    matrix = Rotation.from_rotvec([0.2, -0.2, 0.2]).as_matrix() @ axes
    shape = np.array([90, 60, 100])
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = [30, -40, 50] - matrix @ ((shape - 1) / 2)
    point = np.array([38.0, -45.0, 55.0])
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    distance = np.sum((voxels @ matrix.T + affine[:3, 3] - point) ** 2, -1)
    data = (800 * np.exp(-distance / (2 * 8.0**2))).astype(np.float32)
    return Volume(data, affine, pathlib.Path('scan.nii.gz')), point


@pytest.fixture
def upright_scan():
    """An upright box of a fifth of the field of view with structure, whole slices of 1 mm along z."""
    rng = np.random.default_rng(0)
    data = np.zeros((80, 80, 100), np.float32)
    structure = ndimage.gaussian_filter(rng.uniform(-1, 1, (40, 40, 80)), 2)
    data[20:60, 20:60, 10:90] = np.interp(structure, (structure.min(), structure.max()), (50, 1000))
    return Volume(data, np.diag([1.5, 1.5, 1.0, 1.0]), pathlib.Path('scan.nii.gz'))


@pytest.fixture(scope='session')
def write_scan():
    """Writes a scan of random intensities, and its mask: `write_scan(path, seed, 'a_mask.nii')`; returns the path."""

    def write(path, seed, mask=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = np.random.default_rng(seed).uniform(1, 100, (16, 16, 16)).astype(np.float32)
        affine = np.diag([8.0, 8, 8, 1])
        nibabel.save(nibabel.Nifti1Image(data, affine), path)
        if mask is not None:
            nibabel.save(nibabel.Nifti1Image((data > 20).astype(np.uint8), affine), path.with_name(mask))
        return path

    return write


@pytest.fixture(scope='session')
def fake_scores():
    """A scorer whose bits tell the slice, and whose anomaly scores tell the number of contexts."""

    def score(images, slices, contexts, context_slices):
        return np.array(slices) / 10, np.full(len(slices), -float(len(context_slices)))

    return score


class Page(html.parser.HTMLParser):
    """Collects the tags of a page; every one must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'img', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope='session')
def parse_page():
    """Parses HTML whose tags must all be closed: `parse_page(text).tags`."""
    return Page
