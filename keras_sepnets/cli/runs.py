"""`sepnets runs`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable, size_of_weights
from keras_sepnets.cli.command import Command, print_json
from keras_sepnets.cli.options import json_option
from keras_sepnets.data.sources.name import DatasetName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from keras_sepnets.runs.table import RunsDifference, RunSummary

CELLS = (
    "epochs", "network", "data", "kept", "validation", "test", "95 % interval", "majority", "parameters", "size",
    "multiply-adds",
)  # fmt: skip
DISPENSABLE = (  # columns, in the order in which they give way on a narrow terminal
    "multiply-adds", "parameters", "size", "kept", "network", "majority", "data", "epochs", "95 % interval",
)  # fmt: skip


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
    from keras_sepnets.runs.folder import runs_root
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
        _show_runs(rows, folder or runs_root(), make_console(as_json=False))


def _show_runs(rows: "list[RunSummary]", root: Path, console: "Console") -> None:
    """Print a row for each run, with as many columns as there is room for; a run's name is never cut."""
    if not rows:
        console.print("There are no runs yet.")
        return
    cells = [{"run": _name_below(root, row.run), "state": row.status, **_cells(row)} for row in rows]
    tables = [_make_table(cells, DISPENSABLE[:count]) for count in range(len(DISPENSABLE) + 1)]
    unlimited = console.options.update(max_width=10_000)
    widths = [console.measure(table, options=unlimited).maximum for table in tables]
    if not console.is_terminal:
        console.width = max(console.width, widths[0])
    count = next((count for count, width in enumerate(widths) if width <= console.width), len(DISPENSABLE))
    console.print(tables[count])
    left_out = DISPENSABLE[:count]
    if left_out:
        console.print(f"no room for: {', '.join(left_out)}; a wider terminal or --json shows them")
    for row in rows:
        if row.fault:
            console.print(f"{_name_below(root, row.run)} is damaged: {printable(row.fault)}", markup=False)


def _make_table(cells: list[dict[str, str]], left_out: tuple[str, ...]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    shown = [name for name in cells[0] if name not in left_out]
    for name in shown:
        table.add_column(name, overflow="fold")
    for row in cells:
        table.add_row(*(escape(row[name]) for name in shown))
    return table


def _name_below(root: Path, run: str) -> str:
    """Return a run's path below the folder that is listed."""
    path = Path(run)
    return printable(path.relative_to(root) if path != root and path.is_relative_to(root) else path.name)


def _show_difference(difference: "RunsDifference", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    rows = difference.runs
    table = Table("", *(escape(name) for name in _different_names(rows)), box=None)
    for column in table.columns:
        column.overflow = "fold"
    for key, values in difference.settings.items():
        table.add_row(key, *(escape(printable(str(value))) for value in values))
    first, second = map(_cells, rows)
    table.add_row("state", *(row.status for row in rows))
    for name in first:
        table.add_row(name, escape(first[name]), escape(second[name]))
    seconds = ["" if row.train_seconds is None else f"{row.train_seconds:,.0f} s" for row in rows]
    table.add_row("training", *seconds)
    console.print(table)


def _different_names(rows: "Sequence[RunSummary]") -> list[str]:
    """Return the folders by their last names, with as many folders above them as it takes to tell them apart."""
    parts = [Path(row.run).parts for row in rows]
    for length in range(1, max(map(len, parts))):
        ends = [part[-length:] for part in parts]
        if len(set(ends)) == len(ends):
            return [printable(Path(*end)) for end in ends]
    return [printable(row.run) for row in rows]


def _cells(row: "RunSummary") -> dict[str, str]:
    """Return the cells of a run that follow its state."""
    if row.model is None or row.dataset is None:
        return dict.fromkeys(CELLS, "")
    values = (
        _describe_epochs(row),
        f"{row.model} {row.alpha:g}",
        f"{printable(DatasetName.parse(row.dataset).short)}, {row.image_size} px",
        row.checkpoint or "",
        "" if row.validation_top1 is None else f"{row.validation_top1:.2%}",
        "" if row.test_top1 is None else f"{row.test_top1:.2%}",
        "" if row.test_top1_interval is None else "{:.2%} to {:.2%}".format(*row.test_top1_interval),
        "" if row.test_majority_top1 is None else f"{row.test_majority_top1:.2%}",
        "" if row.parameters is None else f"{row.parameters:,}",
        "" if row.parameters is None else size_of_weights(row.parameters),
        "" if row.multiply_adds is None else f"{row.multiply_adds:,}",
    )
    return dict(zip(CELLS, values, strict=True))


def _describe_epochs(row: "RunSummary") -> str:
    if row.folds:
        return "{}/{} folds".format(*row.folds)
    return "unknown" if row.epoch is None else f"{row.epoch}/{row.epochs}"
