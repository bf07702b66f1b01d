"""Cache of preprocessed stacks, keyed by the content of the volume, its mask and the settings."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from tfp_bruno.data import atomic
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.encoding import from_uint16, to_uint16
from tfp_bruno.data.frame import Box
from tfp_bruno.data.masks import is_label_map
from tfp_bruno.data.nifti import parse_volume, read_file, read_mask
from tfp_bruno.data.stack import Stack, extract_stack
from tfp_bruno.errors import UserError, collect_warnings, warn

# To be increased whenever the preprocessing changes.
FORMAT_VERSION = 4
# Placeholders in cached warnings: a stack is found by its content, and its files may have other names by then.
_VOLUME, _MASK = '\0volume\0', '\0mask\0'


def default_cache_dir() -> pathlib.Path:
    """Returns the cache folder of this user: `$XDG_CACHE_HOME/tfp_bruno`, or `~/.cache/tfp_bruno`."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'tfp_bruno'


@dataclasses.dataclass(frozen=True)
class LoadedStack:
    """A stack, and what else is known of its volume.

    Attributes:
        stack: The stack, whose intensities are exact to 1e-5.
        content: Digest of the voxels, whatever the name, data type or compression of the file.
        warnings: Warnings about the volume, with placeholders for its files, see `repeat_warnings`.
        is_label_map: Whether the voxels look like labels, not intensities.
    """

    stack: Stack
    content: str
    warnings: list[str]
    is_label_map: bool


def load_stack(
    path: pathlib.Path,
    definition: DatasetDefinition,
    cache_dir: pathlib.Path,
    mask: pathlib.Path | None = None,
    assume_ras: bool = False,
) -> LoadedStack:
    """Returns the stack of a volume, from the cache if it is there; its warnings are logged in either case.

    Args:
        path: File of the volume.
        definition: Settings of the preprocessing.
        cache_dir: Cache folder. A damaged file in it is replaced; if it cannot be written, this is only a warning.
        mask: File of a mask; everything outside becomes background.
        assume_ras: See `read_volume`; applies to both files.

    Raises:
        UserError: If the volume or its mask cannot be used.
    """
    content = read_file(path)
    key = _stack_key(content, None if mask is None else read_file(mask), definition, assume_ras)
    cached = cache_dir / 'stacks' / f'{key}.npz'
    loaded = _read_stack(cached, path, definition)
    if loaded is not None:
        repeat_warnings(loaded.warnings, path, mask)
        return loaded
    with collect_warnings() as messages:
        volume = parse_volume(content, path, assume_ras)
        inside = None if mask is None else read_mask(mask, volume, assume_ras)
        stack = extract_stack(volume, definition, inside)
    levels = to_uint16(stack.images)
    # Rounded, so that a new stack equals a cached one.
    stack = dataclasses.replace(stack, images=from_uint16(levels))
    voxels = hashlib.sha256(np.ascontiguousarray(volume.data).data).hexdigest()
    # The mask first: its name may contain that of the volume, but not the other way round.
    known = {_MASK: mask, _VOLUME: path}
    loaded = LoadedStack(stack, voxels, [_without(message, known) for message in messages], is_label_map(volume.data))
    _write_stack(cached, loaded, levels)
    return loaded


def repeat_warnings(warnings: Sequence[str], path: pathlib.Path, mask: pathlib.Path | None) -> None:
    """Repeats the warnings of a volume's first reading, with the present names of its files."""
    for message in warnings:
        warn(message.replace(_VOLUME, str(path)).replace(_MASK, str(mask)))


def _without(message: str, paths: Mapping[str, pathlib.Path | None]) -> str:
    """Returns a message with placeholders for the names of files."""
    for placeholder, path in paths.items():
        message = message if path is None else message.replace(str(path), placeholder)
    return message


def _stack_key(content: bytes, mask: bytes | None, definition: DatasetDefinition, assume_ras: bool) -> str:
    """Returns the SHA-256 of the bytes of a volume and its mask, the settings and the version of the format."""
    masked = None if mask is None else hashlib.sha256(mask).hexdigest()
    settings = json.dumps([FORMAT_VERSION, dataclasses.asdict(definition), masked, assume_ras], sort_keys=True)
    return hashlib.sha256(settings.encode() + b'\0' + content).hexdigest()


def _read_stack(cached: pathlib.Path, path: pathlib.Path, definition: DatasetDefinition) -> LoadedStack | None:
    """Returns the stack of a cache file; None if it is missing or damaged, by its checksum among others."""
    shape = (definition.num_slices, definition.image_size, definition.image_size)
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(cached) as arrays:
        levels, affine, (low, high, thickness) = arrays['levels'], arrays['affine'], arrays['numbers']
        box, (inside, acquired) = Box.from_array(arrays['box']), arrays['slices']
        if levels.shape == shape and levels.dtype == np.uint16 and affine.shape == (4, 4):
            images = from_uint16(levels)
            stack = Stack(images, affine, float(low), float(high), path, float(thickness), box, inside, acquired)
            about = json.loads(str(arrays['about']))
            return LoadedStack(stack, about['content'], about['warnings'], about['is_label_map'])
    return None


def _write_stack(cached: pathlib.Path, loaded: LoadedStack, levels: np.ndarray) -> None:
    """Writes a cache file; if that is impossible, warns once and continues without."""
    buffer = io.BytesIO()
    stack = loaded.stack
    numbers = (stack.intensity_low, stack.intensity_high, stack.slice_thickness)
    box, slices = stack.box.to_array(), np.stack([stack.inside, stack.acquired])
    about = np.array(
        json.dumps({'content': loaded.content, 'warnings': loaded.warnings, 'is_label_map': loaded.is_label_map})
    )
    np.savez(buffer, levels=levels, affine=stack.affine, numbers=numbers, box=box, slices=slices, about=about)
    try:
        atomic.write_bytes(cached, buffer.getvalue())
    except UserError as error:
        logging.log_first_n(logging.WARNING, 'Nothing is cached: %s', 1, error)
