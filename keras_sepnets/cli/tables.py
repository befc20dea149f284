"""Tables of cost and of networks, for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from keras_sepnets.cli.console import make_console
from keras_sepnets.cost.counting import Amounts, Cost
from keras_sepnets.cost.papers import Comparison


def cost_rows(cost: Cost, by: str) -> list[dict[str, Any]]:
    """Return the rows of a cost table by "layer", "type" or "stage", as plain values."""
    if by == "layer":
        groups: list[tuple[dict[str, str], Amounts]] = [
            (
                {
                    "layer": layer.name,
                    "type": layer.type,
                    "stage": layer.stage,
                    "output_shape": "x".join(map(str, layer.output_shape)),
                },
                layer,
            )
            for layer in cost.layers
        ]
    else:
        groups = [({by: name}, amounts) for name, amounts in cost.by(by).items()]
    return [
        {
            **names,
            "multiply_adds": amounts.multiply_adds,
            "parameters_total": amounts.total,
            "parameters_trainable": amounts.trainable,
            "parameters_without_bn": amounts.without_bn,
            "activation_bytes": amounts.activation_bytes,
        }
        for names, amounts in groups
    ]


def show_cost(title: str, cost: Cost, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a network's cost, then the rows."""
    console = make_console(as_json=False)
    shape = "x".join(map(str, cost.input_shape))
    console.print(f"{title}, input {shape}", markup=False)
    console.print(f"multiply-adds  {cost.multiply_adds:,}")
    parameters = f"{cost.total:,} total, {cost.trainable:,} trainable, {cost.without_bn:,} without batch norm"
    console.print(f"parameters     {parameters}")
    console.print(
        f"activations    {cost.activation_bytes:,} bytes in all, at most "
        f"{cost.peak_activation_bytes:,} alive at once"
    )
    if cost.not_counted:
        console.print(f"not counted    {', '.join(cost.not_counted)}", markup=False)
    names = [name for name in ("layer", "type", "output_shape") if name in rows[0]] or ["stage"]
    table = Table(box=None)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for heading in ("multiply-adds", "%", "parameters", "%", "activation bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            *(row[name] for name in names),
            f"{row['multiply_adds']:,}",
            f"{100 * row['multiply_adds'] / max(1, cost.multiply_adds):.2f}",
            f"{row['parameters_total']:,}",
            f"{100 * row['parameters_total'] / max(1, cost.total):.2f}",
            f"{row['activation_bytes']:,}",
        )
    console.print(table)


def show_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print the papers' numbers beside ours."""
    console = make_console(as_json=False)
    table = Table("table", "row", "quantity", box=None)
    for heading in ("paper", "ours", "difference"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for comparison in comparisons:
        claim, digits = comparison.claim, comparison.decimals + (0 if comparison.ours > 100_000 else 2)
        verdict = "agrees" if comparison.agrees else "differs"
        table.add_row(
            f"{claim.paper} {claim.table}",
            claim.row,
            claim.quantity,
            claim.printed,
            f"{comparison.ours:,.{digits}f}",
            f"{comparison.difference:+,.{digits}f}",
            f"{verdict}: {claim.note}" if claim.note else verdict,
        )
    console.print(table)
    agreeing = sum(comparison.agrees for comparison in comparisons)
    console.print(f"{agreeing} of {len(comparisons)} numbers agree to the digits that the papers print.")


def show_grid(rows: Sequence[Mapping[str, Any]], picture: Path, csv_file: Path) -> None:
    """Print MobileNet's grid, and where its picture is."""
    console = make_console(as_json=False)
    table = Table("alpha", "image size", box=None)
    for heading in ("multiply-adds", "parameters", "top-1, checkpoint", "top-1, paper"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row['alpha']:g}",
            str(row["image_size"]),
            f"{row['multiply_adds']:,}",
            f"{row['parameters']:,}",
            f"{row['top1']:.1%}",
            f"{row['top1_paper']:.1%}" if row["top1_paper"] else "",
        )
    console.print(table)
    console.print(f"written: {picture} and {csv_file}", markup=False)


def show_networks(networks: Sequence[Mapping[str, Any]]) -> None:
    """Print each network with its source, sizes, cost and options."""
    console = make_console(as_json=False)
    for network in networks:
        parameters = network["parameters"]
        console.print(f"[bold]{network['name']}[/bold]  {network['source']}")
        console.print(
            f"  {network['default_size']} px, at least {network['minimum_size']}; "
            f"{network['multiply_adds']:,} multiply-adds, {parameters['total']:,} parameters "
            f"({parameters['trainable']:,} trainable, {parameters['without_bn']:,} without batch norm)"
        )
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
        for option in network["options"]:
            default = "-" if option["default"] is None else json.dumps(option["default"]).strip('"')
            table.add_row(f"model.{option['name']}", default, option["description"])
        console.print(table)
    console.print("Set an option with --set, as in: sepnets train --model xception --set model.residual=false")
