"""Completes medical volumes from a few slices with an exact conditional flow on TensorFlow Probability."""

from typing import Any

from tfp_bruno.version import __version__

__all__ = ['ConditionalBruno', '__version__', 'baselines', 'bijectors', 'distributions', 'load', 'networks']


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to import; the command line checks its flags and files first.
    import importlib

    if name == 'ConditionalBruno':
        return importlib.import_module('tfp_bruno.models').ConditionalBruno
    if name == 'load':
        return importlib.import_module('tfp_bruno.runs').load
    if name in __all__:
        return importlib.import_module(f'tfp_bruno.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
