"""Bijectors as composite tensors: arguments and results of a `tf.function` that keep their own variables."""

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import dtypes, type_spec_registry
from tensorflow.python.ops import resource_variable_ops
from tensorflow_probability import bijectors as tfb


def as_output(bijector: tfb.Bijector) -> tfb.Bijector:
    """Returns a stand-in for a bijector among the outputs of a graph: the same networks, without components.

    A graph cannot return variables. The caller of the graph gets the bijector itself.
    """
    if tf.executing_eagerly() or '_stands_for' in vars(bijector):
        return bijector
    stand_in = object.__new__(type(bijector))
    vars(stand_in).update(vars(bijector), _stands_for=bijector)
    return stand_in


@type_spec_registry.register('tfp_bruno.BijectorSpec')
class BijectorSpec(tf.TypeSpec):
    """The type of one bijector: each has weights of its own, so no two have the same type.

    TFP rebuilds its automatic composite tensors by their constructors, which here would make new networks. This spec
    refers to the bijector (weakly, so that a trace does not keep it alive) and returns the bijector itself. Its
    components are the bijector's variables: inside a `tf.function` they are arguments, and a `tf.Module` or a tf_keras
    layer that holds the bijector finds them there.
    """

    __slots__ = ('_bijector', '_identity')

    def __init__(self, bijector: tfb.Bijector) -> None:
        """Constructs the spec of a `ConditionalBijector`."""
        self._bijector = weakref.ref(bijector)
        # A stand-in has the identity of its original, but no components.
        original = vars(bijector).get('_stands_for')
        self._identity = (id(bijector if original is None else original), original is not None)

    @property
    def value_type(self) -> type:
        """The class of the bijector."""
        return type(self._value())

    def _value(self) -> tfb.Bijector:
        bijector = self._bijector()
        if bijector is None:
            raise ReferenceError('The bijector of this type spec no longer exists; keep a reference to it.')
        return bijector

    def _variables(self) -> Sequence[tf.Variable]:
        return () if self._identity[1] else self._value().variables

    def _arguments(self) -> list[tf.Variable]:
        # Distributed and autocast variables are captured as usual.
        kind = resource_variable_ops.BaseResourceVariable
        return [variable for variable in self._variables() if isinstance(variable, kind)]

    @property
    def _component_specs(self) -> list[tf.TypeSpec]:
        return [resource_variable_ops.VariableSpec.from_value(variable) for variable in self._variables()]

    def _to_components(self, value: tfb.Bijector) -> list[tf.Variable]:
        return list(self._variables())

    def _from_components(self, components: Any) -> tfb.Bijector:
        return self._value()

    def placeholder_value(self, placeholder_context: Any) -> Any:
        """Returns the bijector, whose variables are then arguments of the graph."""
        if placeholder_context.unnest_only:
            return self
        for variable in self._arguments():
            placeholder_context.context_graph.capture(variable.handle)
        return self._value()

    def to_tensors(self, value: tfb.Bijector) -> list[tf.Tensor]:
        """Returns the handles of the variables, and lets gradient tapes watch them."""
        arguments = self._arguments()
        for variable in arguments:
            resource_variable_ops.variable_accessed(variable)
        return [variable.handle for variable in arguments]

    def from_tensors(self, tensors: Iterator[tf.Tensor]) -> tfb.Bijector:
        """Returns the bijector itself, also if a graph returned its stand-in."""
        for _ in self._arguments():
            next(tensors)
        return vars(self._value()).get('_stands_for', self._value())

    def flatten(self) -> list[tf.TensorSpec]:
        """Returns a spec for every tensor of `to_tensors`; its alias identifies a variable that is passed twice."""
        handle_data = [dtypes.HandleData(alias_id=id(variable.handle)) for variable in self._arguments()]
        return [tf.TensorSpec([], dtypes.DType(tf.resource.as_datatype_enum, data)) for data in handle_data]

    def cast(self, value: tfb.Bijector, casting_context: Any) -> tfb.Bijector:
        """Returns the value."""
        del casting_context
        return value

    def is_subtype_of(self, other: Any) -> bool:
        """Returns whether it is the type of the same bijector."""
        return self == other

    def most_specific_common_supertype(self, others: Sequence[Any]) -> 'BijectorSpec | None':
        """Returns this spec, or `None` if any other is the type of another bijector."""
        return self if all(self == other for other in others) else None

    def is_compatible_with(self, spec_or_value: Any) -> bool:
        """Returns whether it is the same bijector or its type."""
        spec = spec_or_value if isinstance(spec_or_value, tf.TypeSpec) else tf.type_spec_from_value(spec_or_value)
        return self == spec

    def __eq__(self, other: object) -> bool:
        # The id of a dead bijector may be used again, so both references must be alive.
        if type(other) is not BijectorSpec or self._identity != other._identity:
            return False
        return self._bijector() is not None and other._bijector() is not None

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f'BijectorSpec({self._bijector()!r})'

    def _serialize(self) -> tuple[Any, ...]:
        raise ValueError(
            'A bijector with networks cannot be an argument or a result of a function in a SavedModel; let the '
            'function use one that its tf.Module holds.'
        )

    def _with_tensor_ranks_only(self) -> 'BijectorSpec':
        return self

    def _without_tensor_names(self) -> 'BijectorSpec':
        return self
