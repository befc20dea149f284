"""`sepnets runs`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.cli.command import Command, print_json
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.runs.table import RunsDifference, RunSummary


@click.command(cls=Command)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--diff",
    "pair",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Compare two runs: settings, cost, accuracy.",
)
@json_option
def runs(folder: Path | None, pair: tuple[Path, Path] | None, as_json: bool) -> None:
    """List the runs in a folder (default: $SEPNETS_RUNS or runs/) with their state, accuracy and cost.

    \b
    sepnets runs
    sepnets runs --diff runs/mobilenet-digits-1 runs/mobilenet-digits-2
    """
    from keras_sepnets.cli.console import make_console
    from keras_sepnets.runs.table import compare_runs, list_runs

    if pair:
        if folder is not None:
            raise SepnetsError(
                f"--diff compares the two runs that it names; leave the folder out. Received: {str(folder)!r}"
            )
        difference = compare_runs(*pair)
        if as_json:
            print_json(difference.to_json())
        else:
            _show_difference(difference, make_console(as_json=False))
        return
    rows = list_runs(folder)
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        _show_runs(rows, make_console(as_json=False))


def _show_runs(rows: "list[RunSummary]", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "run", "state", "epochs", "network", "data", "validation", "test (95 % interval)", "parameters",
        "multiply-adds", box=None,
    )  # fmt: skip
    for row in rows:
        cells = _cells(row)
        table.add_row(*map(escape, (printable(row.run), row.status, *cells.values())))
    console.print(table if rows else "There are no runs yet.")


def _show_difference(difference: "RunsDifference", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    rows = difference.runs
    table = Table("", *(escape(printable(row.run)) for row in rows), box=None)
    for key, values in difference.settings.items():
        table.add_row(key, *(escape(printable(str(value))) for value in values))
    first, second = map(_cells, rows)
    table.add_row("state", *(row.status for row in rows))
    for name in first:
        table.add_row(name, escape(first[name]), escape(second[name]))
    seconds = ["" if row.train_seconds is None else f"{row.train_seconds:,.0f} s" for row in rows]
    table.add_row("training", *seconds)
    console.print(table)


def _cells(row: "RunSummary") -> dict[str, str]:
    """Return the cells of a run that follow its state."""
    if row.status == "damaged" or row.dataset is None:
        return dict.fromkeys(
            ("epochs", "network", "data", "validation", "test", "parameters", "multiply-adds"), ""
        )
    low, high = row.test_top1_interval or (0, 0)
    return {
        "epochs": f"{row.epoch}/{row.epochs}",
        "network": f"{row.model} {row.alpha:g}",
        "data": f"{printable(row.dataset)}, {row.image_size} px",
        "validation": "" if row.validation_top1 is None else f"{row.validation_top1:.2%}",
        "test": "" if row.test_top1 is None else f"{row.test_top1:.2%} ({low:.2%} to {high:.2%})",
        "parameters": f"{row.parameters:,}",
        "multiply-adds": f"{row.multiply_adds:,}",
    }
