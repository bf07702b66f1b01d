"""The Generative Query Network."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability.python.internal import samplers

from tfp_bruno.baselines.deep.context_model import ContextModel, diagonal_normal
from tfp_bruno.baselines.deep.layers import Convolution, ConvolutionalLSTM, Dense, PatchConvolution, SpatialMap
from tfp_bruno.baselines.deep.settings import GenerativeQueryNetworkSettings
from tfp_bruno.networks.layers import convolve

_STRIDE = 4


class GenerativeQueryNetwork(ContextModel):
    """Draws a query image in several steps, each with latent variables of its own, on a canvas.

    #### Mathematical Details

    ```none
    z_l ~ prior(h_l)                                                              in generation
    z_l ~ posterior(e_{l+1}),  e_{l+1} = inference core(x, v, r, h_l, u_l; e_l)   in training
    h_{l+1} = generator core(v, r, z_l; h_l)
    u_{l+1} = u_l + upsampled h_{l+1}
    mean of the pixels = 1 x 1 convolution of u_L
    ```

    where:
      * `h`, `e` are states of convolutional LSTMs on a quarter of the image's grid, `u` is the canvas; all start at 0;
      * `x`, `v`, `r` are query image, query pose and representation of the contexts.

    #### Examples

    ```python
    settings = GenerativeQueryNetworkSettings((64, 64, 1), num_slices=80, steps=8)
    model = tfp_bruno.baselines.GenerativeQueryNetwork(settings)
    representation = model.represent(context_images, context_poses)     # [1, n, 64, 64, 1], [1, n, 80]
    model.mean_image(query_poses, representation)                       # [1, T, 64, 64, 1] for [1, T, 80]
    model.elbo(query_images, query_poses, representation, pixel_std=0.1, seed=(1, 2))         # [1, T]
    ```

    #### References

    [1]: S. M. Ali Eslami et al. Neural scene representation and rendering. Science 360, 2018, with its supplement.
    """

    settings: GenerativeQueryNetworkSettings

    def __init__(self, settings: GenerativeQueryNetworkSettings, name: str = 'GenerativeQueryNetwork') -> None:
        """Creates the weights.

        Args:
            settings: Sizes of the networks.
            name: Name of the module.
        """
        super().__init__(settings, name=name)
        height, width, channels = settings.image_shape
        hidden, features = settings.hidden_channels, settings.representation_channels
        grid = (height // _STRIDE, width // _STRIDE)
        # The cores draw on and see patches of the canvas by linear maps, the same in all steps. So the canvas is the
        # map of the sum of the states, which is much smaller, and is computed once.
        patch_channels = _STRIDE**2 * settings.canvas_channels
        self.pose_map = SpatialMap(self.code_size, grid, settings.pose_channels)
        self.upsample = None if settings.representation == 'tower' else SpatialMap(features, grid, features)
        self.see_image = PatchConvolution(channels, hidden, _STRIDE)
        self.see_canvas = Dense(patch_channels, hidden)
        self.draw = Dense(hidden, patch_channels, use_bias=False)
        cores, size = 1 if settings.shared_cores else settings.steps, settings.kernel_size
        constant, latent = [settings.pose_channels, features], settings.latent_channels
        self.generators = [ConvolutionalLSTM(constant, latent, hidden, size) for _ in range(cores)]
        self.inferrers = [ConvolutionalLSTM([*constant, hidden], 2 * hidden, hidden, size) for _ in range(cores)]
        self.prior = Convolution(hidden, 2 * latent, size)
        self.posterior = Convolution(hidden, 2 * latent, size)
        self.observe = Dense(settings.canvas_channels, channels)

    def _infer(
        self,
        deviations: tf.Tensor,
        codes: tf.Tensor,
        representation: tf.Tensor,
        repeats: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pose, representation = self._common(codes, representation)
        constant = self._gates(self.generators, pose, representation, repeats)
        seeing = self._gates(self.inferrers, pose, representation, repeats)
        image = self.see_image(deviations)
        seeing_kernels, empty = zip(*[self._seeing(core) for core in self.inferrers], strict=True)
        seeing = [
            gates + core.constant_gates(2, image) + canvas
            for core, gates, canvas in zip(self.inferrers, seeing, empty, strict=True)
        ]
        # Kernels are read once, so that all steps share the convolutions' preparation of them.
        kernels = [tf.convert_to_tensor(core.changing.kernel) for core in self.generators]
        posterior_kernel = tf.convert_to_tensor(self.posterior.kernel)
        state = inferred = self.generators[0].zero_state(constant[0])
        drawn = state[1]
        states: list[tf.Tensor] = []
        posteriors: list[tf.Tensor] = []
        for step, step_seed in enumerate(samplers.split_seed(seed, n=self.settings.steps)):
            core = step % len(kernels)
            states.append(state[1])
            inferred = self.inferrers[core](seeing[core], [state[1], drawn], inferred, seeing_kernels[core])
            posteriors.append(tf.nn.bias_add(convolve(inferred[1], posterior_kernel), self.posterior.bias))
            latent = diagonal_normal(posteriors[-1]).sample(seed=step_seed)
            state = self.generators[core](constant[core], [latent], state, kernels[core])
            drawn += state[1]
        return self._observed(drawn), self._divergences(posteriors, states)

    def _generate(
        self, codes: tf.Tensor, representation: tf.Tensor, repeats: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        constant = self._gates(self.generators, *self._common(codes, representation), repeats)
        state = self.generators[0].zero_state(constant[0])
        drawn = state[1]
        steps = self.settings.steps
        seeds = [None] * steps if seed is None else samplers.split_seed(seed, n=steps)
        for step, step_seed in enumerate(seeds):
            prior = diagonal_normal(self.prior(state[1]))
            latent = prior.mean() if step_seed is None else prior.sample(seed=step_seed)
            core = step % len(self.generators)
            state = self.generators[core](constant[core], [latent], state)
            drawn += state[1]
        return self._observed(drawn)

    def _common(self, codes: tf.Tensor, representation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns pose `[N, h, w, ...]` and representation `[G, h, w, ...]` on the cores' grid."""
        if self.upsample is not None:
            representation = self.upsample(representation[:, 0, 0])
        return self.pose_map(codes), representation

    def _gates(
        self, cores: Sequence[ConvolutionalLSTM], pose: tf.Tensor, representation: tf.Tensor, repeats: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the terms of pose and representation in the gates of each core, `[N, h, w, ...]`."""
        return [
            core.constant_gates(0, pose) + tf.repeat(core.constant_gates(1, representation), repeats, axis=0)
            for core in cores
        ]

    def _seeing(self, core: ConvolutionalLSTM) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the kernel with which a core sees the sum of the states, and the gates of an empty canvas."""
        state, seen, own = tf.split(tf.convert_to_tensor(core.changing.kernel), 3, axis=2)
        bias = tf.broadcast_to(self.see_canvas.bias, [1, *self.pose_map.shape[:2], self.settings.hidden_channels])
        kernel = tf.einsum('hp,ps,xyso->xyho', self.draw.kernel, self.see_canvas.kernel, seen)
        return tf.concat([state, kernel, own], 2), convolve(bias, seen)

    def _divergences(self, posteriors: Sequence[tf.Tensor], states: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the KL of each step, `[N, L]`, from parameters of the posteriors and states that give the priors."""
        posterior, prior = diagonal_normal(tf.concat(posteriors, 0)), diagonal_normal(self.prior(tf.concat(states, 0)))
        return tf.transpose(tf.reshape(tfd.kl_divergence(posterior, prior), [len(states), -1]))

    def _observed(self, drawn: tf.Tensor) -> tf.Tensor:
        """Returns the mean of the pixels, from the sum of the states."""
        height, width, channels = self.settings.image_shape
        canvas = self.draw(drawn)
        grid = [-1, height // _STRIDE, width // _STRIDE]
        pixels = self.observe(tf.reshape(canvas, [*grid, _STRIDE**2, self.settings.canvas_channels]))
        return tf.nn.depth_to_space(tf.reshape(pixels, [*grid, _STRIDE**2 * channels]), _STRIDE)
