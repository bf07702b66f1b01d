"""The page that shows whether the registration of the training subjects worked."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfp_bruno.data import DatasetDefinition, Population, atomic
from tfp_bruno.data.plain_text import printable
from tfp_bruno.errors import warn
from tfp_bruno.reconstruction import html_report, isotropic_grid, to_grid
from tfp_bruno.reconstruction.location import direction_names
from tfp_bruno.reconstruction.output_grid import centred_stack_affine
from tfp_bruno.reconstruction.pictures import three_planes
from tfp_bruno.registration import OUTLIER_Z, Registration, RegistrationQuality

_MOST_PICTURED = 3


def write_registration_report(
    path: str | os.PathLike, definition: DatasetDefinition, subjects: Population, registration: Registration
) -> None:
    """Writes a page with the means, sizes, places and residuals of registered subjects, and warns of outliers.

    Args:
        path: The HTML file, which is written atomically.
        definition: The dataset.
        subjects: The subjects that were registered.
        registration: Their registration.

    Raises:
        UserError: If the file cannot be written.
    """
    quality = RegistrationQuality.measure(subjects.images, registration)
    names = [printable(name) for name in subjects.names]
    mean = registration.volumes.mean(axis=0)
    pictures = {'means': _picture(definition, {'before': subjects.images.mean(axis=0), 'after': mean}, 'mean')}
    worst = {names[number]: registration.volumes[number] for number in quality.outliers[:_MOST_PICTURED]}
    pictures['worst'] = _picture(definition, {'mean': mean, **worst}, 'outliers') if worst else b''
    page = html_report.render(
        'registration',
        f'{definition.name}: registration of the training subjects',
        pictures,
        is_phantom=subjects.is_phantom,
        outliers=[names[number] for number in quality.outliers],
        spread_before=quality.spread_before,
        spread_after=quality.spread_after,
        frames=_frame_rows(quality, definition.axes),
        rows=_subject_rows(quality, names),
        threshold=OUTLIER_Z,
    )
    atomic.write_text(path, page)
    if len(quality.outliers):
        first = ', '.join(names[number] for number in quality.outliers[:_MOST_PICTURED])
        others = len(quality.outliers) - _MOST_PICTURED
        more = f' and {others} others' if others > 0 else ''
        warn(f'training subjects: {first}{more} are far from the mean after the registration; look at {path}.')


def _picture(definition: DatasetDefinition, stacks: dict[str, np.ndarray], title: str) -> bytes:
    """Returns a PNG of stacks `[K, H, W]` by label in three planes."""
    affine = centred_stack_affine(definition)
    shape = (definition.num_slices, definition.image_size, definition.image_size)
    # As many voxels as the stack has.
    spacing = float(np.cbrt(definition.slice_spacing * definition.pixel_spacing**2))
    grid = isotropic_grid(affine, shape, spacing)
    rows = [(label, to_grid(np.asarray(stack, np.float32), affine, grid), 'gray') for label, stack in stacks.items()]
    mask = np.max([data for _, data, _ in rows], axis=0) > 0
    return three_planes(rows, mask if mask.any() else np.ones_like(mask), title)


def _frame_rows(quality: RegistrationQuality, axes: str) -> list[dict[str, str]]:
    """Returns the spread of sizes and places along each axis of the stack, as text."""
    spreads = zip(direction_names(axes), quality.sizes.T, quality.places.T, strict=True)
    return [{'direction': name, 'size': _spread(sizes), 'place': _spread(places)} for name, sizes, places in spreads]


def _spread(values: np.ndarray) -> str:
    return f'{values.std():.1f} ({values.min():.1f} to {values.max():.1f})'


def _subject_rows(quality: RegistrationQuality, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows of the table of subjects, the largest residual first."""
    outliers = set(quality.outliers.tolist())
    return [
        {
            'name': names[number],
            'displacement': quality.displacements[number],
            'residual': quality.residuals[number],
            'z_score': quality.z_scores[number],
            'is_outlier': number in outliers,
        }
        for number in np.argsort(-quality.residuals, kind='stable').tolist()
    ]
