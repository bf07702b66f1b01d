"""Preprocessed stacks on disk, found again by the content of the volume and the settings."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import zipfile

import numpy as np
from absl import logging

from tfp_bruno.data import atomic
from tfp_bruno.data.definitions import DatasetDefinition
from tfp_bruno.data.nifti import parse_volume, read_file
from tfp_bruno.data.stack import Stack, extract_stack
from tfp_bruno.errors import UserError

# To be raised whenever the preprocessing changes.
FORMAT_VERSION = 3
# Steps of intensity in a cached stack: 16 bits, so that a value moves by less than 1e-5.
LEVELS = 65535


def default_cache_dir() -> pathlib.Path:
    """Returns the cache folder of this user: `$XDG_CACHE_HOME/tfp_bruno`, or `~/.cache/tfp_bruno`."""
    return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'tfp_bruno'


def load_stack(path: pathlib.Path, definition: DatasetDefinition, cache_dir: pathlib.Path) -> tuple[Stack, str]:
    """Returns the stack of a volume, out of the cache when it is there.

    Args:
        path: the volume's file.
        definition: the settings of the preprocessing.
        cache_dir: the cache folder. A damaged file in it is made again; one that cannot be written is only a warning.

    Returns:
        The Stack, its intensities within 1e-5, and the key that stands for the volume's content and the settings.

    Raises:
        UserError: if the volume cannot be used.
    """
    content = read_file(path)
    key = _stack_key(content, definition)
    cached = cache_dir / 'stacks' / f'{key}.npz'
    stack = _read_stack(cached, path, definition)
    if stack is None:
        stack = extract_stack(parse_volume(content, path), definition)
        levels = np.round(stack.images * LEVELS).astype(np.uint16)
        _write_stack(cached, stack, levels)
        # The same whether it was in the cache or not.
        stack = dataclasses.replace(stack, images=levels / np.float32(LEVELS))
    return stack, key


def _stack_key(content: bytes, definition: DatasetDefinition) -> str:
    """Returns the SHA-256 of a volume's bytes, the definition and the version of the format."""
    settings = json.dumps([FORMAT_VERSION, definition.to_json()], sort_keys=True)
    return hashlib.sha256(settings.encode() + b'\0' + content).hexdigest()


def _read_stack(cached: pathlib.Path, path: pathlib.Path, definition: DatasetDefinition) -> Stack | None:
    """Returns the stack of a cache file, or None if it is missing or damaged (its checksum is verified on reading)."""
    shape = (definition.num_slices, definition.image_size, definition.image_size)
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(cached) as arrays:
        levels, affine, (low, high, thickness) = arrays['levels'], arrays['affine'], arrays['numbers']
        if levels.shape == shape and levels.dtype == np.uint16 and affine.shape == (4, 4):
            return Stack(levels / np.float32(LEVELS), affine, float(low), float(high), path, float(thickness))
    return None


def _write_stack(cached: pathlib.Path, stack: Stack, levels: np.ndarray) -> None:
    """Writes a cache file; where that is impossible, warns once and goes on without."""
    buffer = io.BytesIO()
    numbers = (stack.intensity_low, stack.intensity_high, stack.slice_thickness)
    np.savez(buffer, levels=levels, affine=stack.affine, numbers=numbers)
    try:
        atomic.write_bytes(cached, buffer.getvalue())
    except UserError as error:
        logging.log_first_n(logging.WARNING, 'Nothing is cached: %s', 1, error)
