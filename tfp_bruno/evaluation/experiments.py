"""The two experiments of Hou et al. 2019, with the paper's scores for comparison."""

import dataclasses
from collections.abc import Mapping

from tfp_bruno.data import DatasetDefinition
from tfp_bruno.data.definitions import spread_evenly
from tfp_bruno.evaluation.protocol import Evaluation
from tfp_bruno.evaluation.report import METHOD_LABELS, Provenance, describe, format_number, markdown_table


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments.

    Attributes:
        title: Heading of its table.
        counts: Numbers of contexts.
        own_slices: Whether the contexts are those of the dataset definition, if it has that number of them; otherwise
            they are spread evenly.
        paper: The paper's scores on its own, private data: `ssim` and `cc` keyed by dataset, then number of contexts.
        remark: A sentence below the table on the paper's results.
    """

    title: str
    counts: tuple[int, ...]
    own_slices: bool
    paper: Mapping[str, Mapping[int, Mapping[str, float]]]
    remark: str


# The paper averages the scores of so many samples of each slice.
NUM_SAMPLES = 100
EXPERIMENTS: Mapping[str, Experiment] = {
    'exp1': Experiment(
        title='Experiment 1 (Tables 3a and 3b, Figure 3c): a stack completed from evenly spread slices',
        counts=(1, 3, 5, 9),
        own_slices=False,
        paper={},
        remark='On its data the paper reports an SSIM of about 0.7 for adni and about 0.8 for thorax.',
    ),
    'exp2': Experiment(
        title='Experiment 2 (Table 4b, Figure 5): a fetal brain completed from a few slices',
        counts=(1, 3, 4, 7),
        own_slices=True,
        paper={
            'fetal': {
                1: {'ssim': 0.665, 'cc': 0.868},
                3: {'ssim': 0.676, 'cc': 0.875},
                4: {'ssim': 0.679, 'cc': 0.876},
                7: {'ssim': 0.684, 'cc': 0.880},
            }
        },
        remark='The paper has this experiment for its fetal data alone.',
    ),
}


def context_slices_of(experiment: Experiment, definition: DatasetDefinition) -> dict[int, tuple[int, ...]]:
    """Returns the context slices of an experiment, keyed by their number."""
    own = definition.context_slices if experiment.own_slices else {}
    return {count: own.get(count, spread_evenly(count, definition.num_slices)) for count in experiment.counts}


def format_experiment(experiment: Experiment, evaluation: Evaluation, provenance: Provenance) -> str:
    """Returns a Markdown table of SSIM / CC over all slices: of the model, the baselines and the paper.

    Args:
        experiment: The experiment.
        evaluation: The results of the protocol with its contexts.
        provenance: What was evaluated.
    """
    methods = {
        'samples': f'average score of {evaluation.score_samples} samples',
        'sample_average': f'their average image ({evaluation.num_samples})',
        'mean_image': 'mean image',
        **{name: METHOD_LABELS[name] for name in ('training_mean', 'kriged_components', 'linear')},
    }
    paper = experiment.paper.get(provenance.dataset, {})
    rows = [
        [str(count), *(_pair(scores.get(method)) for method in methods), _pair(paper.get(count, {}))]
        for count, scores in evaluation.scores.items()
    ]
    lines = [
        f'# {experiment.title}',
        '',
        f'{describe(provenance)}. SSIM / CC of whole slices, the contexts among them.',
        '',
    ]
    lines += markdown_table(['contexts', *methods.values(), 'paper, its own data'], rows)
    lines += ['', f'{experiment.remark} It averages the scores of {NUM_SAMPLES} samples of each slice.', '']
    return '\n'.join(lines)


def _pair(scores: Mapping[str, float] | None) -> str:
    return f'{format_number(scores["ssim"])} / {format_number(scores["cc"])}' if scores else '-'
