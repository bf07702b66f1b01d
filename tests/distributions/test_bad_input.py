"""Wrong parameters, observations, kernels and shapes raise errors that name the argument; none gives a silent NaN."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

WANTED = (0, 2)
OUT_OF_RANGE = [
    ('df', 2.0, '`df` must be greater than 2', '2'),
    ('df', np.nan, '`df` must be greater than 2', 'nan'),
    ('marginal_variance', 0.0, '`marginal_variance` must be greater than 0', '0'),
    ('residual_variance', -1.25, '`residual_variance` must be greater than 0', r'-1\.25'),
    ('correlation', -0.125, '`correlation` must be at least 0', r'-0\.125'),
    ('correlation', 1.0, '`correlation` must be less than 1', '1'),
    ('constant_share', -0.25, '`constant_share` must be at least 0', r'-0\.25'),
    ('constant_share', 1.5, '`constant_share` must be at most 1', r'1\.5'),
    ('loc', np.nan, '`loc` must be finite', 'NaN'),
    ('loadings', np.inf, '`loadings` must be finite', 'Inf'),
]


@pytest.mark.parametrize(('name', 'value', 'message', 'shown'), OUT_OF_RANGE)
def test_parameter_out_of_range_is_named(name, value, message, shown, student_model, draw):
    model = student_model
    if name not in model.parameters:
        return
    z, wrong = draw(2, 4), np.full_like(model.parameters[name], value)
    pattern = rf'(?s){message}.*{shown}'
    with pytest.raises(tf.errors.InvalidArgumentError, match=pattern):
        model.make(2, validate_args=True, **{name: wrong})
    model.make(2, validate_args=False, **{name: wrong})
    # A variable may change later, so it is checked at every use.
    variable = tf.Variable(model.parameters[name])
    process = model.make(2, validate_args=True, **{name: variable})
    assert np.isfinite(process.log_prob(z, **model.at(WANTED)))
    variable.assign(wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match=pattern):
        process.log_prob(z, **model.at(WANTED))


def test_parameter_out_of_range_is_named_in_graph_mode(model, draw):
    z, variable = draw(2, 4), tf.Variable(model.variance)
    process = model.make(2, validate_args=True, **{model.variance_name: variable})
    variable.assign_sub(variable)
    for method in (
        lambda z: process.log_prob(z, **model.at(WANTED)),
        lambda z: process.sample(seed=(1, 2), **model.at(WANTED)),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match='_variance` must be greater than 0'):
            tf.function(method)(z)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_observations_not_finite_are_refused(value, model, draw):
    process, z, at = model.make(2, validate_args=True), draw(2, 4), model.at(WANTED)
    z[1, 0] = value
    for method in (
        lambda: process.log_prob(z, **at),
        lambda: process.marginal_log_prob(z, **at),
        lambda: model.posterior(process, z, WANTED, 1),
        lambda: model.update(process, z[1], 3),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match='must not hold NaN or infinity'):
            method()


def test_poses_not_finite_are_refused(pose_model, draw):
    process, z = pose_model.make(2, validate_args=True), draw(2, 4)
    poses = pose_model.poses(WANTED)
    poses[0, 0] = np.nan
    for method in (
        lambda: process.log_prob(z, conditional_input=poses),
        lambda: process.sample(seed=(1, 2), conditional_input=poses),
        lambda: process.posterior(z, poses, num_steps=1),
        lambda: process.posterior(z, pose_model.poses(WANTED), poses=poses).mean(),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'poses.*must not hold NaN or infinity'):
            method()


def test_kernel_not_positive_semi_definite_is_refused(pose_model, draw):
    """The negative of a linear kernel, between two poses: the message has the smallest eigenvalue."""

    class Negative(tfp.math.psd_kernels.Linear):
        def _matrix(self, *args, **kwargs):
            return -super()._matrix(*args, **kwargs)

        def _apply(self, *args, **kwargs):
            return -super()._apply(*args, **kwargs)

    process = pose_model.make(2, kernel=Negative(), constant_share=0.0, validate_args=True)
    for method in (
        lambda: process.log_prob(draw(2, 4), **pose_model.at(WANTED)),
        lambda: process.sample(seed=(1, 2), **pose_model.at(WANTED)),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'(?s)`kernel` must be positive semi-definite.*-1'):
            method()


def test_parameters_of_wrong_shape_are_named(model):
    for name in ('loc', model.variance_name):
        size = model.variance.shape
        with pytest.raises(ValueError, match=rf'(?s)do not broadcast.*`{name}` \(3,\)') as caught:
            model.make(2, **{name: np.ones(3)})
        assert str(size) in str(caught.value)
    wrong = {} if model.is_factor else {'correlation': np.full(3, 0.5)}
    wrong |= {'df': np.full(3, 5.0)} if model.is_student and not model.is_factor else {}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=rf'(?s)do not broadcast.*`{name}` \(3,\)'):
            model.make(2, **{name: value})
    with pytest.raises(ValueError, match=r'do not broadcast: ') as caught:
        model.make(2, loc=np.zeros((2, 4)), **{model.variance_name: np.ones((3, 4))})
    assert '`loc` (2, 4)' in str(caught.value)
    assert f'`{model.variance_name}` (3, 4)' in str(caught.value)


def test_groups_must_divide_the_dimensions(pose_model, models, kernel):
    model = pose_model
    with pytest.raises(ValueError, match=r'`constant_share` of shape \(3,\).*4 dimensions'):
        model.make(2, constant_share=np.full(3, 0.5))
    plain = tfp.math.psd_kernels.MaternOneHalf(length_scale=tf.constant([1.0, 2.0, 3.0], tf.float64))
    with pytest.raises(ValueError, match=r'`kernel` of batch shape \(3,\).*4 dimensions'):
        model.make(2, kernel=plain)
    with pytest.raises(ValueError, match=r'`kernel` of batch shape \(3,\).*`constant_share` of shape \(2,\)'):
        model.make(2, kernel=plain, constant_share=np.full(2, 0.5))
    if model.is_factor:
        with pytest.raises(ValueError, match=r'`correlation` of shape \(3,\).*4 dimensions'):
            model.make(2, correlation=np.full(3, 0.5))


@pytest.mark.parametrize('shape', [(6, 3, 2), (6, 4), (4,)])
def test_loadings_of_wrong_shape_are_refused(shape, models):
    for name in ('FactorGaussianProcess', 'FactorStudentTProcess'):
        with pytest.raises(ValueError, match=r'`loadings` .* must have shape \[P, D, q\]') as caught:
            models(name).make(2, loadings=np.ones(shape))
        assert str(shape) in str(caught.value)
        assert '(4,)' in str(caught.value)


def test_callable_loadings_of_wrong_shape_are_refused(models, draw):
    process = models('FactorGaussianProcess').make(2, loadings=lambda poses: tf.ones([2, 3, 2], tf.float64))
    with pytest.raises(ValueError, match=r'`loadings` .*\(2, 3, 2\).*\[\.\.\., n, 4, q\]'):
        process.log_prob(draw(2, 4), conditional_input=np.eye(6)[:2])


def test_vectors_of_wrong_shape_are_refused(model, draw):
    process, at = model.make(4), model.at([0, 1, 2, 3])
    for method in (
        lambda z: process.log_prob(z, **at),
        lambda z: process.marginal_log_prob(z, **at),
        lambda z: model.posterior(process, z, [0, 1, 2, 3], 1),
    ):
        with pytest.raises(ValueError, match=r'\[\.\.\., n, 4\], got \(4, 2\)'):
            method(np.zeros((4, 2)))
        with pytest.raises(ValueError, match=r'\[\.\.\., n, 4\], got \(4,\)'):
            method(np.zeros(4))
    with pytest.raises(ValueError, match=r'event shape is \(4, 4\), but the value has shape \(5, 4\)'):
        process.log_prob(draw(5, 4), **model.at([0, 1, 2, 3, 4]))


def test_batch_shapes_must_broadcast(model, draw):
    process = model.make(2, loc=np.zeros((3, 4)))
    for method in (
        lambda z: process.log_prob(z, **model.at(WANTED)),
        lambda z: process.marginal_log_prob(z, **model.at(WANTED)),
        lambda z: model.posterior(process, z, WANTED, 1),
    ):
        with pytest.raises(ValueError, match=r'(?s)batch shape \(3,\).*\(2, 2, 4\)'):
            method(draw(2, 2, 4))


def test_is_missing_of_wrong_shape_is_refused(model, draw):
    process, z = model.make(2), draw(2, 4)
    for method in (
        lambda is_missing: process.log_prob(z, is_missing=is_missing, **model.at(WANTED)),
        lambda is_missing: model.posterior(process, z, WANTED, 1, is_missing=is_missing),
    ):
        with pytest.raises(ValueError, match=r'`is_missing` must have shape .*got \(3,\) for vectors of \(2, 4\)'):
            method(np.ones(3, bool))
    batch = draw(5, 2, 4)
    with pytest.raises(ValueError, match=r'`is_missing` must have shape .*got \(3, 2\) for vectors of \(5, 2, 4\)'):
        process.log_prob(batch, is_missing=np.ones((3, 2), bool), **model.at(WANTED))


def test_absent_poses_are_named(pose_model, draw):
    process, z = pose_model.make(2), draw(2, 4)
    for method in (
        lambda: process.log_prob(z),
        lambda: process.sample(seed=(1, 2)),
        lambda: process.mean(),
        lambda: process.entropy(),
    ):
        with pytest.raises(ValueError, match='needs `conditional_input`, the poses'):
            method()
    for method in (lambda: process.posterior(z), lambda: process.update(z[0])):
        with pytest.raises(ValueError, match='needs `observed_poses`, the poses'):
            method()
    with pytest.raises(ValueError, match='needs `num_steps`, or `poses`'):
        pose_model.make(None)
    with pytest.raises(ValueError, match=r'`observations` .* `observed_poses`'):
        pose_model.make(2, observations=z)


def test_poses_of_wrong_shape_are_refused(pose_model, draw):
    model, process, z = pose_model, pose_model.make(2), draw(2, 4)
    with pytest.raises(ValueError, match=r'one pose per vector, got poses \(3, 6\) and vectors \(2, 4\)'):
        process.log_prob(z, **model.at([1, 2, 3]))
    with pytest.raises(ValueError, match=r'one pose per vector, got poses \(1, 6\) and vectors \(2, 4\)'):
        process.log_prob_and_mean(z, **model.at([1]))
    with pytest.raises(ValueError, match=r'one pose per vector, got poses \(3, 6\) and vectors \(2, 4\)'):
        model.posterior(process, z, [1, 2, 3], 1)
    with pytest.raises(ValueError, match=r'poses must have shape \[\.\.\., n, .*\], got \(6,\)'):
        process.log_prob(z, conditional_input=np.eye(6)[0])
    with pytest.raises(ValueError, match=r'poses must have shape \[\.\.\., n, 6\], got \(2, 5\)'):
        model.posterior(process, z, WANTED, 2).log_prob(z, conditional_input=np.ones((2, 5)))
    with pytest.raises(ValueError, match=r'poses \(3, 2, 6\) and vectors \(5, 2, 4\)'):
        process.log_prob(draw(5, 2, 4), **model.at([WANTED] * 3))
    with pytest.raises(ValueError, match=r'event shape is \(2, 4\), but .* poses .*\(3, 6\)'):
        process.sample(seed=(1, 2), **model.at([1, 2, 3]))


def test_sample_at_a_batch_of_poses_needs_bound_poses(pose_model):
    model = pose_model
    process, slices = model.make(2), [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match=r'batch shape \(\) at poses \(3, 2, 6\).*at\(poses\)'):
        process.sample(7, seed=(1, 2), **model.at(slices))
    assert process.at(model.poses(slices)).sample(7, seed=(1, 2)).shape == (7, 3, 2, 4)
