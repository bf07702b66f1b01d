"""An evaluation in shards equals that in one run, to the last bit, and goes on where it was interrupted."""

import dataclasses
import json

import numpy as np
import pytest

from tfp_bruno.contracts import RunInfo
from tfp_bruno.data import Shard
from tfp_bruno.evaluation import Provenance, evaluate, report

SETTINGS = {'counts': (0, 2, 4), 'num_samples': 3, 'score_samples': 2, 'seed': 5, 'with_baselines': False}


@pytest.fixture
def subjects(tmp_path):
    return tmp_path / 'subjects'


def json_of(evaluation):
    provenance = Provenance('fetal', 'test', 'blobs', True, 'run', 'other blobs', '1')
    return json.dumps(report.to_json(evaluation, provenance))


def assert_equal_examples(one, other):
    assert len(one.examples) == len(other.examples)
    for mine, its in zip(one.examples, other.examples, strict=True):
        assert (mine.name, mine.context_slices) == (its.name, its.context_slices)
        assert list(mine.completions) == list(its.completions)
        for method in mine.completions:
            np.testing.assert_array_equal(mine.completions[method], its.completions[method])
        np.testing.assert_array_equal(mine.truth, its.truth)
        np.testing.assert_array_equal(mine.samples, its.samples)


@pytest.mark.parametrize(
    ('count', 'with_baselines'), [(2, False), (3, False), pytest.param(3, True, marks=pytest.mark.slow)]
)
def test_shards_together_equal_one_run(model, train, test, subjects, count, with_baselines):
    settings = SETTINGS | {'with_baselines': with_baselines}
    alone = evaluate(model, train, test, **settings)
    for number in reversed(range(1, count + 1)):
        shard = Shard(number, count)
        part = evaluate(model, train, test, **settings, scored_dir=subjects, shard=shard)
        assert part.num_subjects == len(shard.indices(4))
    assert len(list(subjects.iterdir())) == 4
    model.calls.clear()
    together = evaluate(model, train, test, **settings, scored_dir=subjects)
    # Every subject was read.
    assert model.calls == []
    assert json_of(together) == json_of(alone)
    assert_equal_examples(together, alone)


def test_shard_goes_on_after_the_last_scored_subject(model, train, test, subjects, monkeypatch):
    complete = model.predict

    def end_at_third(context_images, *arguments):
        if context_images.size and np.array_equal(context_images[0, 0], test.images[2, 5]):
            raise KeyboardInterrupt
        return complete(context_images, *arguments)

    monkeypatch.setattr(model, 'predict', end_at_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, train, test, **SETTINGS, scored_dir=subjects, shard=Shard())
    assert len(list(subjects.iterdir())) == 2
    monkeypatch.undo()
    model.calls.clear()
    resumed = evaluate(model, train, test, **SETTINGS, scored_dir=subjects, shard=Shard())
    # Two subjects of three numbers of contexts.
    assert len(model.calls) == 6
    assert json_of(resumed) == json_of(evaluate(model, train, test, **SETTINGS))


def test_missing_and_damaged_subjects_are_scored_by_the_whole_run(model, train, test, subjects):
    evaluate(model, train, test, **SETTINGS, scored_dir=subjects, shard=Shard(1, 2))
    (damaged, _) = sorted(subjects.iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-100])
    together = evaluate(model, train, test, **SETTINGS, scored_dir=subjects)
    assert json_of(together) == json_of(evaluate(model, train, test, **SETTINGS))
    # Only shards add subjects.
    assert len(list(subjects.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize('what', ['weights', 'temperature', 'seed', 'num_samples', 'counts', 'data', 'baselines'])
def test_subjects_scored_otherwise_are_not_used(model, train, test, subjects, what):
    small = SETTINGS | {'counts': (2,)}
    evaluate(model, train, test, **small, scored_dir=subjects, shard=Shard())
    changed = dict(small)
    if what == 'weights':
        model.info = RunInfo(None, 'blobs', True, 6, seed=0, preset='cpu', weights='of another step')
    elif what == 'temperature':
        model.temperature = 0.5
    elif what == 'data':
        test = dataclasses.replace(test, images=test.images[:, :, ::-1])
    elif what == 'baselines':
        changed['with_baselines'] = True
    else:
        changed |= {'seed': {'seed': 6}, 'num_samples': {'num_samples': 4}, 'counts': {'counts': (2, 4)}}[what]
    model.calls.clear()
    found = evaluate(model, train, test, **changed, scored_dir=subjects)
    assert len(model.calls) == 4 * len(found.scores)
    assert json_of(found) == json_of(evaluate(model, train, test, **changed))


def test_evaluate_refuses_an_empty_shard(model, train, test, subjects):
    with pytest.raises(ValueError, match=r'`shard=5/5`: holds none of the 4 subjects'):
        evaluate(model, train, test, **SETTINGS, scored_dir=subjects, shard=Shard(5, 5))
