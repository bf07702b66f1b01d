"""The conditional image flow."""

import dataclasses

import numpy as np
import scipy.fft
import scipy.stats
import tensorflow as tf

from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_affine import ConditionalAffine
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import AffineCoupling
from tfp_bruno.bijectors.factor_out import FactorOut
from tfp_bruno.bijectors.invertible_convolution import InvertibleConvolution
from tfp_bruno.bijectors.logit import ImageLogit
from tfp_bruno.bijectors.squeeze import Squeeze
from tfp_bruno.networks import ConvolutionalConditioner, DenseConditioner, PoseEncoder

__all__ = ['ConditionalRealNVP', 'FlowSettings']


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """The size of a `ConditionalRealNVP`.

    Attributes:
        first_squeeze: Side of the blocks of pixels that become channels before the first coupling.
        couplings: Number of convolutional couplings at each scale; its length is the number of scales.
        filters: Number of filters of the convolutions at each scale.
        num_blocks: Number of residual blocks of each convolutional coupling.
        dense_couplings: Number of dense couplings on the whole latent.
        dense_units: Hidden units of each dense coupling.
        pose_units: Number of features that the pose is encoded to.
        map_channels: Number of feature maps that the pose draws for each convolutional coupling.
        alpha: Margin of the logit, in (0, 1).
        log_scale_bound: Bound of the log-scale of every coupling.
    """

    first_squeeze: int = 4
    couplings: tuple = (2, 4)
    filters: tuple = (48, 96)
    num_blocks: int = 1
    dense_couplings: int = 2
    dense_units: int = 512
    pose_units: int = 64
    map_channels: int = 4
    alpha: float = 0.2
    log_scale_bound: float = 2.0


class ConditionalRealNVP(ConditionalBijector):
    """A multi-scale flow from a latent vector `[H W C]` to an image `[H, W, C]`, given the image's pose.

    #### Mathematical Details

    From image y to latent x:

    ```none
    logit -> affine per pose and pixel -> squeeze
          -> (1 x 1 convolution, convolutional coupling) at each scale, half of the channels factored out between scales
          -> (1 x 1 convolution, dense coupling) on the whole latent -> flatten
    ```

    where every coupling is conditional on the encoded pose. The exact inverse and the log-determinant
    `log |det dx/dy|` = the sum of those of the parts. Couplings start as the identity.

    #### Examples

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(image_shape=[64, 64, 1], condition_size=80)
    images = flow.forward(latents, conditional_input=poses)       # [..., 4096], [..., 80] -> [..., 64, 64, 1]
    latents, log_det = flow.inverse_and_log_det(images, poses)
    ```

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017.
    [2]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019. [3]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(
        self,
        image_shape,
        condition_size,
        settings=None,
        seed=0,
        dtype=tf.float32,
        validate_args=False,
        name='conditional_real_nvp',
    ):
        """Constructs the flow and creates its variables.

        Args:
            image_shape: `[H, W, C]`, H and W multiples of `first_squeeze * 2 ** (number of scales - 1)`.
            condition_size: `int`, size P of the pose vector.
            settings: `FlowSettings`. Default value: `None`, which is `FlowSettings()`.
            seed: `int`, for the rotations that the 1 x 1 convolutions start from. Default value: `0`.
            dtype: Dtype of the images. Default value: `tf.float32`.
            validate_args: Python `bool`: whether values are checked at run time. Default value: `False`.
            name: Python `str`. Default value: `'conditional_real_nvp'`.

        Raises:
            ValueError: if the image cannot be divided as often as the settings ask for.
        """
        parameters = dict(locals())
        settings = settings or FlowSettings()
        _check_sizes(image_shape, settings)
        self._settings = settings
        self._encoder = PoseEncoder(settings.pose_units, dtype=dtype)
        self._encoder.build([None, condition_size])
        self._image_side = ConditionalChain(
            [
                ImageLogit(tuple(image_shape), settings.alpha, dtype=dtype, validate_args=validate_args),
                ConditionalAffine(tuple(image_shape), condition_size, dtype=dtype),
            ],
            condition_size,
        )
        self._core = _build_core(tuple(image_shape), settings, np.random.default_rng(seed), dtype)
        self._latent_shape = self._core._event_shape_of_x
        super().__init__(
            (int(np.prod(image_shape)),),
            tuple(image_shape),
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def settings(self):
        """The `FlowSettings`."""
        return self._settings

    def logit(self, images):
        """Returns the logits `[N, H, W, C]` of images `[N, H, W, C]` in [0, 1], the first step from image to latent."""
        return self._image_side.bijectors[0].inverse(images)

    def initialize(self, mean, scale, poses):
        """Starts the affine map after the logit: the untrained flow then decodes zero to the mean logits of each pose.

        Args:
            mean: Array of shape `[K, H, W, C]`: mean logits under each of K poses.
            scale: Array of shape `[K, H, W, C]`, positive.
            poses: Array of shape `[K, P]`.
        """
        self._image_side.bijectors[1].initialize(mean, scale, poses)

    def rotate(self, value):
        """Maps standardised logits to latent vectors as before training, every coupling the identity: a rotation.

        Args:
            value: `Tensor` of shape `[N, H, W, C]`.

        Returns:
            `Tensor` of shape `[N, D]`.
        """
        latents, _ = _without_couplings(self._core)._inverse_and_log_det(tf.convert_to_tensor(value), None)
        return tf.reshape(latents, [-1, *self._event_shape_of_x])

    def _forward_and_log_det(self, x, condition):
        y, core_log_det = self._core._forward_and_log_det(
            tf.reshape(x, [-1, *self._latent_shape]), self._encoder(condition)
        )
        y, image_log_det = self._image_side._forward_and_log_det(y, condition)
        return y, core_log_det + image_log_det

    def _inverse_and_log_det(self, y, condition):
        x, image_log_det = self._image_side._inverse_and_log_det(y, condition)
        x, core_log_det = self._core._inverse_and_log_det(x, self._encoder(condition))
        return tf.reshape(x, [-1, *self._event_shape_of_x]), core_log_det + image_log_det


def _without_couplings(chain):
    kept = []
    for part in chain.bijectors:
        if isinstance(part, FactorOut):
            part = FactorOut(part._event_shape_of_y, _without_couplings(part.bijector), part.condition_size)
        if not isinstance(part, AffineCoupling):
            kept.append(part)
    return ConditionalChain(kept, chain.condition_size)


def _check_sizes(image_shape, settings):
    height, width, _ = image_shape
    scales = len(settings.couplings)
    divisor = settings.first_squeeze * 2 ** (scales - 1)
    if height % divisor or width % divisor:
        raise ValueError(
            f'`image_shape` {list(image_shape)} must be divisible by {divisor} for '
            f'`first_squeeze` {settings.first_squeeze} and '
            f'{scales} scales; crop or pad the images, or use fewer scales.'
        )
    if len(settings.filters) != scales:
        raise ValueError(
            f'`filters` {settings.filters} and `couplings` {settings.couplings} must have one entry a scale.'
        )


def _build_core(image_shape, settings, rng, dtype):
    squeeze = Squeeze(image_shape, settings.first_squeeze, dtype=dtype)
    parts = [squeeze, *_build_scales(squeeze._event_shape_of_x, settings, 0, rng, dtype)]
    shape = parts[-1]._event_shape_of_x
    for _ in range(settings.dense_couplings):
        conditioner = DenseConditioner(settings.dense_units, settings.pose_units, dtype=dtype)
        parts.append(InvertibleConvolution(shape, _random_rotation(shape[-1], rng), dtype=dtype))
        parts.append(_coupling(shape, conditioner, settings, False, dtype))
    return ConditionalChain(parts, settings.pose_units)


def _build_scales(shape, settings, scale, rng, dtype):
    channels = shape[-1]
    # After the first squeeze a cosine transform sorts the pixels of a block by frequency.
    sorts = scale == 0 and channels == settings.first_squeeze**2
    matrix = _cosine_transform(settings.first_squeeze) if sorts else _random_rotation(channels, rng)
    parts = [InvertibleConvolution(shape, matrix, dtype=dtype)]
    for index in range(settings.couplings[scale]):
        conditioner = ConvolutionalConditioner(
            settings.filters[scale], settings.num_blocks, settings.pose_units, settings.map_channels, dtype=dtype
        )
        parts.append(_coupling(shape, conditioner, settings, index % 2 == 1, dtype))
    if scale + 1 < len(settings.couplings):
        height, width, channels = shape
        inner = _build_scales((height // 2, width // 2, 2 * channels), settings, scale + 1, rng, dtype)
        parts.append(FactorOut(shape, ConditionalChain(inner, settings.pose_units), settings.pose_units))
    return parts


def _coupling(shape, conditioner, settings, swap, dtype):
    conditioner.build([None, *shape[:-1], shape[-1] // 2])
    return AffineCoupling(shape, conditioner, settings.pose_units, swap, settings.log_scale_bound, dtype=dtype)


def _random_rotation(size, rng):
    return scipy.stats.special_ortho_group.rvs(size, random_state=rng)


def _cosine_transform(side):
    one = scipy.fft.dct(np.eye(side), axis=0, norm='ortho')
    return np.kron(one, one).T
