"""Recognises which of our networks a weight file belongs to: its name, alpha and options.

The names of layers say which options a file of this package was built with; the files of keras.applications have
the papers' networks. Alpha follows from the filter counts. An answer counts only if a network with these settings
has the shapes in the file.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.models.alpha import find_alpha
from keras_sepnets.models.architecture import read_architecture
from keras_sepnets.models.matching import match_layers
from keras_sepnets.models.registry import NETWORKS, build_shapes
from keras_sepnets.models.weight_files import read_layer_names, read_shapes
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.schema import ModelConfig

# The settings of layers by the layers' names, in the file's order; empty where only names are known.
Layers: TypeAlias = Mapping[str, Mapping[str, Any]]

MARKS = {  # layers that only networks of this package have
    "mobilenet": {"block1_pointwise", "block1_conv"},
    "mobilenet_v2": {"block1_project"},
    "xception": {"block2_sepconv1_pointwise"},
    "inception_v3": {"stem_1_conv"},
}


def recognise(file: Path) -> ModelConfig | None:
    """Return the network that a file with an architecture holds; None if it is none of ours, or damaged.

    Settings that the file does not show have their defaults and are not in the result's `model_fields_set`.

    Args:
        file: A `.keras` file or an `.h5` of a whole model, written by this package or keras.applications.
    """
    with contextlib.suppress(Exception):  # of many kinds, for damaged files; loading them says what is wrong
        if layers := {layer.name: layer.config for layer in read_architecture(file)}:
            for network in _probable(layers):
                if config := _fit(file, network, layers):
                    return config
    return None


def suggest_network(file: Path, model: keras.Model) -> str:
    """Return the end of a sentence that names a network that a file fits; empty if there is none.

    Args:
        file: A weight file of any format.
        model: The network that it does not fit.
    """
    own = {layer.name: layer.get_config() for layer in model.layers}
    with contextlib.suppress(Exception):  # of many kinds, for damaged files
        layers: Layers = {layer.name: layer.config for layer in read_architecture(file)}
        layers = layers or {name: {} for name in read_layer_names(file)}
        first = [(model.name, own)] if model.name in NETWORKS and not layers else []
        for network, known in (*first, *((network, layers) for network in _probable(layers))):
            if config := _fit(file, network, known):
                return f"; these look like {_describe(config, model.name, own)}"
    return ""


def _describe(config: ModelConfig, asked: str, own: Layers) -> str:
    """Say how to ask for a network instead of the network `asked` with its own layers."""
    is_other = config.name != asked
    reference = type(config)(**({} if is_other else _options(asked, own)))
    visible = config.model_dump(include={"separable", "shallow", "middle_repeats", "segments", "order"})
    options = {key: value for key, value in visible.items() if value != getattr(reference, key)}
    words = ", ".join([f"alpha={config.alpha:g}", *(f"{key}={value}" for key, value in options.items())])
    flags = [f"--model {config.name}"] if is_other else []
    flags += [f"--alpha {config.alpha:g}"]
    flags += [f"--set model.{key}={str(value).lower()}" for key, value in options.items()]
    return f"{f'{config.name} with ' if is_other else ''}{words}: use {' '.join(flags)}"


def _probable(layers: Layers) -> Iterator[str]:
    """Yield the networks that a file may hold, by the names of its layers, or else by how many have weights."""
    marked = [network for network, marks in MARKS.items() if marks & layers.keys()]
    weighted = sum("use_bias" in config or "center" in config for config in layers.values())
    for network in marked or NETWORKS:
        order = NETWORKS[network].published.layers
        if marked or not weighted or order is None or len(order) - 1 <= weighted:
            yield network


def _fit(file: Path, network: str, layers: Layers) -> ModelConfig | None:
    """Return the settings with which a network has a file's shapes; None if there are none."""
    settings = {**_options(network, layers), **_shared(layers)}
    with contextlib.suppress(SepnetsError), ExitStack() as stack:
        widest = build_shapes(_make(network, settings))
        published = NETWORKS[network].published
        found = read_shapes(file, stack)
        if found is None:
            return None
        alpha = find_alpha(
            _filters(widest, network, match_layers(widest, found, published).found), published.alphas
        )
        if alpha is None:
            return None
        config = _make(network, {"alpha": alpha, **settings})
        model = build_shapes(config)
        if match_layers(model, found, published).misfit is None:
            return config
    return None


def _make(network: str, settings: Mapping[str, Any]) -> ModelConfig:
    return make_config({"model": {"name": network, **settings}}).model


def _filters(
    widest: keras.Model, network: str, found: Mapping[str, Sequence[Any]]
) -> list[tuple[Callable[[float], int], int]]:
    """Return for each convolution its filters as a function of alpha, and their number in a file.

    Args:
        widest: The network at alpha 1.
        network: Its name.
        found: The file's arrays by our names.
    """
    return [
        (
            partial(NETWORKS[network].filters_at, layer=layer.name, filters=layer.filters),
            found[layer.name][0].shape[-1],
        )
        for layer in widest.layers
        if type(layer) is keras.layers.Conv2D
        and found.get(layer.name)
        and not re.search(r"_(spatial|segment\d+)$", layer.name)  # as wide as its input
    ]


def _shared(layers: Layers) -> dict[str, Any]:
    """Return the settings of every network that a file shows."""
    settings = {}
    if "rate" in (dropout := layers.get("dropout", {})):
        settings["dropout"] = dropout["rate"]
    epsilons = {config["epsilon"] for config in layers.values() if {"epsilon", "scale", "center"} <= config.keys()}
    if len(epsilons) == 1:
        settings["bn_epsilon"] = epsilons.pop()
    return settings


def _options(network: str, layers: Layers) -> dict[str, Any]:
    """Return a network's own options, as the names of its layers show them; none for layers of another origin."""
    if not MARKS.get(network, set()) & layers.keys():
        return {}
    if network == "mobilenet":
        standard = "block1_conv" in layers
        return {
            "separable": not standard,
            "shallow": f"block7_{'conv' if standard else 'pointwise'}" not in layers,
        }
    if network == "mobilenet_v2":
        shortcuts = [name for name in layers if name.endswith("_add")]
        residual = "expansion" if any(name.endswith("_expand_add") for name in shortcuts) else "bottleneck"
        return {
            "residual": residual if shortcuts else None,
            "bottleneck_activation": "relu6" if "block1_project_relu" in layers else None,
        }
    return _options_of_xception(layers) if network == "xception" else {}


def _options_of_xception(layers: Layers) -> dict[str, Any]:
    names = list(layers)
    segments = Counter(found[1] for name in names if (found := re.fullmatch(r"(\w+)_segment\d+", name)))
    first = next(
        name for name in names if re.fullmatch(r"block2_sepconv1_(pointwise|depthwise|spatial|segment1)", name)
    )
    order = "pointwise_first" if first.endswith("pointwise") else "spatial_first"
    activation = layers.get("block2_sepconv1_intermediate", {"activation": "linear"}).get("activation")
    usual = {"pointwise_first": "relu", "spatial_first": "linear"}[order]
    standard = any(name.endswith("_spatial") for name in names)
    return {
        "residual": any(name.endswith("_add") for name in names),
        "middle_repeats": sum(name.endswith("_sepconv3_bn") for name in names),
        "segments": 1 if standard else max(segments.values(), default=None),
        "order": order,
        "intermediate_activation": None if activation == usual else activation,
        "intermediate_batch_norm": "block2_sepconv1_intermediate_bn" in layers,
        "fully_connected": "fc1" in names,
    }
