"""Distributions of sets of vectors that are closed under conditioning."""

from tfp_bruno.distributions.exchangeable import ExchangeableGaussianProcess, ExchangeableStudentTProcess
from tfp_bruno.distributions.factor import FactorGaussianProcess, FactorStudentTProcess
from tfp_bruno.distributions.one_hot import SLICE_KERNELS, PoseTable, slice_kernel
from tfp_bruno.distributions.pose import PoseGaussianProcess, PoseStudentTProcess

__all__ = [
    'SLICE_KERNELS',
    'ExchangeableGaussianProcess',
    'ExchangeableStudentTProcess',
    'FactorGaussianProcess',
    'FactorStudentTProcess',
    'PoseGaussianProcess',
    'PoseStudentTProcess',
    'PoseTable',
    'slice_kernel',
]
