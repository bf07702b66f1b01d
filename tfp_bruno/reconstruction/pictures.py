"""The pictures of the reports: mosaics of slices, volumes in three planes, the curve of the scores, thumbnails."""

import io
import os
import pathlib
from collections.abc import Sequence

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from tfp_bruno.data import atomic, read_volume
from tfp_bruno.data.plain_text import figure_text
from tfp_bruno.reconstruction.completion import Completion, SliceScores
from tfp_bruno.registration import Location

# Of a mosaic: slices in a row, of which so many are spread evenly, samples, and the size of a slice.
MAX_COLUMNS = 12
SPREAD_COLUMNS = 8
MAX_SAMPLES = 2
PANEL_INCHES = 1.2
_OPPOSITE = {'L': 'R', 'R': 'L', 'P': 'A', 'A': 'P'}
# Of volumes in three planes: pictures in a row.
COLUMNS = 7
# Name of each plane, the axis of a right-anterior-superior volume that it cuts, and the sides on its left and right.
PLANES = (('axial', 2, 'R', 'L'), ('coronal', 1, 'R', 'L'), ('sagittal', 0, 'A', 'P'))


def write_mosaic(path: str | os.PathLike, completion: Completion, title: str, axes: str = 'LPS') -> None:
    """Writes a PNG with one row each for contexts, mean, standard deviation and up to two samples.

    Slices are shown in radiological convention: the patient's right on the left, or anterior on the left; both are
    labelled.

    Args:
        path: The PNG, which is written atomically.
        completion: The completed stack.
        title: One line above the rows.
        axes: Of the stack, such as 'LPS'.

    Raises:
        UserError: If the file cannot be written.
    """
    columns = choose_columns(completion.positions, len(completion.mean))
    figure = _mosaic(_rows(completion), columns, completion.mean.shape[1:], title, axes)
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary)


def location_mosaic(location: Location, contexts: np.ndarray, positions: Sequence[int], axes: str) -> bytes:
    """Returns a PNG of contexts and, below them, what the model shows at their places in the canonical volume.

    Args:
        location: Where the contexts lie.
        contexts: `[n, H, W]`, n at least 1.
        positions: The n context positions.
        axes: Of the stack, such as 'LPS'.
    """
    models = {'canonical volume' if location.alignment == 'none' else 'size and place': False}
    if location.alignment != 'none':
        models['displaced'] = True
    pictures = {name: location.images(positions, displaced) for name, displaced in models.items()}
    difference = np.abs(contexts - list(pictures.values())[-1])
    pictures = {'contexts': contexts, **pictures, 'difference': difference}
    rows = [(name, dict(zip(positions, images, strict=True)), 1.0) for name, images in pictures.items()]
    return _png(_mosaic(rows, _spread(positions), contexts.shape[1:], 'Contexts in the canonical volume', axes))


def _mosaic(
    rows: Sequence[tuple[str, dict[int, np.ndarray], float]],
    columns: Sequence[int],
    shape: tuple[int, ...],
    title: str,
    axes: str,
) -> Figure:
    """Returns a figure of rows, see `_rows`, of slices."""
    figure = Figure(figsize=(PANEL_INCHES * len(columns) + 0.8, PANEL_INCHES * len(rows) + 0.7), dpi=120)
    strips = figure.subplots(len(rows), 1)
    for strip, (name, images, limit) in zip(strips, rows, strict=True):
        _draw_strip(strip, [images.get(k) for k in columns], shape, limit, axes)
        strip.set_ylabel(name, fontsize=8)
    width = shape[1]
    strips[0].xaxis.tick_top()
    strips[0].set_xticks((np.arange(len(columns)) + 0.5) * width - 0.5, [f'k = {k}' for k in columns], fontsize=8)
    strips[0].tick_params(length=0)
    figure.suptitle(figure_text(title), fontsize=9)
    figure.tight_layout(pad=0.4, rect=(0, 0, 1, 0.97))
    return figure


def choose_columns(positions: tuple[int, ...], num_slices: int) -> list[int]:
    """Returns the slices of a mosaic: the contexts and evenly spread slices, at most 12, ascending.

    Of too many contexts, evenly spread ones are shown.

    Args:
        positions: The context positions.
        num_slices: K.
    """
    contexts = _spread(positions)
    room = min(SPREAD_COLUMNS, MAX_COLUMNS - len(contexts))
    spread = [int(k) for k in (np.arange(room) + 0.5) * num_slices / max(room, 1)]
    return sorted({*contexts, *spread})


def _spread(positions: Sequence[int]) -> list[int]:
    """Returns the context positions; of more than 12, evenly spread ones."""
    return [positions[i] for i in np.linspace(0, len(positions) - 1, min(len(positions), MAX_COLUMNS)).astype(int)]


def _rows(completion: Completion) -> list[tuple[str, dict[int, np.ndarray], float]]:
    """Returns the rows of a mosaic: label, images keyed by slice, and the intensity that is white."""
    rows = [
        ('contexts', dict(zip(completion.positions, completion.contexts, strict=True)), 1.0),
        ('mean', dict(enumerate(completion.mean)), 1.0),
    ]
    if completion.std is not None:
        rows.append(('std', dict(enumerate(completion.std)), max(float(completion.std.max()), 1e-6)))
    for number, sample in enumerate(completion.samples[:MAX_SAMPLES]):
        rows.append((f'sample {number}', dict(enumerate(sample)), 1.0))
    return rows


def _draw_strip(strip: Axes, images: list[np.ndarray | None], shape: tuple[int, ...], limit: float, axes: str) -> None:
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


def three_planes(rows: Sequence[tuple[str, np.ndarray, str]], mask: np.ndarray, title: str) -> bytes:
    """Returns a PNG of volumes in axial, coronal and sagittal planes.

    Planes are shown in radiological convention: the patient's right on the left, anterior at the top of an axial plane
    and on the left of a sagittal one.

    Args:
        rows: Label, float `[X, Y, Z]` and colour map of each volume; axes grow to right, anterior and superior.
        mask: bool `[X, Y, Z]`, not empty: planes are spread over it, and pictures cropped to it.
        title: One line above the rows.
    """
    box = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
    part = tuple(slice(first, last + 1) for first, last in box)
    strips = []
    for name, axis, left, right in PLANES:
        for label, data, colours in rows:
            limit = max(float(np.percentile(data[mask], 99.8)), 1e-6)
            strips.append((f'{name}, {label}', _planes(data[part], axis), colours, limit, left, right))
    heights = [strip[1][0].shape[0] / sum(image.shape[1] for image in strip[1]) for strip in strips]
    width = 11.0
    figure = Figure(figsize=(width, width * sum(heights) + 0.25 * len(strips) + 0.4), dpi=110)
    axes = figure.subplots(len(strips), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (label, images, colours, limit, left, right) in zip(axes, strips, strict=True):
        _draw(axis, images, colours, limit, left, right)
        axis.set_title(label, fontsize=8, loc='left', pad=2)
    figure.suptitle(figure_text(title), fontsize=10)
    figure.tight_layout(pad=0.3, h_pad=0.2, rect=(0, 0, 1, 0.985))
    return _png(figure)


def score_curve(scores: SliceScores) -> bytes:
    """Returns a PNG of bits per pixel and anomaly score over the slices; contexts are dots."""
    figure = Figure(figsize=(9.0, 4.2), dpi=110)
    names = ('bits per pixel', scores.bits), ('anomaly score, nats', scores.anomaly)
    for axis, (name, values) in zip(figure.subplots(2, 1, sharex=True), names, strict=True):
        positions = np.array(scores.positions)
        axis.plot(positions, values, color='0.6', linewidth=1)
        axis.plot(positions[scores.is_context], values[scores.is_context], 'o', color='tab:red', label='contexts')
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axis.set_xlabel('slice k', fontsize=8)
    figure.tight_layout()
    return _png(figure)


def thumbnail(path: pathlib.Path) -> bytes:
    """Returns a PNG of the middle axial, coronal and sagittal planes of a volume, right and anterior on the left."""
    data = read_volume(path).data
    data = data[ndimage.find_objects((data > 0).astype(np.uint8))[0]]
    planes = [np.take(data, data.shape[axis] // 2, axis)[::-2, ::-2].T for axis in (2, 1, 0)]
    height = max(plane.shape[0] for plane in planes)
    spare = [height - plane.shape[0] for plane in planes]
    padded = [np.pad(plane, ((rows // 2, rows - rows // 2), (2, 2))) for plane, rows in zip(planes, spare, strict=True)]
    buffer = io.BytesIO()
    picture = np.concatenate(padded, axis=1)
    matplotlib.image.imsave(
        buffer, picture, cmap='gray', vmin=0, vmax=np.percentile(data[data > 0], 99.8), format='png'
    )
    return buffer.getvalue()


def _planes(data: np.ndarray, axis: int) -> list[np.ndarray]:
    """Returns evenly spread planes of a right-anterior-superior volume in radiological convention."""
    places = ((np.arange(COLUMNS) + 0.5) * data.shape[axis] / COLUMNS).astype(int)
    # Of the remaining axes, left or posterior grows to the right, posterior or inferior downwards.
    return [np.take(data, place, axis)[::-1, ::-1].T for place in places]


def _draw(axis: Axes, images: list[np.ndarray], colours: str, limit: float, left: str, right: str) -> None:
    """Draws planes side by side with their sides labelled."""
    height, width = images[0].shape
    axis.imshow(np.concatenate(images, axis=1), cmap=colours, vmin=0, vmax=limit)
    axis.set_xticks([])
    axis.set_yticks([])
    for number in range(len(images)):
        for label, place in ((left, 0.04), (right, 0.96)):
            x = (number + place) * width
            axis.text(x, height * 0.08, label, color='yellow', fontsize=7, ha='center', va='center')


def _png(figure: Figure) -> bytes:
    """Returns a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()
