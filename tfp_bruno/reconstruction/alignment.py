"""The alignment of scans and single slices with the model's stack, and checks against the training data."""

import os

import nibabel
import numpy as np

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import DatasetDefinition, TrainingFrame, Volume, stack_affine
from tfp_bruno.data.definitions import PLANES
from tfp_bruno.data.orientation import nearest_orientation
from tfp_bruno.errors import UserError, warn

# The slice thickness may differ from that of the training data by this share without a warning.
THICKNESS_TOLERANCE = 0.25
# A volume was acquired along an axis if its voxels are longer along it than along the others by this factor.
THICK = 1.25
# Degrees between slices and the planes of the stack. The model has not seen the anatomy cut at a larger angle.
TILT_WARNING, MOST_TILT = 5.0, 15.0


def training_frame(info: RunInfo) -> TrainingFrame | None:
    """Returns what the training volumes have in common; None, with a warning, if the run is too old to record it."""
    frame = _read_frame(info)
    if frame is None or frame.boxes is None:
        warn(
            'run.json: does not record where the anatomy lies in the training volumes, so its position in the scan is '
            'not checked; train again to have it checked.'
        )
        return None
    return frame


def reference_affine(info: RunInfo, definition: DatasetDefinition, reference: Volume | None) -> np.ndarray:
    """Returns the affine of the model's stack in the world of the scan or slices.

    Args:
        info: What the model was trained on; its `frame` is the JSON of a `TrainingFrame`.
        definition: The dataset of the model.
        reference: A volume in the world of the slices, centred on the anatomy; None for the frame of the training data.

    Returns:
        float64 `[4, 4]`, (w, h, k, 1) to world mm.

    Raises:
        UserError: If the anatomy of the reference cannot be located, or there is no reference and the training volumes
            do not share one world.
    """
    if reference is not None:
        return stack_affine(reference, definition, frame=training_frame(info))
    frame = _read_frame(info)
    if frame is None or not frame.is_shared:
        raise UserError(
            '`reference`: is missing; the training volumes of this run do not share a world, so affines alone do not '
            'determine positions: give a volume in the world of the slices, such as a low-resolution stack.'
        )
    return frame.affine


def slice_axis(affine: np.ndarray, axes: str) -> int:
    """Returns the axis of a volume that is nearest to the slice axis of the stack, the last of `axes`."""
    return int(np.flatnonzero(nearest_orientation(affine, axes)[:, 0] == 2)[0])


def check_acquired_axis(volume: Volume, definition: DatasetDefinition, by_own_slices: bool) -> None:
    """Checks that the slices of a scan were acquired in the plane of the model.

    The header says along which axis the scan was acquired; where it does not, the axis of the thickest voxels counts.

    Args:
        volume: The scan.
        definition: The dataset of the model.
        by_own_slices: Whether the contexts are chosen by the scan's own slices. Another plane is then an error;
            otherwise it is a warning, as are voxels that are thick across the model's planes.

    Raises:
        UserError: If the contexts are own slices of a scan that was acquired in another plane.
    """
    wanted = slice_axis(volume.affine, definition.axes)
    spacing = nibabel.affines.voxel_sizes(volume.affine)
    thickest = int(np.argmax(spacing))
    thick = thickest if spacing[thickest] > THICK * np.delete(spacing, thickest).max() else None
    acquired = thick if volume.slice_axis is None else volume.slice_axis
    others = [axis for axis in (acquired, thick) if axis not in (None, wanted)]
    if not others:
        return
    plane = next(name for name, axes in PLANES.items() if slice_axis(volume.affine, axes) == others[0])
    if by_own_slices and others[0] == acquired:
        raise UserError(
            f'`scan_slices`: the slices of {volume.path} are {plane}, those of the model {definition.plane}; choose '
            f'{definition.plane} planes by `slices` or `world_positions`, or train a model with plane = "{plane}".'
        )
    warn(
        f'{volume.path}: its slices are {plane}, {spacing[others[0]]:.3g} mm apart; the {definition.plane} planes of '
        'the model are interpolated across them.'
    )


def check_tilt(stack: np.ndarray, slices: np.ndarray, path: str | os.PathLike, plane: str) -> None:
    """Checks that slices are nearly parallel to the planes of the stack; warns above 5 degrees.

    Args:
        stack: `[4, 4]`, the affine of the stack, whose third axis is the slice axis.
        slices: `[4, 4]`, the affine of the slices, likewise.
        path: The file of the slices.
        plane: Of the model, such as 'axial'.

    Raises:
        UserError: If they are tilted by more than 15 degrees.
    """
    normals = [np.cross(affine[:3, 0], affine[:3, 1]) for affine in (stack, slices)]
    cosine = abs(np.dot(*[normal / np.linalg.norm(normal) for normal in normals]))
    tilt = float(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
    if tilt > MOST_TILT:
        raise UserError(
            f"{path}: is tilted by {tilt:.0f} degrees against the model's {plane} planes; give slices of that plane, "
            'or a `reference` with the same obliquity.'
        )
    if tilt > TILT_WARNING:
        warn(f"{path}: is tilted by {tilt:.0f} degrees against the model's planes.")


def check_thickness(frame: TrainingFrame | None, thickness: float, path: str | os.PathLike) -> None:
    """Warns if the slice thickness differs from that of the training data by more than a quarter.

    Args:
        frame: What the training volumes have in common; None for no check.
        thickness: Of the slices, mm.
        path: The file of the slices.
    """
    if frame is not None and abs(thickness / frame.slice_thickness - 1) > THICKNESS_TOLERANCE:
        warn(
            f'{path}: slices are {thickness:.3g} mm thick, those of the training data {frame.slice_thickness:.3g} mm; '
            'the completion may be less accurate.'
        )


def _read_frame(info: RunInfo) -> TrainingFrame | None:
    """Returns the frame of the training data; None if the run is too old to record it."""
    if info.frame is None:
        return None
    try:
        return TrainingFrame.from_json(info.frame)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'run.json: its frame is damaged ({error!r:.80}); give a `reference`, or train again.'
        ) from error
