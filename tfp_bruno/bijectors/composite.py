"""Bijectors as composite tensors: how they enter and leave a `tf.function` with their own variables."""

import weakref

import tensorflow as tf
from tensorflow.python.framework import dtypes, type_spec_registry
from tensorflow.python.ops import resource_variable_ops

__all__ = ['BijectorSpec', 'as_output']


def as_output(bijector):
    """Returns what stands for a bijector among the outputs of a graph: the same networks, and no components.

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

    TFP's automatic composite tensors are rebuilt by their constructors, which here would make new networks. This spec
    refers to the bijector (weakly, so a trace keeps none alive) and returns it as it is. Its components are the
    bijector's variables: inside a `tf.function` they are arguments, and a `tf.Module` or a tf_keras layer that holds
    the bijector finds them there.
    """

    __slots__ = ('_bijector', '_identity')

    def __init__(self, bijector):
        """Constructs the spec.

        Args:
            bijector: `ConditionalBijector`.
        """
        self._bijector = weakref.ref(bijector)
        # A stand-in has the identity of its original, and differs in its components.
        original = vars(bijector).get('_stands_for')
        self._identity = (id(bijector if original is None else original), original is not None)

    @property
    def value_type(self):
        """The class of the bijector."""
        return type(self._value())

    def _value(self):
        bijector = self._bijector()
        if bijector is None:
            raise ReferenceError('The bijector of this type spec no longer exists; keep a reference to it.')
        return bijector

    def _variables(self):
        return () if self._identity[1] else self._value().variables

    def _arguments(self):
        # Distributed and autocast variables stay what they were: captured, not arguments.
        kind = resource_variable_ops.BaseResourceVariable
        return [variable for variable in self._variables() if isinstance(variable, kind)]

    @property
    def _component_specs(self):
        return [resource_variable_ops.VariableSpec.from_value(variable) for variable in self._variables()]

    def _to_components(self, value):
        return list(self._variables())

    def _from_components(self, components):
        return self._value()

    def placeholder_value(self, placeholder_context):
        """Returns the bijector, whose variables are then arguments of the graph."""
        if placeholder_context.unnest_only:
            return self
        for variable in self._arguments():
            placeholder_context.context_graph.capture(variable.handle)
        return self._value()

    def to_tensors(self, value):
        """Returns the handles of the variables, which a gradient tape then watches."""
        arguments = self._arguments()
        for variable in arguments:
            resource_variable_ops.variable_accessed(variable)
        return [variable.handle for variable in arguments]

    def from_tensors(self, tensors):
        """Returns the bijector itself: where a graph gave back its stand-in, too."""
        for _ in self._arguments():
            next(tensors)
        return vars(self._value()).get('_stands_for', self._value())

    def flatten(self):
        """Returns a spec for every tensor of `to_tensors`; by its alias TensorFlow knows one that is given twice."""
        handle_data = [dtypes.HandleData(alias_id=id(variable.handle)) for variable in self._arguments()]
        return [tf.TensorSpec([], dtypes.DType(tf.resource.as_datatype_enum, data)) for data in handle_data]

    def cast(self, value, casting_context):
        """Returns the value."""
        del casting_context
        return value

    def is_subtype_of(self, other):
        """Returns whether it is the type of the same bijector."""
        return self == other

    def most_specific_common_supertype(self, others):
        """Returns this spec, or `None` if any other is the type of another bijector."""
        return self if all(self == other for other in others) else None

    def is_compatible_with(self, spec_or_value):
        """Returns whether it is the same bijector or its type."""
        spec = spec_or_value if isinstance(spec_or_value, tf.TypeSpec) else tf.type_spec_from_value(spec_or_value)
        return self == spec

    def __eq__(self, other):
        # Identities of dead bijectors may return, those of their references may not.
        same = type(other) is BijectorSpec and self._identity == other._identity
        return same and self._bijector() is not None and other._bijector() is not None

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self._identity)

    def __repr__(self):
        return f'BijectorSpec({self._bijector()!r})'

    def _serialize(self):
        raise ValueError(
            'A bijector with networks cannot be an argument or a result of a function in a SavedModel; let the '
            'function use one that its tf.Module holds.'
        )

    def _with_tensor_ranks_only(self):
        return self

    def _without_tensor_names(self):
        return self
