"""Settings by dotted key, in layers: a stronger layer overrides a weaker one, and every value keeps its source."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_sepnets.base.errors import SepnetsError


class Layer(NamedTuple):
    """Values by dotted key (`training.epochs`), each with its source in words."""

    values: dict[str, Any]
    sources: dict[str, str]

    @classmethod
    def of(cls, values: Mapping[str, Any], source: str = "") -> "Layer":
        """Return a layer in which every value has the same source."""
        return cls(dict(values), dict.fromkeys(values, source))

    def over(self, weaker: "Layer") -> "Layer":
        """Return both layers as one, in which this layer's values override the weaker layer's.

        A table replaces everything below its key.

        Raises:
            SepnetsError: A key is below another that has a plain value.
        """
        values, sources = dict(weaker.values), dict(weaker.sources)
        for key, value in self.values.items():
            for known in list(values):
                if key.startswith(f"{known}."):
                    parent = known.rpartition(".")[2]
                    raise SepnetsError(f'"{parent}" is a value, not a table. Received: {key}={value!r}')
                if known == key or known.startswith(f"{key}."):
                    del values[known], sources[known]
            for leaf, leaf_value in flatten({key: value}).items():
                values[leaf], sources[leaf] = leaf_value, self.sources[key]
        return Layer(values, sources)

    def without(self, *prefixes: str) -> "Layer":
        """Return the layer without the keys that start with any of these prefixes."""
        values = {key: value for key, value in self.values.items() if not key.startswith(prefixes)}
        return Layer(values, {key: self.sources[key] for key in values})

    def tree(self) -> dict[str, Any]:
        """Return the values as nested tables."""
        tree: dict[str, Any] = {}
        for key, value in self.values.items():
            *parents, leaf = key.split(".")
            table = tree
            for parent in parents:
                table = table.setdefault(parent, {})
            table[leaf] = value
        return tree


NOTHING = Layer({}, {})


def merge(
    given: Layer,
    *,
    implied: Layer = NOTHING,
    recipe: Layer = NOTHING,
    defaults: Layer = NOTHING,
    network_of: Callable[[str], Layer] = lambda _weights: NOTHING,
) -> Layer:
    """Return all settings, from the weakest layer: defaults, network of the weights, recipe, implied, given.

    A recipe's network settings are dropped if another network is asked for, its augmentation if another preset is,
    and its fewest steps if a number of epochs is. The network of the weights counts only if no other network is
    asked for.

    Args:
        given: What the user set, in a file and by options.
        implied: What options imply, such as `--max-time` for `training.epochs`.
        recipe: A recipe's settings.
        defaults: A command's own defaults.
        network_of: Returns the network settings of the run that `transfer.weights` names, if it names one.
    """
    asked = given.over(implied)
    recipe = _fit_recipe(recipe, asked.values)
    asked = asked.over(recipe)
    weights = asked.over(defaults).values.get("transfer.weights")
    network = network_of(weights) if isinstance(weights, str) else NOTHING
    if asked.values.get("model.name", network.values.get("model.name")) != network.values.get("model.name"):
        network = NOTHING
    return asked.over(network.over(defaults))


def with_rate_for_weights(merged: Layer) -> Layer:
    """Add the default learning rate for given weights; that for random weights would spoil them."""
    if merged.values.get("transfer.weights", "none") in (None, "none"):
        return merged
    is_frozen = merged.values.get("transfer.freeze", "none") not in (None, "none")
    rate = {"training.learning_rate": 1e-3 if is_frozen else 1e-4}
    return merged.over(Layer.of(rate, "default for given weights"))


def _fit_recipe(recipe: Layer, asked: Mapping[str, Any]) -> Layer:
    """Return a recipe without the settings that do not fit what is asked for."""
    own_network = recipe.values.get("model.name")
    if own_network is not None and asked.get("model.name", own_network) != own_network:
        recipe = recipe.without("model.")
    if "training.epochs" in asked:
        recipe = recipe.without("training.min_steps")
    return recipe.without("data.augmentation.") if "data.augment" in asked else recipe


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
