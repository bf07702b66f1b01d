"""The initial linear part of a flow's core, fixed: its inverse gives latent vectors the order of the pixels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.actnorm import ActNorm
from tfp_bruno.bijectors.arguments import check_dtype, check_event_shape, check_size
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import Coupling
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution, mix_channels
from tfp_bruno.bijectors.multi_scale import FactorOut, Squeeze


class FixedRotation(ConditionalBijector):
    """Multiplies the channels of every pixel by an orthogonal matrix that is not trained: `x = y W`, `y = x W^T`."""

    def __init__(
        self,
        event_shape: Sequence[int],
        matrix: ArrayLike,
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'fixed_rotation',
    ) -> None:
        """Constructs the bijector.

        Args:
            event_shape: Shape of one event, channels last.
            matrix: Orthogonal W, `[C, C]`.
            dtype: Dtype of the events.
            validate_args: Unused; part of TFP's interface.
            name: Name of the operations.

        Raises:
            ValueError: If the matrix has another shape or is not orthogonal, or an argument has the wrong type.
        """
        parameters = dict(locals())
        shape, dtype = check_event_shape(event_shape), check_dtype(dtype)
        matrix = np.asarray(matrix, np.float64)
        if matrix.shape != (shape[-1], shape[-1]) or not np.allclose(matrix @ matrix.T, np.eye(shape[-1]), atol=1e-5):
            raise ValueError(
                f'`matrix` of shape {matrix.shape} is no orthogonal matrix of {shape[-1]} channels; give a rotation.'
            )
        # A variable, so that a checkpoint holds it, whatever the seed of the flow was.
        self._matrix = tf.Variable(matrix.astype(dtype.as_numpy_dtype), trainable=False, name=f'{name}/matrix')
        super().__init__(
            shape,
            shape,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
            is_constant_jacobian=True,
        )

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return mix_channels(x, tf.transpose(self._matrix)), tf.zeros([tf.shape(x)[0]], x.dtype)

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        return mix_channels(y, tf.convert_to_tensor(self._matrix)), tf.zeros([tf.shape(y)[0]], y.dtype)


def initial_rotation(core: ConditionalChain) -> ConditionalChain:
    """Returns the initial linear part of a Glow core: squeezes and rotations, without couplings and ActNorm.

    Args:
        core: The flow between latent and logits, from `build_glow`.

    Returns:
        A bijector between the same events, a rotation that is not trained. Composed with its inverse, a core that was
        neither trained nor initialised from data is the identity.

    Raises:
        ValueError: If a part of the core is of another kind.
    """
    return ConditionalChain(_linear_parts(core))


def _linear_parts(part: ConditionalBijector) -> list[ConditionalBijector]:
    if isinstance(part, ConditionalChain):
        return [each for inner in part.bijectors for each in _linear_parts(inner)]
    if isinstance(part, Coupling | ActNorm):
        return []
    if isinstance(part, Squeeze):
        return [part]
    if isinstance(part, FactorOut):
        shape, inner = part._event_shape_of_y, initial_rotation(part.bijector)
        return [FactorOut(shape, inner, check_size(part.condition_size))]
    if isinstance(part, InvertibleConvolution):
        matrix = np.asarray(part.parameters['initial_matrix'])
        is_identity = np.array_equal(matrix, np.eye(len(matrix)))
        return [] if is_identity else [FixedRotation(part._event_shape_of_y, matrix, dtype=part.dtype)]
    raise ValueError(f'{part.name} of class {type(part).__name__} has no rotation to start from.')
