"""The states of a training on disk."""

import pytest
import tensorflow as tf

from tfp_bruno.errors import UserError, collect_warnings
from tfp_bruno.training.checkpoints import Checkpoints


@pytest.fixture
def value():
    return tf.Variable(0.0)


@pytest.fixture
def checkpoints(tmp_path, value):
    """Three states of a variable, of which the last two are kept."""
    made = Checkpoints(tf.train.Checkpoint(value=value), tmp_path / 'states')
    for step in (5, 10, 15):
        value.assign(float(step))
        made.save(step)
    return made


def restore_into(value):
    def restore(path):
        tf.train.Checkpoint(value=value).read(path).assert_existing_objects_matched()

    return restore


def test_save_keeps_the_last_states(checkpoints, tmp_path):
    assert checkpoints.steps() == [10, 15]
    assert {path.name.split('.')[0] for path in (tmp_path / 'states').iterdir()} == {'ckpt-10', 'ckpt-15'}


def test_restore_takes_the_newest_state(checkpoints, value):
    value.assign(0.0)
    assert checkpoints.restore(restore_into(value)) == 15
    assert float(value) == 15.0


def test_restore_of_an_empty_folder(tmp_path, value):
    assert Checkpoints(tf.train.Checkpoint(value=value), tmp_path / 'none').restore(restore_into(value)) is None


@pytest.mark.parametrize('part', ['ckpt-15.index', 'ckpt-15.data-00000-of-00001'])
@pytest.mark.parametrize('damage', ['cut', 'empty', 'changed', 'missing'])
def test_restore_takes_the_state_before_a_damaged_one(checkpoints, tmp_path, value, part, damage):
    path = tmp_path / 'states' / part
    content = path.read_bytes()
    if damage == 'missing':
        path.unlink()
    else:
        changed = bytes(byte ^ 0x55 for byte in content)
        path.write_bytes({'cut': content[: len(content) // 2], 'empty': b'', 'changed': changed}[damage])
    with collect_warnings() as warnings:
        assert checkpoints.restore(restore_into(value)) == 10
    assert float(value) == 10.0
    # Without its index there is no sign of a state.
    if (part, damage) != ('ckpt-15.index', 'missing'):
        assert len(warnings) == 1
        assert f'{tmp_path / "states" / "ckpt-15"}: cannot be restored' in warnings[0]


def test_restore_without_a_good_state(checkpoints, tmp_path, value):
    for path in (tmp_path / 'states').glob('*.index'):
        path.write_bytes(b'')
    with pytest.raises(UserError, match=r'ckpt-10: cannot be restored .* no earlier state') as caught:
        checkpoints.restore(restore_into(value))
    assert '\n' not in str(caught.value)


def test_an_interrupted_save_is_removed(checkpoints, tmp_path, value):
    debris = tmp_path / 'states' / 'ckpt-20_temp'
    debris.mkdir()
    (debris / 'part').write_bytes(b'half')
    again = Checkpoints(tf.train.Checkpoint(value=value), tmp_path / 'states')
    assert again.steps() == [10, 15]
    again.save(20)
    assert not debris.exists()
    assert again.steps() == [15, 20]


def test_the_best_state_is_kept_beside_the_last(checkpoints, value):
    for step, best in ((20, 10), (25, 10), (30, 10), (35, 25), (40, 25)):
        value.assign(float(step))
        checkpoints.save(step, best)
    assert checkpoints.steps() == [25, 35, 40]
    checkpoints.save(45, 35)
    checkpoints.save(50, 35)
    checkpoints.save(55, 35)
    assert checkpoints.steps() == [35, 50, 55]
    # A step without a state, such as the start.
    checkpoints.save(60, 0)
    assert checkpoints.steps() == [55, 60]
