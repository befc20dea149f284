"""Brings the descriptions of models that Keras 1 and 2 wrote into `.h5` files to Keras 3's form.

Only what shapes depend on is kept: no initializers, regularizers, constraints, or activations that Keras 3 does
not have.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_sepnets.models.architecture import activation_name, layer_descriptions

CLASSES = {  # Keras 1's names
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
MERGES = {"ave": "Average", "concat": "Concatenate", "max": "Maximum", "mul": "Multiply", "sum": "Add"}
ARGUMENTS = {  # old -> new, where a layer has the new one only
    "alpha": "negative_slope",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "border_mode": "padding",
    "concat_axis": "axis",
    "filter_length": "kernel_size",
    "inner_activation": "recurrent_activation",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "sigma": "stddev",
    "subsample": "strides",
    "subsample_length": "strides",
}
ORDERINGS = {"tf": "channels_last", "th": "channels_first"}
LEFT_OUT = re.compile(r".*_(initializer|regularizer|constraint)")


def upgraded(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a functional or sequential model in Keras 3's form."""
    inside = model["config"]
    layers = layer_descriptions(model)
    if isinstance(inside, list) or "input_layers" not in inside:
        name = {} if isinstance(inside, list) else {"name": inside.get("name")}
        return _of("keras", "Sequential", {"name": None, **name, "layers": _sequence(layers)})
    kinds = {layer["name"]: layer["class_name"] for layer in layers if layer_descriptions(layer)}
    nested = [
        {**_layer(layer), "name": layer["name"], "inbound_nodes": _nodes(layer["inbound_nodes"], kinds)}
        for layer in layers
    ]
    # Keras 3 itself corrects the numbers of a functional model's outputs.
    sequential = {name: kind for name, kind in kinds.items() if kind == "Sequential"}
    config = {
        "name": inside.get("name"),
        "layers": nested,
        "input_layers": inside["input_layers"],
        "output_layers": _renumbered(inside["output_layers"], sequential),
    }
    return _of("keras", "Model", config)


def _of(module: str, class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _sequence(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a sequential model's layers, the first one's input shape as a layer of its own."""
    shape = layers[0]["config"].get("batch_input_shape") if isinstance(layers[0]["config"], dict) else None
    begins = layers[0]["class_name"] == "InputLayer" or shape is None
    first = [] if begins else [_of("keras.layers", "InputLayer", {"batch_shape": shape})]
    return [*first, *map(_layer, layers)]


def _nodes(nodes: list[Any], nested: Mapping[str, str]) -> list[Any]:
    """Return the calls of a layer; Keras 3 writes each as a dictionary, older versions as a list of inputs."""
    return [node if isinstance(node, dict) else _renumbered(node, nested) for node in nodes]


def _renumbered(inputs: list[Any], nested: Mapping[str, str]) -> list[Any]:
    """Return references to outputs; Keras 2 counted the calls of a model inside another one from 1."""
    if inputs and isinstance(inputs[0], str):
        name, node, *rest = inputs
        return [name, max(0, node - 1) if name in nested else node, *rest]
    return [_renumbered(entry, nested) for entry in inputs]


def _layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a layer, without arguments that it does not have in Keras 3."""
    if layer_descriptions(layer):
        return upgraded(layer)
    config = dict(layer["config"])
    class_name = CLASSES.get(layer["class_name"], layer["class_name"])
    if class_name == "Merge":
        class_name = MERGES.get(config["mode"], "Merge")
    kind = getattr(keras.layers, class_name, None)
    if kind is None:
        raise ValueError(f"{config.get('name')} is a layer that Keras 3 does not have: {class_name}")
    known = {"name", "trainable", "dtype", *inspect.signature(kind.__init__).parameters} - {"kwargs"}
    if "nb_row" in config:
        config["kernel_size"] = [config["nb_row"], config["nb_col"]]
    if "batch_input_shape" in config:
        config["batch_shape"] = config["batch_input_shape"]
    if config.get("dim_ordering") in ORDERINGS:
        config["data_format"] = ORDERINGS[config["dim_ordering"]]
    for old, new in ARGUMENTS.items():
        if old in config and old not in known and new in known:
            config[new] = config[old]
    kept = {key: value for key, value in config.items() if key in known and not LEFT_OUT.fullmatch(key)}
    return _of("keras.layers", class_name, {key: _value(key, value) for key, value in kept.items()})


def _value(key: str, value: Any) -> Any:
    if key in ("layer", "backward_layer") and isinstance(value, Mapping):
        return _layer(value)
    if key in ("activation", "recurrent_activation"):
        name = activation_name(value)
        return name if hasattr(keras.activations, name) else "linear"
    if key == "dtype" and isinstance(value, Mapping):  # a policy
        return value["config"]["name"]
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    return value
