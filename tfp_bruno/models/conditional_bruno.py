"""The joint density of a subject's slices: a process over latent vectors, seen through a conditional flow."""

import functools

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import parameter_properties
from tensorflow_probability.python.internal import prefer_static as ps

from tfp_bruno.bijectors import BoundCondition

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

    #### Examples

    ```python
    flow = tfp_bruno.bijectors.ConditionalRealNVP(image_shape=[64, 64, 1], condition_size=80)
    process = tfp_bruno.distributions.ExchangeableStudentTProcess(
        df=10. * tf.ones(4096), loc=tf.zeros(4096), variance=tf.ones(4096), correlation=0.5 * tf.ones(4096),
        num_steps=9)
    model = tfp_bruno.ConditionalBruno(process, flow)
    images = model.sample(seed=(1, 2), bijector_kwargs={'conditional_input': poses})        # [9, 64, 64, 1]
    model.log_prob(images, bijector_kwargs={'conditional_input': poses})                    # []
    rest = model.posterior(images[:4], poses[:4], num_steps=5)
    rest.mean_image(poses[4:])                                                              # [5, 64, 64, 1]
    rest.condition_on(poses[4:]).sample(10, seed=(1, 2))                                    # [10, 5, 64, 64, 1]
    ```

    #### References

    [1]: Benjamin Hou et al. Flexible conditional image generation of missing data with learned mental maps, section
    2. 2019. [2]: Iryna Korshunova et al. Conditional BRUNO. NeurIPS workshop on Bayesian deep learning, 2018.
    """

    def __init__(self, distribution, bijector, validate_args=False, name='ConditionalBruno'):
        """Composes a process and a flow.

        Args:
            distribution: Process with event shape `[n, D]`, any of `tfp_bruno.distributions`. One that sets
                `needs_poses` is given the poses as `conditional_input`, too.
            bijector: Bijector from vectors `[D]` to images `[H, W, C]` whose methods take `conditional_input`, for
                example `tfp_bruno.bijectors.ConditionalRealNVP`.
            validate_args: Python `bool`. Default value: `False`.
            name: Python `str`. Default value: `'ConditionalBruno'`.
        """
        parameters = dict(locals())
        super().__init__(
            distribution=distribution,
            bijector=bijector,
            validate_args=validate_args,
            kwargs_split_fn=functools.partial(_split_kwargs, distribution),
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        # The batch is the process' alone: the flow's weights have none.
        return {
            'distribution': parameter_properties.BatchedComponentProperties(),
            'bijector': parameter_properties.BatchedComponentProperties(
                event_ndims=lambda self: self.bijector.inverse_min_event_ndims + 1
            ),
        }

    def _batch_shape(self):
        return self.distribution.batch_shape

    def _batch_shape_tensor(self):
        return self.distribution.batch_shape_tensor()

    def encode(self, images, poses):
        """Returns latent vectors and log-determinants of images, each network evaluated once.

        Args:
            images: `Tensor` of shape `[..., n, H, W, C]` in [0, 1].
            poses: `Tensor` of shape `[..., n, P]`.

        Returns:
            latents: `Tensor` of shape `[..., n, D]`.
            log_det: `Tensor` of shape `[..., n]`, log |det dz/dx| of each slice.
        """
        return _inverse_and_log_det(self.bijector, images, {'conditional_input': poses})

    def decode(self, latents, poses):
        """Returns the images `[..., n, H, W, C]` of latent vectors `[..., n, D]` under poses `[..., n, P]`."""
        return self.bijector.forward(latents, conditional_input=poses)

    def _log_prob(self, value, **kwargs):
        distribution_kwargs, bijector_kwargs = self._kwargs_split_fn(kwargs)
        latents, log_det = _inverse_and_log_det(self.bijector, value, bijector_kwargs)
        mask = distribution_kwargs.get('mask')
        if mask is not None:
            log_det = tf.where(tf.cast(mask, tf.bool), log_det, tf.zeros([], log_det.dtype))
        return self.distribution.log_prob(latents, **distribution_kwargs) + tf.reduce_sum(log_det, axis=-1)

    def posterior(self, context_images, context_poses, num_steps, mask=None, name=None):
        """Returns the model of further slices of the subject whose context slices are given.

        Args:
            context_images: `Tensor` of shape `[..., n, H, W, C]` in [0, 1]; n may be 0, which gives the prior.
            context_poses: `Tensor` of shape `[..., n, P]`.
            num_steps: Integer, number of slices of the result's event.
            mask: Boolean `Tensor` of shape `[..., n]`: which contexts count, for batches of subjects with different
                numbers of them. Default value: `None`, all of them.
            name: Python `str`. Default value: `None`, this model's name.

        Returns:
            A `ConditionalBruno` with event shape `[num_steps, H, W, C]` and batch shape `[...]`, whose samples are
            joint unless the process has `independent_targets`.
        """
        latents, _ = self.encode(context_images, context_poses)
        return self.latent_posterior(latents, context_poses, num_steps, mask, name)

    def latent_posterior(self, latents, poses, num_steps, mask=None, name=None):
        """Returns what `posterior` returns, given the contexts' latent vectors `[..., n, D]` instead of images."""
        seen = {'observed_poses': poses} if _needs_poses(self.distribution) else {}
        return ConditionalBruno(
            self.distribution.posterior(latents, num_steps=num_steps, mask=mask, **seen),
            self.bijector,
            validate_args=self.validate_args,
            name=name or self._name.rstrip('/'),
        )

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
        kwargs = _pose_kwargs(self.distribution, poses)
        return given.marginal_log_prob(latents, **kwargs) - self.distribution.marginal_log_prob(latents, **kwargs)

    def latent_log_prob(self, latents, poses, independent_targets=False):
        """Returns the process' log-density `[...]` of latent vectors `[..., n, D]` at poses `[..., n, P]`.

        With `independent_targets` it is the sum of the densities of each vector on its own.
        """
        kwargs = _pose_kwargs(self.distribution, poses)
        if independent_targets:
            return tf.reduce_sum(self.distribution.marginal_log_prob(latents, **kwargs), axis=-1)
        return self.distribution.log_prob(latents, **kwargs)

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
        kwargs = _pose_kwargs(self.distribution, poses)
        if independent_targets:
            first = poses[..., : ps.shape(latents)[-2], :]
            return self.latent_log_prob(latents, first, True), self.distribution.mean(**kwargs)
        return self.distribution.log_prob_and_mean(latents, **kwargs)

    def mean_image(self, poses):
        """Returns the decoded mean of the process: one typical image per pose, without sampling.

        Args:
            poses: `Tensor` of shape `[..., num_steps, P]`.

        Returns:
            `Tensor` of shape `[..., num_steps, H, W, C]`. It is near, not equal to, the mean over samples, as the
            flow is not linear.
        """
        return self.decode(self.distribution.mean(**_pose_kwargs(self.distribution, poses)), poses)

    def condition_on(self, poses, name=None):
        """Returns the distribution of the slices at fixed poses, which takes no keyword arguments.

        Args:
            poses: `Tensor` of shape `[..., num_steps, P]`.
            name: Python `str`. Default value: `None`, which leaves the name to TFP.

        Returns:
            A `tfd.Distribution` with event shape `[num_steps, H, W, C]` and batch shape `[...]`, broadcast with this
            model's; it works in a `tfd.JointDistribution`.
        """
        poses = tf.convert_to_tensor(poses, dtype_hint=self.dtype)
        process = self.distribution
        if _needs_poses(process):
            process = process.at(poses)
        elif tf.broadcast_static_shape(poses.shape[:-2], process.batch_shape) != process.batch_shape:
            # Given no observation, once for every set of poses, it is the same process with their batch shape.
            nothing = tf.zeros([*poses.shape[:-2], 0, process.event_shape[-1]], self.dtype)
            process = process.posterior(nothing, process.event_shape_tensor()[0])
        return tfd.TransformedDistribution(
            process,
            BoundCondition(self.bijector, poses),
            validate_args=self.validate_args,
            # A name given here would be the component's name in a joint distribution.
            name=name,
        )


def _needs_poses(process):
    return getattr(process, 'needs_poses', False)


def _pose_kwargs(process, poses):
    """Returns the keyword arguments with which a process takes its poses; an exchangeable one takes none."""
    return {'conditional_input': poses} if _needs_poses(process) else {}


def _split_kwargs(process, kwargs):
    """Hands the flow's condition to the process, too, where its density depends on the poses."""
    bijector_kwargs = kwargs.get('bijector_kwargs', {})
    poses = bijector_kwargs.get('conditional_input')
    return {**_pose_kwargs(process, poses), **kwargs.get('distribution_kwargs', {})}, bijector_kwargs


def _inverse_and_log_det(bijector, value, kwargs):
    """Inverts in one evaluation where the bijector offers that, through TFP's two calls otherwise."""
    if hasattr(bijector, 'inverse_and_log_det'):
        return bijector.inverse_and_log_det(value, **kwargs)
    # A fresh tensor: TFP's cache answers for another tape, or another condition, otherwise.
    value = tf.identity(value)
    latents = bijector.inverse(value, **kwargs)
    return latents, bijector.inverse_log_det_jacobian(value, bijector.inverse_min_event_ndims, **kwargs)
