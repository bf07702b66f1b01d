"""Pictures of a volume in three planes, with its sides labelled, and of the scores of its slices."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfp_bruno.reconstruction.scores import SliceScores

COLUMNS = 7
# Of each plane: its name, the axis of a right-anterior-superior volume that it cuts, and what is left and right in it.
PLANES = (('axial', 2, 'R', 'L'), ('coronal', 1, 'R', 'L'), ('sagittal', 0, 'A', 'P'))


def three_planes(rows: Sequence[tuple[str, np.ndarray, str]], mask: np.ndarray, title: str) -> bytes:
    """Returns a PNG of volumes in axial, coronal and sagittal planes.

    Planes are seen as radiologists do: the patient's right on the left, anterior on top of an axial plane and on the
    left of a sagittal one.

    Args:
        rows: label, float `[X, Y, Z]` and colour map of each volume; axes grow to right, anterior and superior.
        mask: bool `[X, Y, Z]`, not empty: planes are spread over it, and pictures cut to it.
        title: one line above.

    Returns:
        The bytes of a PNG file.
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
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(strips), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (label, images, colours, limit, left, right) in zip(axes, strips, strict=True):
        _draw(axis, images, colours, limit, left, right)
        axis.set_title(label, fontsize=8, loc='left', pad=2)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout(pad=0.3, h_pad=0.2, rect=(0, 0, 1, 0.985))
    return _png(figure)


def score_curve(scores: SliceScores) -> bytes:
    """Returns a PNG of bits per pixel and anomaly score over the slices; contexts are dots."""
    figure = Figure(figsize=(9.0, 4.2), dpi=110)
    FigureCanvasAgg(figure)
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


def _planes(data: np.ndarray, axis: int) -> list[np.ndarray]:
    """Returns evenly spread planes of a right-anterior-superior volume, as they are shown."""
    places = ((np.arange(COLUMNS) + 0.5) * data.shape[axis] / COLUMNS).astype(int)
    # What is left of the axes: to the right grow left or posterior, downwards posterior or inferior.
    return [np.take(data, place, axis)[::-1, ::-1].T for place in places]


def _draw(axis, images: list[np.ndarray], colours: str, limit: float, left: str, right: str) -> None:
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
