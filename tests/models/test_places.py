"""Models of slices that lie anywhere in a canonical volume: the one-hot model at planes, exactness elsewhere."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tfp_bruno.bijectors import ConditionalRealNVP, GlowSettings, RealNVPSettings
from tfp_bruno.distributions import FactorGaussianProcess, FactorStudentTProcess, pose_kernel
from tfp_bruno.models import (
    AffinePoses,
    ConditionalBruno,
    DisplacedPoses,
    ModelSettings,
    VolumeLoadings,
    build_model,
    initialize_model,
)
from tfp_bruno.networks import (
    AffineGrid,
    DisplacedGrid,
    Landmarks,
    PlacePoseEncoder,
    PlaneGrid,
    affine_pose,
    displaced_pose,
    plane_matrix,
)

SLICES, SIZE, FACTORS = 6, (8, 8), 3
ONE_HOT = np.eye(SLICES, dtype=np.float32)
FLOW = GlowSettings(
    first_squeeze=2, couplings=(1, 1), filters=(8, 8), dense_couplings=1, dense_units=16, pose_units=8, pose_width=1.0
)


def make_volumes(count=12):
    """Canonical volumes `[S, K, H, W, 1]` that differ in two patterns, and noise."""
    rng = np.random.default_rng(0)
    shape = (SLICES, *SIZE, 1)
    patterns = rng.normal(size=(3, *shape))
    logits = 0.5 * patterns[0] + np.einsum('sp,p...->s...', rng.normal(size=(count, 2)), 0.7 * patterns[1:])
    return scipy.special.expit(logits + 0.2 * rng.normal(size=(count, *shape))).astype(np.float32)


def rigid_matrices(seed, count):
    """Matrices `[count, 3, 4]` of slices that are turned and shifted about the centre of the volume."""
    rng = np.random.default_rng(seed)
    matrices = np.stack([plane_matrix(2.5, SIZE)] * count)
    matrices[..., :3] = Rotation.from_rotvec(0.5 * rng.normal(size=(count, 3))).as_matrix() @ matrices[..., :3]
    matrices[..., 3] += rng.normal(size=(count, 3))
    return matrices


def rigid_poses(grid, seed, count):
    """Poses of rigid slices for a grid, float64."""
    matrices = rigid_matrices(seed, count)
    if isinstance(grid, AffineGrid):
        return affine_pose(matrices).astype(np.float64)
    displacement = 0.3 * np.random.default_rng(seed).normal(size=(count, 3, grid.control_size, grid.control_size))
    return displaced_pose(matrices, displacement).astype(np.float64)


def place_model(grid, process=FactorGaussianProcess, dtype=np.float64, num_steps=4, latents='pixels', **kwargs):
    """A model over a grid with random weights, all of whose volumes vary."""
    rng = np.random.default_rng(1)
    size = int(np.prod(SIZE))
    flow = ConditionalRealNVP(
        (*SIZE, 1),
        grid.pose_size,
        FLOW,
        lambda: PlacePoseEncoder(8, grid, SLICES, dtype=dtype),
        latents=latents,
        dtype=dtype,
    )
    for variable in flow.trainable_variables:
        variable.assign_add(0.05 * rng.normal(size=variable.shape).astype(dtype))
    flow.initialize(
        rng.normal(size=(SLICES, *SIZE, 1)), rng.uniform(0.5, 1.5, size=(SLICES, *SIZE, 1)), np.zeros([1, 1])
    )
    return ConditionalBruno(
        process(
            loc=rng.normal(size=size).astype(dtype),
            loadings=VolumeLoadings(
                0.5 * rng.normal(size=(SLICES, *SIZE, FACTORS)).astype(dtype), grid, latents == 'frequencies'
            ),
            residual_variance=rng.uniform(0.5, 1.5, size).astype(dtype),
            correlation=dtype(0.7),
            kernel=pose_kernel(dtype(2.0), Landmarks(grid)),
            num_steps=num_steps,
            **kwargs,
        ),
        flow,
    )


GRIDS = {'affine': AffineGrid(SIZE), 'displaced': DisplacedGrid(SIZE, 3, (-0.25, 0.25))}


@pytest.fixture(scope='module', params=[('affine', 'pixels'), ('displaced', 'frequencies')], ids='-'.join)
def model(request):
    """A model of 4 slices in float64."""
    grid, latents = request.param
    return place_model(GRIDS[grid], latents=latents)


def grid_of(model):
    return model.distribution.loadings.grid


def images_of(seed, *batch):
    return np.random.default_rng(seed).uniform(0.05, 0.95, size=(*batch, *SIZE, 1))


def at(poses):
    return {'bijector_kwargs': {'conditional_input': poses}}


@pytest.fixture(scope='module', params=['flow', 'pixels', 'frequencies'])
def pair(request):
    """The one-hot model after its start, and the model over the grid of its planes with the same weights."""
    shape = (*SIZE, 1)
    one_hot = build_model(ModelSettings(shape, SLICES, 'factor', FLOW, factors=FACTORS), num_steps=3)
    grid = PlaneGrid(SLICES, SIZE)
    flows = [
        ConditionalRealNVP(shape, SLICES, FLOW, make_pose_encoder, latents=request.param)
        for make_pose_encoder in (None, lambda: PlacePoseEncoder(8, grid, SLICES, 1.0))
    ]
    rng = np.random.default_rng(2)
    for first, second in zip(*(flow.trainable_variables for flow in flows), strict=True):
        assert first.shape == second.shape
        for variable in (first, second):
            variable.assign(first + 0.05 * rng.normal(size=first.shape).astype(np.float32))
        second.assign(first)
    parts = {name: one_hot.distribution.parameters[name] for name in ('loc', 'residual_variance', 'correlation')}
    shape = (SLICES, *SIZE, FACTORS)
    on_grid = FactorGaussianProcess(
        **{name: tf.Variable(value) for name, value in parts.items()},
        loadings=VolumeLoadings(tf.Variable(tf.zeros(shape), trainable=False), grid, request.param == 'frequencies'),
        kernel=pose_kernel(tf.Variable(8.0), Landmarks(grid)),
        num_steps=3,
    )
    models = ConditionalBruno(one_hot.distribution, flows[0]), ConditionalBruno(on_grid, flows[1])
    for each in models:
        initialize_model(each, make_volumes(), ONE_HOT)
    return models


def test_model_at_planes_is_the_one_hot_model(pair):
    images = images_of(3, 2, 5).astype(np.float32)
    contexts, targets = ONE_HOT[[4, 0]], ONE_HOT[[1, 5, 2]]
    log_probs = [each.log_prob(images[:, :3], **at(targets)) for each in pair]
    np.testing.assert_allclose(*log_probs, rtol=1e-4)
    posteriors = [each.posterior(images[:, :2], contexts, 3) for each in pair]
    np.testing.assert_allclose(*[each.mean_image(targets) for each in posteriors], atol=5e-5)
    np.testing.assert_allclose(*[each.at(targets).sample(3, seed=(1, 2)) for each in posteriors], atol=1e-4)
    np.testing.assert_allclose(*[each.at(targets).log_prob(images[:, 2:]) for each in posteriors], rtol=1e-4)


def test_start_at_planes_is_that_of_the_one_hot_model(pair):
    for name in ('residual_variance', 'correlation'):
        np.testing.assert_allclose(*[each.distribution.parameters[name] for each in pair], rtol=1e-5)
    table, volume = [each.distribution.loadings for each in pair]
    np.testing.assert_allclose(volume(ONE_HOT), table, atol=1e-5)


@pytest.mark.slow
def test_log_det_is_that_of_the_jacobian(model):
    grid = grid_of(model)
    pose, latent = rigid_poses(grid, 4, 1)[0], np.random.default_rng(5).normal(size=64)
    with tf.GradientTape(persistent=True) as tape:
        watched = tf.constant(latent)
        tape.watch(watched)
        image, log_det = model.bijector.forward_and_log_det(watched, pose)
        flat = tf.reshape(image, [64])
    expected = np.linalg.slogdet(tape.jacobian(flat, watched, experimental_use_pfor=False))[1]
    np.testing.assert_allclose(log_det, expected, rtol=1e-9)
    back, inverse_log_det = model.bijector.inverse_and_log_det(image, pose)
    np.testing.assert_allclose(back, latent, atol=1e-9)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-9)


@pytest.mark.slow
@given(seed=st.integers(0, 999), order=st.permutations(range(4)))
@settings(deadline=None, max_examples=5)
def test_density_does_not_depend_on_the_order_of_slices_and_poses(seed, order):
    model = place_model(GRIDS['affine'])
    images, poses = images_of(seed, 4), rigid_poses(GRIDS['affine'], seed, 4)
    log_prob = model.log_prob(images, **at(poses))
    np.testing.assert_allclose(model.log_prob(images[order], **at(poses[order])), log_prob, rtol=1e-9)


@pytest.mark.parametrize('batch', [(), (2,)])
def test_chain_rule_at_poses_of_each_subject(model, batch):
    grid = grid_of(model)
    poses = rigid_poses(grid, 6, 4 * int(np.prod(batch))).reshape(*batch, 4, -1)
    images = images_of(7, *batch, 4)
    first = ConditionalBruno(model.distribution.copy(num_steps=2), model.bijector)
    before = first.log_prob(images[..., :2, :, :, :], **at(poses[..., :2, :]))
    posterior = model.posterior(images[..., :2, :, :, :], poses[..., :2, :], 2)
    after = posterior.log_prob(images[..., 2:, :, :, :], **at(poses[..., 2:, :]))
    assert after.shape == batch
    np.testing.assert_allclose(before + after, model.log_prob(images, **at(poses)), rtol=1e-9)


def test_posterior_is_closed(model):
    poses, images = rigid_poses(grid_of(model), 8, 8).reshape(2, 4, -1), images_of(9, 2, 4)
    once = model.posterior(images[:, :3], poses[:, :3], 1)
    twice = model.posterior(images[:, :1], poses[:, :1], 2).posterior(images[:, 1:3], poses[:, 1:3], 1)
    assert type(twice.distribution) is type(model.distribution)
    np.testing.assert_allclose(twice.mean_image(poses[:, 3:]), once.mean_image(poses[:, 3:]), rtol=1e-9)
    log_probs = [each.log_prob(images[:, 3:], **at(poses[:, 3:])) for each in (once, twice)]
    np.testing.assert_allclose(*log_probs, rtol=1e-9)


@pytest.mark.slow
def test_batch_of_subjects_at_different_poses_is_each_subject_by_itself(model):
    poses, images = rigid_poses(grid_of(model), 10, 8).reshape(2, 4, -1), images_of(11, 2, 4)
    process = model.distribution
    latents = np.random.default_rng(12).normal(size=(2, 4, 64))

    def results(latents, poses):
        given = process.posterior(latents[..., :2, :], poses[..., :2, :], num_steps=2)
        targets, target_poses = latents[..., 2:, :], poses[..., 2:, :]
        return [
            given.mean(conditional_input=target_poses),
            given.marginal_log_prob(targets, target_poses),
            *given.log_prob_and_mean(targets, target_poses),
            process.log_prob(latents, conditional_input=poses),
        ]

    together = results(latents, poses)
    apart = [results(latents[index], poses[index]) for index in range(2)]
    for joint, *each in zip(together, *apart, strict=True):
        np.testing.assert_allclose(joint, np.stack(each), rtol=1e-9)
    sample = model.posterior(images[:, :2], poses[:, :2], 2).at(poses[:, 2:]).sample(3, seed=(1, 2))
    assert sample.shape == (3, 2, 2, *SIZE, 1)


def test_missing_contexts_are_ignored(model):
    poses, images = rigid_poses(grid_of(model), 23, 8).reshape(2, 4, -1), images_of(24, 2, 4)
    is_missing = np.array([[False, False, True], [True, False, False]])
    some = model.posterior(images[:, :3], poses[:, :3], 1, is_missing).mean_image(poses[:, 3:])
    for index in range(2):
        seen = ~is_missing[index]
        alone = model.posterior(images[index, :3][seen], poses[index, :3][seen], 1).mean_image(poses[index, 3:])
        np.testing.assert_allclose(some[index], alone, rtol=1e-9)


@pytest.mark.slow
def test_graph_mode_matches_eager_mode():
    grid = GRIDS['affine']
    process, poses = place_model(grid).distribution, rigid_poses(grid, 12, 8).reshape(2, 4, -1)
    latents = np.random.default_rng(13).normal(size=(2, 4, 64))

    def log_prob_and_mean(latents, poses):
        given = process.posterior(latents[:, :2], poses[:, :2], num_steps=2)
        return given.log_prob_and_mean(latents[:, 2:], poses[:, 2:])

    in_graph = tf.function(log_prob_and_mean)(tf.constant(latents), tf.constant(poses))
    for eager, graph in zip(log_prob_and_mean(latents, poses), in_graph, strict=True):
        np.testing.assert_allclose(eager, graph, rtol=1e-9)


def test_samples_have_the_moments_of_the_process():
    grid = GRIDS['affine']
    poses = rigid_poses(grid, 13, 2)
    process = place_model(grid, num_steps=2).distribution.at(poses)
    samples = process.sample(20_000, seed=(1, 2)).numpy().reshape(20_000, -1)
    np.testing.assert_allclose(samples.mean(0), np.ravel(process.mean()), atol=0.07)
    np.testing.assert_allclose(np.cov(samples.T), process.covariance(), atol=0.15)


@pytest.mark.slow
def test_process_keeps_its_loadings_as_argument_and_result_of_a_function():
    model = place_model(GRIDS['affine'], FactorStudentTProcess, df=np.float64(7.0))
    process, traces = model.distribution, []
    poses, value = rigid_poses(GRIDS['affine'], 14, 4), np.random.default_rng(15).normal(size=(4, 64))

    @tf.function
    def condition(process, value, poses):
        traces.append(process)
        return process.posterior(value, poses, num_steps=4)

    results = [condition(each, value, poses) for each in (process, process.copy(name='other'), process)]
    expected = process.posterior(value, poses, num_steps=4).log_prob(value, conditional_input=poses)
    for each in results:
        assert isinstance(each.loadings, VolumeLoadings)
        np.testing.assert_allclose(each.log_prob(value, conditional_input=poses), expected, rtol=1e-9)
    assert len(traces) <= 2


def test_product_is_that_of_the_loadings(model):
    loadings, poses = model.distribution.loadings, tf.constant(rigid_poses(grid_of(model), 19, 5))
    factors = np.random.default_rng(20).normal(size=(2, 3, FACTORS))
    expected = np.einsum('ndq,...q->...nd', loadings(poses), factors)
    np.testing.assert_allclose(loadings.product(poses, tf.constant(factors)), expected, atol=1e-12)
    np.testing.assert_allclose(loadings.product(poses, tf.constant(factors[0, 0])), expected[0, 0], atol=1e-12)


def test_gradient_reaches_poses_but_not_the_loadings(model):
    volume = tf.Variable(model.distribution.loadings.volume)
    process = model.distribution.copy(loadings=VolumeLoadings(volume, grid_of(model), True))
    poses = tf.constant(rigid_poses(grid_of(model), 16, 4))
    value = np.random.default_rng(17).normal(size=(4, 64))

    def log_prob(poses):
        return process.log_prob(value, conditional_input=poses)

    with tf.GradientTape() as tape:
        tape.watch(poses)
        result = log_prob(poses)
    to_poses, to_volume = tape.gradient(result, [poses, volume])
    assert to_volume is None
    step = 1e-6 * np.random.default_rng(18).normal(size=poses.shape)
    difference = log_prob(poses + step) - log_prob(poses - step)
    np.testing.assert_allclose(difference, 2 * np.sum(to_poses * step), rtol=1e-4)


def test_kernel_at_planes_is_that_of_slices(pair):
    matrices = [each.distribution.kernel.matrix(ONE_HOT, ONE_HOT) for each in pair]
    np.testing.assert_allclose(*matrices, atol=1e-5)


def test_checkpoint_restores_volumes(tmp_path):
    place = ModelSettings((*SIZE, 1), SLICES, 'factor', FLOW, AffinePoses(), latents='frequencies', factors=FACTORS)
    models = [build_model(place, num_steps=3, seed=seed) for seed in (1, 2)]
    assert not models[0].distribution.trainable_variables
    initialize_model(models[0], make_volumes(), None)
    path = tf.train.Checkpoint(model=models[0]).write(str(tmp_path / 'model'))
    tf.train.Checkpoint(model=models[1]).read(path).assert_consumed()
    images, poses = images_of(21, 3).astype(np.float32), affine_pose(rigid_matrices(22, 3))
    np.testing.assert_array_equal(*[each.log_prob(images, **at(poses)) for each in models])


@pytest.mark.parametrize('pose', [AffinePoses(), DisplacedPoses(control_size=4)])
def test_built_model_starts_from_the_moments_of_canonical_volumes(pose):
    settings = ModelSettings((*SIZE, 1), SLICES, 'factor', FLOW, pose, latents='pixels', factors=FACTORS)
    built = build_model(settings, num_steps=3)
    volumes = make_volumes()
    initialize_model(built, volumes, None)
    matrices = np.stack([plane_matrix(position, SIZE) for position in (0, 2, 5)])
    poses = affine_pose(matrices)
    if isinstance(pose, DisplacedPoses):
        poses = displaced_pose(matrices, np.zeros((3, 4, 4)))
    logits = scipy.special.logit(0.8 * volumes.astype(np.float64) + 0.1)
    mean = built.mean_image(poses).numpy()
    np.testing.assert_allclose(scipy.special.logit(0.8 * mean + 0.1), logits.mean(0)[[0, 2, 5]], atol=1e-4)
    # Latent number d is the standardised logit of pixel d.
    latents, _ = built.encode(volumes[:, [0, 2, 5]], poses)
    deviation = (logits - logits.mean(0))[:, [0, 2, 5]].reshape(latents.shape)
    ratio = np.sum(latents * deviation, 0) / np.sum(deviation**2, 0)
    np.testing.assert_allclose(latents, ratio * deviation, atol=1e-3)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: ModelSettings((*SIZE, 1), SLICES, 'pose', FLOW, AffinePoses()), 'needs `process` factor'),
        (
            lambda: ModelSettings((*SIZE, 1), SLICES, 'factor', FLOW, AffinePoses()),
            '`latents` flow needs `pose` one_hot',
        ),
        (lambda: ModelSettings((*SIZE, 2), SLICES, 'factor', FLOW, DisplacedPoses()), 'images of one channel'),
        (lambda: VolumeLoadings(tf.zeros([3, 8, 9, 2]), AffineGrid(SIZE)), r'`volume` has shape \(3, 8, 9, 2\)'),
    ],
)
def test_wrong_arguments_raise_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_real_nvp_settings_are_refused_for_places():
    with pytest.raises(ValueError, match='`flow` glow'):
        ModelSettings(
            (*SIZE, 1), SLICES, 'factor', RealNVPSettings(scales=2, filters=8, pose_affine=True), AffinePoses()
        )
