"""Simulates orthogonal stacks of an anatomy that moves between batches of slices."""

import dataclasses
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.errors import UserError, warn
from tfp_bruno.motion.artefacts import ArtefactSettings, spoil
from tfp_bruno.motion.protocol import STACK_AXES, StackProtocol, batch_order, profile_offsets, stack_grid
from tfp_bruno.motion.slices import SliceStack
from tfp_bruno.motion.trajectory import MotionSettings, draw_motion

PLANES = tuple(STACK_AXES)
# Share of a pixel, over the thickness of the slice, that the anatomy fills at least inside the mask.
SEEN = 0.05


@dataclasses.dataclass(frozen=True)
class SimulatedStacks:
    """Stacks with their true motion.

    Attributes:
        stacks: The stacks, in order of time.
        transforms: float64 `[N, 4, 4]` for each stack: from the world of the scanner to that of the volume, the inverse
            of the anatomy's motion while the slice was taken.
    """

    stacks: list[SliceStack]
    transforms: list[np.ndarray]


def simulate_stacks(
    volume: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    protocol: StackProtocol | None = None,
    motion: MotionSettings | None = None,
    artefacts: ArtefactSettings | None = None,
    seed: int = 0,
    planes: Sequence[str] = PLANES,
) -> SimulatedStacks:
    """Simulates one stack for each plane, one after the other, while the anatomy moves.

    Args:
        volume: Intensities, not negative, `[X, Y, Z]`.
        mask: bool `[X, Y, Z]`, the anatomy; its middle is the centre of the rotations.
        affine: Voxel indices to world RAS mm, `[4, 4]`.
        protocol: Geometry and timing; None for the default.
        motion: Range and course of the motion; None for the default.
        artefacts: Noise, bias and loss of signal; None for none.
        seed: At least 0. The motion depends on the seed, not on the artefacts.
        planes: Of the stacks, from 'axial', 'coronal' and 'sagittal', in order of time.

    Returns:
        The stacks and their true motion.

    Raises:
        UserError: If the mask is empty or has another shape, intensities are negative, there is no such plane, the
            motion is larger than the anatomy, or the stacks have too many voxels.
    """
    protocol, motion, artefacts = (
        protocol or StackProtocol(),
        motion or MotionSettings(),
        artefacts or ArtefactSettings(),
    )
    _check_planes(planes)
    corners = _mask_corners(volume, mask, affine)
    _check_motion(motion, corners)
    # Separate streams, so that the motion is that of the seed whatever else is drawn.
    motion_rng, artefact_rng = np.random.default_rng(seed).spawn(2)
    grids = [stack_grid(plane, corners, protocol) for plane in planes]
    orders = [batch_order(shape[2], protocol.simultaneous, protocol.interleave) for shape, _ in grids]
    counts = [order.max() + 1 for order in orders]
    motions = np.linalg.inv(draw_motion(sum(counts), motion, corners.mean(axis=0), motion_rng))
    stacks, transforms = [], []
    for index, (plane, (shape, stack_affine), order) in enumerate(zip(planes, grids, orders, strict=True)):
        own = motions[sum(counts[:index]) + order]
        data = _acquire(volume, affine, shape, stack_affine, own, protocol)
        inside = _acquire(mask, affine, shape, stack_affine, own, dataclasses.replace(protocol, profile='rectangular'))
        data = spoil(data, float(volume[mask].mean()), artefacts, artefact_rng.spawn(1)[0])
        name = plane if list(planes).count(plane) == 1 else f'{plane}{index + 1}'
        stacks.append(SliceStack(name, data, inside > SEEN, stack_affine, protocol.thickness, order))
        transforms.append(own)
    return SimulatedStacks(stacks, transforms)


def sample_slice(
    volume: np.ndarray,
    affine: np.ndarray,
    shape: Sequence[int],
    slice_affine: np.ndarray,
    protocol: StackProtocol,
) -> np.ndarray:
    """Samples one thick slice of a volume: the mean over each pixel and over the profile across the slice.

    Args:
        volume: `[X, Y, Z]`, interpolated linearly; 0 outside.
        affine: Of the volume, `[4, 4]`.
        shape: Pixels of the slice, (W, H).
        slice_affine: Of the slice in the world of the volume, `[4, 4]`; its third column is along the profile.
        protocol: Thickness and profile.

    Returns:
        float32 `[W, H]`.
    """
    finest = nibabel.affines.voxel_sizes(affine).min()
    pixel, spacing = protocol.pixel_spacing, nibabel.affines.voxel_sizes(slice_affine)[2]
    across, weights = profile_offsets(protocol.thickness, protocol.profile, finest)
    # Points inside a pixel, in pixels.
    inside, _ = profile_offsets(1.0, 'rectangular', min(1.0, finest / pixel))
    columns, rows = ((np.arange(length)[:, None] + inside).ravel() for length in shape)
    to_volume = np.linalg.inv(affine) @ slice_affine
    grid = np.meshgrid(columns, rows, across / spacing, indexing='ij', sparse=True)
    points = [sum(row[a] * grid[a] for a in range(3)) + row[3] for row in to_volume[:3]]
    values = ndimage.map_coordinates(volume, points, order=1, output=np.float32) @ weights.astype(np.float32)
    return values.reshape(shape[0], len(inside), shape[1], len(inside)).mean(axis=(1, 3))


def _acquire(
    volume: np.ndarray,
    affine: np.ndarray,
    shape: Sequence[int],
    stack_affine: np.ndarray,
    transforms: np.ndarray,
    protocol: StackProtocol,
) -> np.ndarray:
    """Returns a stack, float32 [X, Y, N], whose slices are sampled where the transforms place them."""
    volume = np.asarray(volume, np.float32)
    images = []
    for index, transform in enumerate(transforms):
        slice_affine = stack_affine.copy()
        slice_affine[:3, 3] += index * slice_affine[:3, 2]
        images.append(sample_slice(volume, affine, shape[:2], transform @ slice_affine, protocol))
    return np.stack(images, axis=-1)


def _check_planes(planes: Sequence[str]) -> None:
    """Raises a UserError if there are no planes, or one has another name."""
    for plane in planes or ['']:
        if plane not in STACK_AXES:
            raise UserError(f'`planes={",".join(planes)}`: give one or more of {", ".join(STACK_AXES)}.')


def _mask_corners(volume: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns the lowest and highest world coordinates [2, 3] of the voxels of a mask."""
    if mask.shape != volume.shape:
        raise UserError(f'`mask`: is {mask.shape}, the volume {volume.shape}; give a mask on the grid of the volume.')
    if not mask.any():
        raise UserError('`mask`: marks nothing; give a mask that is 1 inside the anatomy.')
    if volume.min() < 0:
        raise UserError(f'The volume has intensities down to {volume.min():g}; shift them so that background is 0.')
    points = nibabel.affines.apply_affine(affine, np.argwhere(mask))
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _check_motion(motion: MotionSettings, corners: np.ndarray) -> None:
    """Raises a UserError if the anatomy can leave its own place entirely; warns if it can by half."""
    extent = (corners[1] - corners[0]).min()
    if motion.translation > extent:
        raise UserError(
            f'`translation={motion.translation:g}`: is more than the anatomy measures, {extent:.0f} mm; give less.'
        )
    if motion.translation > extent / 2:
        warn(f'`translation={motion.translation:g}`: is more than half the width of the anatomy, {extent:.0f} mm.')
