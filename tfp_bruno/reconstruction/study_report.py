"""The report of a study: a table of its subjects."""

import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib.image
import numpy as np
from scipy import ndimage

from tfp_bruno.data import atomic, read_volume
from tfp_bruno.reconstruction import html_report
from tfp_bruno.reconstruction.study import Outcome
from tfp_bruno.reconstruction.subject import SIDECAR
from tfp_bruno.version import __version__


def write_study_report(
    output_dir: pathlib.Path, outcomes: Sequence[Outcome], title: str, command: str, warnings: Sequence[str] = ()
) -> None:
    """Writes `report.html` and `dataset_description.json` of a study.

    Args:
        output_dir: the folder of the study.
        outcomes: what became of each volume; the warnings of each are in its sidecar.
        title: heading of the page.
        command: what the user typed.
        warnings: of the folder as a whole.
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


def _row(outcome: Outcome, output_dir: pathlib.Path) -> dict:
    """Returns a line of the table of a study."""
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
    sidecar = json.loads((outcome.folder / SIDECAR).read_text(encoding='utf-8'))
    given = [line['anomaly_score'] for line in sidecar['scores'] or () if line['is_context']]
    report = outcome.folder / 'report.html'
    return row | {
        'report': html_report.encode_path(report.relative_to(output_dir)) if report.exists() else None,
        'contexts': sidecar['contexts'],
        'warnings': sidecar.get('warnings', []),
        'lowest': min(given, default=None),
        'picture': html_report.encode_picture(_thumbnail(outcome.folder / 'mean.nii.gz')),
    }


def _thumbnail(path: pathlib.Path) -> bytes:
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
