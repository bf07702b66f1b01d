"""The joint density of a subject's slices: a process over latent vectors, seen through a conditional flow."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.bijectors import composition
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.base import Process

TensorLike: TypeAlias = tf.types.experimental.TensorLike


class ConditionalBruno(tfd.TransformedDistribution):
    """The exact joint density of any set of slices of one subject, given their poses.

    #### Mathematical Details

    Slices `x_1 ... x_n` at poses `c_1 ... c_n` are images of latent vectors, `x_i = g(z_i; c_i)`, and the latent
    vectors follow one process:

    ```none
    log p(x_1..x_n | c_1..c_n) = log p(z_1..z_n) + sum_i log |det dz_i / dx_i|,   z_i = g^-1(x_i; c_i)
    ```

    Conditioning on some slices conditions the process on their latent vectors, so `posterior` is again a
    `ConditionalBruno`, exactly.

    Poses are bound by `at(poses)`, or passed to one method by `bijector_kwargs={'conditional_input': poses}`.

    #### Examples

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(image_shape=[64, 64, 1], condition_size=80)
    process = tfp_bruno.distributions.ExchangeableStudentTProcess(
        df=10. * tf.ones(4096), loc=tf.zeros(4096), marginal_variance=tf.ones(4096),
        correlation=0.5 * tf.ones(4096), num_steps=9)
    model = tfp_bruno.ConditionalBruno(process, flow)
    subject = model.at(poses)                                   # a plain distribution
    images = subject.sample(seed=(1, 2))                        # [9, 64, 64, 1]
    subject.log_prob(images)                                    # []
    rest = model.posterior(images[:4], poses[:4], num_steps=5)
    rest.mean_image(poses[4:])                                  # [5, 64, 64, 1]
    rest.at(poses[4:]).sample(10, seed=(1, 2))                  # [10, 5, 64, 64, 1]
    ```

    #### References

    [1]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019. [2]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(
        self, distribution: Process, bijector: tfb.Bijector, validate_args: bool = False, name: str | None = None
    ) -> None:
        """Composes a process and a flow.

        Args:
            distribution: Process with event shape `[n, D]`, any of `tfp_bruno.distributions`. Its bound poses, if any,
                are the poses of the slices.
            bijector: Bijector from vectors `[D]` to images `[H, W, C]` whose methods take `conditional_input`, for
                example `tfp_bruno.bijectors.ConditionalRealNVP`; or one that takes no condition.
            validate_args: Whether arguments are checked at run time.
            name: `None`: the name of the class.

        Raises:
            ValueError: If dtypes or shapes of process and bijector do not fit each other, or the bijector is a
                `tfb.Chain` or another composition of TFP, which would drop `conditional_input`.
        """
        parameters = dict(locals())
        _check_parts(distribution, bijector)
        super().__init__(
            distribution=distribution,
            bijector=bijector,
            validate_args=validate_args,
            kwargs_split_fn=functools.partial(_split_kwargs, distribution, bijector),
            parameters=parameters,
            name=name or 'ConditionalBruno',
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict[str, Any]:
        return super()._parameter_properties(dtype)

    def encode(self, images: TensorLike, poses: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns latent vectors and log-determinants of images, with one evaluation of each network.

        Args:
            images: `[..., n, H, W, C]` in [0, 1].
            poses: `[..., n, P]`.

        Returns:
            latents: `[..., n, D]`.
            log_det: log |det dz/dx| of each slice, `[..., n]`.
        """
        return self._inverse_and_log_det(images, _condition(self.bijector, poses))

    def _inverse_and_log_det(self, images: TensorLike, bijector_kwargs: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """Inverts in one evaluation where the bijector has a method for it, otherwise with TFP's two calls."""
        images, bijector = tf.convert_to_tensor(images, dtype_hint=self.dtype), self.bijector
        if images.dtype != self.dtype:
            raise ValueError(
                f'{self.name}: the images are {images.dtype.name}, but the model is {self.dtype.name}; cast them.'
            )
        if hasattr(bijector, 'inverse_and_log_det'):
            return bijector.inverse_and_log_det(images, **bijector_kwargs)
        # A fresh tensor: TFP's cache would return results of another tape, or of another condition.
        images = tf.identity(images)
        latents = bijector.inverse(images, **bijector_kwargs)
        log_det = bijector.inverse_log_det_jacobian(images, bijector.forward_event_ndims(1), **bijector_kwargs)
        # A constant log-determinant may have no axis for the steps.
        return latents, tf.broadcast_to(log_det, ps.shape(latents)[:-1])

    def decode(self, latents: TensorLike, poses: TensorLike) -> tf.Tensor:
        """Returns the images `[..., n, H, W, C]` of latent vectors `[..., n, D]` at poses `[..., n, P]`."""
        return self.bijector.forward(latents, **_condition(self.bijector, poses))

    def _log_prob(self, value: TensorLike, **kwargs: Any) -> tf.Tensor:
        distribution_kwargs, bijector_kwargs = self._kwargs_split_fn(kwargs)
        latents, log_det = self._inverse_and_log_det(value, bijector_kwargs)
        is_missing = distribution_kwargs.get('is_missing')
        if is_missing is not None:
            log_det = tf.where(tf.cast(is_missing, tf.bool), tf.zeros([], log_det.dtype), log_det)
        return self.distribution.log_prob(latents, **distribution_kwargs) + tf.reduce_sum(log_det, axis=-1)

    def posterior(
        self,
        context_images: TensorLike,
        context_poses: TensorLike,
        num_steps: TensorLike,
        is_missing: TensorLike | None = None,
        name: str | None = None,
    ) -> ConditionalBruno:
        """Returns the model of further slices of the subject, given its context slices.

        Args:
            context_images: `[..., n, H, W, C]` in [0, 1]; n may be 0, which gives the prior.
            context_poses: `[..., n, P]`.
            num_steps: Number of slices of the result's event.
            is_missing: `[..., n]`, `True` where a context slice is missing and ignored, for batches of subjects with
                different numbers of contexts. `None`: none is missing.
            name: Name of the result; `None` keeps this model's name.

        Returns:
            A model with event shape `[num_steps, H, W, C]` and batch shape `[...]`. Its samples are joint unless the
            process has `independent_targets`.
        """
        latents, _ = self.encode(context_images, context_poses)
        process = self.distribution.posterior(latents, context_poses, num_steps=num_steps, is_missing=is_missing)
        return ConditionalBruno(process, self.bijector, self.validate_args, name or self.parameters['name'])

    def anomaly_score(
        self, images: TensorLike, poses: TensorLike, context_images: TensorLike, context_poses: TensorLike
    ) -> tf.Tensor:
        """Returns by how much the contexts of its subject raise each slice's log-density: anomalous slices score low.

        ```none
        score = log p(z | contexts, pose) - log p(z | pose)
        ```

        of the slice's latent vector z. The flow's Jacobian is in both terms and cancels, and with it the part of the
        density that depends on the image alone, such as noise.

        Args:
            images: `[..., m, H, W, C]` in [0, 1].
            poses: `[..., m, P]`.
            context_images: Slices of the same subject, `[..., n, H, W, C]`.
            context_poses: `[..., n, P]`.

        Returns:
            Scores in nats, `[..., m]`.
        """
        return self.conditional_log_prob_and_anomaly_score(images, poses, context_images, context_poses)[1]

    def conditional_log_prob_and_anomaly_score(
        self, images: TensorLike, poses: TensorLike, context_images: TensorLike, context_poses: TensorLike
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each slice's log-density given the contexts, and its `anomaly_score`, of one encoding.

        Args:
            images: `[..., m, H, W, C]` in [0, 1].
            poses: `[..., m, P]`.
            context_images: Slices of the same subject, `[..., n, H, W, C]`.
            context_poses: `[..., n, P]`.

        Returns:
            log_prob: `log p(x | contexts, pose)` of each slice by itself, nats, `[..., m]`.
            anomaly_score: `[..., m]`.
        """
        latents, log_det = self.encode(images, poses)
        contexts, _ = self.encode(context_images, context_poses)
        given = self.distribution.posterior(contexts, context_poses, num_steps=ps.shape(latents)[-2])
        conditional = given.marginal_log_prob(latents, poses)
        return conditional + log_det, conditional - self.distribution.marginal_log_prob(latents, poses)

    def mean_image(self, poses: TensorLike | None = None) -> tf.Tensor:
        """Returns the decoded mean of the process: one typical image per pose, without sampling.

        Args:
            poses: `[..., num_steps, P]`; `None` uses the bound ones.

        Returns:
            `[..., num_steps, H, W, C]`, near the mean of samples, but not equal to it, as the flow is not linear.
        """
        poses = self.distribution.poses if poses is None else poses
        return self.decode(self.distribution.mean(conditional_input=poses), poses)

    def at(self, poses: TensorLike, name: str | None = None) -> ConditionalBruno:
        """Returns the model with the poses bound: the distribution of the slices there, without keyword arguments.

        Args:
            poses: `[..., n, P]`.
            name: Name of the result; `None` leaves it to TFP.

        Returns:
            A model with event shape `[n, H, W, C]` and batch shape `[...]`, broadcast with this model's batch shape; it
            can be a component of a `tfd.JointDistribution`.
        """
        # A name given here would be the component's name in a joint distribution.
        return ConditionalBruno(self.distribution.at(poses), self.bijector, self.validate_args, name)


def _check_parts(process: Process, bijector: tfb.Bijector) -> None:
    """Raises a `ValueError` unless a bijector transforms the vectors of a process."""
    if not isinstance(process, Process):
        raise ValueError(
            f'`distribution` must be a process of tfp_bruno.distributions, got {type(process).__name__}, which has no '
            '`posterior` given poses.'
        )
    if isinstance(bijector, composition.Composition):
        raise ValueError(
            f'`bijector` {bijector.name} is a composition, such as tfb.Chain, which passes keyword arguments to its '
            'parts by their names and would drop `conditional_input`; use tfp_bruno.bijectors.ConditionalChain.'
        )
    if None not in (bijector.dtype, process.dtype) and bijector.dtype != process.dtype:
        raise ValueError(
            f'`distribution` is {process.dtype.name}, but `bijector` is {bijector.dtype.name}; cast one of them.'
        )
    vector = process.event_shape[-1:]
    try:
        fits = bijector.inverse_event_shape(bijector.forward_event_shape(vector)).is_compatible_with(vector)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f'`distribution` has events of shape {process.event_shape}, but `bijector` {bijector.name} takes no '
            f'vectors of shape {vector}.'
        )


def _takes_condition(bijector: tfb.Bijector) -> bool:
    """Returns whether the methods of a bijector take `conditional_input`."""
    parameters = inspect.signature(bijector._forward).parameters.values()
    return any(each.name == 'conditional_input' or each.kind == each.VAR_KEYWORD for each in parameters)


def _condition(bijector: tfb.Bijector, poses: TensorLike) -> dict[str, TensorLike]:
    """Returns the poses of the slices as keyword arguments of a bijector; none if it takes no condition."""
    return {'conditional_input': poses} if _takes_condition(bijector) else {}


def _split_kwargs(
    process: Process, bijector: tfb.Bijector, kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the keyword arguments of process and bijector: both take the given poses, or else the bound ones."""
    bijector_kwargs = kwargs.get('bijector_kwargs', {})
    distribution_kwargs = kwargs.get('distribution_kwargs', {})
    poses = bijector_kwargs.get('conditional_input')
    if poses is not None:
        distribution_kwargs = {'conditional_input': poses, **distribution_kwargs}
    elif process.poses is not None:
        bijector_kwargs = {**bijector_kwargs, 'conditional_input': process.poses}
    if not _takes_condition(bijector):
        bijector_kwargs = {key: value for key, value in bijector_kwargs.items() if key != 'conditional_input'}
    return distribution_kwargs, bijector_kwargs
