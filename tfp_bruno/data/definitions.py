"""The definition of a dataset: how a volume becomes a stack of slices, and the contexts of the evaluation.

Training, evaluation and reconstruction use the same definition, so that they cannot disagree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# Directions of the axes (w, h, k) of a stack: columns, rows and slices. All planes are right-handed and in radiological
# convention: the patient's right, or anterior, is on the left of the image.
PLANES = {'axial': 'LPS', 'coronal': 'LIP', 'sagittal': 'PIR'}


@dataclasses.dataclass(frozen=True)
class DatasetDefinition:
    """The settings that turn a volume into the model's stack of slices.

    Attributes:
        name: 'fetal', 'adni', 'thorax', or the name in a dataset file.
        field_of_view: Side of the square in-plane field of view, centred on the volume, mm.
        num_slices: Number of slices K of a stack.
        stack_share: Share of the volume's extent along the slice axis, about its middle, that the K slices divide into
            equal parts; each slice is in the middle of its part.
        test_share: Share of the subjects in the test split if the data have no split of their own.
        context_slices: Context slices of the evaluation, keyed by their count.
        percentile: Percentile of the voxels outside the background that becomes intensity 1; None with a window.
        window: Intensities that become 0 and 1, in the units of the file, None with a percentile. If the first is -100
            or less, these are Hounsfield units, which are checked.
        image_size: Number of pixels along each side of a slice, H = W.
        slice_spacing: Nominal distance between slices in mm, for output that belongs to no scan. In a volume, the
            distance depends on its extent and is close to this one.
        plane: 'axial' (slices from inferior to superior), 'coronal' (from anterior to posterior) or 'sagittal' (from
            left to right).

    Raises:
        ValueError: If not exactly one of percentile and window is given, or the plane is unknown.
    """

    name: str
    field_of_view: float
    num_slices: int
    stack_share: float
    test_share: float
    context_slices: Mapping[int, tuple[int, ...]] = dataclasses.field(hash=False)
    percentile: float | None = 99.5
    window: tuple[float, float] | None = None
    image_size: int = 64
    slice_spacing: float = 1.0
    plane: str = 'axial'

    def __post_init__(self) -> None:
        if (self.percentile is None) == (self.window is None):
            raise ValueError(f'{self.name}: exactly one of percentile and window must be given.')
        if self.plane not in PLANES:
            raise ValueError(f'{self.name}: plane must be one of {", ".join(PLANES)}, not {self.plane}.')

    @property
    def pixel_spacing(self) -> float:
        """Side of a pixel in mm."""
        return self.field_of_view / self.image_size

    @property
    def axes(self) -> str:
        """Directions of columns, rows and slices, three of the letters L, R, P, A, I, S."""
        return PLANES[self.plane]

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as values that JSON can hold, see `from_json`."""
        settings = dataclasses.asdict(self)
        settings['context_slices'] = {str(count): list(slices) for count, slices in self.context_slices.items()}
        settings['window'] = None if self.window is None else list(self.window)
        return settings

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> DatasetDefinition:
        """Returns the definition whose `to_json` is given.

        Args:
            settings: Result of `to_json`, directly or from a JSON file; settings that have a default may be missing.

        Raises:
            TypeError: If a setting is missing or unknown.
        """
        values = dict(settings)
        values['context_slices'] = {int(count): tuple(s) for count, s in settings['context_slices'].items()}
        values['window'] = None if settings['window'] is None else tuple(settings['window'])
        return cls(**values)


def spread_evenly(count: int, num_slices: int) -> tuple[int, ...]:
    """Returns `count` slice numbers that divide a stack of `num_slices` into `count + 1` equal parts."""
    return tuple(round(num_slices * (index + 1) / (count + 1)) for index in range(count))
