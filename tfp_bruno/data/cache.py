"""Preprocessed stacks on disk, found again by the content of the volume, its mask and the settings."""

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
from tfp_bruno.data.masks import is_label_map
from tfp_bruno.data.nifti import parse_volume, read_file, read_mask
from tfp_bruno.data.placement import Box
from tfp_bruno.data.stack import Stack, extract_stack
from tfp_bruno.errors import UserError, collect_warnings, warn

# To be raised whenever the preprocessing changes.
FORMAT_VERSION = 4
# Steps of intensity in a cached stack: 16 bits, so that a value moves by less than 1e-5.
LEVELS = 65535
# A cached stack is found again by content: warnings name the files as they are called now.
_VOLUME, _MASK = '\0volume\0', '\0mask\0'


def default_cache_dir() -> pathlib.Path:
    """Returns the cache folder of this user: `$XDG_CACHE_HOME/tfp_bruno`, or `~/.cache/tfp_bruno`."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'tfp_bruno'


@dataclasses.dataclass(frozen=True)
class LoadedStack:
    """A stack, and what else is known of its volume.

    Attributes:
        stack: the Stack, its intensities within 1e-5.
        content: what stands for the voxels, whatever the file's name, type or compression.
        warnings: what was said of the volume, with placeholders for its files, as `tell_again` takes them.
        is_label_map: whether the voxels look like labels, not intensities.
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
    """Returns the stack of a volume, out of the cache when it is there. What it is warned of is told in both cases.

    Args:
        path: the volume's file.
        definition: the settings of the preprocessing.
        cache_dir: the cache folder. A damaged file in it is made again; one that cannot be written is only a warning.
        mask: file of its mask: what is outside becomes background. None for everything.
        assume_ras: as of `read_volume`, of both files.

    Raises:
        UserError: if the volume or its mask cannot be used.
    """
    content = read_file(path)
    key = _stack_key(content, None if mask is None else read_file(mask), definition, assume_ras)
    cached = cache_dir / 'stacks' / f'{key}.npz'
    loaded = _read_stack(cached, path, definition)
    if loaded is not None:
        tell_again(loaded.warnings, path, mask)
        return loaded
    with collect_warnings() as messages:
        volume = parse_volume(content, path, assume_ras)
        inside = None if mask is None else read_mask(mask, volume, assume_ras)
        stack = extract_stack(volume, definition, inside)
    levels = np.round(stack.images * LEVELS).astype(np.uint16)
    # The same whether it was in the cache or not.
    stack = dataclasses.replace(stack, images=levels / np.float32(LEVELS))
    voxels = hashlib.sha256(np.ascontiguousarray(volume.data).data).hexdigest()
    # A mask may be named after its volume, and not the other way round.
    known = {_MASK: mask, _VOLUME: path}
    loaded = LoadedStack(stack, voxels, [_without(message, known) for message in messages], is_label_map(volume.data))
    _write_stack(cached, loaded, levels)
    return loaded


def tell_again(warnings: Sequence[str], path: pathlib.Path, mask: pathlib.Path | None) -> None:
    """Warns of what was said of a volume when it was read for the first time, maybe under another name."""
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
    settings = json.dumps([FORMAT_VERSION, definition.to_json(), masked, assume_ras], sort_keys=True)
    return hashlib.sha256(settings.encode() + b'\0' + content).hexdigest()


def _read_stack(cached: pathlib.Path, path: pathlib.Path, definition: DatasetDefinition) -> LoadedStack | None:
    """Returns the stack of a cache file, or None if it is missing or damaged (its checksum is verified on reading)."""
    shape = (definition.num_slices, definition.image_size, definition.image_size)
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(cached) as arrays:
        levels, affine, (low, high, thickness) = arrays['levels'], arrays['affine'], arrays['numbers']
        box, (inside, acquired) = Box.from_array(arrays['box']), arrays['slices']
        if levels.shape == shape and levels.dtype == np.uint16 and affine.shape == (4, 4):
            images = levels / np.float32(LEVELS)
            stack = Stack(images, affine, float(low), float(high), path, float(thickness), box, inside, acquired)
            about = json.loads(str(arrays['about']))
            return LoadedStack(stack, about['content'], about['warnings'], about['is_label_map'])
    return None


def _write_stack(cached: pathlib.Path, loaded: LoadedStack, levels: np.ndarray) -> None:
    """Writes a cache file; where that is impossible, warns once and goes on without."""
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
