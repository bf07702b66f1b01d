"""The joint density of a subject's slices: a process over latent vectors, seen through a conditional flow."""

import functools

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import parameter_properties

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
            distribution: Process with event shape `[n, D]` and a method `posterior(observations, num_steps)`:
                `tfp_bruno.distributions.ExchangeableStudentTProcess`, or one that sets `needs_poses` and then is
                given the poses as `conditional_input`, too: `tfp_bruno.distributions.FactorGaussianProcess`.
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
        return self.distribution.log_prob(latents, **distribution_kwargs) + tf.reduce_sum(log_det, axis=-1)

    def posterior(self, context_images, context_poses, num_steps, name=None):
        """Returns the model of further slices of the subject whose context slices are given.

        Args:
            context_images: `Tensor` of shape `[..., n, H, W, C]` in [0, 1]; n may be 0, which gives the prior.
            context_poses: `Tensor` of shape `[..., n, P]`.
            num_steps: Integer, number of slices of the result's event.
            name: Python `str`. Default value: `None`, this model's name.

        Returns:
            A `ConditionalBruno` with event shape `[num_steps, H, W, C]` and batch shape `[...]`, whose samples are
            joint.
        """
        latents, _ = self.encode(context_images, context_poses)
        return self.latent_posterior(latents, context_poses, num_steps, name)

    def latent_posterior(self, latents, poses, num_steps, name=None):
        """Returns what `posterior` returns, given the contexts' latent vectors `[..., n, D]` instead of images."""
        return ConditionalBruno(
            self.distribution.posterior(latents, num_steps, **_pose_kwargs(self.distribution, poses)),
            self.bijector,
            validate_args=self.validate_args,
            name=name or self._name.rstrip('/'),
        )

    def latent_log_prob(self, latents, poses):
        """Returns the process' log-density `[...]` of latent vectors `[..., n, D]` at poses `[..., n, P]`."""
        return self.distribution.log_prob(latents, **_pose_kwargs(self.distribution, poses))

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
        batch = poses.shape[:-2]
        if tf.broadcast_static_shape(batch, process.batch_shape) != process.batch_shape:
            # Given no observation, once for every set of poses, it is the same process with their batch shape.
            nothing = tf.zeros([*batch, 0, process.event_shape[-1]], self.dtype)
            num_steps = process.event_shape_tensor()[0]
            process = process.posterior(nothing, num_steps, **_pose_kwargs(process, poses[..., :0, :]))
        return tfd.TransformedDistribution(
            process,
            BoundCondition(self.bijector, poses),
            kwargs_split_fn=lambda kwargs: (_pose_kwargs(process, poses), {}),
            validate_args=self.validate_args,
            # A name given here would be the component's name in a joint distribution.
            name=name,
        )


def _pose_kwargs(process, poses):
    """Returns the keyword arguments with which a process takes its poses; an exchangeable one takes none."""
    return {'conditional_input': poses} if getattr(process, 'needs_poses', False) else {}


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
