"""The joint density of a subject's slices: a process over latent vectors, seen through a conditional flow."""

import functools
import inspect

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.bijectors import composition
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.distributions.base import Process

__all__ = ['ConditionalBruno']


class ConditionalBruno(tfd.TransformedDistribution):
    """The exact joint density of any set of slices of one subject, given their poses.

    #### Mathematical Details

    Slices `x_1 ... x_n` with poses `c_1 ... c_n` are images of latent vectors, `x_i = g(z_i; c_i)`, and the latent
    vectors follow one process:

    ```none
    log p(x_1..x_n | c_1..c_n) = log p(z_1..z_n) + sum_i log |det dz_i / dx_i|,   z_i = g^-1(x_i; c_i)
    ```

    Conditioning on some slices conditions the process on their latent vectors, so `posterior` is again a
    `ConditionalBruno`, exactly.

    Poses are bound by `at(poses)`; `bijector_kwargs={'conditional_input': poses}` gives them for one call of a method.

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

    def __init__(self, distribution, bijector, validate_args=False, name=None):
        """Composes a process and a flow.

        Args:
            distribution: Process with event shape `[n, D]`, any of `tfp_bruno.distributions`. The poses that it is
                bound to, if any, are those of the slices.
            bijector: Bijector from vectors `[D]` to images `[H, W, C]` whose methods take `conditional_input`, for
                example `tfp_bruno.bijectors.ConditionalRealNVP`; or one that takes no condition.
            validate_args: Python `bool`. Default value: `False`.
            name: Python `str`. Default value: `None`, the name of the class.

        Raises:
            ValueError: if dtypes or shapes of process and bijector do not fit each other, or the bijector is a
                `tfb.Chain` or another composition of TFP, which would not hand on `conditional_input`.
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
    def _parameter_properties(cls, dtype, num_classes=None):
        return super()._parameter_properties(dtype)

    def encode(self, images, poses):
        """Returns latent vectors and log-determinants of images, each network evaluated once.

        Args:
            images: `Tensor` of shape `[..., n, H, W, C]` in [0, 1].
            poses: `Tensor` of shape `[..., n, P]`.

        Returns:
            latents: `Tensor` of shape `[..., n, D]`.
            log_det: `Tensor` of shape `[..., n]`, log |det dz/dx| of each slice.
        """
        return self._inverse_and_log_det(images, _condition(self.bijector, poses))

    def _inverse_and_log_det(self, images, bijector_kwargs):
        """Inverts in one evaluation where the bijector offers that, through TFP's two calls otherwise."""
        images, bijector = tf.convert_to_tensor(images, dtype_hint=self.dtype), self.bijector
        if images.dtype != self.dtype:
            raise ValueError(
                f'{self.name}: the images are {images.dtype.name}, but the model is {self.dtype.name}; cast them.'
            )
        if hasattr(bijector, 'inverse_and_log_det'):
            return bijector.inverse_and_log_det(images, **bijector_kwargs)
        # A fresh tensor: TFP's cache answers for another tape, or another condition, otherwise.
        images = tf.identity(images)
        latents = bijector.inverse(images, **bijector_kwargs)
        log_det = bijector.inverse_log_det_jacobian(images, bijector.forward_event_ndims(1), **bijector_kwargs)
        # One that is constant may have no axis for the steps.
        return latents, tf.broadcast_to(log_det, ps.shape(latents)[:-1])

    def decode(self, latents, poses):
        """Returns the images `[..., n, H, W, C]` of latent vectors `[..., n, D]` under poses `[..., n, P]`."""
        return self.bijector.forward(latents, **_condition(self.bijector, poses))

    def _log_prob(self, value, **kwargs):
        distribution_kwargs, bijector_kwargs = self._kwargs_split_fn(kwargs)
        latents, log_det = self._inverse_and_log_det(value, bijector_kwargs)
        is_missing = distribution_kwargs.get('is_missing')
        if is_missing is not None:
            log_det = tf.where(tf.cast(is_missing, tf.bool), tf.zeros([], log_det.dtype), log_det)
        return self.distribution.log_prob(latents, **distribution_kwargs) + tf.reduce_sum(log_det, axis=-1)

    def posterior(self, context_images, context_poses, num_steps, is_missing=None, name=None):
        """Returns the model of further slices of the subject whose context slices are given.

        Args:
            context_images: `Tensor` of shape `[..., n, H, W, C]` in [0, 1]; n may be 0, which gives the prior.
            context_poses: `Tensor` of shape `[..., n, P]`.
            num_steps: Integer, number of slices of the result's event.
            is_missing: Boolean `Tensor` of shape `[..., n]`, `True` where a context is missing and does not count, for
                batches of subjects with different numbers of them. Default value: `None`, none is missing.
            name: Python `str`. Default value: `None`, this model's name.

        Returns:
            A `ConditionalBruno` with event shape `[num_steps, H, W, C]` and batch shape `[...]`, whose samples are
            joint unless the process has `independent_targets`.
        """
        latents, _ = self.encode(context_images, context_poses)
        return self.latent_posterior(latents, context_poses, num_steps, is_missing, name)

    def latent_posterior(self, latents, poses, num_steps, is_missing=None, name=None):
        """Returns what `posterior` returns, given the contexts' latent vectors `[..., n, D]` instead of images."""
        process = self.distribution.posterior(latents, poses, num_steps=num_steps, is_missing=is_missing)
        return ConditionalBruno(process, self.bijector, self.validate_args, name or self.parameters['name'])

    def anomaly_score(self, images, poses, context_images, context_poses):
        """Returns how much likelier each slice is for the contexts of its subject: low scores are anomalous.

        ```none
        score = log p(z | contexts, pose) - log p(z | pose)
        ```

        of the slice's latent vector z: the flow's Jacobian is in both and cancels, and with it what is merely hard to
        describe, such as noise.

        Args:
            images: `Tensor` of shape `[..., m, H, W, C]` in [0, 1].
            poses: `Tensor` of shape `[..., m, P]`.
            context_images: `Tensor` of shape `[..., n, H, W, C]`, slices of the same subject.
            context_poses: `Tensor` of shape `[..., n, P]`.

        Returns:
            `Tensor` of shape `[..., m]`, nats.
        """
        latents, _ = self.encode(images, poses)
        contexts, _ = self.encode(context_images, context_poses)
        given = self.latent_posterior(contexts, context_poses, ps.shape(latents)[-2]).distribution
        return given.marginal_log_prob(latents, poses) - self.distribution.marginal_log_prob(latents, poses)

    def latent_log_prob(self, latents, poses, independent_targets=False):
        """Returns the process' log-density `[...]` of latent vectors `[..., n, D]` at poses `[..., n, P]`.

        With `independent_targets` it is the sum of the densities of each vector on its own.
        """
        if independent_targets:
            return tf.reduce_sum(self.distribution.marginal_log_prob(latents, poses), axis=-1)
        return self.distribution.log_prob(latents, conditional_input=poses)

    def latent_log_prob_and_mean(self, latents, poses, independent_targets=False):
        """Returns the process' log-density of the first slices' latent vectors, and its mean at all poses.

        Args:
            latents: `Tensor` of shape `[..., n, D]`.
            poses: `Tensor` of shape `[..., num_steps, P]`, of which the first n are the latent vectors'.
            independent_targets: Python `bool`, as for `latent_log_prob`. Default value: `False`.

        Returns:
            log_prob: `Tensor` of shape `[...]`.
            mean: `Tensor` of shape `[..., num_steps, D]`, for `decode`.
        """
        if independent_targets:
            first = poses[..., : ps.shape(latents)[-2], :]
            return self.latent_log_prob(latents, first, True), self.distribution.mean(conditional_input=poses)
        return self.distribution.log_prob_and_mean(latents, poses)

    def mean_image(self, poses=None):
        """Returns the decoded mean of the process: one typical image per pose, without sampling.

        Args:
            poses: `Tensor` of shape `[..., num_steps, P]`. Default value: `None`, the bound ones.

        Returns:
            `Tensor` of shape `[..., num_steps, H, W, C]`. It is near, not equal to, the mean over samples, as the
            flow is not linear.
        """
        poses = self.distribution.poses if poses is None else poses
        return self.decode(self.distribution.mean(conditional_input=poses), poses)

    def at(self, poses, name=None):
        """Returns the model with the poses bound: the distribution of the slices there, without keyword arguments.

        Args:
            poses: `Tensor` of shape `[..., n, P]`.
            name: Python `str`. Default value: `None`, which leaves the name to TFP.

        Returns:
            A `ConditionalBruno` with event shape `[n, H, W, C]` and batch shape `[...]`, broadcast with this model's;
            it works in a `tfd.JointDistribution`.
        """
        # A name given here would be the component's name in a joint distribution.
        return ConditionalBruno(self.distribution.at(poses), self.bijector, self.validate_args, name)


def _check_parts(process, bijector):
    """Raises a ValueError unless a bijector transforms the vectors of a process."""
    if not isinstance(process, Process):
        raise ValueError(
            f'`distribution` must be a process of tfp_bruno.distributions, got {type(process).__name__}: it is asked '
            'for its posterior and takes poses.'
        )
    if isinstance(bijector, composition.Composition):
        raise ValueError(
            f'`bijector` {bijector.name} is a composition, such as tfb.Chain, which hands keyword arguments to its '
            'parts by their names and would drop `conditional_input`; use tfp_bruno.bijectors.ConditionalChain.'
        )
    if None not in (bijector.dtype, process.dtype) and bijector.dtype != process.dtype:
        raise ValueError(
            f'`distribution` is {process.dtype.name}, but `bijector` is {bijector.dtype.name}; make both alike.'
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


def _takes_condition(bijector):
    """Returns whether the methods of a bijector take `conditional_input`."""
    parameters = inspect.signature(bijector._forward).parameters.values()
    return any(each.name == 'conditional_input' or each.kind == each.VAR_KEYWORD for each in parameters)


def _condition(bijector, poses):
    """Returns the keyword arguments with which a bijector takes the poses of the slices."""
    return {'conditional_input': poses} if _takes_condition(bijector) else {}


def _split_kwargs(process, bijector, kwargs):
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
