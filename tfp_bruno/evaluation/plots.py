"""The plots of evaluations and comparisons: SSIM over slice position, and mosaics of completions."""

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import color_sequences, colormaps, patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfp_bruno.data.plain_text import figure_text
from tfp_bruno.evaluation.protocol import EXAMPLE_CONTEXTS, Evaluation
from tfp_bruno.evaluation.subject_scores import Example

NUM_COLUMNS = 12
CONTEXT_COLOUR = '#ffb000'
BASELINE_STYLES = {'deformed_components': '-', 'kriged_components': '-.', 'linear': '--', 'training_mean': ':'}

_DPI = 150
_GAP = 2
_TILE_INCHES = 0.76
_LABEL_INCHES = 1.5
_HEADING_INCHES = 0.6
_TITLE_WIDTH = 100
_LABEL_WIDTH = 22
_MODEL_STYLE = {'lw': 1.8, 'marker': 'o', 'mec': 'white'}
_BASELINE_STYLE = {'color': '0.35', 'lw': 1}


def draw_ssim_over_slices(evaluation: Evaluation, labels: Mapping[str, str], title: str) -> Figure:
    """Plots SSIM of the mean image over slice position, one curve for each number of contexts, the contexts marked.

    Baselines are thin lines, at the largest number of contexts up to 4.

    Args:
        evaluation: The results of the protocol.
        labels: Labels of the methods, by name.
        title: One line that describes the data.

    Returns:
        The figure, on an Agg canvas.
    """
    counts = list(evaluation.ssim_over_slices)
    curves: list[tuple[np.ndarray, dict[str, Any]]] = []
    for count, colour in zip(counts, colormaps['viridis'](np.linspace(0, 0.85, len(counts))), strict=True):
        style = {**_MODEL_STYLE, 'color': colour, 'ms': 6, 'markevery': list(evaluation.context_slices[count])}
        style['label'] = f'model, {count_contexts(count)}'
        curves.append((evaluation.ssim_over_slices[count]['mean_image'], style))
    count = max([count for count in counts if count <= EXAMPLE_CONTEXTS], default=counts[0])
    for method, line in BASELINE_STYLES.items():
        if method in evaluation.ssim_over_slices[count]:
            label = labels[method] if method == 'training_mean' else f'{labels[method]}, {count_contexts(count)}'
            style = {**_BASELINE_STYLE, 'ls': line, 'label': label, 'zorder': 3}
            curves.append((evaluation.ssim_over_slices[count][method], style))
    return _plot_over_slices(curves, f'mean over {evaluation.num_subjects} subjects', title)


def draw_ssim_of_runs(
    curves: Mapping[str, np.ndarray], num_models: int, context_slices: Sequence[int], title: str
) -> Figure:
    """Plots SSIM of several models over slice position, the contexts marked.

    Args:
        curves: `[K]` of each method by name, models first, at most ten.
        num_models: How many of them are models; baselines are thin grey lines.
        context_slices: Slice numbers of the contexts.
        title: One line that describes the data.

    Returns:
        The figure, on an Agg canvas.
    """
    styles = [{**_MODEL_STYLE, 'color': colour} for colour in color_sequences['tab10'][:num_models]]
    styles += [{**_MODEL_STYLE, **_BASELINE_STYLE, 'ls': line} for line in BASELINE_STYLES.values()]
    marked = {'ms': 5, 'markevery': list(context_slices)}
    named = (
        (curve, {**style, **marked, 'label': label})
        for (label, curve), style in zip(curves.items(), styles, strict=False)
    )
    return _plot_over_slices(named, count_contexts(len(context_slices)), title)


def draw_completions(examples: Sequence[Example], labels: Mapping[str, str], title: str) -> Figure:
    """Draws a mosaic for each example: truth, mean image, single samples and two baselines, a dozen slices each.

    Args:
        examples: The subjects to show, at least one.
        labels: Labels of the methods, by name.
        title: One line that describes the data.

    Returns:
        The figure, on an Agg canvas. Context slices have a coloured frame; the patient's right is on the left.
    """
    return draw_mosaics(examples, [_example_rows(example, labels) for example in examples], title)


def draw_mosaics(examples: Sequence[Example], rows: Sequence[Sequence[tuple[str, np.ndarray]]], title: str) -> Figure:
    """Draws a mosaic for each example, a dozen slices of each of its rows.

    Args:
        examples: The subjects to show, at least one.
        rows: Label and stack `[K, H, W]` of each row, for each example.
        title: One line that describes the data.

    Returns:
        The figure, on an Agg canvas. Context slices have a coloured frame; the patient's right is on the left.
    """
    num_columns = min(NUM_COLUMNS, len(examples[0].truth))
    title = figure_text(textwrap.fill(title, _TITLE_WIDTH))
    width = _LABEL_INCHES + _TILE_INCHES * num_columns + 0.1
    height = 0.3 + 0.2 * len(title.splitlines()) + sum(_HEADING_INCHES + _TILE_INCHES * len(named) for named in rows)
    figure = _new_figure((width, height), layout=None)
    figure.text(0.5, 1 - 0.12 / height, title, fontsize=10, ha='center', va='top')
    # Placed by hand: automatic layouts ignore the fixed aspect ratio of images.
    bottom = height - 0.2 - 0.2 * len(title.splitlines())
    for example, named in zip(examples, rows, strict=True):
        block = _TILE_INCHES * len(named)
        bottom -= _HEADING_INCHES + block
        place = (_LABEL_INCHES / width, bottom / height, _TILE_INCHES * num_columns / width, block / height)
        _draw_mosaic(figure.add_axes(place), example, named)
    return figure


def choose_columns(context_slices: Sequence[int], num_slices: int, count: int = NUM_COLUMNS) -> list[int]:
    """Chooses slices to show: spread evenly, the nearest of them replaced by the contexts.

    Args:
        context_slices: Slice numbers to include, as far as there is room.
        num_slices: Number of slices of the stack.
        count: Number of slices to choose.

    Returns:
        Distinct slice numbers, ascending.
    """
    columns = np.round(np.linspace(0.04, 0.96, min(count, num_slices)) * (num_slices - 1)).astype(int).tolist()
    for context in context_slices:
        free = [index for index, column in enumerate(columns) if column not in context_slices]
        if context not in columns and free:
            columns[min(free, key=lambda index: abs(columns[index] - context))] = context
    return sorted(set(columns))


def count_contexts(count: int) -> str:
    """Returns a number of contexts in words."""
    return {0: 'no contexts', 1: '1 context'}.get(count, f'{count} contexts')


def _plot_over_slices(curves: Iterable[tuple[np.ndarray, dict[str, Any]]], subheading: str, title: str) -> Figure:
    """Plots curves `[K]`, each with the arguments of its line."""
    figure = _new_figure((9, 5.2), layout='constrained')
    axes = figure.add_subplot()
    for curve, style in curves:
        axes.plot(curve, **{**style, 'label': figure_text(style['label'])})
    axes.set(xlabel='slice (inferior to superior)', ylabel='SSIM', xlim=(0, len(curve) - 1))
    heading = f'SSIM over slice position, {subheading}'
    figure.suptitle(f'{heading}\n{figure_text(textwrap.fill(title, _TITLE_WIDTH))}', fontsize=9)
    axes.grid(alpha=0.25)
    figure.legend(loc='outside right center', fontsize=8, frameon=False, title='dots: contexts', title_fontsize=8)
    return figure


def _new_figure(size: tuple[float, float], layout: Literal['constrained'] | None) -> Figure:
    return Figure(figsize=size, dpi=_DPI, layout=layout)


def _example_rows(example: Example, labels: Mapping[str, str]) -> list[tuple[str, np.ndarray]]:
    """Returns the label and the stack of each row."""
    samples = [(f'sample {number}', sample) for number, sample in enumerate(example.samples, 1)]
    mean, *baselines = (
        (textwrap.fill(labels[name].replace('model, ', ''), _LABEL_WIDTH), example.completions[name])
        for name in ('mean_image', 'deformed_components', 'linear')
        if name in example.completions
    )
    return [('truth', example.truth), mean, *samples, *baselines]


def _draw_mosaic(axes: Axes, example: Example, named: Sequence[tuple[str, np.ndarray]]) -> None:
    columns = choose_columns(example.context_slices, len(example.truth))
    height, width = example.truth.shape[1:]
    # White gaps between the tiles, and below the last row, leave room for frames.
    tiles = np.stack([stack[columns] for _, stack in named])
    tiles = np.pad(tiles, [(0, 0), (0, 0), (0, _GAP), (0, _GAP)], constant_values=1)
    axes.imshow(np.block([list(row) for row in tiles]), cmap='gray', vmin=0, vmax=1, interpolation='none')
    places = np.arange(len(columns)) * (width + _GAP) - 0.5
    axes.set_xticks(places + width / 2, [str(column) for column in columns], fontsize=8)
    axes.set_yticks(
        (np.arange(len(named)) + 0.5) * (height + _GAP) - 0.5, [figure_text(label) for label, _ in named], fontsize=8
    )
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for column, place in zip(columns, places, strict=True):
        if column in example.context_slices:
            # The whole column: at a context, every row should look like the truth.
            size = (width + _GAP - 1, len(named) * (height + _GAP) - 1)
            axes.add_patch(
                patches.Rectangle((place - 0.5, -1), *size, fill=False, ec=CONTEXT_COLOUR, lw=2, clip_on=False)
            )
    for letter, side in (('R', 0.06), ('L', 0.94)):
        axes.text(places[0] + side * width, height * 0.1, letter, color='white', fontsize=7, ha='center', va='center')
    contexts = count_contexts(len(example.context_slices)) + (' (framed)' if example.context_slices else '')
    axes.set_title(f'{figure_text(example.name)}: {contexts}; slice numbers from inferior to superior', fontsize=9)


def to_png(figure: Figure) -> bytes:
    """Returns a figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()
