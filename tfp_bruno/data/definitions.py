"""The three datasets: how a volume becomes a stack of slices, and which slices are the contexts of the evaluation.

The figures are those of Hou et al. 2019: field of view, number of slices and their share of the volume, split sizes and
context slices. They are one value each, so that training, evaluation and reconstruction cannot disagree.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfp_bruno.errors import UserError


@dataclasses.dataclass(frozen=True)
class DatasetDefinition:
    """The settings that turn a volume into the model's stack of slices.

    Attributes:
        name: 'fetal', 'adni' or 'thorax'.
        field_of_view: side of the square in-plane field of view in mm, centred on the volume.
        num_slices: K, the number of slices of a stack.
        stack_share: share of the volume's extent along the axis nearest to superior, about its middle, that the K
            slices divide into equal parts; a slice lies in the middle of its part.
        test_share: share of the subjects that go to the test split when the data have no split of their own.
        context_slices: the context slices of the evaluation, keyed by their count.
        percentile: percentile of the non-zero voxels that becomes intensity 1 (0 stays 0); None with a window.
        window: intensities that become 0 and 1, in the file's units (Hounsfield units); None with a percentile.
        image_size: H = W, the pixels along each side of a slice.
        slice_spacing: nominal distance of two slices in mm, for output that belongs to no scan. A volume's own extent
            decides the distance of its slices; it is near this one, the paper's.
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

    def __post_init__(self):
        if (self.percentile is None) == (self.window is None):
            raise ValueError(f'{self.name}: exactly one of percentile and window must be given.')

    @property
    def pixel_spacing(self) -> float:
        """The side of a pixel in mm."""
        return self.field_of_view / self.image_size

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
            settings: the dict that `to_json` returned, straight or through a JSON file.

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


DEFINITIONS: Mapping[str, DatasetDefinition] = {
    'fetal': DatasetDefinition(
        name='fetal',
        field_of_view=160.0,
        num_slices=80,
        stack_share=0.65,
        test_share=20 / 270,
        context_slices={
            0: (),
            1: (40,),
            3: (20, 40, 60),
            4: (10, 30, 50, 70),
            7: (10, 20, 30, 40, 50, 60, 70),
        },
    ),
    'adni': DatasetDefinition(
        name='adni',
        field_of_view=218.0,
        num_slices=120,
        stack_share=0.75,
        test_share=15 / 85,
        context_slices={count: spread_evenly(count, 120) for count in (0, 1, 3, 5, 9)},
    ),
    'thorax': DatasetDefinition(
        name='thorax',
        field_of_view=200.0,
        num_slices=100,
        stack_share=0.50,
        test_share=8 / 58,
        context_slices={count: spread_evenly(count, 100) for count in (0, 1, 3, 5, 9)},
        percentile=None,
        # Air to cortical bone: lung lies near 0.1, soft tissue near 0.5, and padding below air becomes 0.
        window=(-1000.0, 1000.0),
    ),
}


def get_definition(name: str) -> DatasetDefinition:
    """Returns the definition of a dataset.

    Args:
        name: 'fetal', 'adni' or 'thorax'.

    Returns:
        The DatasetDefinition of that name.

    Raises:
        UserError: if there is no dataset of that name.
    """
    if name not in DEFINITIONS:
        raise UserError(f'--dataset={name}: unknown dataset; give one of {", ".join(DEFINITIONS)}.')
    return DEFINITIONS[name]
