"""Parameters, multiply-adds and activation memory of a Keras model for one picture, as exact integers.

One fused multiply-add counts 1. Convolutions and dense layers count; biases, normalization, activations, pooling
and additions count 0, as in the papers. Positions in the padding count like any other; a transposed convolution
uses each entry of its kernel once per input position.

An activation is the output of a layer, in that layer's own precision (4 bytes a value by default). The peak is the
most that is alive at once during inference: layers run in the model's order, the inputs and outputs of a layer are
alive while it runs, and an output stays alive until its last reader has run. Batch norm, activation functions,
dropout and reshaping overwrite their input if nothing else reads it.
"""

import math
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, tree

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line
from keras_sepnets.cost.amounts import Amounts, Cost, LayerCost, Parameters
from keras_sepnets.cost.layer_types import COUNTED, is_counted, is_free, is_in_place, is_recurrent, type_of
from keras_sepnets.models.keras_internals import graph_of, operation_of, run_graph, sublayers
from keras_sepnets.models.loading import load_architecture
from keras_sepnets.models.stages import stage_of

__all__ = ["Amounts", "Cost", "LayerCost", "Parameters", "count_cost"]

# (layer, input shape, output shape) -> multiply-adds; shapes include the batch dimension.
Counter: TypeAlias = Callable[[Any, Any, Any], int]


def count_cost(
    model: keras.Model | str | os.PathLike,
    input_shape: tuple[int, ...] | None = None,
    counters: Mapping[type, Counter] | None = None,
) -> Cost:
    """Count a functional or sequential model; layers of unknown type are listed, never guessed or dropped.

    Args:
        model: A built Keras model, or the path of a run folder or of a whole model's ".keras" or ".h5" file.
        input_shape: (height, width, channels) of one picture, for models with one input; by default the shape
            that the model was built for. Required where the model leaves its size open.
        counters: For layers that this package does not know, or to override how it counts one: a dictionary
            from layer class to `function(layer, input_shape, output_shape)`, which returns the multiply-adds of
            one call for one picture. Shapes include the batch dimension, (None, height, width, channels); a layer
            that takes or returns several tensors gets a list of shapes. A counter applies to exactly its class:
            subclasses need their own entry, as they may compute something else.

    Returns:
        Parameters in the papers' three conventions, multiply-adds and activation memory, for the network and for
        each layer.

    Raises:
        SepnetsError: The model has no graph, does not work at this size or leaves its size open, or a counter
            fails.

    Example:
        >>> count_cost(build_mobilenet()).multiply_adds
        568740352

        A layer of your own that multiplies each value by a matrix of (channels, channels):

        >>> def count_mixing(layer, input_shape, output_shape):
        ...     _, height, width, channels = input_shape
        ...     return height * width * channels**2
        >>> count_cost(model, counters={Mixing: count_mixing}).not_counted
        ()
    """
    if isinstance(model, str | os.PathLike):
        model = load_architecture(Path(model))
    graph = graph_of(model)
    if graph is None:
        raise SepnetsError(
            "Only functional models and built sequential ones can be counted: other models do not expose their "
            f"graph. Received: {getattr(model, 'name', model)} ({type(model).__name__})"
        )
    pictures = _pictures(graph, input_shape)
    shapes = tuple(tuple(picture.shape[1:]) for picture in pictures)
    walk = _Walk(_checked(counters or {}))
    try:
        for tensor, picture in zip(graph.inputs, pictures, strict=True):
            operation = operation_of(tensor)
            walk.add(operation, operation.name, [], [picture])
        outputs = tree.flatten(walk.run(graph, pictures))
    except SepnetsError:
        raise
    except (ValueError, TypeError) as error:
        raise SepnetsError(
            f"{model.name} does not work on this input: {one_line(error)}. Received: input shape {shapes}"
        ) from error
    return Cost.of(
        walk.layers,
        input_shape=shapes[0] if len(shapes) == 1 else shapes,
        peak_activation_bytes=walk.peak_bytes(outputs),
        not_counted=tuple(walk.not_counted),
        by_type=_sums(walk.layers, "type"),
        by_stage=_sums(walk.layers, "stage"),
        layers=tuple(walk.layers),
    )


def _sums(layers: list[LayerCost], key: str) -> dict[str, Amounts]:
    groups: dict[str, list[Amounts]] = {}
    for layer in layers:
        groups.setdefault(getattr(layer, key), []).append(layer)
    return {name: Amounts.of(group) for name, group in groups.items()}


def _checked(counters: Mapping[type, Counter]) -> Mapping[type, Counter]:
    for kind, counter in counters.items():
        if not isinstance(kind, type) or not callable(counter):
            raise SepnetsError(
                "counters maps classes of layers to functions (layer, input_shape, output_shape) that return "
                f"multiply-adds. Received: {kind!r}: {counter!r}"
            )
    return counters


def _pictures(graph: Any, input_shape: tuple[int, ...] | None) -> list[Any]:
    """Return symbolic inputs for a functional model, of the given shape or its own."""
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
            "The cost depends on the size of the picture, which this model leaves open; set input_shape, such as "
            f"(224, 224, 3), or --image-size on the command line. Received: input shape {shapes[0]}"
        )
    return [
        keras.KerasTensor((tensor.shape[0], *shape), tensor.dtype)
        for tensor, shape in zip(graph.inputs, shapes, strict=True)
    ]


@dataclass
class _Use:
    """The tensors that one call reads and writes; keeping them keeps their ids unique."""

    inputs: list[Any]
    outputs: list[Any]
    in_place: bool


@dataclass
class _Walk:
    """Runs symbolic tensors through a model's graph and records what each layer costs."""

    counters: Mapping[type, Counter]
    layers: list[LayerCost] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)
    uses: list[_Use] = field(default_factory=list)
    writers: dict[int, str] = field(default_factory=dict)  # id of a tensor -> name of the layer that wrote it
    known: set[int] = field(default_factory=set)  # ids of layers whose parameters are already counted
    steps: tuple[int, ...] = ()  # of the TimeDistributed layers around the current one
    sizes: dict[int, int] = field(default_factory=dict)  # id of a tensor -> its bytes
    same: dict[int, Any] = field(default_factory=dict)  # id of a tensor -> the one that it stands for
    kept: list[Any] = field(default_factory=list)  # keeps the ids of these tensors unique

    def run(self, graph: Any, inputs: list[Any], prefix: str = "") -> Any:
        """Run a functional model on symbolic tensors and return its outputs."""

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            return self.call(operation, args, kwargs, prefix)

        return run_graph(graph, inputs, call)

    def call(self, operation: Any, args: Any, kwargs: Any, prefix: str) -> Any:
        """Return the outputs of a layer, a nested model or a function of keras.ops, and record the call."""
        tensors = [x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        name = f"{prefix}{operation.name}"
        if type(operation) not in self.counters:
            if type(operation) is layers.TimeDistributed:
                return self.repeat(operation.layer, tensors[0], prefix=f"{name}/")
            inner = graph_of(operation)
            if inner is not None:
                return self.run(inner, tensors, prefix=f"{name}/")
        outputs = _output_of(operation, tensors, args, kwargs)
        if not isinstance(operation, layers.Layer):  # a function of keras.ops, which Keras only numbers
            name = f"{self.writers[id(tensors[0])]}_{type(operation).__name__.lower()}"
        self.add(operation, name, tensors, tree.flatten(outputs))
        return outputs

    def repeat(self, layer: Any, sequence: Any, prefix: str) -> Any:
        """Return the outputs of a layer or model that is applied to every step of (N, steps, ...)."""
        batch, steps, *shape = sequence.shape
        one = keras.KerasTensor((batch, *shape), sequence.dtype)
        self.same[id(one)] = sequence
        self.writers[id(one)] = self.writers[id(sequence)]
        self.steps = (*self.steps, steps)
        output = self.call(layer, (one,), {}, prefix)
        self.steps = self.steps[:-1]
        whole = keras.KerasTensor((batch, steps, *output.shape[1:]), output.dtype)
        self.same[id(whole)] = output
        self.writers[id(whole)] = self.writers[id(output)]
        self.kept += [one, whole]
        return whole

    def add(self, operation: Any, name: str, inputs: list[Any], outputs: list[Any]) -> None:
        """Record one call of a layer."""
        self.writers |= {id(tensor): name for tensor in outputs}
        total = trainable = batch_norm = 0
        if isinstance(operation, layers.Layer) and id(operation) not in self.known:
            self.known.add(id(operation))
            total = operation.count_params()
            trainable = sum(math.prod(weight.shape) for weight in operation.trainable_weights)
            norms = [layer for layer in sublayers(operation) if isinstance(layer, layers.BatchNormalization)]
            batch_norm = sum(layer.count_params() for layer in norms)
        times = math.prod(self.steps)
        self.sizes |= {id(tensor): times * _bytes(tensor) for tensor in outputs}
        self.layers.append(
            LayerCost(
                name=name,
                type=type_of(operation),
                stage=stage_of(name),
                output_shape=(*self.steps, *outputs[0].shape[1:]),
                parameters=Parameters(total=total, trainable=trainable, without_bn=total - batch_norm),
                multiply_adds=times * self._multiply_adds(operation, name, inputs, outputs),
                activation_bytes=sum(self.sizes[id(tensor)] for tensor in outputs),
            )
        )
        self.uses.append(_Use([*map(self.written, inputs)], outputs, in_place=is_in_place(operation)))

    def written(self, tensor: Any) -> Any:
        """Return the tensor that a layer wrote: of one step or of all, whichever it is."""
        while id(tensor) in self.same:
            tensor = self.same[id(tensor)]
        return tensor

    def _multiply_adds(self, operation: Any, name: str, inputs: list[Any], outputs: list[Any]) -> int:
        kind = type(operation)
        if kind in self.counters:
            return _custom_count(self.counters[kind], operation, _shape_of(inputs), _shape_of(outputs))
        if is_counted(operation):
            return COUNTED[kind][1](operation, inputs[0].shape, outputs[0].shape)
        if not is_free(operation):
            self.not_counted.append(name)
        return 0

    def peak_bytes(self, outputs: list[Any]) -> int:
        """Return the most bytes of activations that are alive at once."""
        size = self.sizes
        last_use = {id(tensor): index for index, use in enumerate(self.uses) for tensor in use.outputs}
        last_use |= {id(tensor): index for index, use in enumerate(self.uses) for tensor in use.inputs}
        last_use |= {id(self.written(tensor)): len(self.uses) for tensor in outputs}
        alive = peak = 0
        for index, use in enumerate(self.uses):
            read = {id(tensor) for tensor in use.inputs if last_use[id(tensor)] == index}
            unread = sum(size[id(tensor)] for tensor in use.outputs if last_use[id(tensor)] == index)
            written, ended = sum(size[id(tensor)] for tensor in use.outputs), sum(size[key] for key in read)
            peak = max(peak, alive, alive + written - (ended if use.in_place else 0))
            alive += written - ended - unread
        return peak


def _custom_count(counter: Counter, layer: Any, inputs: Any, outputs: Any) -> int:
    """Return what a user's counter returns, as an int."""
    try:
        return operator.index(counter(layer, inputs, outputs))
    except Exception as error:
        raise SepnetsError(
            f"The counter of {type(layer).__name__} failed: {one_line(error)}. It takes (layer, input_shape, "
            f"output_shape) and returns an integer. Received: {layer.name} with shapes {inputs} and {outputs}"
        ) from error


def _shape_of(tensors: list[Any]) -> Any:
    """Return a shape, or a list of shapes where there are several tensors, as Keras gives them to `build`."""
    shapes = [tensor.shape for tensor in tensors]
    return shapes[0] if len(shapes) == 1 else shapes


def _output_of(operation: Any, tensors: list[Any], args: Any, kwargs: Any) -> Any:
    """Return the symbolic outputs; for stock layers by a shortcut that takes half the time."""
    if (is_counted(operation) and not is_recurrent(operation)) or is_in_place(operation):
        for axis, size in ((operation.input_spec and operation.input_spec.axes) or {}).items():
            if tensors[0].shape[axis] != size:
                raise ValueError(f"{operation.name} was built for {size} values, not {tensors[0].shape[axis]}")
        shape = operation.compute_output_shape(tensors[0].shape)
        # Without a name, Keras makes one up, which takes a tenth of the time of a count.
        return keras.KerasTensor(shape, operation.compute_dtype, name=operation.name)
    return operation.compute_output_spec(*args, **kwargs)


def _bytes(tensor: Any) -> int:
    if tensor.dtype == "string":
        return 0
    return math.prod(tensor.shape[1:]) * np.dtype("float16" if "16" in tensor.dtype else tensor.dtype).itemsize
