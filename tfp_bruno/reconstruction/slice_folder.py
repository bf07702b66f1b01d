"""Context slices from a folder of single-slice files, each with its own affine."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import nibabel
import numpy as np
from scipy import ndimage

from tfp_bruno.data import DatasetDefinition, TrainingFrame, Volume, read_mask, read_volume
from tfp_bruno.data.file_names import is_labels, is_nifti, is_other_image, name_some, stem_of
from tfp_bruno.data.folder import combine_errors
from tfp_bruno.data.intensity_range import intensity_range
from tfp_bruno.data.nifti_header import OrientationError
from tfp_bruno.data.placement import check_in_plane
from tfp_bruno.errors import UserError, warn
from tfp_bruno.reconstruction.alignment import check_thickness, check_tilt
from tfp_bruno.reconstruction.contexts import Contexts
from tfp_bruno.reconstruction.positions import nearest_position


@dataclasses.dataclass(frozen=True)
class SliceFile:
    """A single slice.

    Attributes:
        volume: With one voxel along its last axis.
        mask: bool, of the same shape; everything outside is background. None for no mask.
    """

    volume: Volume
    mask: np.ndarray | None = None


def read_slice_folder(folder: str | os.PathLike) -> list[SliceFile]:
    """Reads the slices of a folder with their masks, sorted by name, numbers in it by value.

    Args:
        folder: See `list_slices`.

    Raises:
        UserError: If `list_slices` raises one, a file cannot be read or is not a single slice, or a mask lies on
            another grid or marks nothing.
    """
    folder = pathlib.Path(folder)
    files = list_slices(folder)
    slices, errors = [], []
    for path, mask in files.items():
        try:
            slices.append(_read_slice(path, mask))
        except UserError as error:
            errors.append(error)
    if errors:
        raise combine_errors(errors, folder, len(files))
    return slices


def list_slices(folder: pathlib.Path) -> dict[pathlib.Path, pathlib.Path | None]:
    """Returns the masks of the slices of a folder, keyed by slice; None for a slice without a mask.

    Args:
        folder: Holds slices with any names, such as `0.nii.gz`, and their masks: `mask_0.nii.gz` or `0_mask.nii.gz`.

    Raises:
        UserError: If the folder cannot be read, has no slices or has images in other formats, two files have the same
            name, or a mask has no slice.
    """
    try:
        files = list(folder.iterdir())
    except FileNotFoundError:
        raise UserError(f'{folder}: there is no such folder; give a folder of single-slice NIfTI files.') from None
    except OSError as error:
        raise UserError(f'{folder}: cannot be read ({error.strerror}); give a folder of NIfTI files.') from error
    others = sorted(filter(is_other_image, files))
    if others:
        raise UserError(
            f'{folder}: {len(others)} images of other formats would not be used ({name_some(others)}); convert them to '
            '.nii.gz, or move them away.'
        )
    slices: dict[str, pathlib.Path] = {}
    masks: dict[str, pathlib.Path] = {}
    for path in sorted(filter(is_nifti, files), key=lambda path: _by_number(path.name)):
        stem = stem_of(path)
        if is_labels(path):
            known = masks
            stem = stem.removeprefix('mask_') if stem.startswith('mask_') else stem.removesuffix('_mask')
        else:
            known = slices
        other = known.setdefault(stem, path)
        if other is not path:
            raise UserError(f'{path}: has the same name as {other.name}; remove one of them, or rename it.')
    if not slices:
        raise UserError(f'{folder}: holds no slices; put single-slice .nii or .nii.gz files in it.')
    for stem, path in masks.items():
        if stem not in slices:
            raise UserError(f'{path}: is a mask without a slice, there is no {stem} beside it; rename or remove it.')
    return {path: masks.get(stem) for stem, path in slices.items()}


def contexts_of_slices(
    slices: Sequence[SliceFile],
    stack_affine: np.ndarray,
    definition: DatasetDefinition,
    folder: str,
    frame: TrainingFrame | None = None,
) -> Contexts:
    """Assigns slices to the nearest positions in the model's stack, and resamples each in its own plane.

    Args:
        slices: The slices.
        stack_affine: `[4, 4]` of the stack, (w, h, k, 1) to world mm, in the world of the slices.
        definition: The dataset of the model.
        folder: The folder of the slices, for messages and the sidecar.
        frame: What the training volumes have in common; None for no check of the place of the anatomy in the plane.

    Returns:
        The Contexts. Identical slices for one position are merged with a warning.

    Raises:
        UserError: If a slice lies outside the stack or is tilted by more than 15 degrees against its planes, two
            different slices are nearest to one position, `intensity_range` refuses their intensities, or the anatomy
            does not lie where it does in the training data.
    """
    chosen: dict[int, SliceFile] = {}
    for item in slices:
        position = _position(item.volume, stack_affine, definition)
        other = chosen.setdefault(position, item)
        if other is not item:
            _check_same(other, item, position)
    positions = tuple(sorted(chosen))
    ordered = [chosen[position] for position in positions]
    voxels, masks = [item.volume.data for item in ordered], [item.mask for item in ordered]
    low, high = intensity_range(voxels, masks, definition, pathlib.Path(folder))
    masked = [_masked(item, low) for item in ordered]
    images = np.stack([_resample(volume, stack_affine, definition, low, high) for volume in masked])
    check_in_plane(images, definition.pixel_spacing, None if frame is None else frame.boxes, folder)
    thickness = float(np.median([nibabel.affines.voxel_sizes(volume.affine)[2] for volume in masked]))
    check_thickness(frame, thickness, folder)
    return Contexts(
        positions,
        images,
        stack_affine,
        (low, high),
        masked,
        [str(volume.path) for volume in masked],
        thickness,
        selection={'slice_dir': folder},
    )


def _by_number(name: str) -> list[int | str]:
    """Returns a sort key of a name, by which numbers in it are sorted by value."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', name)]


def _read_slice(path: pathlib.Path, mask_path: pathlib.Path | None) -> SliceFile:
    """Returns a slice and its mask, with the slice axis last."""
    try:
        volume = read_volume(path)
    except OrientationError as error:
        # Whole volumes can be assumed to be centred on world 0, but then all slices would lie in one place.
        raise UserError(
            f'{path}: has neither a valid sform nor a valid qform, so the place of the slice is unknown; set one.'
        ) from error
    size = ' x '.join(map(str, volume.data.shape))
    if volume.data.shape.count(1) != 1:
        raise UserError(f'{path}: is not a single slice ({size}); give a whole scan as `stack`.')
    mask = None if mask_path is None else read_mask(mask_path, volume)
    # A cyclic permutation keeps the handedness.
    order = np.roll(range(3), 2 - volume.data.shape.index(1))
    affine = volume.affine[:, [*order, 3]]
    volume = Volume(volume.data.transpose(order), affine, path)
    return SliceFile(volume, None if mask is None else mask.transpose(order))


def _position(volume: Volume, stack_affine: np.ndarray, definition: DatasetDefinition) -> int:
    """Returns the nearest position of a slice in the stack."""
    to_stack = np.linalg.inv(stack_affine) @ volume.affine
    check_tilt(stack_affine, volume.affine, volume.path, definition.plane)
    # The intersection of the plane of the slice with the middle line of the stack.
    middle = (definition.image_size - 1) / 2
    origin, first, second = to_stack[:3, 3], to_stack[:3, 0], to_stack[:3, 1]
    along, across = np.linalg.solve(np.array([first[:2], second[:2]]).T, middle - origin[:2])
    coordinate = float(origin[2] + along * first[2] + across * second[2])
    position = nearest_position(coordinate, definition.num_slices)
    if position is None:
        raise UserError(
            f"{volume.path}: lies outside the model's field of view, at slice {coordinate:.1f} of 0 to "
            f'{definition.num_slices - 1}; remove it, or give a `reference` in the world of the slices.'
        )
    return position


def _check_same(first: SliceFile, second: SliceFile, position: int) -> None:
    """Warns if two slices for one position are identical; otherwise raises a UserError."""
    one, two = first.volume, second.volume
    if np.array_equal(one.data, two.data) and np.allclose(one.affine, two.affine, atol=1e-3):
        warn(f'{two.path}: is the same slice as {one.path}; it is used once.')
        return
    raise UserError(
        f'{two.path}: is nearest to position {position} of the model, as is {one.path}, but differs; give one of them.'
    )


def _masked(item: SliceFile, background: float) -> Volume:
    """Returns a slice whose voxels outside its mask are background."""
    if item.mask is None:
        return item.volume
    return dataclasses.replace(item.volume, data=np.where(item.mask, item.volume.data, np.float32(background)))


def _resample(
    volume: Volume, stack_affine: np.ndarray, definition: DatasetDefinition, low: float, high: float
) -> np.ndarray:
    """Returns a slice in [0, 1] on the pixels of the stack, `[H, W]`, in its own plane."""
    size = definition.image_size
    h, w = np.meshgrid(np.arange(size), np.arange(size), indexing='ij')
    to_slice = np.linalg.inv(volume.affine) @ stack_affine
    # From each pixel along the slice axis of the stack to the plane of the slice.
    flat = np.stack([w, h, np.zeros_like(w), np.ones_like(w)]).reshape(4, -1)
    k = -(to_slice[2] @ flat) / to_slice[2, 2]
    voxels = to_slice[:2] @ np.array([flat[0], flat[1], k, flat[3]])
    scaled = np.clip((volume.data[..., 0] - np.float32(low)) / np.float32(high - low), 0, 1)
    # If pixels get coarser, the slice is smoothed, as a whole scan is.
    steps = definition.pixel_spacing / nibabel.affines.voxel_sizes(volume.affine)[:2]
    scaled = ndimage.gaussian_filter(scaled, np.maximum(0.0, (steps - 1) / 2), mode='constant')
    image = ndimage.map_coordinates(scaled, voxels, order=1, mode='grid-constant')
    return np.clip(image, 0, 1).reshape(size, size)
