"""Scores of completed volumes against the truth, the protocol that collects them, and its report."""

from tfp_bruno.evaluation.comparison import (
    EvaluatedRun,
    check_comparable,
    choose_count,
    complete_examples,
    describe_metrics,
    format_table,
    label_runs,
    read_metrics,
    read_metrics_file,
    results_folder,
    write_comparison,
)
from tfp_bruno.evaluation.experiments import EXPERIMENTS, context_slices_of, format_experiment
from tfp_bruno.evaluation.metrics import VolumeScores, score_volume, ssim_map
from tfp_bruno.evaluation.motion_experiment import MotionExperiment, name_completions, run_motion_experiment
from tfp_bruno.evaluation.motion_report import format_motion, write_motion_report
from tfp_bruno.evaluation.plots import draw_completions, draw_ssim_over_slices
from tfp_bruno.evaluation.predictive import bits_per_dimension
from tfp_bruno.evaluation.protocol import Evaluation, evaluate
from tfp_bruno.evaluation.report import Provenance, format_summary, write_report
from tfp_bruno.evaluation.subject_scores import Example

__all__ = [
    'EXPERIMENTS',
    'EvaluatedRun',
    'Evaluation',
    'Example',
    'MotionExperiment',
    'Provenance',
    'VolumeScores',
    'bits_per_dimension',
    'check_comparable',
    'choose_count',
    'complete_examples',
    'context_slices_of',
    'describe_metrics',
    'draw_completions',
    'draw_ssim_over_slices',
    'evaluate',
    'format_experiment',
    'format_motion',
    'format_summary',
    'format_table',
    'label_runs',
    'name_completions',
    'read_metrics',
    'read_metrics_file',
    'results_folder',
    'run_motion_experiment',
    'score_volume',
    'ssim_map',
    'write_comparison',
    'write_motion_report',
    'write_report',
]
