"""The definition of a dataset: how a volume becomes a stack of slices, and the contexts of the evaluation.

Training, evaluation and reconstruction use the same definition, so that they cannot disagree. Definitions are TOML
files: those of the package, and files of the user.
"""

import dataclasses
import importlib.resources
import os
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import Field
from pydantic.dataclasses import dataclass

from tfp_bruno.errors import UserError
from tfp_bruno.settings import STRICT, WholeNumber, read_toml, structure

# Directions of the axes (w, h, k) of a stack: columns, rows and slices. All planes are right-handed and in radiological
# convention: the patient's right, or anterior, is on the left of the image.
PLANES = {'axial': 'LPS', 'coronal': 'LIP', 'sagittal': 'PIR'}
NAMES = ('fetal', 'adni', 'thorax')
DEFAULT_COUNTS = (0, 1, 3, 5, 9)


@dataclass(frozen=True, config=STRICT)
class DatasetDefinition:
    """The settings that turn a volume into the model's stack of slices.

    Attributes:
        name: 'fetal', 'adni', 'thorax', or the name in a dataset file: letters, digits, - and _.
        field_of_view: Side of the square in-plane field of view, centred on the volume, mm.
        num_slices: Number of slices K of a stack.
        stack_share: Share of the volume's extent along the slice axis, about its middle, that the K slices divide into
            equal parts; each slice is in the middle of its part.
        context_slices: Context slices of the evaluation, keyed by their count.
        test_share: Share of the subjects in the test split if the data have no split of their own.
        percentile: Percentile of the voxels outside the background that becomes intensity 1; None with a window.
        window: Intensities that become 0 and 1, in the units of the file, None with a percentile. If the first is -100
            or less, these are Hounsfield units, which are checked.
        image_size: Number of pixels along each side of a slice, H = W.
        slice_spacing: Nominal distance between slices in mm, for output that belongs to no scan. In a volume, the
            distance depends on its extent and is close to this one.
        plane: 'axial' (slices from inferior to superior), 'coronal' (from anterior to posterior) or 'sagittal' (from
            left to right).

    Raises:
        ValueError: If a setting is out of range, or not exactly one of percentile and window is given.
    """

    # Values beyond these limits are more likely mistakes than models that fit into memory.
    name: Annotated[str, Field(pattern=r'^[\w-]+$')]
    field_of_view: Annotated[float, Ge(1), Le(2000)]
    num_slices: Annotated[int, Ge(3), Le(1000)]
    stack_share: Annotated[float, Ge(0.01), Le(1)]
    context_slices: Mapping[int, tuple[int, ...]] = dataclasses.field(hash=False)
    test_share: Annotated[float, Ge(0), Le(0.9)] = 0.1
    percentile: Annotated[float, Ge(50), Le(100)] | None = 99.5
    window: tuple[float, float] | None = None
    image_size: Annotated[int, Ge(8), Le(1024)] = 64
    slice_spacing: Annotated[float, Ge(0.01), Le(100)] = 1.0
    plane: Literal['axial', 'coronal', 'sagittal'] = 'axial'

    def __post_init__(self) -> None:
        if (self.percentile is None) == (self.window is None):
            raise ValueError(f'{self.name}: exactly one of percentile and window must be given.')
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError(f'window must be two numbers, the lower one first, got {list(self.window)}.')
        for count, slices in self.context_slices.items():
            if len(set(slices)) != count or len(slices) != count or not set(slices) <= set(range(self.num_slices)):
                raise ValueError(
                    f'context_slices.{count} must be {count} different slice numbers from 0 to {self.num_slices - 1}, '
                    f'got {list(slices)}.'
                )

    @property
    def pixel_spacing(self) -> float:
        """Side of a pixel in mm."""
        return self.field_of_view / self.image_size

    @property
    def axes(self) -> str:
        """Directions of columns, rows and slices, three of the letters L, R, P, A, I, S."""
        return PLANES[self.plane]


def read_definition(path: str | os.PathLike) -> DatasetDefinition:
    """Reads the definition of a dataset.

    Args:
        path: TOML file with the attributes of `DatasetDefinition`. Instead of `context_slices` it can have
            `context_counts`, the numbers of contexts of the evaluation, which are spread evenly.

    Raises:
        UserError: If the file cannot be read, or a setting is unknown, missing, of another type or out of range.
    """
    values, place = read_toml(path), str(path)
    for pair in (('percentile', 'window'), ('context_counts', 'context_slices')):
        if all(name in values for name in pair):
            raise UserError(f'{place}: {pair[0]} and {pair[1]} exclude each other; leave one out.')
    if 'window' in values:
        values['percentile'] = None
    counts = values.pop('context_counts', None)
    if 'context_slices' in values:
        values['context_slices'] = _sorted(values['context_slices'])
        return structure(DatasetDefinition, values, place)
    definition = structure(DatasetDefinition, {**values, 'context_slices': {}}, place)
    if counts is None:
        counts = [count for count in DEFAULT_COUNTS if count < definition.num_slices]
    counts = structure(tuple[WholeNumber, ...], counts, place, 'context_counts')
    if not counts or max(counts) >= definition.num_slices:
        raise UserError(
            f'{place}: context_counts = {list(counts)}: must be numbers that leave slices to complete of '
            f'{definition.num_slices}.'
        )
    contexts = {count: spread_evenly(count, definition.num_slices) for count in counts}
    return dataclasses.replace(definition, context_slices=contexts)


def get_definition(name: str) -> DatasetDefinition:
    """Returns the definition of a dataset of the package.

    Args:
        name: 'fetal', 'adni' or 'thorax'.

    Raises:
        UserError: If there is no dataset of that name.
    """
    if name not in DEFINITIONS:
        raise UserError(
            f'`dataset={name}`: unknown dataset; give one of {", ".join(DEFINITIONS)}, or a `dataset_config`.'
        )
    return DEFINITIONS[name]


def spread_evenly(count: int, num_slices: int) -> tuple[int, ...]:
    """Returns `count` slice numbers that divide a stack of `num_slices` into `count + 1` equal parts."""
    return tuple(round(num_slices * (index + 1) / (count + 1)) for index in range(count))


def _sorted(table: Any) -> Any:
    """Returns a table of slice numbers with each list in order; values of another form as they are."""
    if not isinstance(table, dict):
        return table
    return {
        name: sorted(row) if isinstance(row, list) and all(isinstance(k, int) for k in row) else row
        for name, row in table.items()
    }


_FOLDER = pathlib.Path(str(importlib.resources.files('tfp_bruno.data'))) / 'datasets'
DEFINITIONS: Mapping[str, DatasetDefinition] = {name: read_definition(_FOLDER / f'{name}.toml') for name in NAMES}
