"""Scores the slices of a masked scan between those that are given, in the voxels of the scan.

    python benchmarks/slices_between.py --run_dir=RUN --stack=SCAN --mask=MASK --scan_slices=9,12,16,19

Prints the mean over these slices of the correlation inside the mask: of the completed volume, and of linear
interpolation between the given slices.
"""

import pathlib
import sys
import tempfile

import nibabel
import numpy as np
from absl import flags
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno.cli import app
from tfp_bruno.cli.loading import load_model
from tfp_bruno.reconstruction import Placing, ReconstructionSettings, SliceSelection, place_contexts, reconstruct
from tfp_bruno.reconstruction.contexts import read_scan

RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of a trained model.', required=True)
STACK = flags.DEFINE_string('stack', None, 'The scan; its slices lie along the last axis of the file.', required=True)
MASK = flags.DEFINE_string('mask', None, 'Its mask.', required=True)
SCAN_SLICES = flags.DEFINE_list('scan_slices', None, 'The given slices, two or more.', required=True)
SCAN_AXES = flags.DEFINE_string('scan_axes', 'header', 'As for bin/reconstruct.')


def main() -> None:
    """Completes the scan and prints the correlations."""
    scan, mask = read_scan(STACK.value, MASK.value, assume_ras=False)
    assert mask is not None
    given = sorted(map(int, SCAN_SLICES.value))
    model = load_model(RUN_DIR.value, 1.0, 'auto')
    selection, placing = SliceSelection(scan_slices=given), Placing(scan_axes=SCAN_AXES.value)
    contexts = place_contexts(model, scan, selection, mask, placing)
    with tempfile.TemporaryDirectory() as folder:
        reconstruct(model, contexts, folder, ReconstructionSettings(std_samples=0, report=False))
        written = nibabel.load(pathlib.Path(folder) / 'mean.nii.gz')
        volume, affine = written.get_fdata(), written.affine
    to_volume = np.linalg.inv(affine) @ scan.affine
    completed = ndimage.affine_transform(volume, to_volume, output_shape=scan.data.shape, order=1)
    masked = np.where(mask, scan.data, 0)
    scores = []
    for index in set(range(given[0], given[-1])) - set(given):
        inside = mask[..., index]
        if not inside.any():
            continue
        low, high = max(k for k in given if k < index), min(k for k in given if k > index)
        weight = (index - low) / (high - low)
        linear = (1 - weight) * masked[..., low] + weight * masked[..., high]
        truth = scan.data[..., index][inside]
        scores.append([np.corrcoef(image[inside], truth)[0, 1] for image in (completed[..., index], linear)])
    print('{} slices: completed {:.3f}, linear {:.3f}'.format(len(scores), *np.mean(scores, axis=0)))
    print(f'placing: {contexts.placing}')


if __name__ == '__main__':
    app.run_main(main)
