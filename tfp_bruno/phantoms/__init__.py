"""Synthetic populations: fetal brains, adult brains and chests, each subject with an anatomy of its own."""

from tfp_bruno.phantoms.built_in import load_phantoms
from tfp_bruno.phantoms.population import write_population
from tfp_bruno.phantoms.subject import PHANTOM_VERSION, make_subject

__all__ = ['PHANTOM_VERSION', 'load_phantoms', 'make_subject', 'write_population']
