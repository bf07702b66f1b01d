"""The conditional image flow."""

import functools

import numpy as np
import tensorflow as tf
import tf_keras

from tfp_bruno.bijectors.arguments import check_callable, check_dtype, check_event_shape, check_size, shown
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_affine import ConditionalAffine
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.coupling import AffineCoupling
from tfp_bruno.bijectors.factor_out import FactorOut
from tfp_bruno.bijectors.glow import GlowSettings, build_glow
from tfp_bruno.bijectors.logit import ImageLogit
from tfp_bruno.bijectors.masked_coupling import MaskedAffineCoupling
from tfp_bruno.bijectors.real_nvp import RealNVPSettings, build_real_nvp
from tfp_bruno.networks import linear_features

__all__ = ['ARCHITECTURES', 'ConditionalRealNVP']

_BUILDERS = {GlowSettings: build_glow, RealNVPSettings: build_real_nvp}
ARCHITECTURES = {settings.architecture: settings for settings in _BUILDERS}


class ConditionalRealNVP(ConditionalBijector):
    """A multi-scale flow from a latent vector `[H W C]` to an image `[H, W, C]`, given the image's pose.

    #### Mathematical Details

    From image y to latent x:

    ```none
    logit -> affine per pose and pixel -> core -> flatten
    ```

    where the core is one of two architectures, with every coupling conditional on the encoded pose:

    ```none
    glow:     squeeze -> (ActNorm, 1 x 1 convolution, coupling of channels) at each scale, half of the channels factored
              out between scales -> (ActNorm, 1 x 1 convolution, dense coupling) on the whole latent
    real_nvp: (3 couplings by checkerboard, squeeze, 3 by channel) at each scale but the last, half of the channels
              factored out between scales -> 4 by checkerboard -> dense couplings of every other number
    ```

    `real_nvp` is the flow of Conditional BRUNO [3] and starts without the affine map. The exact inverse and the
    log-determinant `log |det dx/dy|` are those of the parts. Couplings start as the identity.

    #### Examples

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(image_shape=[64, 64, 1], condition_size=80)
    images = flow.forward(latents, conditional_input=poses)       # [..., 4096], [..., 80] -> [..., 64, 64, 1]
    latents, log_det = flow.inverse_and_log_det(images, poses)
    ```

    A position in [0, 1] as pose, networks in bfloat16, and a start from data:

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(
        [64, 64, 1], 1, 'real_nvp', network_dtype='mixed_bfloat16',
        make_pose_encoder=lambda: tfp_bruno.networks.FourierPoseEncoder(32))
    flow.initialize_from_data(images, positions)
    ```

    Among other bijectors, `tfb.Chain([flow, other])` takes the condition by the flow's name, and drops it silently
    under any other: `chain.forward(x, conditional_real_nvp={'conditional_input': poses})`. `tfb.Invert(flow)` takes it
    as the flow does.

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017.
    [2]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019. [3]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(
        self,
        image_shape,
        condition_size,
        settings='glow',
        make_pose_encoder=None,
        make_conditioner=None,
        network_dtype=None,
        seed=0,
        dtype=tf.float32,
        validate_args=False,
        name='conditional_real_nvp',
    ):
        """Constructs the flow and creates its variables.

        Args:
            image_shape: `[H, W, C]`; the settings say what H and W must be multiples of.
            condition_size: `int`, size P of the pose vector.
            settings: `'glow'`, `'real_nvp'`, or an instance of `GlowSettings` or `RealNVPSettings`. Default
                value: `'glow'`.
            make_pose_encoder: Callable without arguments that returns a tf_keras layer from poses `[N, P]` to features
                `[N, U]`, see `tfp_bruno.networks`. Default value: `None`, which is a one-hot encoder.
            make_conditioner: Callable that returns the network of a convolutional coupling: from the shape of its
                input, `(H, W, C)`, and the size U of its condition to a callable `(x, conditional_input) -> (shift,
                log_scale)` of `[N, H, W, C]` and `[N, U]`; a layer or a `tf.Module`, so that its weights are found.
                Default value: `None`, the network of the architecture.
            network_dtype: Dtype or tf_keras policy of the networks inside the couplings, such as `'mixed_bfloat16'`;
                log-determinants and all that is inverted stay in `dtype`. Default value: `None`, which is `dtype`.
            seed: `int`, for the rotations that the 1 x 1 convolutions start from. Default value: `0`.
            dtype: Dtype of the images. Default value: `tf.float32`.
            validate_args: Python `bool`: whether values are checked at run time. Default value: `False`.
            name: Python `str`. Default value: `'conditional_real_nvp'`.

        Raises:
            ValueError: if the image cannot be divided as often as the settings ask for, the settings are unknown, or an
                argument has the wrong type.
        """
        parameters = dict(locals())
        image_shape = check_event_shape(image_shape, 'image_shape', rank=3)
        condition_size, dtype = check_size(condition_size), check_dtype(dtype)
        if make_conditioner is not None:
            check_callable(make_conditioner, 'make_conditioner', '(shape, condition_size) -> network')
        self._settings = settings = _resolve(settings)
        self._encoder = _make_encoder(make_pose_encoder, settings, dtype)
        # One call creates the weights of any layer, and tells the size of what it gives.
        no_pose = tf.zeros([1, condition_size], dtype)
        encoded_size = self._encoder(no_pose).shape[-1]
        image_side = [ImageLogit(image_shape, settings.alpha, dtype=dtype, validate_args=validate_args)]
        if settings.pose_affine:
            features_size = linear_features(self._encoder, no_pose).shape[-1]
            image_side.append(ConditionalAffine(image_shape, features_size, dtype=dtype))
        self._image_side = ConditionalChain(image_side)
        self._core = _BUILDERS[type(settings)](
            image_shape,
            settings,
            encoded_size,
            make_conditioner,
            _make_generator(seed),
            (dtype, _check_network_dtype(network_dtype) or dtype),
        )
        self._latent_shape = self._core._event_shape_of_x
        super().__init__(
            (int(np.prod(image_shape)),),
            image_shape,
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def settings(self):
        """The `GlowSettings` or `RealNVPSettings`."""
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

        Raises:
            ValueError: if the flow has no affine map.
        """
        if not self._settings.pose_affine:
            raise ValueError(f'{self.name} has no affine map to start; construct it with `pose_affine=True`.')
        features = linear_features(self._encoder, tf.cast(poses, self.dtype))
        self._image_side.bijectors[1].initialize(mean, scale, features)

    def without_couplings(self, value):
        """Maps standardised logits to latent vectors with every coupling the identity, as before training.

        Args:
            value: `Tensor` of shape `[N, H, W, C]`.

        Returns:
            `Tensor` of shape `[N, D]`: an affine function of the value, a rotation until `initialize_from_data`.
        """
        latents = _invert_without_couplings(self._core, tf.convert_to_tensor(value))
        return tf.reshape(latents, [-1, *self._event_shape_of_x])

    def _features_and_code(self, condition):
        """Returns what the affine map takes, and what the couplings take."""
        code = tf.cast(self._encoder(condition), self.dtype)
        return tf.cast(linear_features(self._encoder, condition), self.dtype), code

    def _forward_and_log_det(self, x, condition):
        features, code = self._features_and_code(condition)
        y, core_log_det = self._core._forward_and_log_det(tf.reshape(x, [-1, *self._latent_shape]), code)
        y, image_log_det = self._image_side._forward_and_log_det(y, features)
        return y, core_log_det + image_log_det

    def _inverse_and_log_det(self, y, condition):
        features, code = self._features_and_code(condition)
        x, image_log_det = self._image_side._inverse_and_log_det(y, features)
        x, core_log_det = self._core._inverse_and_log_det(x, code)
        return tf.reshape(x, [-1, *self._event_shape_of_x]), core_log_det + image_log_det

    def _fit_and_invert(self, y, condition, overwrite):
        features, code = self._features_and_code(condition)
        x, _ = self._image_side._inverse_and_log_det(y, features)
        x = self._core._fit_and_invert(x, code, overwrite)
        return tf.reshape(x, [-1, *self._event_shape_of_x])


def _make_encoder(make_pose_encoder, settings, dtype):
    if make_pose_encoder is None:
        return settings.make_pose_encoder(dtype)
    signature = '() -> layer from poses [N, P] to features [N, U]'
    check_callable(make_pose_encoder, 'make_pose_encoder', signature)
    return check_callable(make_pose_encoder(), 'make_pose_encoder()', '(pose) -> features')


def _make_generator(seed):
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f'`seed` must be a non-negative integer, got {shown(seed)}.') from None


def _check_network_dtype(network_dtype):
    """Returns a dtype or policy that tf_keras knows."""
    if network_dtype is None or isinstance(network_dtype, tf_keras.mixed_precision.Policy):
        return network_dtype
    try:
        tf_keras.mixed_precision.Policy(getattr(network_dtype, 'name', network_dtype))
    except (TypeError, ValueError):
        raise ValueError(
            "`network_dtype` must be a dtype or a tf_keras policy such as 'mixed_bfloat16', got "
            f'{shown(network_dtype)}.'
        ) from None
    return network_dtype


def _resolve(settings):
    if isinstance(settings, str) and settings in ARCHITECTURES:
        return ARCHITECTURES[settings]()
    if type(settings) not in _BUILDERS:
        names = ', '.join(map(repr, ARCHITECTURES))
        raise ValueError(f'`settings` must be one of {names}, or an instance of their settings, got {shown(settings)}.')
    return settings


def _invert_without_couplings(bijector, y):
    if isinstance(bijector, AffineCoupling | MaskedAffineCoupling):
        return y
    if isinstance(bijector, ConditionalChain):
        return functools.reduce(lambda value, part: _invert_without_couplings(part, value), bijector.bijectors, y)
    if isinstance(bijector, FactorOut):
        first, second = bijector.halves(y)
        return tf.concat([_invert_without_couplings(bijector.bijector, first), second], -1)
    return bijector._inverse_and_log_det(y, None)[0]
