"""Parameters, multiply-adds and activation memory of a Keras model for one picture, as exact integers.

One fused multiply-add counts 1. Convolutions and dense layers count; biases, normalization, activations, pooling
and additions count 0, as in the papers. A position in the padding counts like any other; a transposed convolution
meets each of its kernel's entries once per input position.

An activation is what a layer gives, in the layer's own precision (4 bytes a value by default). The peak is the
most that is alive at once at inference: layers run in the model's order, a layer's inputs and outputs are alive
while it runs, an output until its last reader has run; batch norm, activation functions, dropout and reshaping
write over their input if nothing else reads it.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line
from keras_sepnets.cost.layer_types import COUNTED, is_free, is_in_place, type_of
from keras_sepnets.models.stages import stage_of


@dataclass(frozen=True)
class Amounts:
    """What a layer, a group of layers or a network costs."""

    total: int = 0  # parameters as `model.summary()` prints them
    trainable: int = 0  # as Xception's paper counts
    without_bn: int = 0  # as MobileNets' papers count
    multiply_adds: int = 0
    activation_bytes: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        """Add up number by number."""
        return Amounts(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as every JSON of ours has them."""
        return {
            "parameters": {"total": self.total, "trainable": self.trainable, "without_bn": self.without_bn},
            "multiply_adds": self.multiply_adds,
            "activation_bytes": self.activation_bytes,
        }


@dataclass(frozen=True)
class LayerCost:
    """What one call of a layer costs; the parameters of a shared layer are told at its first call."""

    name: str  # of a layer in a nested model: model/layer
    type: str  # such as "conv 1x1", "depthwise conv 3x3", "dense", or the class's name
    stage: str  # such as "stem", "block3": see `stage_of`
    output_shape: tuple[int | None, ...]  # without the batch
    amounts: Amounts

    def to_json(self) -> dict[str, Any]:
        """Return the layer's row."""
        row = {"name": self.name, "type": self.type, "stage": self.stage, "output_shape": list(self.output_shape)}
        return row | self.amounts.to_json()


@dataclass(frozen=True)
class Cost:
    """What a model costs for one picture."""

    input_shape: tuple[Any, ...]  # without the batch; of several inputs a tuple of them
    layers: tuple[LayerCost, ...]  # in the order in which they run
    peak_activation_bytes: int
    not_counted: tuple[str, ...]  # layers of a type that this counter does not know

    @cached_property
    def amounts(self) -> Amounts:
        """All layers together."""
        return sum((layer.amounts for layer in self.layers), Amounts())

    @property
    def total(self) -> int:
        """All parameters."""
        return self.amounts.total

    @property
    def trainable(self) -> int:
        """Trainable parameters."""
        return self.amounts.trainable

    @property
    def without_bn(self) -> int:
        """Parameters without batch norm's."""
        return self.amounts.without_bn

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one picture."""
        return self.amounts.multiply_adds

    def by(self, key: str) -> dict[str, Amounts]:
        """Return the sums for each "type" or "stage" of layers, in the order of their first appearance."""
        groups: dict[str, Amounts] = {}
        for layer in self.layers:
            group = getattr(layer, key)
            groups[group] = groups.get(group, Amounts()) + layer.amounts
        return groups

    def summary(self) -> dict[str, Any]:
        """Return the network's numbers."""
        return {
            "input_shape": list(self.input_shape),
            **self.amounts.to_json(),
            "peak_activation_bytes": self.peak_activation_bytes,
            "not_counted": list(self.not_counted),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the content of cost.json: the summary, and the same by type, by stage and by layer."""
        return {
            **self.summary(),
            "by_type": {name: amounts.to_json() for name, amounts in self.by("type").items()},
            "by_stage": {name: amounts.to_json() for name, amounts in self.by("stage").items()},
            "layers": [layer.to_json() for layer in self.layers],
        }


def count_cost(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> Cost:
    """Count a functional or sequential model; layers of unknown type are named, never guessed or dropped.

    Args:
        model: A built Keras model; it may contain other models and use layers more than once.
        input_shape: (height, width, channels) of a picture, to count at another size than the model was built
            for, or where it takes any; for models with one input.

    Returns:
        Parameters in the papers' three conventions, multiply-adds and activation memory, for the network and for
        each layer.

    Raises:
        SepnetsError: The model has no graph, does not work at this size, or leaves its size open.

    Example:
        >>> count_cost(build_mobilenet()).multiply_adds
        568740352
    """
    graph = _graph(model)
    if graph is None:
        raise SepnetsError(
            "Only functional models and built sequential ones can be counted: the others do not show their graph. "
            f"Received: {getattr(model, 'name', model)} ({type(model).__name__})"
        )
    pictures = _pictures(graph, input_shape)
    shapes = tuple(tuple(picture.shape[1:]) for picture in pictures)
    walk = _Walk()
    try:
        for tensor, picture in zip(graph.inputs, pictures, strict=True):
            walk.add(tensor._keras_history.operation, tensor._keras_history.operation.name, [], [picture])
        outputs = tree.flatten(walk.run(graph, pictures))
    except (ValueError, TypeError) as error:
        raise SepnetsError(
            f"{model.name} does not work on this input: {one_line(error)}. Received: input shape {shapes}"
        ) from error
    return Cost(
        input_shape=shapes[0] if len(shapes) == 1 else shapes,
        layers=tuple(walk.layers),
        peak_activation_bytes=walk.peak_bytes(outputs),
        not_counted=tuple(walk.not_counted),
    )


def _graph(model: Any) -> Any:
    """Return the functional model that a model is, or that a sequential one holds; None if there is none."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, keras.Model) and hasattr(model, "_run_through_graph") else None


def _pictures(graph: Any, input_shape: tuple[int, ...] | None) -> list[Any]:
    """Return inputs without values for a functional model, of its own shape or of the given one."""
    shapes = [tuple(tensor.shape[1:]) for tensor in graph.inputs]
    if input_shape is not None:
        sides_are_sizes = all(isinstance(side, int) and side > 0 for side in input_shape)
        if len(shapes) != 1 or len(shapes[0]) != len(input_shape) or not sides_are_sizes:
            raise SepnetsError(
                f"input_shape is the shape of one picture, like this model's {shapes}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        shapes = [tuple(input_shape)]
    if any(None in shape for shape in shapes):
        raise SepnetsError(
            "The cost depends on the picture's size, which this model leaves open; name it with input_shape, such "
            f"as (224, 224, 3), or on the command line with --image-size. Received: input shape {shapes[0]}"
        )
    return [
        keras.KerasTensor((tensor.shape[0], *shape), tensor.dtype)
        for tensor, shape in zip(graph.inputs, shapes, strict=True)
    ]


@dataclass
class _Call:
    """What one layer reads and writes; tensors are kept, so that their ids stay theirs."""

    inputs: list[Any]
    outputs: list[Any]
    in_place: bool


@dataclass
class _Walk:
    """Runs through a model's graph with shapes only and writes down what each layer costs."""

    layers: list[LayerCost] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    writers: dict[int, str] = field(default_factory=dict)  # tensor -> the layer that gave it
    known: set[int] = field(default_factory=set)  # layers whose parameters are told already

    def run(self, graph: Any, inputs: list[Any], prefix: str = "") -> Any:
        """Run a functional model on tensors without values; returns its output, of the same kind."""

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            tensors = [x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
            inner = _graph(operation)
            if inner is not None:
                return self.run(inner, tensors, prefix=f"{prefix}{operation.name}/")
            outputs = _output_of(operation, tensors, args, kwargs)
            name = f"{prefix}{operation.name}"
            if not isinstance(operation, layers.Layer):  # a function of keras.ops, named by a counter
                name = f"{self.writers[id(tensors[0])]}_{type(operation).__name__.lower()}"
            self.add(operation, name, tensors, tree.flatten(outputs))
            return outputs

        return graph._run_through_graph(inputs, operation_fn=lambda operation: operation, call_fn=call)

    def add(self, operation: Any, name: str, inputs: list[Any], outputs: list[Any]) -> None:
        """Write down one call of a layer."""
        self.writers |= {id(tensor): name for tensor in outputs}
        kind, multiply_adds = type(operation), 0
        if kind in COUNTED:
            multiply_adds = COUNTED[kind][1](operation, inputs[0].shape, outputs[0].shape)
        elif not is_free(operation):
            self.not_counted.append(name)
        total = trainable = 0
        if isinstance(operation, layers.Layer) and id(operation) not in self.known:
            self.known.add(id(operation))
            total = operation.count_params()
            trainable = sum(math.prod(weight.shape) for weight in operation.trainable_weights)
        amounts = Amounts(
            total=total,
            trainable=trainable,
            without_bn=0 if kind is layers.BatchNormalization else total,
            multiply_adds=multiply_adds,
            activation_bytes=sum(map(_bytes, outputs)),
        )
        self.layers.append(LayerCost(name, type_of(operation), stage_of(name), outputs[0].shape[1:], amounts))
        self.calls.append(_Call(inputs, outputs, in_place=is_in_place(operation)))

    def peak_bytes(self, outputs: list[Any]) -> int:
        """Return the most bytes of activations that are alive at once."""
        last_use = {id(tensor): index for index, call in enumerate(self.calls) for tensor in call.outputs}
        last_use |= {id(tensor): index for index, call in enumerate(self.calls) for tensor in call.inputs}
        last_use |= {id(tensor): len(self.calls) for tensor in outputs}
        alive = peak = 0
        for index, call in enumerate(self.calls):
            read = {id(tensor): _bytes(tensor) for tensor in call.inputs if last_use[id(tensor)] == index}
            unread = sum(_bytes(tensor) for tensor in call.outputs if last_use[id(tensor)] == index)
            written, ended = sum(map(_bytes, call.outputs)), sum(read.values())
            peak = max(peak, alive, alive + written - (ended if call.in_place else 0))
            alive += written - ended - unread
        return peak


def _output_of(operation: Any, tensors: list[Any], args: Any, kwargs: Any) -> Any:
    """Return the output tensor without values; for layers of Keras' own a short way, which takes half the time."""
    if type(operation) in COUNTED or is_in_place(operation):
        for axis, size in ((operation.input_spec and operation.input_spec.axes) or {}).items():
            if tensors[0].shape[axis] != size:
                raise ValueError(f"{operation.name} was built for {size} values, not {tensors[0].shape[axis]}")
        return keras.KerasTensor(operation.compute_output_shape(tensors[0].shape), operation.compute_dtype)
    return operation.compute_output_spec(*args, **kwargs)


def _bytes(tensor: Any) -> int:
    if tensor.dtype == "string":
        return 0
    return math.prod(tensor.shape[1:]) * np.dtype("float16" if "16" in tensor.dtype else tensor.dtype).itemsize
