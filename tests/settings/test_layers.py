"""Layers of settings: who overrides whom, and where each value comes from."""

import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.settings.layers import NOTHING, Layer, merge, with_rate_for_weights

NETWORK = {"model.name": "xception", "model.alpha": 0.25}


def network_of(weights):
    return Layer.of(NETWORK if weights == "run" else {}, "network")


def test_every_layer_overrides_the_one_before_and_keeps_its_source():
    merged = merge(
        Layer.of({"training.seed": 5}, "given"),
        implied=Layer.of({"training.seed": 4, "training.epochs": 4}, "implied"),
        recipe=Layer.of({"training.seed": 3, "training.epochs": 3, "model.alpha": 3}, "recipe"),
        defaults=Layer.of(
            {"training.l2": 1, "model.alpha": 1, "model.name": "a", "transfer.weights": "run"}, "default"
        ),
        network_of=network_of,
    )
    assert {key: (merged.values[key], merged.sources[key]) for key in merged.values} == {
        "training.seed": (5, "given"),
        "training.epochs": (4, "implied"),
        "model.alpha": (3, "recipe"),
        "model.name": ("xception", "network"),
        "training.l2": (1, "default"),
        "transfer.weights": ("run", "default"),
    }


def test_the_network_of_the_weights_counts_unless_another_is_asked_for():
    weights = {"transfer.weights": "run"}
    assert merge(Layer.of(weights, "given"), network_of=network_of).sources["model.alpha"] == "network"
    other = merge(Layer.of({**weights, "model.name": "mobilenet"}, "given"), network_of=network_of)
    assert other.values == {**weights, "model.name": "mobilenet"}
    recipe = Layer.of({"model.name": "mobilenet", **weights}, "recipe")
    assert "model.alpha" not in merge(Layer.of({}), recipe=recipe, network_of=network_of).values


def test_a_recipe_of_another_network_or_augmentation_does_not_apply():
    recipe = Layer.of(
        {"model.name": "xception", "model.dropout": 0.5, "data.augmentation.zoom": 0.1, "training.l2": 1}
    )
    other = Layer.of({"model.name": "mobilenet", "data.augment": "none"})
    assert merge(other, recipe=recipe).values == {**other.values, "training.l2": 1}
    same = Layer.of({"model.name": "xception"})
    assert merge(same, recipe=recipe).values == recipe.values


def test_a_table_replaces_what_is_below_its_key():
    below = Layer.of({"data.augmentation.zoom": 0.1, "data.augment": "none"})
    merged = Layer.of({"data.augmentation": {"flip": True}}, "given").over(below)
    assert merged.values == {"data.augment": "none", "data.augmentation.flip": True}
    assert merged.tree() == {"data": {"augment": "none", "augmentation": {"flip": True}}}
    assert Layer.of({"data": 3}).over(below).values == {"data": 3}
    with pytest.raises(SepnetsError, match='"augment" is a value, not a table. Received: data.augment.x=1'):
        Layer.of({"data.augment.x": 1}).over(below)


def test_given_weights_start_with_a_low_rate_unless_one_is_set():
    def rate(**values):
        return with_rate_for_weights(Layer.of(values, "given")).values.get("training.learning_rate")

    assert rate() is None
    assert rate(**{"transfer.weights": "none"}) is None
    assert rate(**{"transfer.weights": "run"}) == 1e-4
    assert rate(**{"transfer.weights": "run", "transfer.freeze": "backbone"}) == 1e-3
    assert rate(**{"transfer.weights": "run", "training.learning_rate": 0.5}) == 0.5


def test_a_fewest_number_of_steps_counts_only_where_no_epochs_are_asked_for():
    recipe = Layer.of({"training.epochs": 5, "training.min_steps": 200}, "recipe")
    assert merge(NOTHING, recipe=recipe).values["training.min_steps"] == 200
    asked = merge(Layer.of({"training.epochs": 3}, "given"), recipe=recipe)
    assert "training.min_steps" not in asked.values
