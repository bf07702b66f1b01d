"""The kinds of models that a run can hold: the classes of their settings, and how they are built and wrapped."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tf_keras

from tfp_bruno.baselines import deep
from tfp_bruno.contracts import CompletionModel, RunInfo
from tfp_bruno.data import DatasetDefinition
from tfp_bruno.models import ConditionalBruno, DisplacedPoses, ModelSettings, build_model
from tfp_bruno.registration import MapFinder
from tfp_bruno.runs.mapped_model import MappedModel
from tfp_bruno.runs.trained_baseline import TrainedBaseline
from tfp_bruno.runs.trained_model import TrainedModel
from tfp_bruno.runs.training_settings import BoundSettings, ObjectiveSettings, TrainingSettings


class Kind(NamedTuple):
    """One kind of model.

    Attributes:
        settings: Class of its settings.
        training: Class of the settings of its training.
        build: Returns a trainable model; takes its settings, the number of slices of a training sequence, a seed, and
            a model to share weights with, or None.
        wrap: Returns the `CompletionModel`; takes the model, its settings, the objective of its training, the dataset,
            the training data, and the finder of maps of a model of a canonical volume, else None.
    """

    settings: type
    training: Any
    build: Callable[[Any, int, int, Any], Any]
    wrap: Callable[[Any, Any, Any, DatasetDefinition, RunInfo, MapFinder | None], CompletionModel]


def _wrap_bruno(
    model: ConditionalBruno,
    settings: ModelSettings,
    objective: Any,
    definition: DatasetDefinition,
    info: RunInfo,
    finder: MapFinder | None,
) -> TrainedModel:
    del objective
    tail = 'Gaussian' if settings.df is None else 'Student-t'
    name = f'bruno ({info.preset}: {settings.process}, {tail})'
    if finder is not None and isinstance(settings.pose, DisplacedPoses):
        return MappedModel(model, definition, name, info, finder, settings.pose.control_size, settings.sampling)
    return TrainedModel(model, definition, name, info, settings.sampling)


def _baseline(name: str, settings_class: type, model_class: Callable[[Any], deep.ContextModel]) -> Kind:
    """Returns the kind of a deep baseline."""

    def build_seeded(settings: Any, num_steps: int, seed: int, share_weights_with: Any) -> deep.ContextModel:
        del num_steps, share_weights_with  # A baseline takes sequences of any length.
        tf_keras.utils.set_random_seed(seed)
        return model_class(settings)

    def wrap(
        model: deep.ContextModel,
        settings: Any,
        objective: BoundSettings,
        definition: DatasetDefinition,
        info: RunInfo,
        finder: MapFinder | None,
    ) -> TrainedBaseline:
        del settings, finder
        return TrainedBaseline(model, definition, f'{name} ({info.preset})', info, objective.last_std)

    return Kind(settings_class, TrainingSettings[BoundSettings], build_seeded, wrap)


KINDS = {
    'bruno': Kind(ModelSettings, TrainingSettings[ObjectiveSettings], build_model, _wrap_bruno),
    'gqn': _baseline('gqn', deep.GenerativeQueryNetworkSettings, deep.GenerativeQueryNetwork),
    'cvae': _baseline('cvae', deep.ConditionalVAESettings, deep.ConditionalVAE),
}


def kind_of(settings: Any) -> str:
    """Returns the name of the kind that the settings of a model belong to."""
    return next(name for name, kind in KINDS.items() if isinstance(settings, kind.settings))


def build(settings: Any, num_steps: int, seed: int = 0, share_weights_with: Any = None) -> Any:
    """Builds a trainable model of any kind.

    Args:
        settings: Settings of one of the `KINDS`.
        num_steps: Number of slices of a training sequence.
        seed: Seed of the initial weights.
        share_weights_with: A model of the same settings, whose untrained part is shared; None shares nothing.
    """
    return KINDS[kind_of(settings)].build(settings, num_steps, seed, share_weights_with)
