"""`sepnets data list`."""

from typing import TYPE_CHECKING

import click

from keras_sepnets.base.text import in_bytes
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.info import count_splits
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from keras_sepnets.data.catalogue.info import ListedDataSet


@click.command("list", cls=Command)
@json_option
def list_command(as_json: bool) -> None:
    """List the data sets that are ready on this machine, and those that TFDS can prepare.

    \b
    sepnets data list
    sepnets data list --json
    """
    with quiet_imports():
        from keras_sepnets.data.catalogue.info import list_data_sets

    entries = list_data_sets()
    if as_json:
        print_json([entry.to_json() for entry in entries])
    else:
        _show_list(entries)


def _show_list(entries: list["ListedDataSet"]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    table = Table("data set", "", box=None)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("")
    for entry in entries:
        remarks = [count_splits(entry.splits)] if entry.splits else []
        if entry.configs:
            remarks.append(f"{len(entry.configs)} configurations, such as {entry.name}/{entry.configs[0]}")
        if entry.by_hand:
            remarks.append("some files to fetch by hand")
        size = entry.bytes if entry.bytes is not None else entry.download_bytes
        table.add_row(
            escape(entry.name),
            entry.status,
            in_bytes(size) if size is not None else "",
            escape("; ".join(remarks)),
        )
    console.print(table)
    console.print(
        "Sizes are on disk for ready and embedded sets, of the original files for preparable ones, if TFDS\n"
        "registers them. sepnets data prepare NAME downloads these files, or takes them from a folder with\n"
        "--from DIR. Your own pictures need no preparation: folder:PATH, manifest:FILE."
    )
