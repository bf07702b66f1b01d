"""Warnings about slices whose map is doubtful, with a finder that stands in."""

import types

import numpy as np
import pytest

from tfp_bruno.errors import collect_warnings
from tfp_bruno.registration import check_location

IMAGES = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8) / 128
SLICES = np.array([3, 10])
MISFITS = np.linspace(0.1, 0.3, 21)


def check(
    images=IMAGES,
    slices=SLICES,
    misfit=0.2,
    gain=0.0,
    misfits=MISFITS,
    axes='LPS',
    alignment='deformable',
    ambiguity=0.0,
):
    """Returns the warnings, and what the map was searched for in."""
    searched = []

    def find(images, slices, alignment):
        searched.append((images, slices, alignment))
        return types.SimpleNamespace(log_posterior=gain - 50)

    finder = types.SimpleNamespace(find=find, misfits=misfits)
    location = types.SimpleNamespace(
        alignment=alignment,
        found=types.SimpleNamespace(log_posterior=-50.0, misfit=misfit, ambiguity=ambiguity),
        model=types.SimpleNamespace(mean=np.zeros((20, 8, 8))),
    )
    with collect_warnings() as warnings:
        check_location(finder, location, images, slices, axes)
    return warnings, searched


def test_usual_slices_are_not_warned_of():
    assert check()[0] == []
    assert check(np.zeros((0, 8, 8)), np.zeros(0, int)) == ([], [])


def test_slices_that_differ_from_the_training_data_are_warned_of():
    # 1.7 times the 95 % quantile, 0.29, counts as usual.
    assert check(misfit=0.49)[0] == []
    (message,) = check(misfit=0.58)[0]
    assert 'do not meet the anatomy of the training data: their misfit is 2.0 times' in message
    assert check(misfit=0.58, misfits=None)[0] == []
    assert check(misfit=0.58, alignment='affine')[0] == []


def test_slices_of_two_places_are_warned_of():
    assert check(ambiguity=4.9)[0] == []
    (message,) = check(ambiguity=12.3)[0]
    assert 'two places in the anatomy explain them equally well, 12 mm apart' in message


def test_mirrored_slices_are_warned_of():
    assert check(gain=29.0)[0] == []
    (message,) = check(gain=31.0)[0]
    assert 'left and right seem exchanged' in message


@pytest.mark.parametrize('axes', ['LPS', 'LIP', 'PIR'])
def test_mirrored_slices_are_those_of_the_other_side(axes):
    _, [(images, slices, alignment)] = check(axes=axes, alignment='affine')
    assert alignment == 'affine'
    stack = np.zeros((20, 8, 8), np.float32)
    stack[SLICES] = IMAGES
    axis = 2 - [letter in 'LR' for letter in axes].index(True)
    np.testing.assert_array_equal(np.flip(stack, axis)[slices], images)


@pytest.mark.parametrize('pixels', [0, 1])
def test_slices_without_anatomy_are_warned_of(pixels):
    images = np.zeros((2, 8, 8), np.float32)
    images[0, 0, :pixels] = 0.5
    (message,), searched = check(images)
    assert 'show almost no anatomy' in message
    assert 'average training subject' in message
    assert searched == []
