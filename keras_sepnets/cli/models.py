"""`sepnets models`."""

from typing import Any

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import json_option
from keras_sepnets.settings.schema import NETWORK_SETTINGS


@click.command(cls=Command)
@json_option
def models(as_json: bool) -> None:
    """List the networks: source, picture size, cost and options, each with its default, which is the paper's.

    \b
    sepnets models
    sepnets models --json
    """
    with quiet_imports():
        from keras_sepnets.cli import tables

    networks = [describe_network(name) for name in NETWORK_SETTINGS]
    if as_json:
        print_json(networks)
    else:
        tables.show_networks(networks)


def describe_network(name: str) -> dict[str, Any]:
    """Return what `sepnets models --json` says of a network."""
    from keras_sepnets.cost.counting import count_cost
    from keras_sepnets.models import registry

    network = registry.NETWORKS[name]
    cost = count_cost(network.build())
    options = [
        {"name": field, "default": info.default, "description": info.description}
        for field, info in NETWORK_SETTINGS[name].model_fields.items()
        if field != "name"
    ]
    return {
        "name": name,
        "source": network.source,
        "default_size": network.default_size,
        "minimum_size": network.minimum_size,
        "parameters": cost.summary()["parameters"],
        "multiply_adds": cost.multiply_adds,
        "options": options,
    }
