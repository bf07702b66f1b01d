"""Lets processes cross a `tf.function`, and be saved, as composite tensors."""

import tensorflow as tf
from tensorflow_probability.python.internal import auto_composite_tensor

__all__ = ['composite']


class _ProcessSpec(auto_composite_tensor._AutoCompositeTensorTypeSpec):
    """The type spec with which a process crosses a `tf.function`."""

    @classmethod
    def from_instance(cls, instance, omit_kwargs=(), non_identifying_kwargs=()):
        values = dict(instance._tensor_parameters())
        others = {
            name: value
            for name, value in instance.parameters.items()
            if name not in ('num_steps', 'name') and name not in values
        }
        others['name'] = instance.name
        steps = instance.num_steps
        static = None if steps is None else tf.get_static_value(steps)
        if steps is not None and static is None:
            values['num_steps'] = steps
        else:
            others['num_steps'] = None if steps is None else int(static)
        for name in list(others):
            if isinstance(others[name], (auto_composite_tensor.AutoCompositeTensor, tf.Tensor)):
                values[name] = others.pop(name)
        return cls(
            param_specs={name: auto_composite_tensor._extract_type_spec_recursively(v) for name, v in values.items()},
            non_tensor_params=others,
            omit_kwargs=omit_kwargs,
            prefer_static_value=('num_steps',),
            non_identifying_kwargs=non_identifying_kwargs,
        )

    def _to_components(self, obj):
        values = {**obj.parameters, **obj._tensor_parameters(), 'num_steps': obj.num_steps}
        return {name: values[name] for name in self._param_specs}


def composite(process):
    """Class decorator: registers the type spec of a process, under its own name, so that it can be saved."""
    name = f'{process.__name__}Spec'
    spec = type(f'_{name}', (_ProcessSpec,), {'value_type': property(lambda self: process), '__doc__': 'A type spec.'})
    process._spec_class = auto_composite_tensor.type_spec_register(f'tfp_bruno.distributions.{name}')(spec)
    return process
