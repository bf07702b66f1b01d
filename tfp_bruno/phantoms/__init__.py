"""Synthetic populations: fetal brains, adult brains and chests, each subject with its own anatomy."""

from tfp_bruno.phantoms.population import load_phantoms, write_population
from tfp_bruno.phantoms.subject import PHANTOM_VERSION, make_subject

__all__ = ['PHANTOM_VERSION', 'load_phantoms', 'make_subject', 'write_population']
