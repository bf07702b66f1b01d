"""The report of start volumes for slice-to-volume reconstruction: tables, files, a picture like the paper's."""

import dataclasses
import json
import os
import pathlib
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfp_bruno.data import atomic
from tfp_bruno.data.participants import format_table as format_tsv
from tfp_bruno.data.plain_text import figure_text
from tfp_bruno.evaluation import plots
from tfp_bruno.evaluation.motion_experiment import UNMASKED, MotionExperiment, StartExample
from tfp_bruno.evaluation.report import Provenance, describe, finite_json, format_number, markdown_table
from tfp_bruno.evaluation.start_volumes import AVERAGE, Row

# The paper's SSIM of whole slices, on its own data: 10 mm, no rotation.
PAPER_SSIM: Mapping[str, float] = {'average': 0.297, 'completion': 0.679}
FILES = ('svr.json', 'svr.tsv', 'svr.md', 'starts.png')

_VOLUME_LABELS = {
    'ssim': 'SSIM',
    'cc': 'CC',
    'psnr': 'PSNR',
    'mask_ssim': 'in-mask SSIM',
    'mask_cc': 'in-mask CC',
    'mask_psnr': 'in-mask PSNR',
}
_SLICE_LABELS = {
    'median_mm': 'error (mm)',
    'median_degrees': 'degrees',
    'share_2mm': 'within 2 mm',
    'share_5mm': 'within 5 mm',
    'mask_psnr': 'in-mask PSNR',
    'mask_ssim': 'in-mask SSIM',
}
_COLUMNS = ('translation', 'rotation', 'subject', 'start', 'cycle', *_VOLUME_LABELS)
_COLUMNS += ('median_mm', 'median_degrees', 'share_2mm', 'share_5mm', 'correlation', 'slices')
_DPI, _TILE, _LABEL_WIDTH = 150, 1.5, 18


def write_motion_report(
    folder: str | os.PathLike, found: MotionExperiment, provenance: Provenance
) -> tuple[pathlib.Path, ...]:
    """Writes the report, each file atomically, the scores first.

    Args:
        folder: Where to write; made if it is missing.
        found: The results.
        provenance: What was evaluated.

    Returns:
        The paths of `svr.json` (averages), `svr.tsv` (every subject), `svr.md` and `starts.png`.

    Raises:
        UserError: If a file cannot be written.
    """
    paths = tuple(pathlib.Path(folder) / name for name in FILES)
    table = format_tsv(_COLUMNS, [[_cell(row.get(name)) for name in _COLUMNS] for row in found.rows])
    atomic.write_text(paths[0], json.dumps(motion_json(found, provenance), indent=2) + '\n')
    atomic.write_text(paths[1], table)
    atomic.write_text(paths[2], format_motion(found, provenance))
    atomic.write_bytes(paths[3], plots.to_png(draw_starts(found.example, describe(provenance))))
    return paths


def motion_json(found: MotionExperiment, provenance: Provenance) -> dict[str, Any]:
    """Returns averages and settings as JSON values; None stands for undefined or infinite values."""
    contents = dataclasses.asdict(provenance) | {
        'num_subjects': found.num_subjects,
        'batch_size': found.batch_size,
        'num_contexts': list(found.num_contexts),
        'noise': found.noise,
        'seed': found.seed,
        'paper_ssim': dict(PAPER_SSIM),
        'averages': found.averages(),
    }
    return finite_json(contents)


def format_motion(found: MotionExperiment, provenance: Provenance) -> str:
    """Returns the report as Markdown: for each motion the scores of the volumes, and what slices register to them."""
    lines = [
        '# Start volumes for slice-to-volume reconstruction (section 3.3 and Figure 6)',
        '',
        f'{describe(provenance)}. Run: {provenance.run}, trained on {provenance.trained_on}. '
        f'tfp_bruno {provenance.version}.',
        '',
        f'Three orthogonal stacks of each subject, {found.noise:.0%} noise, every batch of {found.batch_size} slices '
        f'moved by itself; seed {found.seed}. Completion and neighbours are made from the slices of one batch that '
        f'show enough of the anatomy, {np.mean(found.num_contexts):.1f} on average. Volumes are scored in the place '
        'of the truth, slices after the transform that all have in common is removed. The unmasked average is the '
        f'nearest to that of the paper, whose SSIM on its own data is {PAPER_SSIM["average"]} for the average and '
        f'{PAPER_SSIM["completion"]} for the completion.',
        '',
    ]
    averages = found.averages()
    for translation, rotation in dict.fromkeys((row['translation'], row['rotation']) for row in averages):
        own = [row for row in averages if (row['translation'], row['rotation']) == (translation, rotation)]
        number = int(max(row['subjects'] for row in own))
        lines += [
            f'## Up to {translation:g} mm and {rotation:g} degrees, {number} of {found.num_subjects} subjects',
            '',
        ]
        starts = [row for row in own if row['cycle'] == 0]
        lines += [*_table(starts, _VOLUME_LABELS, ('start',)), '']
        registered = [row for row in own if row['start'] != UNMASKED and (row['cycle'] or row['start'] == AVERAGE)]
        if any(row['cycle'] for row in registered):
            lines += ['Slices after each cycle of registration, and the volume that is averaged from them:', '']
            lines += [*_table(registered, _SLICE_LABELS, ('start', 'cycle')), '']
    return '\n'.join(lines)


def draw_starts(example: StartExample, title: str) -> Figure:
    """Draws three orthogonal planes of each start volume, a column for each, the truth first.

    Args:
        example: The volumes, RAS or LPS, in the place of the truth.
        title: One line that describes the data.

    Returns:
        The figure, on an Agg canvas. The planes go through the middle of the anatomy.
    """
    truth = next(iter(example.volumes.values()))
    middle = np.round(np.argwhere(truth > 0).mean(axis=0)).astype(int)
    number, sides = len(example.volumes), truth.shape * example.spacing
    heights = [sides[1] / sides[0], sides[2] / sides[0], sides[2] / sides[1]]
    figure = Figure(figsize=(_TILE * number, _TILE * sum(heights) + 0.9), dpi=_DPI, layout='constrained')
    motion = f'{example.condition.translation:g} mm, {example.condition.rotation:g} degrees'
    heading = f'{example.name}, motion up to {motion}\n{textwrap.fill(title, 80)}'
    figure.suptitle(figure_text(heading), fontsize=8)
    axes = figure.subplots(3, number, squeeze=False, height_ratios=heights)
    for column, (name, volume) in zip(axes.T, example.volumes.items(), strict=True):
        for plane, place in enumerate(column):
            # Rows from anterior to posterior, or from superior to inferior.
            image = np.take(volume, middle[2 - plane], axis=2 - plane).T
            across, down = np.delete(example.spacing, 2 - plane)
            place.imshow(image, cmap='gray', vmin=0, vmax=1, aspect=down / across, origin='lower' if plane else 'upper')
            place.set_axis_off()
        column[0].set_title(figure_text(textwrap.fill(name, _LABEL_WIDTH)), fontsize=8)
    return figure


def _table(rows: list[Row], labels: Mapping[str, str], keys: tuple[str, ...]) -> list[str]:
    """Returns the lines of a Markdown table with a row for each of the averages."""
    cells = [[*(str(row[key]) for key in keys), *(_number(row.get(name)) for name in labels)] for row in rows]
    return markdown_table([*keys, *labels.values()], cells)


def _number(value: str | float | None) -> str:
    return '-' if value is None else format_number(float(value))


def _cell(value: str | float | None) -> str:
    """Returns a cell of the TSV file; n/a, as in BIDS, for what is undefined."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return 'n/a'
    return f'{value:.6g}' if isinstance(value, float) else str(value)
