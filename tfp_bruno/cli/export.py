"""Writes a trained model to one file, to hand on; every command takes the file as its --run_dir.

    bin/export --run_dir=RUN --output=MODEL.safetensors --metrics=RUN/evaluation/metrics.json --data_licence='CC BY 4.0'
    bin/export --card=MODEL.safetensors

The file holds weights, settings, the split, the learning curve and a model card. It is in the safetensors format: to
open it runs no code. --card prints the model card of such a file.
"""

import pathlib
import typing
from collections.abc import Mapping
from typing import Any

from absl import flags

from tfp_bruno.cli import app
from tfp_bruno.data.atomic import check_writable
from tfp_bruno.data.plain_text import check_utf8, printable
from tfp_bruno.errors import UserError
from tfp_bruno.evaluation import describe_metrics, read_metrics_file

if typing.TYPE_CHECKING:
    from tfp_bruno.runs import Run

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a trained model, the --output_dir of bin/train.')
OUTPUT = flags.DEFINE_string('output', None, 'File to write, with the suffix .safetensors.')
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace --output if it exists.')
METRICS = flags.DEFINE_string('metrics', None, 'metrics.json of bin/evaluate, whose scores the model card shows.')
DATA_LICENCE = flags.DEFINE_string('data_licence', None, 'Licence of the training data, for the model card.')
CARD = flags.DEFINE_string('card', None, 'Exported file whose model card is printed, instead of --run_dir.')

flags.mark_flags_as_mutual_exclusive(['run_dir', 'card'], required=True)

_SUFFIX = '.safetensors'
_MEND = 'give the metrics.json that bin/evaluate wrote for this run.'


def main() -> None:
    """Writes a model to a file, or prints the card of one.

    Raises:
        UserError: If a flag, a file or a folder cannot be used.
    """
    if CARD.value is not None:
        print_card(CARD.value)
    elif RUN_DIR.value is not None:
        export(pathlib.Path(RUN_DIR.value))


def export(run_dir: pathlib.Path) -> None:
    """Writes the model of a run to the file `--output`, and prints its path.

    Args:
        run_dir: The run's folder.

    Raises:
        UserError: If a flag, a file or a folder cannot be used.
    """
    if OUTPUT.value is None:
        raise UserError('--output: is missing; give the file to write.')
    output = pathlib.Path(OUTPUT.value)
    check_output(output)
    if not run_dir.is_dir():
        raise UserError(f'--run_dir={run_dir}: there is no such folder; give the --output_dir of bin/train.')
    metrics = None if METRICS.value is None else read_metrics_file(pathlib.Path(METRICS.value), _MEND)
    app.import_tensorflow()
    from tfp_bruno.runs import export_model, read_run

    scores = None if metrics is None else describe_scores(metrics, read_run(run_dir))
    export_model(run_dir, output, scores, DATA_LICENCE.value)
    app.print_path(output)


def check_output(output: pathlib.Path) -> None:
    """Raises a UserError if the file to write has another suffix, exists, or cannot be written."""
    check_utf8(output)
    if output.suffix != _SUFFIX:
        raise UserError(f'--output={output}: give a name that ends with {_SUFFIX}.')
    if output.is_dir():
        raise UserError(f'--output={output}: is a folder; give the name of a file.')
    if output.exists() and not OVERWRITE.value:
        raise UserError(f'--output={output}: exists; give another name, or --overwrite.')
    check_writable(output.parent, 'output')


def describe_scores(metrics: Mapping[str, Any], run: 'Run') -> str:
    """Returns the scores in `--metrics` as Markdown.

    Args:
        metrics: The content of the file.
        run: The run that is exported.

    Raises:
        UserError: If they are the scores of another model, or damaged.
    """
    if (metrics['dataset'], metrics.get('trained_on')) != (run.definition.name, run.info.data):
        raise UserError(
            f'--metrics={METRICS.value}: is of a model of {metrics["dataset"]}, trained on '
            f'{metrics.get("trained_on")}; {_MEND}'
        )
    try:
        return describe_metrics(metrics, has_exact_log_prob=run.kind == 'bruno')
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f'--metrics={METRICS.value}: is damaged ({error!r:.100}); {_MEND}') from error


def print_card(path: str) -> None:
    """Prints the model card of an exported file.

    Args:
        path: The file.

    Raises:
        UserError: If a flag was given that has no effect, or the file cannot be read.
    """
    for flag in (OUTPUT, METRICS, DATA_LICENCE):
        if flag.value is not None:
            raise UserError(f'--{flag.name}: has no effect with --card; leave it out.')
    app.import_tensorflow()
    from tfp_bruno.runs import read_card

    for line in read_card(path).splitlines():
        print(printable(line))


def run() -> None:
    """Runs the command line."""
    app.run_main(main)
