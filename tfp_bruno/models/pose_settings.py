"""Settings of what a pose is: the number of a slice, or the place of a slice in a canonical volume."""

from typing import Annotated, Literal

from annotated_types import Ge, Len
from pydantic.dataclasses import dataclass

from tfp_bruno.networks import AffineGrid, DisplacedGrid, Grid
from tfp_bruno.settings import STRICT, Positive


@dataclass(frozen=True, config=STRICT)
class OneHotPoses:
    """A pose is the number of a slice, one-hot.

    Attributes:
        architecture: Name of the kind of poses.
    """

    architecture: Literal['one_hot'] = 'one_hot'

    def grid(self, image_size: tuple[int, int]) -> None:
        """Returns `None`: the slices have no grid."""
        del image_size


@dataclass(frozen=True, config=STRICT)
class AffinePoses:
    """A pose is the affine place of a slice in a canonical volume, see `networks.AffineGrid`.

    Attributes:
        offsets: Positions of the parallel grids whose mean is a slice, in units of its thickness.
        pixel_size: Side of a pixel of the canonical volume in units of the distance of its slices, for distances
            between poses.
        architecture: Name of the kind of poses.
    """

    offsets: Annotated[tuple[float, ...], Len(1)] = (0.0,)
    pixel_size: Positive = 1.0
    architecture: Literal['affine'] = 'affine'

    def grid(self, image_size: tuple[int, int]) -> Grid:
        """Returns the grid of slices of `(H, W)` pixels."""
        return AffineGrid(image_size, self.offsets)


@dataclass(frozen=True, config=STRICT)
class DisplacedPoses:
    """A pose is the affine place of a slice in a canonical volume and a displacement, see `networks.DisplacedGrid`.

    Attributes:
        control_size: Number of control points of the displacement along each side of the slice.
        offsets: Positions of the parallel grids whose mean is a slice, in units of its thickness.
        pixel_size: Side of a pixel of the canonical volume in units of the distance of its slices, for distances
            between poses.
        architecture: Name of the kind of poses.
    """

    control_size: Annotated[int, Ge(2)] = 13
    offsets: Annotated[tuple[float, ...], Len(1)] = (0.0,)
    pixel_size: Positive = 1.0
    architecture: Literal['displaced'] = 'displaced'

    def grid(self, image_size: tuple[int, int]) -> Grid:
        """Returns the grid of slices of `(H, W)` pixels."""
        return DisplacedGrid(image_size, self.control_size, self.offsets)
