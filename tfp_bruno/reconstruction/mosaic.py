"""A picture of a completion: contexts, mean, standard deviation and samples."""

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfp_bruno.data import atomic
from tfp_bruno.reconstruction.completion import Completion

MAX_COLUMNS = 12
SPREAD_COLUMNS = 8
MAX_SAMPLES = 2
PANEL_INCHES = 1.2
_OPPOSITE = {'L': 'R', 'R': 'L', 'P': 'A', 'A': 'P'}


def write_mosaic(path: str | os.PathLike, completion: Completion, title: str, axes: str = 'LPS') -> None:
    """Writes a PNG with a row each for contexts, mean, standard deviation and up to two samples.

    Slices are seen as radiologists do: the patient's right on the left, or anterior on the left; both are labelled.

    Args:
        path: the PNG to write, atomically.
        completion: what to show.
        title: one line above.
        axes: of the stack, such as 'LPS'.

    Raises:
        UserError: if the file cannot be written.
    """
    columns = choose_columns(completion.positions, len(completion.mean))
    rows = _rows(completion)
    figure = Figure(figsize=(PANEL_INCHES * len(columns) + 0.8, PANEL_INCHES * len(rows) + 0.7), dpi=120)
    FigureCanvasAgg(figure)
    strips = figure.subplots(len(rows), 1)
    for strip, (name, images, limit) in zip(strips, rows, strict=True):
        _draw_strip(strip, [images.get(k) for k in columns], completion.mean.shape[1:], limit, axes)
        strip.set_ylabel(name, fontsize=8)
    width = completion.mean.shape[2]
    strips[0].xaxis.tick_top()
    strips[0].set_xticks((np.arange(len(columns)) + 0.5) * width - 0.5, [f'k = {k}' for k in columns], fontsize=8)
    strips[0].tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 0.97))
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary)


def choose_columns(positions: tuple[int, ...], num_slices: int) -> list[int]:
    """Returns the slices to show: the contexts and slices spread evenly, at most 12, ascending.

    Args:
        positions: the context positions.
        num_slices: K.

    Returns:
        Slice numbers. More contexts than there is room for are thinned evenly.
    """
    contexts = [positions[i] for i in np.linspace(0, len(positions) - 1, min(len(positions), MAX_COLUMNS)).astype(int)]
    room = min(SPREAD_COLUMNS, MAX_COLUMNS - len(contexts))
    spread = [int(k) for k in (np.arange(room) + 0.5) * num_slices / max(room, 1)]
    return sorted({*contexts, *spread})


def _rows(completion: Completion) -> list[tuple[str, dict[int, np.ndarray], float]]:
    """Returns the rows: label, images keyed by slice, and the intensity that is white."""
    rows = [
        ('contexts', dict(zip(completion.positions, completion.contexts, strict=True)), 1.0),
        ('mean', dict(enumerate(completion.mean)), 1.0),
    ]
    if completion.std is not None:
        rows.append(('std', dict(enumerate(completion.std)), max(float(completion.std.max()), 1e-6)))
    for number, sample in enumerate(completion.samples[:MAX_SAMPLES]):
        rows.append((f'sample {number}', dict(enumerate(sample)), 1.0))
    return rows


def _draw_strip(strip, images: list[np.ndarray | None], shape: tuple[int, int], limit: float, axes: str) -> None:
    """Draws slices side by side, white where there is none."""
    blank = np.full(shape, np.nan, dtype=np.float32)
    strip.imshow(np.concatenate([blank if i is None else i for i in images], axis=1), cmap='gray', vmin=0, vmax=limit)
    strip.set_xticks([])
    strip.set_yticks([])
    for side in strip.spines.values():
        side.set_visible(False)
    height, width = shape
    right = axes[0]
    left = _OPPOSITE[right]
    for number, image in enumerate(images):
        if image is not None:
            for label, place in ((left, 0.05), (right, 0.95)):
                x, y = (number + place) * width, height / 2
                strip.text(x, y, label, color='yellow', fontsize=6, ha='center', va='center')
