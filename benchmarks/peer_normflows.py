"""Measures Glow as PyTorch's normflows builds it, on the processor, and prints one line of JSON.

    pip install torch normflows
    python benchmarks/peer_normflows.py

(in an environment of its own, `pip install torch normflows absl-py`.)

The flow is built as in normflows' example on CIFAR-10, examples/glow_colab.ipynb, with its default settings, but for
images of --channels / 4 channels and bases that know no classes. From the image to the latents, each of --levels levels

- squeezes: `[C, H, W]` to `[4 C, H / 2, W / 2]`; an image of 1 channel has --channels=4 then, and each level twice as
  many as the one before;
- applies --blocks blocks, each of
  - ActNorm: a scale and a shift for each channel, set from the first batch;
  - a 1 x 1 convolution with the matrix `P L U`, P fixed, the diagonal of U fixed in sign;
  - an affine coupling, `z2 <- (z2 - shift) * sigmoid(raw + 2)`: the first half of the channels gives shift and raw for
    the second by a network of three convolutions with bias, 3 x 3 to --hidden_channels, ReLU, 1 x 1 to
    --hidden_channels, ReLU, 3 x 3 to twice the half's channels, which starts at zero; no normalisation in between;
- but for the last level, hands the second half of the channels to its base.

The base of each level is a Gaussian with a trainable mean and scale for every single dimension.

The JSON has `parameters`; `macs`, the multiply-adds of all convolutions for one image; `forward_images_per_second`
(densities alone, without gradients) and `training_images_per_second` (mean negative log-density, gradients, Adam), both
float32, with as many threads as there are cores, and from medians. On a busy machine those threads wait for one another
and the figures fall tenfold: run it alone.
"""

import importlib
import os
import pathlib
import sys
import warnings

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from benchmarks import peer
from tfp_bruno.cli import app
from tfp_bruno.errors import UserError

IMAGE_SIZE = flags.DEFINE_integer('image_size', 32, 'Height and width of the images.', lower_bound=2)
CHANNELS = flags.DEFINE_integer('channels', 4, 'Channels after the first squeeze: 4 times those of the image.')
LEVELS = flags.DEFINE_integer('levels', 3, 'Number of levels.', lower_bound=1)
BLOCKS = flags.DEFINE_integer('blocks', 4, 'Blocks of each level.', lower_bound=1)
HIDDEN_CHANNELS = flags.DEFINE_integer('hidden_channels', 64, "Channels inside the couplings' networks.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 64, 'Images in a batch.', lower_bound=2)
REPEATS = peer.add_repeats_flag()
IN_TURN = peer.add_in_turn_flag()


def main():
    """Measures and prints.

    Raises:
        UserError: if the flags do not fit together, or PyTorch or normflows is missing.
    """
    if CHANNELS.value < 4 or CHANNELS.value % 4:
        raise UserError(f'--channels={CHANNELS.value}: must be 4 times the channels of the image.')
    if IMAGE_SIZE.value % 2**LEVELS.value:
        raise UserError(f'--image_size={IMAGE_SIZE.value}: must be a multiple of 2^levels = {2**LEVELS.value}.')
    output = peer.stdout_for_result()
    peer.report(output, *_measure(*_import_frameworks()), IN_TURN.value)


def _import_frameworks():
    try:
        return importlib.import_module('torch'), importlib.import_module('normflows')
    except ImportError as error:
        raise UserError(f'{error.name or error}: cannot be imported; pip install torch normflows.') from error


def _measure(torch, normflows):
    """Returns the figures as a `dict`, and a function that takes a training step."""
    # Of a function that normflows calls while the flow is built.
    warnings.filterwarnings('ignore', 'torch.lu is deprecated')
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    model = _glow(normflows)
    images = torch.rand(BATCH_SIZE.value, CHANNELS.value // 4, IMAGE_SIZE.value, IMAGE_SIZE.value)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def forward():
        with torch.no_grad():
            model.log_prob(images, None)

    def train():
        optimizer.zero_grad()
        model.forward_kld(images).backward()
        optimizer.step()

    # The first batch sets the ActNorms.
    forward()
    figures = {
        'parameters': sum(parameter.numel() for parameter in model.parameters()),
        'macs': _macs(torch, forward),
        'forward_images_per_second': BATCH_SIZE.value / peer.median_seconds(forward, REPEATS.value),
        'training_images_per_second': BATCH_SIZE.value / peer.median_seconds(train, REPEATS.value),
    }
    return figures, train


def _glow(normflows):
    """Returns the `normflows.MultiscaleFlow`, whose levels start at the latents' end."""
    bases, flows, merges = [], [], []
    for level in reversed(range(LEVELS.value)):
        channels, size = CHANNELS.value * 2**level, IMAGE_SIZE.value // 2 ** (level + 1)
        blocks = [normflows.flows.GlowBlock(channels, HIDDEN_CHANNELS.value) for _ in range(BLOCKS.value)]
        flows.append([*blocks, normflows.flows.Squeeze()])
        is_last = level == LEVELS.value - 1
        bases.append(normflows.distributions.DiagGaussian((channels if is_last else channels // 2, size, size)))
        if not is_last:
            merges.append(normflows.flows.Merge())
    return normflows.MultiscaleFlow(bases, flows, merges, class_cond=False)


def _macs(torch, forward):
    """Returns the multiply-adds of the convolutions for one image."""
    flop_counter = importlib.import_module('torch.utils.flop_counter')
    with flop_counter.FlopCounterMode(display=False) as counter:
        forward()
    flops = counter.get_flop_counts()['Global'][torch.ops.aten.convolution]
    return flops // (2 * BATCH_SIZE.value)


if __name__ == '__main__':
    app.run_main(main)
