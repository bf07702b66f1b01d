"""How a stack of slices is acquired: its geometry, and which slices are taken together and when."""

import dataclasses
import math

import nibabel
import numpy as np

from tfp_bruno.errors import UserError

# Directions of the columns of a stack's affine; the third is that of the slices. All are right-handed.
STACK_AXES = {'axial': 'RAS', 'coronal': 'RSP', 'sagittal': 'ASR'}
PROFILES = ('gaussian', 'rectangular')
# Of a stack: 0.5 GiB of float32.
MOST_VOXELS = 2**27
# Standard deviation of a Gaussian divided by its full width at half maximum.
SIGMA_PER_FWHM = 1.0 / math.sqrt(8.0 * math.log(2.0))


@dataclasses.dataclass(frozen=True)
class StackProtocol:
    """Geometry and timing of a stack.

    Slices taken together are spread evenly over the stack; the batches follow each other with a step of `interleave`,
    so that with 2 all even batches come before the odd ones.

    Attributes:
        thickness: Of a slice, mm; the full width at half maximum of its profile.
        spacing: Between the centres of neighbouring slices, mm: the thickness and the gap.
        pixel_spacing: Side of a pixel, mm.
        simultaneous: Number of slices in a batch, taken at the same moment.
        interleave: Step from one batch to the next, in batches.
        profile: 'gaussian' or 'rectangular', the sensitivity across the slice.
        margin: Between the mask and the border of the field of view, mm.

    Raises:
        UserError: If a value is out of range, or slices are thicker than twice their spacing.
    """

    thickness: float = 3.0
    spacing: float = 3.0
    pixel_spacing: float = 1.25
    simultaneous: int = 4
    interleave: int = 2
    profile: str = 'gaussian'
    margin: float = 15.0

    def __post_init__(self) -> None:
        for name in ('thickness', 'spacing', 'pixel_spacing'):
            value = getattr(self, name)
            if not 0.1 <= value <= 50.0:
                raise UserError(f'`{name}={value:g}`: is not a length of slices or pixels; give 0.1 to 50 mm.')
        for name in ('simultaneous', 'interleave'):
            if getattr(self, name) < 1:
                raise UserError(f'`{name}={getattr(self, name)}`: must be at least 1.')
        if not 0.0 <= self.margin <= 500.0:
            raise UserError(f'`margin={self.margin:g}`: give 0 to 500 mm.')
        if self.profile not in PROFILES:
            raise UserError(f'`profile={self.profile}`: there is no such profile; give {" or ".join(PROFILES)}.')
        check_thickness(self.thickness, self.spacing)


def check_thickness(thickness: float, spacing: float, name: str = '`thickness`') -> None:
    """Raises a UserError if slices of this thickness are never acquired at this spacing.

    Args:
        thickness: Of a slice, mm.
        spacing: Between the centres of slices, mm.
        name: Of the thickness, for the message.
    """
    if not spacing / 4 <= thickness <= 2 * spacing:
        raise UserError(
            f'{name}: slices {thickness:g} mm thick contradict a spacing of {spacing:g} mm; give a thickness of '
            f'{spacing / 4:g} to {2 * spacing:g} mm.'
        )


def batch_order(num_slices: int, simultaneous: int, interleave: int) -> np.ndarray:
    """Returns the number of each slice's batch in order of time.

    Args:
        num_slices: Of the stack.
        simultaneous: Slices of a batch.
        interleave: Step from one batch to the next.

    Returns:
        int64 `[num_slices]`, from 0; slices of one number are taken together.
    """
    num_batches = -(-num_slices // simultaneous)
    in_time = np.concatenate(
        [np.arange(first, num_batches, interleave) for first in range(min(interleave, num_batches))]
    )
    return np.argsort(in_time)[np.arange(num_slices) % num_batches]


def stack_grid(plane: str, corners: np.ndarray, protocol: StackProtocol) -> tuple[tuple[int, int, int], np.ndarray]:
    """Returns the grid of a stack along the world's axes that covers a box and the protocol's margin.

    Args:
        plane: A key of `STACK_AXES`.
        corners: Lowest and highest world coordinates of the box, `[2, 3]` mm.
        protocol: The protocol.

    Returns:
        Shape, the slices along the last axis, and affine, float64 `[4, 4]`. The stack is centred on the box.

    Raises:
        UserError: If the stack has too many voxels.
    """
    axes = nibabel.orientations.axcodes2ornt(tuple(STACK_AXES[plane]))
    order = axes[:, 0].astype(int)
    steps = np.array([protocol.pixel_spacing, protocol.pixel_spacing, protocol.spacing])
    extent = (corners[1] - corners[0])[order] + 2 * protocol.margin
    shape = np.maximum(1, np.ceil(extent / steps)).astype(int)
    if np.prod(shape.astype(float)) > MOST_VOXELS:
        raise UserError(
            f'`pixel_spacing={protocol.pixel_spacing:g}`: makes stacks of {" x ".join(map(str, shape))} voxels, too '
            'many; give a larger one.'
        )
    matrix = np.zeros((3, 3))
    matrix[order, range(3)] = axes[:, 1] * steps
    affine = nibabel.affines.from_matvec(matrix, corners.mean(axis=0) - matrix @ ((shape - 1) / 2))
    return (int(shape[0]), int(shape[1]), int(shape[2])), affine


def profile_offsets(thickness: float, profile: str, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns points across a slice and their weights, which sum to 1.

    Args:
        thickness: mm.
        profile: 'gaussian', cut off at 1.5 thicknesses from the centre, or 'rectangular'.
        step: Largest distance of neighbouring points, mm.

    Returns:
        Offsets from the middle of the slice in mm, and weights, both `[P]`, symmetric.
    """
    reach = 1.5 * thickness if profile == 'gaussian' else thickness / 2
    count = max(1, math.ceil(2 * reach / step))
    # Centres of equal intervals.
    offsets = (np.arange(count) - (count - 1) / 2) * (2 * reach / count)
    weights = np.exp(-0.5 * (offsets / (SIGMA_PER_FWHM * thickness)) ** 2) if profile == 'gaussian' else np.ones(count)
    return offsets, weights / weights.sum()
