"""Every network and option by its name in the settings."""

import pytest

from keras_sepnets.cost.counting import count_cost
from keras_sepnets.models.registry import build_network
from keras_sepnets.settings.files import load_config
from keras_sepnets.settings.schema import NETWORK_SETTINGS

SMALL = {"mobilenet": {}, "mobilenet_v2": {}, "xception": {"model.middle_repeats": 1}, "inception_v3": {}}
CHANGES = {
    "mobilenet": ["separable=false", "shallow=true"],
    "mobilenet_v2": ["residual=expansion", "residual=none", "residual=false", "bottleneck_activation=relu6"],
    "xception": [
        "intermediate_activation=relu",
        "intermediate_activation=elu",
        "intermediate_batch_norm=true",
        "residual=false",
        "middle_repeats=2",
        "segments=3",
        "order=pointwise_first",
        "fully_connected=true",
    ],
    "inception_v3": [],
}
SHARED = ["alpha=0.25", "dropout=0.25", "bn_momentum=0.9", "bn_epsilon=0.01"]


def graph_of(name, *assignments):
    """The layers of a network, each with its settings and inputs."""
    options = {"model.name": name, "model.alpha": 0.125, **SMALL[name]}
    config = load_config(options=options, assignments=assignments).model
    model = build_network(config, image_size=75, classes=2, seed=None)
    assert count_cost(model).not_counted == ()
    layers = model.get_config()["layers"]
    return [
        (layer["name"], layer["class_name"], str(layer["config"]), str(layer["inbound_nodes"])) for layer in layers
    ]


@pytest.mark.parametrize("name", NETWORK_SETTINGS)
def test_every_option_changes_the_graph(name):
    default = graph_of(name)
    assert graph_of(name) == default
    for change in CHANGES[name] + (SHARED if name == "mobilenet" else []):
        assert graph_of(name, f"model.{change}") != default, change


@pytest.mark.parametrize("name", NETWORK_SETTINGS)
def test_every_option_is_covered_above(name):
    tried = {change.split("=")[0] for change in CHANGES[name] + SHARED}
    assert tried == set(NETWORK_SETTINGS[name].model_fields) - {"name"}


def test_linear_is_none_where_the_spatial_step_comes_first():
    assert graph_of("xception", "model.intermediate_activation=none") == graph_of("xception")
    assert graph_of("xception", "model.intermediate_activation=linear") == graph_of("xception")


def test_none_takes_the_activation_out_where_the_pointwise_step_comes_first():
    first = "model.order=pointwise_first"
    without = graph_of("xception", first, "model.intermediate_activation=none")
    assert without == graph_of("xception", first, "model.intermediate_activation=linear")
    assert without != graph_of("xception", first)
