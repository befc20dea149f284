"""Every private name of Keras that this package uses, each wrapped in a function.

Keras has no public way to walk a model's graph, to find an optimizer's slot variables or to read its averaged
weights. When a new version of Keras renames one of these names, `tests/models/test_keras_internals.py` says which
function below has to change; nothing else in the package does.
"""

from collections.abc import Callable
from typing import Any

import keras


def graph_of(model: Any) -> Any:
    """Return the functional model behind a model: itself or what a built Sequential holds; None without one."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, keras.Model) and hasattr(model, "_run_through_graph") else None


def run_graph(graph: Any, inputs: list[Any], call: Callable[..., Any]) -> Any:
    """Run a functional model on `inputs`, calling `call(operation, *args, **kwargs)` in place of each operation.

    Args:
        graph: What `graph_of` returned.
        inputs: One tensor per input of the model.
        call: Returns the outputs of one operation (a layer or a function of keras.ops).

    Returns:
        The outputs, in the structure of the model's own.
    """
    return graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)


def operation_of(tensor: keras.KerasTensor) -> Any:
    """Return the layer or other operation that produced a symbolic tensor."""
    return tensor._keras_history.operation


def consumers(model: keras.Model, layer: Any) -> list[Any]:
    """Return the operations of `model` that read a layer's output (a layer may belong to other models too)."""
    operations = set(model.operations)
    return [node.operation for node in layer._outbound_nodes if node.operation in operations]


def producers(model: keras.Model, layer: Any) -> list[Any]:
    """Return the operations of `model` whose output a layer reads."""
    operations = set(model.operations)
    parents = [node.operation for inbound in layer._inbound_nodes for node in inbound.parent_nodes]
    return [producer for producer in parents if producer in operations]


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return a layer and all layers inside it."""
    return layer._flatten_layers()


def optimized_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the variables that a built optimizer updates, in its order."""
    return optimizer._trainable_variables


def averaged_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the moving averages that an optimizer with `use_ema` keeps, in the order of its variables."""
    return optimizer._model_variables_moving_average


def adam_moments(optimizer: keras.optimizers.Adam, variable: Any) -> tuple[keras.Variable, keras.Variable]:
    """Return a built Adam's first and second moment of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]
