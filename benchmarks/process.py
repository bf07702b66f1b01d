"""Measures the processes of tfp_bruno.distributions side by side, in one run, and prints a markdown table.

    python benchmarks/process.py [--output=benchmarks/README.md]

Times are medians after a warm-up. Run it on a machine that does nothing else; it takes a few minutes.
"""

import pathlib
import sys

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.cli import app

OUTPUT = flags.DEFINE_string('output', None, 'File whose section <!-- process --> is replaced by the table.')
REPEATS = flags.DEFINE_integer('repeats', 10, 'How many calls are timed, at least.', lower_bound=1)


def main():
    """Measures, prints, and writes the table where --output says.

    Raises:
        UserError: if the file of --output cannot be used.
    """
    app.import_tensorflow()
    # Only now: importing TensorFlow is not quiet otherwise.
    from benchmarks import exchangeable, measure, over_poses

    flops = measure.matmul_flops(repeats=REPEATS.value)
    ceiling = measure.Row('Ceiling: product of two 2048 x 2048 float32 matrices', f'{flops / 1e9:.0f} GFLOP/s')
    rows = [ceiling, *exchangeable.rows(REPEATS.value), *over_poses.rows(REPEATS.value, flops)]
    text = f'{measure.describe_machine()}.\n\n{measure.to_markdown(rows)}'
    print(text)
    if OUTPUT.value:
        measure.replace_section(OUTPUT.value, 'process', text)


if __name__ == '__main__':
    app.run_main(main)
