"""`sepnets data check`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, write_file
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted, printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.settings import read_data_settings, set_data_option
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.data.catalogue.checking import Check

CLASSES_SHOWN = 30
EXAMPLES_SHOWN = 5


class ContactSheet(Result):
    """Follows the result of the check."""

    sheet: str | None
    """File of the contact sheet; null without --sheet."""


@click.command(cls=Command)
@click.argument("source")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw some pictures of every class into this file.",
)
@set_data_option
@json_option
@click.pass_context
def check(
    context: click.Context, source: str, sheet: Path | None, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Read every picture once and report faults; exit with 2 if training would suffer.

    \b
    sepnets data check folder:pictures
    sepnets data check manifest:pictures.csv --sheet sheet.png --json
    """
    if sheet:
        check_writable(sheet)
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.data.catalogue.checking import check_data
        from keras_sepnets.runs.plots import draw_rows
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = make_console(as_json=as_json)
    config = read_data_settings(source, assignments)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        result = check_data(
            config, lambda done, total: progress.update(task, completed=done, total=total, refresh=False)
        )
    if sheet:
        rows = {
            f"{printable(name)} ({sum(result.classes[name].values()):,})": pictures
            for name, pictures in result.thumbnails.items()
        }
        write_file(sheet, draw_rows(rows))
    if as_json:
        print_json({**result.to_json(), **ContactSheet(sheet=str(sheet) if sheet else None).to_json()})
    else:
        _show_check(result, console)
        if sheet:
            console.print(f"contact sheet: {sheet}", markup=False)
    context.exit(SepnetsError.exit_code if result.has_errors else 0)


def _show_check(result: "Check", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    if roles := list(result.num_examples):
        table = Table("class", *roles, box=None)
        for name, counts in list(result.classes.items())[:CLASSES_SHOWN]:
            table.add_row(escape(printable(name)), *(f"{counts[role]:,}" for role in roles))
        console.print(table)
    if len(result.classes) > CLASSES_SHOWN:
        console.print(f"and {len(result.classes) - CLASSES_SHOWN:,} more")
    console.print(_describe_pictures(result))
    for issue in result.issues:
        count = f" ({len(issue.examples):,})" if issue.examples else ""
        heading = "note" if issue.kind == "note" else f"{issue.severity}: {issue.kind}{count}"
        console.print(f"{heading}: {issue.message}", markup=False)
        for example in issue.examples[:EXAMPLES_SHOWN]:
            console.print(f"    {printable(example)}", markup=False)
        if len(issue.examples) > EXAMPLES_SHOWN:
            console.print(f"    and {len(issue.examples) - EXAMPLES_SHOWN:,} more (all with --json)")
    if not result.issues:
        console.print("no faults found")


def _describe_pictures(result: "Check") -> str:
    """Describe how many pictures there are, and the sizes and colours of those that can be read."""
    words = counted(sum(result.num_examples.values()), "picture")
    if not result.colours:
        return words
    sides = ", ".join(
        f"{side} {length['smallest']:,} to {length['largest']:,} px (median {length['median']:,})"
        if length["smallest"] < length["largest"]
        else f"{side} {length['median']:,} px"
        for side, length in result.sizes.items()
    )
    colours = ", ".join(f"{count:,} {colour}" for colour, count in result.colours.items())
    return f"{words}: {sides}; {colours}"
