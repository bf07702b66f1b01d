"""Registers slices of a moving phantom to its volume, by SimpleITK and by this library; prints a table.

    python benchmarks/slice_registration.py --slices=30

SimpleITK takes each slice as an image of one voxel across, and maximises the correlation by gradient descent with
regular steps at the same levels of smoothing. Its own pyramid cannot shrink such an image, so both get the same one.
"""

import pathlib
import sys
import time
from collections.abc import Callable

import nibabel
import numpy as np
import SimpleITK
from absl import flags
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tfp_bruno import motion, phantoms
from tfp_bruno.cli import app
from tfp_bruno.motion.rigid import LPS

SLICES = flags.DEFINE_integer('slices', 30, 'How many slices.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the phantom and of its motion.')

# Smoothing in mm, stride in pixels, and steps of the gradient descent: longest, shortest, number.
LEVELS = ((3.0, 4, 2.0, 0.1, 100), (1.0, 2, 1.0, 0.01, 100), (0.5, 1, 0.3, 0.001, 100))


def itk_image(data: np.ndarray, affine: np.ndarray) -> SimpleITK.Image:
    """Returns voxels `[X, Y, Z]` with their place in the world."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.T))
    spacing, moved = nibabel.affines.voxel_sizes(affine), LPS @ affine
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(moved[:3, 3].tolist())
    image.SetDirection((moved[:3, :3] / spacing).ravel().tolist())
    return image


def register_by_itk(stack: motion.SliceStack, index: int, targets: list[SimpleITK.Image]) -> np.ndarray:
    """Returns the transform `[4, 4]` of a slice that SimpleITK finds."""
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter((LPS[:3, :3] @ stack.mask_points(index).mean(axis=0)).tolist())
    for target, (sigma, stride, longest, shortest, steps) in zip(targets, LEVELS, strict=True):
        image = np.where(stack.mask[:, :, index], stack.data[:, :, index], np.float32(0))
        image = ndimage.gaussian_filter(image, sigma / stack.spacing[0])[::stride, ::stride]
        near = ndimage.binary_dilation(stack.mask[:, :, index], iterations=6)[::stride, ::stride]
        affine = stack.slice_affine(index) @ np.diag([stride, stride, 1, 1])
        method = SimpleITK.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsCorrelation()
        method.SetMetricFixedMask(itk_image(near[..., None].astype(np.uint8), affine))
        method.MetricUseMovingImageGradientFilterOff()
        method.MetricUseFixedImageGradientFilterOff()
        method.SetInterpolator(SimpleITK.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(longest, shortest, steps, 0.7)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        method.Execute(itk_image(image[..., None], affine), target)
    rotation, centre = np.reshape(transform.GetMatrix(), (3, 3)), np.array(transform.GetCenter())
    return LPS @ nibabel.affines.from_matvec(rotation, transform.GetTranslation() + centre - rotation @ centre) @ LPS


def main() -> None:
    """Registers the slices, and prints the table."""
    volume, mask, affine = phantoms.make_subject('fetal', SEED.value)
    settings = motion.MotionSettings(10.0, 10.0)
    simulated = motion.simulate_stacks(volume, mask, affine, None, settings, seed=SEED.value)
    used = motion.usable_slices(simulated.stacks, 600.0)
    flat = np.flatnonzero(np.concatenate(used))
    kept = np.zeros(sum(map(len, used)), bool)
    kept[flat[np.linspace(0, len(flat) - 1, min(SLICES.value, len(flat))).astype(int)]] = True
    chosen = np.split(kept, np.cumsum([len(own) for own in used])[:-1])
    start = motion.identity_transforms(simulated.stacks)
    smooth = [itk_image(ndimage.gaussian_filter(volume, level[0]), affine) for level in LEVELS]

    def by_itk() -> list[np.ndarray]:
        found = [own.copy() for own in start]
        for stack, own, indices in zip(simulated.stacks, found, chosen, strict=True):
            for index in np.flatnonzero(indices).tolist():
                own[index] = register_by_itk(stack, index, smooth)
        return found

    def by_library() -> list[np.ndarray]:
        stacks = [
            motion.SliceStack(each.name, each.data, each.mask & own, each.affine, each.thickness, each.batches)
            for each, own in zip(simulated.stacks, chosen, strict=True)
        ]
        return motion.register_stacks(stacks, volume, affine, start).transforms

    print('| registration | processor time per slice, s | median mm | median degrees | within 2 mm |')
    print('|---|---|---|---|---|')
    methods: dict[str, Callable[[], list[np.ndarray]]] = {'SimpleITK': by_itk, 'this library': by_library}
    for name, method in methods.items():
        before = time.process_time()
        found = method()
        seconds = (time.process_time() - before) / kept.sum()
        errors = motion.slice_errors(simulated.stacks, simulated.transforms, found, chosen).summary()
        numbers = f'{seconds:.3f} | {errors["median_mm"]:.2f} | {errors["median_degrees"]:.2f}'
        print(f'| {name} | {numbers} | {errors["share_2mm"]:.0%} |')


if __name__ == '__main__':
    app.run_main(main)
