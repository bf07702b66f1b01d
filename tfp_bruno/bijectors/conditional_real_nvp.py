"""The conditional image flow, of either architecture."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import ArrayLike

from tfp_bruno.bijectors.arguments import check_callable, check_dtype, check_event_shape, check_size, shown
from tfp_bruno.bijectors.chain import ConditionalChain
from tfp_bruno.bijectors.conditional_affine import ConditionalAffine
from tfp_bruno.bijectors.conditional_bijector import ConditionalBijector
from tfp_bruno.bijectors.cosine_transform import CosineTransform
from tfp_bruno.bijectors.coupling import Coupling, MakeConditioner
from tfp_bruno.bijectors.glow import GlowSettings, build_glow
from tfp_bruno.bijectors.logit import ImageLogit
from tfp_bruno.bijectors.multi_scale import FactorOut
from tfp_bruno.bijectors.pixel_order import initial_rotation
from tfp_bruno.bijectors.real_nvp import RealNVPSettings, build_real_nvp
from tfp_bruno.bijectors.shapes import TensorLike
from tfp_bruno.bijectors.volume_affine import ConditionalVolumeAffine
from tfp_bruno.networks import linear_features

_BUILDERS: dict[type, Callable[..., ConditionalChain]] = {GlowSettings: build_glow, RealNVPSettings: build_real_nvp}
LatentOrder = Literal['flow', 'pixels', 'frequencies']

ARCHITECTURES = {settings.architecture: settings for settings in (GlowSettings, RealNVPSettings)}


class ConditionalRealNVP(ConditionalBijector):
    """A multi-scale flow from a latent vector `[H W C]` to an image `[H, W, C]`, given the image's pose.

    #### Mathematical Details

    From image y to latent x:

    ```none
    logit -> affine per pose and pixel -> core -> flatten
    ```

    where the core has one of two architectures, with every coupling conditional on the encoded pose:

    ```none
    glow:     squeeze -> (ActNorm, 1 x 1 convolution, coupling of channels) at each scale, half of the channels factored
              out between scales -> (ActNorm, 1 x 1 convolution, dense coupling) on the whole latent
    real_nvp: (3 couplings by checkerboard, squeeze, 3 by channel) at each scale but the last, half of the channels
              factored out between scales -> 4 by checkerboard -> dense couplings of every other number
    ```

    Where the pose encoder has a `grid` (`tfp_bruno.networks.PlacePoseEncoder`), the affine map is sampled from volumes.
    With `latents='pixels'` a fixed rotation follows the core: the core of an untrained flow is then the identity, and
    number d of a latent vector belongs to pixel d. With 'frequencies' a cosine transform follows it, and number d
    belongs to a frequency: images of independent numbers then have neighbouring pixels that vary together.

    `real_nvp` is the flow of Conditional BRUNO [3], by default without the affine map. Inverse and log-determinant
    `log |det dx/dy|` are exact. Couplings start as the identity.

    #### Examples

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(image_shape=[64, 64, 1], condition_size=80)
    images = flow.forward(latents, conditional_input=poses)       # [..., 4096], [..., 80] -> [..., 64, 64, 1]
    latents, log_det = flow.inverse_and_log_det(images, poses)
    ```

    A position in [0, 1] as pose, networks in bfloat16, and data-dependent initialisation:

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(
        [64, 64, 1], 1, 'real_nvp', network_dtype='mixed_bfloat16',
        make_pose_encoder=lambda: tfp_bruno.networks.FourierPoseEncoder(32))
    flow.initialize_from_data(images, positions)
    ```

    `tfb.Chain([flow, other])` takes the condition under the flow's name, and silently drops it under any other name:
    `chain.forward(x, conditional_real_nvp={'conditional_input': poses})`. `tfb.Invert(flow)` takes it as the flow does.

    #### References

    [1]: Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio. Density estimation using Real NVP. ICLR 2017.
    [2]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019.
    [3]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        condition_size: int,
        settings: str | GlowSettings | RealNVPSettings = 'glow',
        make_pose_encoder: Callable[[], Callable[[tf.Tensor], tf.Tensor]] | None = None,
        make_conditioner: MakeConditioner | None = None,
        network_dtype: Any = None,
        seed: int = 0,
        latents: LatentOrder = 'flow',
        dtype: tf.DType = tf.float32,
        validate_args: bool = False,
        name: str = 'conditional_real_nvp',
    ) -> None:
        """Constructs the flow and creates its variables.

        Args:
            image_shape: `[H, W, C]`; H and W must be multiples of a number that depends on the settings.
            condition_size: Size P of the pose vector.
            settings: `'glow'`, `'real_nvp'`, or their settings.
            make_pose_encoder: Returns a tf_keras layer from poses `[N, P]` to features `[N, U]`, see
                `tfp_bruno.networks`. `None` for the encoder of the architecture.
            make_conditioner: Returns the network of a convolutional coupling, from the shape of its input, `(H, W, C)`,
                and the size U of its condition: a callable `(x, conditional_input) -> (shift, log_scale)` of
                `[N, H, W, C]` and `[N, U]`. It must be a layer or a `tf.Module`, so that its weights are found. `None`
                for the network of the architecture.
            network_dtype: Dtype or tf_keras policy of the networks inside the couplings, such as `'mixed_bfloat16'`;
                log-determinants and the values that are inverted stay in `dtype`. `None` for `dtype`.
            seed: Seed of the initial rotations of the 1 x 1 convolutions.
            latents: What the numbers of a latent vector are: `'flow'`, as the core has them; for `'glow'` also
                `'pixels'` and `'frequencies'`, by the inverse of the core's initial rotation.
            dtype: Dtype of the images.
            validate_args: Whether values are checked at run time.
            name: Name of the operations.

        Raises:
            ValueError: If the image cannot be divided as often as the settings need, the settings are unknown or do
                not go with `latents`, or an argument has the wrong type.
        """
        parameters = dict(locals())
        shape = check_event_shape(image_shape, 'image_shape', rank=3)
        condition_size, dtype = check_size(condition_size), check_dtype(dtype)
        if make_conditioner is not None:
            check_callable(make_conditioner, 'make_conditioner', '(shape, condition_size) -> network')
        self._settings = settings = _resolve(settings)
        self._encoder = _make_encoder(make_pose_encoder, settings, dtype)
        # A call creates the weights of any layer, and shows the size of its output.
        no_pose = tf.zeros([1, condition_size], dtype)
        encoded_size = self._encoder(no_pose).shape[-1]
        image_side: list[ConditionalBijector] = [
            ImageLogit(shape, settings.alpha, dtype=dtype, validate_args=validate_args)
        ]
        if settings.pose_affine:
            image_side.append(_affine_map(self._encoder, shape, no_pose, dtype))
        self._image_side = ConditionalChain(image_side)
        self._core = _BUILDERS[type(settings)](
            shape,
            settings,
            encoded_size,
            make_conditioner,
            _make_generator(seed),
            dtype,
            _check_network_dtype(network_dtype) or dtype,
        )
        self._latents = latents
        self._order = _order(latents, self._core, settings, shape, dtype)
        self._latent_shape = self._core._event_shape_of_x
        super().__init__(
            (int(np.prod(shape)),),
            shape,
            condition_size=condition_size,
            dtype=dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @property
    def settings(self) -> GlowSettings | RealNVPSettings:
        """The settings of the architecture."""
        return self._settings

    @property
    def latents(self) -> LatentOrder:
        """What the numbers of a latent vector are."""
        return self._latents

    def logit(self, images: TensorLike) -> tf.Tensor:
        """Returns the logits `[N, H, W, C]` of images `[N, H, W, C]` in [0, 1], the first step from image to latent."""
        return self._image_side.bijectors[0].inverse(images)

    def initialize(self, mean: ArrayLike, scale: ArrayLike, poses: TensorLike) -> None:
        """Fits the affine map after the logit: the untrained flow then maps zero to the mean logits of each pose.

        Args:
            mean: Mean logits at each of K poses, of shape `[K, H, W, C]`.
            scale: Standard deviations of the logits, of shape `[K, H, W, C]`, positive.
            poses: Shape `[K, P]`; without effect where the affine map is sampled from volumes: mean and scale are then
                those of the canonical volume.

        Raises:
            ValueError: If the flow has no affine map.
        """
        if not self._settings.pose_affine:
            raise ValueError(f'{self.name} has no affine map to fit; construct it with `pose_affine=True`.')
        affine = self._image_side.bijectors[1]
        if isinstance(affine, ConditionalVolumeAffine):
            affine.initialize(mean, scale)
        else:
            affine.initialize(mean, scale, linear_features(self._encoder, tf.cast(poses, self.dtype)))

    def without_couplings(self, value: TensorLike) -> tf.Tensor:
        """Maps standardised logits to latent vectors with the identity in place of every coupling, as before training.

        Args:
            value: Shape `[N, H, W, C]`.

        Returns:
            Shape `[N, D]`: an affine function of the value, which is a rotation until `initialize_from_data`.
        """
        return self._flattened(_invert_without_couplings(self._core, tf.convert_to_tensor(value)))

    def _flattened(self, latents: tf.Tensor) -> tf.Tensor:
        """Returns the latent vectors `[N, D]` of events on the latent side of the core."""
        if self._order is not None:
            latents, _ = self._order._forward_and_log_det(latents, None)
        return tf.reshape(latents, [-1, *self._event_shape_of_x])

    def _unflattened(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the events on the latent side of the core of latent vectors `[N, D]`."""
        if self._order is None:
            return tf.reshape(x, [-1, *self._latent_shape])
        return self._order._inverse_and_log_det(tf.reshape(x, [-1, *self._event_shape_of_y]), None)[0]

    def _features_and_code(self, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the condition of the affine map, and the condition of the couplings."""
        code = tf.cast(self._encoder(condition), self.dtype)
        if hasattr(self._encoder, 'grid'):
            return condition, code
        return tf.cast(linear_features(self._encoder, condition), self.dtype), code

    def _forward_and_log_det(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        features, code = self._features_and_code(condition)
        y, core_log_det = self._core._forward_and_log_det(self._unflattened(x), code)
        y, image_log_det = self._image_side._forward_and_log_det(y, features)
        return y, core_log_det + image_log_det

    def _inverse_and_log_det(self, y: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        features, code = self._features_and_code(condition)
        x, image_log_det = self._image_side._inverse_and_log_det(y, features)
        x, core_log_det = self._core._inverse_and_log_det(x, code)
        return self._flattened(x), core_log_det + image_log_det

    def _fit_and_invert(self, y: tf.Tensor, condition: tf.Tensor | None, overwrite: bool) -> tf.Tensor:
        features, code = self._features_and_code(condition)
        x, _ = self._image_side._inverse_and_log_det(y, features)
        return self._flattened(self._core._fit_and_invert(x, code, overwrite))


def _make_encoder(
    make_pose_encoder: Callable[[], Any] | None, settings: GlowSettings | RealNVPSettings, dtype: tf.DType
) -> Callable[[tf.Tensor], tf.Tensor]:
    if make_pose_encoder is None:
        return settings.make_pose_encoder(dtype)
    signature = '() -> layer from poses [N, P] to features [N, U]'
    check_callable(make_pose_encoder, 'make_pose_encoder', signature)
    return check_callable(make_pose_encoder(), 'make_pose_encoder()', '(pose) -> features')


def _affine_map(encoder: Any, shape: tuple[int, ...], no_pose: tf.Tensor, dtype: tf.DType) -> ConditionalBijector:
    if hasattr(encoder, 'grid'):
        return ConditionalVolumeAffine(shape, encoder.grid, encoder.num_slices, dtype=dtype)
    return ConditionalAffine(shape, linear_features(encoder, no_pose).shape[-1], dtype=dtype)


def _order(
    latents: LatentOrder,
    core: ConditionalChain,
    settings: GlowSettings | RealNVPSettings,
    shape: tuple[int, ...],
    dtype: tf.DType,
) -> ConditionalChain | None:
    """Returns the bijector from the latent side of the core to the numbers of a latent vector; None: the identity."""
    if latents not in get_args(LatentOrder):
        raise ValueError(f'`latents` must be one of {", ".join(get_args(LatentOrder))}, got {shown(latents)}.')
    if latents == 'flow':
        return None
    if not isinstance(settings, GlowSettings):
        raise ValueError(
            f"`latents={latents!r}` needs the architecture 'glow', whose core starts from a rotation, not "
            f'{settings.architecture!r}.'
        )
    rotation = initial_rotation(core)
    return rotation if latents == 'pixels' else ConditionalChain([CosineTransform(shape, dtype=dtype), rotation])


def _make_generator(seed: int) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f'`seed` must be a non-negative integer, got {shown(seed)}.') from None


def _check_network_dtype(network_dtype: Any) -> Any:
    """Returns a dtype or policy, or raises a `ValueError` if tf_keras does not know it."""
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


def _resolve(settings: str | GlowSettings | RealNVPSettings) -> GlowSettings | RealNVPSettings:
    if isinstance(settings, str) and settings in ARCHITECTURES:
        return ARCHITECTURES[settings]()
    if isinstance(settings, str) or type(settings) not in _BUILDERS:
        names = ', '.join(map(repr, ARCHITECTURES))
        raise ValueError(f'`settings` must be one of {names}, or an instance of their settings, got {shown(settings)}.')
    return settings


def _invert_without_couplings(bijector: ConditionalBijector, y: tf.Tensor) -> tf.Tensor:
    if isinstance(bijector, Coupling):
        return y
    if isinstance(bijector, ConditionalChain):
        return functools.reduce(lambda value, part: _invert_without_couplings(part, value), bijector.bijectors, y)
    if isinstance(bijector, FactorOut):
        first, second = bijector.halves(y)
        return tf.concat([_invert_without_couplings(bijector.bijector, first), second], -1)
    return bijector._inverse_and_log_det(y, None)[0]
