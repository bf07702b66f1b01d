"""The report of a study: a table of its subjects."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfp_bruno.data import atomic
from tfp_bruno.errors import UserError
from tfp_bruno.reconstruction import html_report
from tfp_bruno.reconstruction.pictures import thumbnail
from tfp_bruno.reconstruction.sidecar import SIDECAR
from tfp_bruno.reconstruction.study import Outcome
from tfp_bruno.version import __version__


def write_study_report(
    output_dir: pathlib.Path, outcomes: Sequence[Outcome], title: str, command: str, warnings: Sequence[str] = ()
) -> None:
    """Writes `report.html` and `dataset_description.json` of a study.

    Args:
        output_dir: The folder of the study.
        outcomes: The outcome of each volume; the warnings about it are in its sidecar.
        title: The heading of the page.
        command: The command line.
        warnings: Of the study as a whole.
    """
    states = [outcome.state for outcome in outcomes]
    page = html_report.render(
        'study',
        title,
        {},
        rows=[_row(outcome, output_dir) for outcome in outcomes],
        done=len(states) - states.count('failed'),
        skipped=states.count('complete before'),
        failed=states.count('failed'),
        command=command,
        warnings=warnings,
    )
    description = {
        'Name': title,
        'BIDSVersion': '1.9.0',
        'DatasetType': 'derivative',
        'GeneratedBy': [{'Name': 'tfp_bruno', 'Version': __version__}],
    }
    atomic.write_text(output_dir / 'dataset_description.json', json.dumps(description, indent=2) + '\n')
    atomic.write_text(output_dir / 'report.html', page)


def _row(outcome: Outcome, output_dir: pathlib.Path) -> dict[str, Any]:
    """Returns a row of the table of a study."""
    row: dict[str, Any] = {
        'name': '/'.join(outcome.folder.relative_to(output_dir).parts),
        'state': outcome.state,
        'error': outcome.error,
        'report': None,
        'contexts': [],
        'warnings': [],
        'lowest': None,
        'picture': None,
    }
    if outcome.error:
        return row
    try:
        return row | _shown(outcome.folder, output_dir)
    # A result from before may be damaged: that is its own row, not the end of the report.
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = str(error) if isinstance(error, UserError) else f'{outcome.folder}: is damaged ({error!r:.80}).'
        return row | {'error': f'{message} Remove its folder, and complete it again.'}


def _shown(folder: pathlib.Path, output_dir: pathlib.Path) -> dict[str, Any]:
    """Returns what a row shows of a complete result."""
    sidecar = json.loads((folder / SIDECAR).read_text(encoding='utf-8'))
    given = [line['anomaly_score'] for line in sidecar['scores'] or () if line['is_context']]
    report = folder / 'report.html'
    return {
        'report': html_report.encode_path(report.relative_to(output_dir)) if report.exists() else None,
        'contexts': sidecar['contexts'],
        'warnings': sidecar.get('warnings', []),
        'lowest': min(given, default=None),
        'picture': html_report.encode_picture(thumbnail(folder / 'mean.nii.gz')),
    }
