"""The content of the plots."""

import dataclasses

import numpy as np
import pytest
from matplotlib import colors

from tfp_bruno.evaluation import plots, report


@pytest.mark.parametrize(
    ('contexts', 'num_slices'),
    [((), 80), ((10, 30, 50, 70), 80), ((40,), 80), ((12, 24, 36, 48, 60, 72, 84, 96, 108), 120), ((2, 3), 6)],
)
def test_choose_columns_includes_contexts_and_spans_the_stack(contexts, num_slices):
    columns = plots.choose_columns(contexts, num_slices)
    assert len(columns) == min(12, num_slices)
    assert set(contexts) <= set(columns)
    assert columns == sorted(set(columns))
    assert columns[0] < 0.15 * num_slices
    assert columns[-1] > 0.8 * num_slices


def test_choose_columns_with_more_contexts_than_columns():
    assert set(plots.choose_columns(range(0, 80, 4), 80)) <= set(range(0, 80, 4))


def test_draw_ssim_over_slices_plots_scores_and_marks_contexts(evaluation):
    figure = plots.draw_ssim_over_slices(evaluation, report.METHOD_LABELS, 'title')
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    for count, label in ((0, 'model, no contexts'), (1, 'model, 1 context'), (4, 'model, 4 contexts')):
        np.testing.assert_array_equal(lines[label].get_ydata(), evaluation.ssim_over_slices[count]['mean_image'])
        assert tuple(lines[label].get_markevery()) == evaluation.context_slices[count]
    linear = lines['linear interpolation, 4 contexts'].get_ydata()
    np.testing.assert_array_equal(linear, evaluation.ssim_over_slices[4]['linear'])
    np.testing.assert_allclose(linear[[2, 6, 10, 14]], 1)
    assert 'training mean' in lines


def test_draw_completions_shows_slices_and_frames_contexts(evaluation):
    figure = plots.draw_completions(evaluation.examples, report.METHOD_LABELS, 'title')
    assert len(figure.axes) == 3
    axes, example = figure.axes[0], evaluation.examples[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [
        'truth',
        'mean image',
        *(f'sample {n}' for n in range(1, 7)),
        'components of deformed\nneighbours',
        'linear interpolation',
    ]
    picture = axes.images[0]
    assert picture.get_clim() == (0, 1)
    columns = [int(label.get_text()) for label in axes.get_xticklabels()]
    tile = picture.get_array()[26:50, 26 * 3 : 26 * 3 + 24]
    np.testing.assert_array_equal(tile, example.completions['mean_image'][columns[3]])
    assert len(axes.patches) == 4
    assert all(patch.get_edgecolor() == colors.to_rgba(plots.CONTEXT_COLOUR) for patch in axes.patches)


def test_names_are_no_formulas(evaluation):
    title = 'volumes of $\\frac$, cost $5\nand \x1b[31m'
    example = dataclasses.replace(evaluation.examples[0], name='$x_{1$')
    for figure in (
        plots.draw_ssim_over_slices(evaluation, report.METHOD_LABELS, title),
        plots.draw_completions([example], report.METHOD_LABELS, title),
        plots.draw_ssim_of_runs({'$\\sqrt$': np.zeros(5)}, 1, [2], title),
    ):
        # A formula that is not one raises a ValueError here.
        assert plots.to_png(figure).startswith(b'\x89PNG')
