"""What a trained `ConditionalBruno` says of its population, without any slice: its modes of variation."""

import dataclasses

import numpy as np
import tensorflow as tf

from tfp_bruno.data.encoding import from_level_middle
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.runs.trained_model import TrainedModel

__all__ = ['Modes', 'prior_modes']


@dataclasses.dataclass(frozen=True)
class Modes:
    """The strongest ways in which subjects differ.

    Attributes:
        images: float32 `[J, 2, K, H, W]` in [0, 1]: the mean with each mode at minus and plus `deviations`.
        shares: `[J]`, the share of each mode in the variance that the factors explain.
        deviations: standard deviations of the mode.
    """

    images: np.ndarray
    shares: np.ndarray
    deviations: float


def prior_modes(model, count, deviations=2.0):
    """Returns the modes of a model whose process has factors of the subject.

    The factors h enter the latent vectors as L(v) h. Modes are the principal axes of that: of all rotations of h, the
    one whose first factor explains most of the variance of whole stacks, and so on.

    Args:
        model: A trained model of any kind.
        count: Integer, at most so many modes.
        deviations: `float`, how far to go along each.

    Returns:
        `Modes`, or `None` if the model has no factors of the subject.
    """
    if not isinstance(model, TrainedModel) or not isinstance(model.bruno.distribution, FactorProcess):
        return None
    table = model.bruno.distribution.loadings
    if callable(table):
        return None
    loadings = np.asarray(tf.convert_to_tensor(table))
    gram = np.einsum('kdq,kdr->qr', loadings, loadings, optimize=True).astype(np.float64)
    values, axes = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][: min(count, len(values))]
    poses = model.poses(np.arange(model.definition.num_slices))
    nothing = tf.zeros([0, *model.bruno.bijector.forward_event_shape([loadings.shape[1]])], loadings.dtype)
    prior = model.bruno.posterior(nothing, poses[:0], len(poses))
    mean = prior.distribution.mean(conditional_input=poses)
    decode = tf.function(model.bruno.decode, autograph=False)
    images = []
    for axis in axes[:, order].T:
        along = tf.constant(loadings @ axis.astype(np.float32) * deviations)
        ends = [decode(mean + sign * along, poses).numpy()[..., 0] for sign in (-1.0, 1.0)]
        images.append(np.clip(from_level_middle(np.stack(ends)), 0.0, 1.0))
    return Modes(np.array(images, np.float32), values[order] / max(values.sum(), 1e-12), deviations)
