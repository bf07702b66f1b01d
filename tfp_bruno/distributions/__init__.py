"""Distributions of sets of vectors that are closed under conditioning."""

from tfp_bruno.distributions.exchangeable_gaussian_process import ExchangeableGaussianProcess
from tfp_bruno.distributions.exchangeable_student_t_process import ExchangeableStudentTProcess
from tfp_bruno.distributions.factor_gaussian_process import FactorGaussianProcess

__all__ = ['ExchangeableGaussianProcess', 'ExchangeableStudentTProcess', 'FactorGaussianProcess']
