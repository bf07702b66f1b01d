"""The two figures of an evaluation: SSIM over slice position, and a mosaic of completions."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import color_sequences, colormaps, patches
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfp_bruno.evaluation.protocol import EXAMPLE_CONTEXTS, Evaluation, Example

NUM_COLUMNS = 12
CONTEXT_COLOUR = '#ffb000'
BASELINE_STYLES = {'kriged_components': '-.', 'linear': '--', 'training_mean': ':'}

_DPI = 150
_GAP = 2
_TILE_INCHES = 0.76
_LABEL_INCHES = 1.5
_HEADING_INCHES = 0.6
_TITLE_WIDTH = 100
_LABEL_WIDTH = 22


def draw_ssim_over_slices(evaluation: Evaluation, labels: Mapping[str, str], title: str) -> Figure:
    """Draws SSIM of the mean image over slice position, one curve for each number of contexts, the contexts marked.

    Baselines are thin lines, at the largest number of contexts up to 4.

    Args:
        evaluation: what the protocol found.
        labels: what to call the methods.
        title: what the data are.

    Returns:
        The figure, on an Agg canvas.
    """
    figure = _new_figure((9, 5.2), layout='constrained')
    axes = figure.add_subplot()
    counts = list(evaluation.ssim_over_slices)
    colours = colormaps['viridis'](np.linspace(0, 0.85, len(counts)))
    for count, colour in zip(counts, colours, strict=True):
        curve = evaluation.ssim_over_slices[count]['mean_image']
        marked = list(evaluation.context_slices[count])
        axes.plot(
            curve,
            color=colour,
            lw=1.8,
            label=f'model, {count_contexts(count)}',
            marker='o',
            ms=6,
            mec='white',
            markevery=marked,
        )
    count = max([count for count in counts if count <= EXAMPLE_CONTEXTS], default=counts[0])
    for method, style in BASELINE_STYLES.items():
        if method not in evaluation.ssim_over_slices[count]:
            continue
        curve = evaluation.ssim_over_slices[count][method]
        label = labels[method] if method == 'training_mean' else f'{labels[method]}, {count_contexts(count)}'
        axes.plot(curve, color='0.35', lw=1, ls=style, label=label, zorder=3)
    axes.set(xlabel='slice (inferior to superior)', ylabel='SSIM', xlim=(0, len(curve) - 1))
    heading = f'SSIM over slice position, mean over {evaluation.num_subjects} subjects'
    figure.suptitle(f'{heading}\n{textwrap.fill(title, _TITLE_WIDTH)}', fontsize=9)
    axes.grid(alpha=0.25)
    figure.legend(loc='outside right center', fontsize=8, frameon=False, title='dots: contexts', title_fontsize=8)
    return figure


def draw_completions(examples: Sequence[Example], labels: Mapping[str, str], title: str) -> Figure:
    """Draws a mosaic for each example: truth, mean image, single samples and two baselines, a dozen slices each.

    Args:
        examples: the subjects to show, at least one.
        labels: what to call the methods.
        title: what the data are.

    Returns:
        The figure, on an Agg canvas. Context slices have a coloured frame; the patient's right is at picture left.
    """
    return draw_mosaics(examples, [_example_rows(example, labels) for example in examples], title)


def draw_mosaics(examples: Sequence[Example], rows: Sequence[Sequence[tuple[str, np.ndarray]]], title: str) -> Figure:
    """Draws a mosaic for each example, a dozen slices of each of its rows.

    Args:
        examples: the subjects to show, at least one.
        rows: label and stack `[K, H, W]` of each row, for each example.
        title: what the data are.

    Returns:
        The figure, on an Agg canvas. Context slices have a coloured frame; the patient's right is at picture left.
    """
    num_columns = min(NUM_COLUMNS, len(examples[0].truth))
    title = textwrap.fill(title, _TITLE_WIDTH)
    width = _LABEL_INCHES + _TILE_INCHES * num_columns + 0.1
    height = 0.3 + 0.2 * len(title.splitlines()) + sum(_HEADING_INCHES + _TILE_INCHES * len(named) for named in rows)
    figure = _new_figure((width, height), layout=None)
    figure.text(0.5, 1 - 0.12 / height, title, fontsize=10, ha='center', va='top')
    # Placed by hand: automatic layouts do not reckon with the fixed shape of pictures.
    bottom = height - 0.2 - 0.2 * len(title.splitlines())
    for example, named in zip(examples, rows, strict=True):
        block = _TILE_INCHES * len(named)
        bottom -= _HEADING_INCHES + block
        place = (_LABEL_INCHES / width, bottom / height, _TILE_INCHES * num_columns / width, block / height)
        _draw_mosaic(figure.add_axes(place), example, named)
    return figure


def choose_columns(context_slices: Sequence[int], num_slices: int, count: int = NUM_COLUMNS) -> list[int]:
    """Chooses slices to show: spread evenly, with the contexts in the places of the slices nearest to them.

    Args:
        context_slices: slice numbers that must be shown, as far as there are places for them.
        num_slices: K.
        count: how many to choose.

    Returns:
        Sorted slice numbers, none twice.
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


def _new_figure(size, layout):
    figure = Figure(figsize=size, dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _example_rows(example, labels):
    """Returns (label, stack) of each row."""
    samples = [(f'sample {number}', sample) for number, sample in enumerate(example.samples, 1)]
    mean, *baselines = (
        (textwrap.fill(labels[name].replace('model, ', ''), _LABEL_WIDTH), example.completions[name])
        for name in ('mean_image', 'kriged_components', 'linear')
        if name in example.completions
    )
    return [('truth', example.truth), mean, *samples, *baselines]


def _draw_mosaic(axes, example, named):
    columns = choose_columns(example.context_slices, len(example.truth))
    height, width = example.truth.shape[1:]
    # White gaps between the tiles, and below the last ones, where a frame fits.
    tiles = np.stack([stack[columns] for _, stack in named])
    tiles = np.pad(tiles, [(0, 0), (0, 0), (0, _GAP), (0, _GAP)], constant_values=1)
    axes.imshow(np.block([list(row) for row in tiles]), cmap='gray', vmin=0, vmax=1, interpolation='none')
    places = np.arange(len(columns)) * (width + _GAP) - 0.5
    axes.set_xticks(places + width / 2, [str(column) for column in columns], fontsize=8)
    axes.set_yticks((np.arange(len(named)) + 0.5) * (height + _GAP) - 0.5, [label for label, _ in named], fontsize=8)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    for column, place in zip(columns, places, strict=True):
        if column in example.context_slices:
            # The whole column: at a context the rows below the truth should look like it.
            size = (width + _GAP - 1, len(named) * (height + _GAP) - 1)
            axes.add_patch(
                patches.Rectangle((place - 0.5, -1), *size, fill=False, ec=CONTEXT_COLOUR, lw=2, clip_on=False)
            )
    for letter, side in (('R', 0.06), ('L', 0.94)):
        axes.text(places[0] + side * width, height * 0.1, letter, color='white', fontsize=7, ha='center', va='center')
    contexts = count_contexts(len(example.context_slices)) + (' (framed)' if example.context_slices else '')
    axes.set_title(f'{example.name}: {contexts}; slice numbers from inferior to superior', fontsize=9)


def draw_curves(curves: Mapping[str, np.ndarray], num_models: int, context_slices: Sequence[int], title: str) -> Figure:
    """Draws SSIM over slice position, the contexts marked.

    Args:
        curves: `[K]` of each method by name, models first, at most ten.
        num_models: how many of them are models; baselines are thin grey lines.
        context_slices: slice numbers of the contexts.
        title: what the data are.

    Returns:
        The figure, on an Agg canvas.
    """
    figure = _new_figure((9, 5.2), layout='constrained')
    axes = figure.add_subplot()
    styles = [{'color': colour, 'lw': 1.8} for colour in color_sequences['tab10'][:num_models]]
    styles += [{'color': '0.35', 'lw': 1, 'ls': style} for style in ('--', ':', '-.')]
    for (label, curve), style in zip(curves.items(), styles, strict=False):
        axes.plot(curve, label=label, marker='o', ms=5, mec='white', markevery=list(context_slices), **style)
    axes.set(xlabel='slice (inferior to superior)', ylabel='SSIM', xlim=(0, len(curve) - 1))
    heading = f'SSIM over slice position, {count_contexts(len(context_slices))}'
    figure.suptitle(f'{heading}\n{textwrap.fill(title, _TITLE_WIDTH)}', fontsize=9)
    axes.grid(alpha=0.25)
    figure.legend(loc='outside right center', fontsize=8, frameon=False, title='dots: contexts', title_fontsize=8)
    return figure
