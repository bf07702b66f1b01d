"""Presets: the settings in them, files that extend them, and errors."""

import dataclasses
import json

import numpy as np
import pytest

from tfp_bruno.bijectors import ConditionalRealNVP
from tfp_bruno.data import get_definition
from tfp_bruno.errors import UserError
from tfp_bruno.runs import KINDS
from tfp_bruno.settings import change, structure
from tfp_bruno.training import make_settings, preset_names, read_preset

FETAL = get_definition('fetal')
ALL = [(kind, name) for kind in KINDS for name in preset_names(kind)]


def settings_of(kind, name, *assignments):
    return make_settings(kind, change(read_preset(kind, name), assignments), FETAL, 'here')


def test_preset_names_of_every_kind():
    assert {kind: preset_names(kind) for kind in KINDS} == {
        'bruno': ['cpu', 'gpu', 'map', 'paper'],
        'gqn': ['cpu', 'paper'],
        'cvae': ['cpu', 'paper'],
    }


@pytest.mark.parametrize(('kind', 'name'), ALL)
def test_settings_round_trip_through_json(kind, name):
    model, training = settings_of(kind, name)
    values = json.loads(json.dumps([dataclasses.asdict(model), dataclasses.asdict(training)]))
    assert structure(KINDS[kind].settings, values[0], 'run.json') == model
    assert structure(KINDS[kind].training, values[1], 'run.json') == training


def test_paper_preset_has_the_settings_of_the_paper():
    model, training = settings_of('bruno', 'paper')
    assert (model.process, model.df, model.flow.architecture, training.sequence_length) == (
        'exchangeable',
        20.0,
        'real_nvp',
        9,
    )
    assert (training.objective.joint, training.objective.structural) == (1.0, 0.0)
    assert training.augmentation.probability == 0.0


def test_gqn_paper_preset_has_the_settings_of_the_paper():
    model, training = settings_of('gqn', 'paper')
    assert (model.representation, model.aggregation, model.steps, model.shared_cores) == ('tower', 'sum', 12, False)
    assert (training.batch_size, training.objective.min_contexts, training.objective.max_contexts) == (36, 4, 4)


def test_distance_of_pixels_follows_from_the_dataset_unless_it_is_given():
    assert settings_of('bruno', 'map')[0].pose.pixel_size == FETAL.pixel_spacing / FETAL.slice_spacing
    assert settings_of('bruno', 'map', 'model.pose.pixel_size=2')[0].pose.pixel_size == 2.0


def test_gpu_preset_is_the_cpu_preset_with_a_larger_flow():
    (cpu_model, cpu), (gpu_model, gpu) = settings_of('bruno', 'cpu'), settings_of('bruno', 'gpu')
    assert (gpu.objective, gpu.augmentation, gpu.start) == (cpu.objective, cpu.augmentation, cpu.start)
    assert dataclasses.replace(gpu_model, flow=cpu_model.flow) == cpu_model
    sizes = [
        sum(np.prod(variable.shape) for variable in ConditionalRealNVP((64, 64, 1), 80, model.flow).variables)
        for model in (cpu_model, gpu_model)
    ]
    assert sizes[1] > 2 * sizes[0]


def test_file_changes_its_base_preset(tmp_path):
    path = tmp_path / 'mine.toml'
    path.write_text('base = "cpu"\nsteps = 7\n[objective]\nconditional = 0.5\n[model.flow]\nalpha = 0.3\n')
    model, training = settings_of('bruno', str(path))
    cpu_model, cpu = settings_of('bruno', 'cpu')
    assert training == dataclasses.replace(cpu, steps=7, objective=dataclasses.replace(cpu.objective, conditional=0.5))
    assert model == dataclasses.replace(cpu_model, flow=dataclasses.replace(cpu_model.flow, alpha=0.3))


def test_none_in_a_file_is_none(tmp_path):
    path = tmp_path / 'own.toml'
    path.write_text('base = "cpu"\n[model]\ndf = "none"\n')
    assert settings_of('bruno', 'cpu')[0].df == 20.0
    assert settings_of('bruno', str(path))[0].df is None


def test_another_architecture_has_its_own_defaults():
    model, _ = settings_of('bruno', 'cpu', 'model.process=pose', 'model.flow.architecture=real_nvp')
    assert (model.flow.architecture, model.flow.alpha) == ('real_nvp', 1e-5)


@pytest.mark.parametrize(
    ('assignment', 'message'),
    [
        ('steps=0', 'here: steps = 0: should be greater than or equal to 1.'),
        ('steps=2.5', 'here: steps = 2.5: should be a valid integer.'),
        ('colour=red', 'here: colour is not a setting; check its name.'),
        ('objective.joint=x', 'here: objective.joint = "x": should be a valid number.'),
        ('model.flow.alpha=1', 'here: model.flow.alpha = 1: should be less than 1.'),
        ('model.flow.colour=1', 'here: model.flow.colour is not a setting; check its name.'),
        ('model.num_slices=3', 'here: model.num_slices follows from the dataset; change the definition'),
        ('sequence_length=81', 'here: sequence_length = 81: fetal has 80 slices; give fewer.'),
        ('micro_batches=3', 'here: `micro_batches` must divide `batch_size`, 4, got 3.'),
        ('objective=5', 'here: objective = 5: should be an object.'),
    ],
)
def test_bad_setting_is_named(assignment, message):
    with pytest.raises(UserError) as caught:
        settings_of('bruno', 'cpu', assignment)
    assert str(caught.value).startswith(message)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('kind', 'preset', 'message'),
    [
        ('gqn', 'gpu', '`preset=gpu`: is not a preset of gqn; give cpu, paper, or a TOML file.'),
        ('bruno', 'missing.toml', 'missing.toml: cannot be read (No such file or directory); check the path.'),
    ],
)
def test_missing_preset_is_named(kind, preset, message):
    with pytest.raises(UserError) as caught:
        read_preset(kind, preset)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ('content', 'words'), [('base = "huge"', "base = 'huge' is not a preset of bruno"), ('steps = = 3', 'is not TOML')]
)
def test_bad_preset_file_is_named(tmp_path, content, words):
    path = tmp_path / 'mine.toml'
    path.write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        read_preset('bruno', str(path))
    assert str(caught.value).startswith(f'{path}: ')


def test_only_a_factor_process_has_a_residual_to_fit():
    assert settings_of('bruno', 'map')[1].fits_residual
    for kind, preset, *assignments in (('gqn', 'cpu'), ('bruno', 'cpu', 'model.process=pose')):
        with pytest.raises(UserError, match='here: fits_residual: only a factor process'):
            settings_of(kind, preset, *assignments, 'fits_residual=true')


def test_slices_in_any_plane_need_places():
    assert settings_of('bruno', 'map', 'poses=rigid')[1].poses == 'rigid'
    with pytest.raises(UserError, match='here: poses = rigid: without places'):
        settings_of('bruno', 'cpu', 'poses=rigid')


@pytest.mark.parametrize(
    ('assignment', 'word'),
    [
        ('common_slices=true', 'common_slices'),
        ('augmentation.probability=0.5', 'augmentation.probability = 0'),
        ('start_volumes=300', 'start_volumes = 0'),
        ('model.pose.architecture=affine', 'model.pose.architecture = affine'),
    ],
)
def test_settings_that_places_do_not_have_are_refused(assignment, word):
    with pytest.raises(UserError, match='here: ') as caught:
        settings_of('bruno', 'map', assignment)
    assert word in str(caught.value)
    assert '\n' not in str(caught.value)
