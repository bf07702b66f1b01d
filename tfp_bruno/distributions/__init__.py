"""Distributions of sets of vectors that are closed under conditioning."""

from tfp_bruno.distributions.gaussian import ExchangeableGaussianProcess, FactorGaussianProcess, PoseGaussianProcess
from tfp_bruno.distributions.kernels import SLICE_KERNELS, PoseTable, pose_kernel, slice_kernel
from tfp_bruno.distributions.student_t import ExchangeableStudentTProcess, FactorStudentTProcess, PoseStudentTProcess

__all__ = [
    'SLICE_KERNELS',
    'ExchangeableGaussianProcess',
    'ExchangeableStudentTProcess',
    'FactorGaussianProcess',
    'FactorStudentTProcess',
    'PoseGaussianProcess',
    'PoseStudentTProcess',
    'PoseTable',
    'pose_kernel',
    'slice_kernel',
]
