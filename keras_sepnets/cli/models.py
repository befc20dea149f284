"""`sepnets models`."""

import json
from collections.abc import Sequence
from typing import Any

import click

from keras_sepnets.base.results import Result
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import json_option
from keras_sepnets.cost.amounts import Parameters
from keras_sepnets.settings.schema import NETWORK_SETTINGS


class NetworkOption(Result):
    """An option of a network."""

    name: str
    """Setting, without `model.`."""
    default: Any
    """The paper's value; null if the choice is left open."""
    description: str | None
    """What it changes."""


class NetworkDescription(Result):
    """A network, with its cost by default."""

    name: str
    """As in `--model NAME`."""
    source: str
    """Paper."""
    default_size: int
    """Height and width of pictures in the paper, in px."""
    minimum_size: int
    """Smallest height and width, in px."""
    parameters: Parameters
    """Number of parameters, for 1,000 classes."""
    multiply_adds: int
    """Multiply-adds of one picture of the default size."""
    options: tuple[NetworkOption, ...]
    """Options, set with `--set model.NAME=VALUE`."""


@click.command(cls=Command)
@json_option
def models(as_json: bool) -> None:
    """List the networks with their papers, sizes, costs and options; the defaults are the papers'.

    \b
    sepnets models
    sepnets models --json
    """
    with quiet_imports():
        from keras_sepnets.models import registry  # noqa: F401

    networks = [describe_network(name) for name in NETWORK_SETTINGS]
    if as_json:
        print_json([network.to_json() for network in networks])
    else:
        _show_networks(networks)


def describe_network(name: str) -> NetworkDescription:
    """Return a network with its cost, for 1,000 classes."""
    from keras_sepnets.cost.counting import count_cost
    from keras_sepnets.models import registry

    network = registry.NETWORKS[name]
    cost = count_cost(network.build())
    return NetworkDescription(
        name=name,
        source=network.source,
        default_size=network.default_size,
        minimum_size=network.minimum_size,
        parameters=cost.parameters,
        multiply_adds=cost.multiply_adds,
        options=tuple(
            NetworkOption(name=field, default=info.default, description=info.description)
            for field, info in NETWORK_SETTINGS[name].model_fields.items()
            if field != "name"
        ),
    )


def _show_networks(networks: Sequence[NetworkDescription]) -> None:
    """Print each network with its source, sizes, cost and options."""
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    for network in networks:
        parameters = network.parameters
        console.print(f"[bold]{network.name}[/bold]  {network.source}")
        console.print(
            f"  {network.default_size} px, at least {network.minimum_size} px; "
            f"{network.multiply_adds:,} multiply-adds, {parameters.total:,} parameters "
            f"({parameters.trainable:,} trainable, {parameters.without_bn:,} without batch norm)"
        )
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
        for option in network.options:
            default = "-" if option.default is None else json.dumps(option.default).strip('"')
            table.add_row(f"model.{option.name}", default, option.description)
        console.print(table)
    console.print("Change an option with --set: sepnets train --model xception --set model.residual=false")
