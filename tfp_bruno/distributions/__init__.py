"""Distributions of sets of vectors that are closed under conditioning."""

from tfp_bruno.distributions.exchangeable_gaussian_process import ExchangeableGaussianProcess
from tfp_bruno.distributions.exchangeable_student_t_process import ExchangeableStudentTProcess
from tfp_bruno.distributions.factor_gaussian_process import FactorGaussianProcess
from tfp_bruno.distributions.factor_student_t_process import FactorStudentTProcess
from tfp_bruno.distributions.pose_gaussian_process import PoseGaussianProcess
from tfp_bruno.distributions.pose_student_t_process import PoseStudentTProcess
from tfp_bruno.distributions.pose_table import PoseTable
from tfp_bruno.distributions.slice_kernel import SLICE_KERNELS, slice_kernel

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
