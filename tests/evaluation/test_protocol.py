"""The protocol with a model that needs no training."""

import dataclasses

import numpy as np
import pytest

from tfp_bruno.baselines import LinearInterpolation
from tfp_bruno.contracts import LocatingModel
from tfp_bruno.evaluation import evaluate, experiments, methods, metrics, plots, power_spectrum, report
from tfp_bruno.registration import Frame

METHODS = [
    'mean_image',
    'sample_average',
    'samples',
    'training_mean',
    'nearest_subject',
    'linear',
    'components',
    'kriged_components',
    'deformed_neighbours',
    'deformed_components',
]


def scores_of(volumes, truths, contexts):
    return metrics.average_scores(
        [metrics.score_volume(t, v, contexts).scores for t, v in zip(truths, volumes, strict=True)]
    )


def test_evaluate_scores_every_count_and_method(evaluation, definition):
    assert list(evaluation.scores) == list(evaluation.standard_errors) == sorted(definition.context_slices)
    for count, scores in evaluation.scores.items():
        assert list(scores) == METHODS
        assert list(evaluation.ssim_over_slices[count]) == METHODS
    assert evaluation.bits_per_dimension == 8
    assert (evaluation.num_subjects, evaluation.num_train_subjects, evaluation.num_trained_on) == (4, 6, 0)


def test_evaluate_averages_the_metrics_over_subjects(evaluation, model, train, test, definition):
    contexts = definition.context_slices[2]
    query = (test.images[:, contexts], contexts, range(16))
    for method, predictor in (('mean_image', model), ('linear', LinearInterpolation(train.images))):
        expected = scores_of(predictor.predict(*query), test.images, contexts)
        for name in ('ssim', 'cc', 'mask_ssim', 'mask_cc', 'sharpness', 'ssim_no_contexts', 'cc_no_contexts'):
            assert evaluation.scores[2][method][name] == pytest.approx(expected[name])
        assert evaluation.scores[2][method]['psnr'] == pytest.approx(-10 * np.log10(expected['mse']))


def test_spectra_are_geometric_averages_over_subjects(evaluation, model, train, test, definition):
    contexts = definition.context_slices[2]
    predicted = LinearInterpolation(train.images).predict(test.images[:, contexts], contexts, range(16))
    ratios = [
        power_spectrum.log_ratios(truth, {'linear': stack[None]}, contexts)['linear']['2-4']
        for truth, stack in zip(test.images, predicted, strict=True)
    ]
    assert list(evaluation.spectra[2]) == ['mean_image', 'sample_average', *METHODS[3:], 'samples']
    assert list(evaluation.spectra[2]['samples']) == ['2-4', '4-8', '8-16']
    assert evaluation.spectra[2]['linear']['2-4'] == pytest.approx(np.exp(np.mean(ratios)))
    error = np.exp(np.mean(ratios)) * np.std(ratios, ddof=1) / 2
    assert evaluation.spectrum_errors[2]['linear']['2-4'] == pytest.approx(error)
    # Noise of 0.1 in the samples; the average of eight has less of it.
    spectra = evaluation.spectra[4]
    assert spectra['samples']['2-4'] > spectra['sample_average']['2-4'] > spectra['mean_image']['2-4']


def test_size_and_place_from_the_truth_are_a_row_without_contexts(locating_model, train, test, provenance):
    assert isinstance(locating_model, LocatingModel)
    found = evaluate(locating_model, train, test, [0, 2], num_samples=2, with_baselines=False)
    assert list(found.scores[0]) == ['mean_image', 'sample_average', 'samples', 'known_frame']
    assert list(found.scores[2]) == ['mean_image', 'sample_average', 'samples']
    volumes = [np.full(truth.shape, Frame.measure(truth).place[1] / 24) for truth in test.images]
    expected = -10 * np.log10(np.mean(np.square(volumes - test.images)))
    assert found.scores[0]['known_frame']['psnr'] == pytest.approx(expected, rel=1e-5)
    assert '| mean image, size and place known from the truth |' in report.format_summary(found, provenance)


def test_evaluate_without_baselines_scores_the_model_alike(model, train, test, provenance, evaluation):
    found = evaluate(model, train, test, num_samples=8, score_samples=3, seed=5, with_baselines=False)
    assert found.num_train_subjects == 0
    for count, scores in found.scores.items():
        assert list(scores) == METHODS[:3]
        assert scores == {name: evaluation.scores[count][name] for name in scores}
    assert '4 subjects scored, without baselines.' in report.format_summary(found, provenance)
    # Both plots, and the table of an experiment, work without baselines.
    plots.draw_ssim_over_slices(found, report.METHOD_LABELS, '')
    plots.draw_completions(found.examples, report.METHOD_LABELS, '')
    row = experiments.format_experiment(experiments.EXPERIMENTS['exp2'], found, provenance).splitlines()[-3]
    assert [cell.strip() for cell in row.split('|')[5:7]] == ['-', '-']


@pytest.mark.slow
def test_slow_baselines_complete_alike_in_other_processes(train, test, monkeypatch):
    slow = {name: methods.make_baselines(train.images)[name] for name in methods.SLOW_BASELINES}
    jobs = [(truth, (5, 10)) for truth in test.images]
    here = list(methods.complete_slowly(slow, jobs))
    monkeypatch.setattr(methods, '_VOXELS_FOR_PROCESSES', 0)
    there = list(methods.complete_slowly(slow, jobs))
    assert len(here) == len(there) == 4
    for one, other in zip(here, there, strict=True):
        assert list(one) == list(other) == list(slow)
        for name in slow:
            np.testing.assert_array_equal(one[name], other[name])


def test_sample_average_is_over_all_samples_and_samples_over_the_first(model, train, test, definition):
    test = dataclasses.replace(test, images=test.images[:1], names=test.names[:1], splits=test.splits[:1])
    found = evaluate(model, train, test, [4], num_samples=8, score_samples=3, seed=5)
    ((size, seed),) = model.calls
    contexts = definition.context_slices[4]
    samples = model.sample(test.images[:, contexts], contexts, range(16), size, seed)[:, 0]
    average = scores_of([samples.mean(axis=0)], test.images, contexts)
    assert found.scores[4]['sample_average']['mask_ssim'] == pytest.approx(average['mask_ssim'], abs=1e-5)
    single = scores_of(samples[:3], [test.images[0]] * 3, contexts)
    assert found.scores[4]['samples']['mask_ssim'] == pytest.approx(single['mask_ssim'], abs=1e-6)
    np.testing.assert_array_equal(found.examples[0].samples, samples[:6])


@pytest.mark.slow
def test_samples_are_drawn_in_calls_of_equal_bounded_size(model, train, test, monkeypatch):
    monkeypatch.setattr(methods, '_IMAGES_PER_CALL', 3 * 16)
    found = evaluate(model, train, test, [1], num_samples=8, score_samples=8)
    assert [size for size, _ in model.calls] == [3, 3, 3] * 4
    assert len({seed for _, seed in model.calls}) == 12
    assert max(seed for _, seed in model.calls) < 2**31
    assert found.score_samples == 8


@pytest.mark.slow
def test_evaluate_repeats_with_the_seed_for_each_count_alone(model, train, test, evaluation):
    again = evaluate(model, train, test, [4], num_samples=8, score_samples=3, seed=5)
    assert again.scores[4] == evaluation.scores[4]
    other = evaluate(model, train, test, [4], num_samples=8, score_samples=3, seed=6)
    assert other.scores[4]['samples'] != evaluation.scores[4]['samples']


@pytest.mark.slow
def test_examples_have_the_largest_count_up_to_four(model, train, test, evaluation):
    assert [example.name for example in evaluation.examples] == list(test.names[:3])
    assert {len(example.context_slices) for example in evaluation.examples} == {4}
    only_many = evaluate(model, train, test, [5], num_samples=1)
    assert {len(example.context_slices) for example in only_many.examples} == {5}


def test_subjects_that_were_trained_on_are_counted(model, train):
    found = evaluate(model, train, train, [1], num_samples=1)
    assert found.num_trained_on == 6
    assert found.scores[1]['nearest_subject']['ssim'] == pytest.approx(1)
    assert found.scores[1]['nearest_subject']['psnr'] == np.inf


@pytest.mark.parametrize(('name', 'value'), [('counts', [3]), ('counts', []), ('num_samples', 0), ('score_samples', 0)])
def test_evaluate_bad_input_names_the_argument(model, train, test, name, value):
    with pytest.raises(ValueError, match=f'`{name}='):
        evaluate(model, train, test, **{name: value})
