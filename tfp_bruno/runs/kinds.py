"""The kinds of models that a run can hold: their settings, and how they are built from them."""

import typing

import tf_keras

from tfp_bruno.baselines import deep
from tfp_bruno.models import ModelSettings, build_model

__all__ = ['KINDS', 'Kind', 'build', 'kind_of']


class Kind(typing.NamedTuple):
    """One kind of model.

    Attributes:
        settings: Class of its settings, with `to_json` and `from_json`.
        build: Callable from settings, number of slices of a training sequence, seed and a model to share weights with,
            or `None`, to a trainable model.
    """

    settings: type
    build: typing.Callable


def _build_with(model_class):
    def build_seeded(settings, num_steps, seed, share_weights_with):
        del num_steps, share_weights_with  # A baseline takes sequences of any length.
        tf_keras.utils.set_random_seed(seed)
        return model_class(settings)

    return build_seeded


KINDS = {
    'bruno': Kind(ModelSettings, build_model),
    'gqn': Kind(deep.GenerativeQueryNetworkSettings, _build_with(deep.GenerativeQueryNetwork)),
    'cvae': Kind(deep.ConditionalVAESettings, _build_with(deep.ConditionalVAE)),
}


def kind_of(settings):
    """Returns the name of the kind that settings belong to."""
    return next(name for name, kind in KINDS.items() if isinstance(settings, kind.settings))


def build(settings, num_steps, seed=0, share_weights_with=None):
    """Returns a trainable model of settings of any kind.

    Args:
        settings: `ModelSettings`, `GenerativeQueryNetworkSettings` or `ConditionalVAESettings`.
        num_steps: `int`, number of slices of a training sequence.
        seed: `int`, for the initial weights.
        share_weights_with: A model of the same settings, with which a part that is not trained is shared. Default
            value: `None`.
    """
    return KINDS[kind_of(settings)].build(settings, num_steps, seed, share_weights_with)
