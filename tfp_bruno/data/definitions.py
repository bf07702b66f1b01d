"""What a dataset is: how a volume becomes a stack of slices, and which slices are the contexts of the evaluation.

They are one value each, so that training, evaluation and reconstruction cannot disagree.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Where the axes (w, h, k) of a stack grow to: columns, rows and slices. All three are right-handed, and slices look as
# radiologists see them: the patient's right on the left, or anterior on the left.
PLANES = {'axial': 'LPS', 'coronal': 'LIP', 'sagittal': 'PIR'}


@dataclasses.dataclass(frozen=True)
class DatasetDefinition:
    """The settings that turn a volume into the model's stack of slices.

    Attributes:
        name: 'fetal', 'adni', 'thorax', or the name in a dataset file.
        field_of_view: side of the square in-plane field of view in mm, centred on the volume.
        num_slices: K, the number of slices of a stack.
        stack_share: share of the volume's extent along the slice axis, about its middle, that the K slices divide into
            equal parts; a slice lies in the middle of its part.
        test_share: share of the subjects that go to the test split when the data have no split of their own.
        context_slices: the context slices of the evaluation, keyed by their count.
        percentile: percentile of the voxels that are not background that becomes intensity 1; None with a window.
        window: intensities that become 0 and 1, in the file's units: Hounsfield units, which are checked, if the first
            is -100 or less; None with a percentile.
        image_size: H = W, the pixels along each side of a slice.
        slice_spacing: nominal distance of two slices in mm, for output that belongs to no scan. A volume's own extent
            decides the distance of its slices; it is near this one.
        plane: 'axial' (slices from inferior to superior), 'coronal' (from anterior to posterior) or 'sagittal' (from
            left to right).
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

    def __post_init__(self):
        if (self.percentile is None) == (self.window is None):
            raise ValueError(f'{self.name}: exactly one of percentile and window must be given.')
        if self.plane not in PLANES:
            raise ValueError(f'{self.name}: plane must be one of {", ".join(PLANES)}, not {self.plane}.')

    @property
    def pixel_spacing(self) -> float:
        """The side of a pixel in mm."""
        return self.field_of_view / self.image_size

    @property
    def axes(self) -> str:
        """Where columns, rows and slices grow to, as three letters of L, R, P, A, I, S."""
        return PLANES[self.plane]

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as values that JSON can hold; `from_json` takes them back."""
        settings = dataclasses.asdict(self)
        settings['context_slices'] = {str(count): list(slices) for count, slices in self.context_slices.items()}
        settings['window'] = None if self.window is None else list(self.window)
        return settings

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> 'DatasetDefinition':
        """Returns the definition that `to_json` described.

        Args:
            settings: the dict that `to_json` returned, straight or through a JSON file; settings that have a default
                may be missing.

        Returns:
            An equal DatasetDefinition.

        Raises:
            TypeError: if a setting is missing or unknown.
        """
        values = dict(settings)
        values['context_slices'] = {int(count): tuple(s) for count, s in settings['context_slices'].items()}
        values['window'] = None if settings['window'] is None else tuple(settings['window'])
        return cls(**values)


def spread_evenly(count: int, num_slices: int) -> tuple[int, ...]:
    """Returns `count` slice numbers that divide a stack of `num_slices` into `count + 1` equal parts."""
    return tuple(round(num_slices * (index + 1) / (count + 1)) for index in range(count))
