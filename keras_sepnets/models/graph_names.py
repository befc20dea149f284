"""Other names for layers while TensorFlow builds a graph of them: it refuses spaces and most other characters."""

import re
from collections.abc import Iterator
from typing import Any

import keras

from keras_sepnets.models.keras_internals import sublayers

GRAPH_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")


def with_graph_names(description: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a model's description with names that a graph may have, and the original names by the new ones."""
    names = dict.fromkeys(name for name in _names(description) if name and not GRAPH_NAME.fullmatch(name))
    aliases = {name: f"renamed.layer.{number}" for number, name in enumerate(names)}
    return _replaced(description, aliases), {alias: name for name, alias in aliases.items()}


def restore_names(model: keras.Model, names: dict[str, str]) -> None:
    """Give the layers of a model their original names."""
    for layer in sublayers(model):
        layer.name = names.get(layer.name, layer.name)


def _names(description: Any) -> Iterator[str]:
    """Yield the names of all layers in a description."""
    if isinstance(description, dict):
        if isinstance(description.get("name"), str):
            yield description["name"]
        for value in description.values():
            yield from _names(value)
    elif isinstance(description, list):
        for value in description:
            yield from _names(value)


def _replaced(description: Any, aliases: dict[str, str]) -> Any:
    if isinstance(description, dict):
        return {key: _replaced(value, aliases) for key, value in description.items()}
    if isinstance(description, list):
        return [_replaced(value, aliases) for value in description]
    return aliases.get(description, description) if isinstance(description, str) else description
