"""The interface of a model: every class that has it can be scored and can complete volumes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic.dataclasses import dataclass

from tfp_bruno.settings import STRICT

if typing.TYPE_CHECKING:
    from tfp_bruno.data import DatasetDefinition
    from tfp_bruno.registration import Frame, Location, SubjectMap

# What of a subject's map a `LocatingModel` finds: what it was trained with; nothing; size and place; also the shape.
ALIGNMENTS = ('auto', 'none', 'similarity', 'affine', 'deformable')


@dataclass(frozen=True, config=STRICT)
class RunInfo:
    """The data that a model was trained on.

    Attributes:
        data_dir: Folder of the volumes; None for the built-in phantoms.
        data: Description of the volumes, for reports.
        is_phantom: Whether the volumes are synthetic.
        phantom_subjects: Size of the built-in population.
        seed: Seed of the split and the weights.
        preset: Name of the preset.
        use_masks: Whether the volumes were masked.
        assume_ras: Whether volumes without an orientation were taken as RAS.
        frame: World frame of the volumes, see `tfp_bruno.data.TrainingFrame.to_json`; None if unknown.
        split_file: Path of the split of the subjects, or of the exported model that holds it.
        split: Split of the subjects by name, of an exported model; None: it is in `split_file`.
        version: Version of this library.
        weights: Hash of the weights; empty before the first checkpoint.
    """

    data_dir: str | None
    data: str
    is_phantom: bool
    phantom_subjects: int
    seed: int
    preset: str
    use_masks: bool = False
    assume_ras: bool = False
    frame: dict[str, Any] | None = None
    split_file: str = ''
    split: dict[str, str] | None = None
    version: str = ''
    weights: str = ''


@dataclasses.dataclass(frozen=True)
class Modes:
    """The strongest ways in which subjects of a population differ.

    Attributes:
        images: float32 `[J, 2, K, H, W]` in [0, 1]: the mean at minus and plus `deviations` along each mode.
        shares: `[J]`, the share of each mode in the variance that the factors explain.
        deviations: Distance from the mean, in standard deviations of the mode.
    """

    images: np.ndarray
    shares: np.ndarray
    deviations: float


class Predictor(typing.Protocol):
    """Predicts slices of a stack from other slices of it, as the classical baselines do.

    Slices are given by their numbers k in a stack of K, images as `[..., H, W]` in [0, 1].
    """

    def predict(self, context_images: np.ndarray, context_slices: ArrayLike, query_slices: ArrayLike) -> np.ndarray:
        """Predicts slices of each of S subjects.

        Args:
            context_images: `[S, n, H, W]`, the slices that are known; n may be 0.
            context_slices: `[n]`, their slice numbers.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            float32 `[S, Q, H, W]` in [0, 1].
        """
        ...


class CompletionModel(Predictor, typing.Protocol):
    """A trained model of the stacks of one dataset, which predicts, draws and scores slices."""

    @property
    def name(self) -> str:
        """Name in reports and errors."""
        ...

    @property
    def definition(self) -> DatasetDefinition:
        """The dataset it was trained for."""
        ...

    @property
    def info(self) -> RunInfo:
        """The data that it was trained on."""
        ...

    @property
    def sampling(self) -> Mapping[str, Any]:
        """How samples are drawn, for reports; empty if there is nothing to report."""
        ...

    @property
    def temperature(self) -> float:
        """Factor of the samples' deviations from the mean, in latent space; 1 for a model that has none."""
        ...

    @property
    def has_exact_log_prob(self) -> bool:
        """Whether `log_prob` is the density itself; otherwise it is a lower bound."""
        ...

    def sample(
        self,
        context_images: np.ndarray,
        context_slices: ArrayLike,
        query_slices: ArrayLike,
        num_samples: int,
        seed: int,
    ) -> np.ndarray:
        """Draws slices of each of S subjects, with the first arguments of `predict`.

        Args:
            context_images: `[S, n, H, W]`, the slices that are known; n may be 0.
            context_slices: `[n]`, their slice numbers.
            query_slices: `[Q]`, slice numbers to draw, jointly if the model can.
            num_samples: N.
            seed: Seed of the samples, at least 0.

        Returns:
            float32 `[N, S, Q, H, W]` in [0, 1].
        """
        ...

    def log_prob(self, images: np.ndarray, slices: ArrayLike) -> np.ndarray:
        """Returns the joint log-density of slices of each of S subjects, or a lower bound of it.

        Args:
            images: `[S, n, H, W]` in [0, 1], taken as continuous intensities.
            slices: `[n]`, their slice numbers.

        Returns:
            `[S]`, nats.
        """
        ...

    def with_temperature(self, temperature: float) -> CompletionModel:
        """Returns the same model with another temperature.

        Args:
            temperature: At least 0.

        Raises:
            UserError: If the model has no temperature, and the given one is not 1.
        """
        ...


@typing.runtime_checkable
class LocatingModel(CompletionModel, typing.Protocol):
    """A model that finds where slices lie in a canonical volume of the anatomy.

    These members are optional: other models lack all of them, and `isinstance` tells.
    """

    @property
    def alignment(self) -> str:
        """What of a subject's map is found: one of `ALIGNMENTS` but 'auto'."""
        ...

    def with_alignment(self, alignment: str) -> LocatingModel:
        """Returns the same model with maps of another kind.

        Args:
            alignment: One of `ALIGNMENTS`: 'none' for the map of the canonical volume, 'similarity' for place, size and
                rotation of the anatomy, 'affine' for a size along each axis and shears, too, 'deformable' for a smooth
                displacement, too, 'auto' for what the model was trained with.

        Raises:
            UserError: If it is none of them.
        """
        ...

    def locate(self, images: np.ndarray, slices: ArrayLike) -> Location:
        """Finds where slices of one subject lie; warns if they do not meet the training data.

        Args:
            images: `[n, H, W]` in [0, 1].
            slices: `[n]`, their slice numbers.
        """
        ...

    def predict_in_frame(self, frame: Frame | SubjectMap, query_slices: ArrayLike) -> np.ndarray:
        """Predicts slices of a subject of which only the place in the canonical volume is known, without contexts.

        Args:
            frame: Size and place of the anatomy in the stack, or its map.
            query_slices: `[Q]`, slice numbers to predict.

        Returns:
            float32 `[Q, H, W]` in [0, 1].
        """
        ...

    def log_posterior(self, images: np.ndarray, slices: ArrayLike, coarse: bool = False) -> float:
        """Returns how well slices of one subject meet the canonical volume at their map, nats up to a constant.

        Args:
            images: `[n, H, W]` in [0, 1].
            slices: `[n]`, their slice numbers.
            coarse: Whether the slices are compared with training subjects as they are, which is quick, instead of a
                search for the map. The two values are not comparable.
        """
        ...
