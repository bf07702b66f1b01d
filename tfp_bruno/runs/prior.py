"""The modes of variation of the population under a trained `ConditionalBruno`, without any context."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_bruno.contracts import Modes
from tfp_bruno.data.encoding import from_level_middle
from tfp_bruno.distributions.factor import FactorProcess
from tfp_bruno.runs.trained_model import TrainedModel


def prior_modes(model: Any, count: int, deviations: float = 2.0) -> Modes | None:
    """Returns the modes of a model whose process has factors of the subject.

    The factors h enter the latent vectors as L(v) h. Modes are the principal axes of L(v) h over whole stacks: the
    first explains the most variance, and so on.

    Args:
        model: A trained model of any kind.
        count: Largest number of modes.
        deviations: Distance from the mean along each mode, in standard deviations.

    Returns:
        The modes; None if the model has no factors of the subject.
    """
    if not isinstance(model, TrainedModel) or not isinstance(model.bruno.distribution, FactorProcess):
        return None
    definition, table = model.definition, model.bruno.distribution.loadings
    no_images = np.zeros((0, definition.image_size, definition.image_size), np.float32)
    _, poses = model.subject_poses(no_images, [], np.arange(definition.num_slices))
    loadings = np.asarray(table(poses) if callable(table) else tf.convert_to_tensor(table))
    gram = np.einsum('kdq,kdr->qr', loadings, loadings, optimize=True).astype(np.float64)
    values, axes = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][: min(count, len(values))]
    prior = model.bruno.posterior(no_images[..., np.newaxis], poses[:0], len(poses))
    mean = prior.distribution.mean(conditional_input=poses)
    decode = tf.function(model.bruno.decode, autograph=False)
    images = []
    for axis in axes[:, order].T:
        along = tf.constant(loadings @ axis.astype(np.float32) * deviations)
        ends = [decode(mean + sign * along, poses).numpy()[..., 0] for sign in (-1.0, 1.0)]
        images.append(np.clip(from_level_middle(np.stack(ends)), 0.0, 1.0))
    return Modes(np.array(images, np.float32), values[order] / max(values.sum(), 1e-12), deviations)
