"""One phantom subject of any dataset."""

import dataclasses

import numpy as np

from tfp_bruno.data.definitions import get_definition
from tfp_bruno.phantoms import adult, fetal, thorax

# To be raised whenever the voxels of a seed change, so that cached populations are made again.
PHANTOM_VERSION = 1

MAKERS = {'fetal': fetal.make_fetal, 'adni': adult.make_adult, 'thorax': thorax.make_thorax}
SUFFIXES = {'fetal': 'T2w', 'adni': 'T1w', 'thorax': 'CT'}


@dataclasses.dataclass(frozen=True)
class PhantomSubject:
    """A synthetic subject.

    Attributes:
        image: float32 array [X, Y, Z], 1 mm isotropic, axes RAS.
        mask: bool array of the same shape: the brain, or the body.
        affine: float64 array [4, 4], voxel to world mm, centred on the volume.
        facts: Age and the like, keyed by column of participants.tsv.
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    facts: dict[str, float]


def generate(dataset: str, seed: int) -> PhantomSubject:
    """Makes one subject with its facts.

    Args:
        dataset: 'fetal' (T2 brain, in [0, 1]), 'adni' (T1 brain, in [0, 1]) or 'thorax' (CT, Hounsfield units).
        seed: At least 0; the same dataset and seed give the same subject.

    Returns:
        The subject.

    Raises:
        UserError: If there is no such dataset.
    """
    image, mask, facts = MAKERS[get_definition(dataset).name](seed)
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(image.shape) - 1) / 2.0
    return PhantomSubject(image, mask, affine, facts)


def make_subject(dataset: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes one subject.

    Args:
        dataset: As for `generate`.
        seed: As for `generate`.

    Returns:
        image: float32 array [X, Y, Z], 1 mm isotropic, axes RAS.
        mask: bool array of the same shape: the brain, or the body.
        affine: float64 array [4, 4], voxel to world mm.

    Raises:
        UserError: If there is no such dataset.
    """
    subject = generate(dataset, seed)
    return subject.image, subject.mask, subject.affine
