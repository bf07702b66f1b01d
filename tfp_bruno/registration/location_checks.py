"""Warnings about slices whose map is doubtful."""

import numpy as np

from tfp_bruno.errors import warn
from tfp_bruno.registration.location import Location
from tfp_bruno.registration.map_finder import MapFinder

_FOREGROUND = 0.02
# Slices with a smaller share of foreground do not determine a map.
_LEAST_SHARE = 0.01
# Slices of other subjects have a misfit of so many times the 95 % quantile of the training subjects at most.
_MOST_MISFIT = 1.7
_QUANTILE = 0.95
# Maps that are equally probable usually lie within 3 mm of each other.
_AMBIGUOUS = 5.0
# Difference of the objectives of mirrored slices and slices, nats, above which they seem exchanged.
_EXCHANGED = 30.0


def check_location(finder: MapFinder, location: Location, images: np.ndarray, slices: np.ndarray, axes: str) -> None:
    """Warns of slices with no map, or with two that are equally probable, and of unusual or mirrored slices.

    Args:
        finder: Found the map.
        location: The map that was found.
        images: `[n, H, W]` in [0, 1].
        slices: `[n]`, their positions in the stack.
        axes: Directions in which columns, rows and slices grow, such as 'LPS'.
    """
    if not len(slices):
        return
    share = float(np.mean(images > _FOREGROUND))
    if share < _LEAST_SHARE:
        warn(
            f'context slices: show almost no anatomy ({100 * share:.2g} % of their pixels); size, place and shape are '
            'those of the average training subject.'
        )
        return
    # Without a displacement, usual subjects do not meet the model either.
    if finder.misfits is not None and location.alignment == 'deformable':
        ratio = location.found.misfit / float(np.quantile(finder.misfits, _QUANTILE))
        if ratio > _MOST_MISFIT:
            warn(
                'context slices: do not meet the anatomy of the training data: their misfit is '
                f'{ratio:.1f} times that of training subjects; check orientation, mask and intensities of the scan; '
                'the completed volume may be wrong.'
            )
    if location.found.ambiguity > _AMBIGUOUS:
        warn(
            'context slices: two places in the anatomy explain them equally well, '
            f'{location.found.ambiguity:.0f} mm apart; one of them was taken; give more slices.'
        )
    mirrored = finder.find(*_mirrored(images, slices, axes, len(location.model.mean)), location.alignment)
    gain = mirrored.log_posterior - location.found.log_posterior
    if gain > _EXCHANGED:
        warn(
            'context slices: left and right seem exchanged: the mirrored slices meet the training data better (by '
            f'{gain:.0f} nats); check the orientation of the scan.'
        )


def _mirrored(images: np.ndarray, slices: np.ndarray, axes: str, num_slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns slices and positions with left and right exchanged; one of them is along columns or across slices."""
    if axes[2] in 'LR':
        return images, num_slices - 1 - slices
    return images[..., ::-1], slices
