"""The file of the loadings of a run, and the variables that are left."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_bruno.errors import UserError
from tfp_bruno.models import build_model
from tfp_bruno.runs import load, read_run
from tfp_bruno.runs.loadings import other_variables, quantized_loadings, round_loadings
from tfp_bruno.runs.quantized_loadings import dequantize


def test_other_variables_are_all_but_the_loadings(make_run):
    factor = build_model(make_run('factor').model, 5)
    left = other_variables(factor)
    assert len(left) == len(factor.variables) - 1
    assert not any(variable is factor.distribution.loadings for variable in left)
    exchangeable = build_model(make_run('exchangeable').model, 5)
    assert len(other_variables(exchangeable)) == len(exchangeable.variables)
    assert quantized_loadings(exchangeable) == {}


def test_round_loadings_gives_the_model_those_of_the_file(make_run, make_weights):
    run = make_run()
    make_weights(run)
    model = load(run.folder).bruno
    process, before = model.distribution, model.distribution.loadings.numpy()
    round_loadings(model, run.loadings)
    expected = dequantize(quantized_loadings(model), before.shape)
    np.testing.assert_array_equal(process.loadings, expected)
    assert not np.array_equal(expected, before)
    added = np.sum((expected - before) ** 2, axis=-1).mean(axis=0)
    assert (added < 0.02 * process.residual_variance.numpy()).all()
    # Nothing is written for a model without loadings.
    other = make_run('exchangeable')
    round_loadings(build_model(other.model, 5), other.loadings)
    assert not other.loadings.exists()


def test_weights_of_a_run_do_not_hold_the_loadings(make_run, make_weights):
    run = make_run()
    make_weights(run, with_file=True)
    shapes = tf.train.load_checkpoint(str(run.weights)).get_variable_to_shape_map().values()
    assert [12, 256, 2] not in list(shapes)
    process = load(run.folder).bruno.distribution
    assert float(tf.reduce_sum(process.loadings**2)) > 0


def test_fingerprint_depends_on_the_loadings(make_run, make_weights):
    run = make_run()
    make_weights(run, with_file=True)
    first, model = read_run(run.folder).info.weights, load(run.folder)
    assert model.info.weights == first
    model.bruno.distribution.loadings.assign_add(tf.ones([12, 256, 2]))
    round_loadings(model.bruno, run.loadings)
    assert read_run(run.folder).info.weights != first


def test_loadings_that_are_not_finite_are_not_written(make_run):
    run = make_run()
    model = build_model(run.model, 5)
    model.distribution.loadings.assign(tf.fill([12, 256, 2], np.nan))
    with pytest.raises(UserError, match='is not finite') as caught:
        round_loadings(model, run.loadings)
    assert str(caught.value).startswith(f'{run.loadings}: ')
    assert not run.loadings.exists()


@pytest.mark.parametrize('damage', ['cut', 'of another run', 'text'])
def test_damaged_loadings_are_named(make_run, make_weights, damage):
    run = make_run()
    make_weights(run, with_file=True)
    if damage == 'of another run':
        model = load(run.folder).bruno
        process = model.distribution.copy(loadings=tf.Variable(tf.ones([11, 256, 2])))
        round_loadings(type(model)(process, model.bijector), run.loadings)
    else:
        content = run.loadings.read_bytes()
        run.loadings.write_bytes(content[:-10] if damage == 'cut' else b'text')
    with pytest.raises(UserError) as caught:
        load(run.folder)
    assert str(caught.value).startswith(f'{run.loadings}: ')
    assert '\n' not in str(caught.value)
