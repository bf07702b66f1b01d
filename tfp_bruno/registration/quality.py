"""How well subjects were registered: their spread of size and place, displacements, and what is left of differences."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from tfp_bruno.registration.groupwise import Registration
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

# A modified z-score above which a value is an outlier (Iglewicz and Hoaglin 1993, How to detect and handle outliers).
OUTLIER_Z = 3.5
# The anatomy of the canonical volume, and the distance of the points at which displacements are measured, voxels.
_FOREGROUND = 0.02
_SPACING = 3


@dataclasses.dataclass(frozen=True)
class RegistrationQuality:
    """Numbers that show whether S subjects were brought to one canonical volume.

    Attributes:
        sizes: `[S, 3]`, size of each subject along (K, H, W), per cent of that of the canonical volume.
        places: `[S, 3]`, place of each subject less that of the canonical volume, mm.
        displacements: `[S]`, root mean square of the displacement over the anatomy, mm.
        residuals: `[S]`, root mean square of the difference to the mean in the canonical volume over the anatomy, grey
            levels of [0, 1].
        z_scores: `[S]`, robust z-scores of the residuals: deviations from the median over the normalised median
            absolute deviation.
        spread_before: Root mean square over the anatomy of the standard deviation between subjects in their stacks.
        spread_after: The same in the canonical volume.
    """

    sizes: np.ndarray
    places: np.ndarray
    displacements: np.ndarray
    residuals: np.ndarray
    z_scores: np.ndarray
    spread_before: float
    spread_after: float

    @classmethod
    def measure(cls, images: np.ndarray, registration: Registration) -> RegistrationQuality:
        """Measures a registration of subjects `[S, K, H, W]`."""
        space, maps, volumes = registration.space, registration.maps, registration.volumes
        sizes, places = (np.array(each) for each in zip(*(subject.frame for subject in maps), strict=True))
        mean = volumes.mean(axis=0)
        residuals = np.sqrt([np.mean(np.square(volume - mean)[_anatomy(mean)]) for volume in volumes])
        return cls(
            sizes=100 * sizes / space.frame.size,
            places=(places - space.frame.place) * space.basis.voxel_size,
            displacements=np.array([_rms_displacement(space, subject, mean) for subject in maps]),
            residuals=residuals,
            z_scores=_robust_z_scores(residuals),
            spread_before=_spread(images),
            spread_after=_spread(volumes),
        )

    @property
    def outliers(self) -> np.ndarray:
        """Numbers of the subjects whose residual is an outlier, the largest first."""
        order = np.argsort(-self.residuals, kind='stable')
        return order[self.z_scores[order] > OUTLIER_Z]


def _anatomy(mean: np.ndarray) -> np.ndarray:
    """Returns the anatomy of a mean volume, bool `[K, H, W]`; everything if the volume is black."""
    inside = mean > _FOREGROUND
    return inside if inside.any() else np.ones_like(inside)


def _rms_displacement(space: CanonicalSpace, subject: SubjectMap, mean: np.ndarray) -> float:
    axes = [np.arange(min(_SPACING // 2, size - 1), size, _SPACING) for size in mean.shape]
    displacement = space.basis.combine(subject.coefficients, axes)
    return float(np.sqrt(np.mean(np.square(displacement).sum(axis=0)[_anatomy(mean[np.ix_(*axes)])])))


def _robust_z_scores(values: np.ndarray) -> np.ndarray:
    """Returns deviations from the median in robust standard deviations; 0 for the median itself."""
    deviations = values - np.median(values)
    spread = float(stats.median_abs_deviation(values, scale='normal'))
    # Half of the values may be equal.
    return deviations / spread if spread else np.where(deviations, np.copysign(np.inf, deviations), 0.0)


def _spread(volumes: np.ndarray) -> float:
    """Returns the root mean square standard deviation of volumes `[S, K, H, W]` over the anatomy of their mean."""
    # Slice by slice, so that no copy of all volumes is needed.
    variances = np.stack([volumes[:, k].var(axis=0) for k in range(volumes.shape[1])])
    return float(np.sqrt(variances[_anatomy(volumes.mean(axis=0))].mean()))
