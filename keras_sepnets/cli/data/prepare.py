"""`sepnets data prepare`."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from keras_sepnets.base.results import Result
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.info import show_description
from keras_sepnets.cli.options import json_option


class Preparation(Result):
    """Precedes the description of a prepared data set."""

    prepared_now: bool
    """Whether this command prepared the data set; false if it was ready before."""


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the original files from this folder, under any names, and stay offline.",
)
@json_option
def prepare(name: str, folder: Path | None, as_json: bool) -> None:
    """Prepare a TFDS data set: download it, or take its original files from a folder.

    With --from, the files are recognised by the sizes and SHA-256 sums that TFDS registers.

    \b
    sepnets data prepare cifar10
    sepnets data prepare fashion_mnist --from /usr/share/datasets/fashion-mnist
    """
    with quiet_imports():
        from keras_sepnets.data.catalogue import builders, offline
        from keras_sepnets.data.catalogue import info as catalog

    if folder is None:
        prepared_now = builders.prepare(name, show_output=_terminal().is_terminal)
    else:
        with _progress() as report:
            prepared_now = offline.prepare_from_folder(name, folder, report=report)
    description = catalog.describe_data_set(name)
    if as_json:
        print_json({**Preparation(prepared_now=prepared_now).to_json(), **description.to_json()})
        return
    click.echo(f"{description.name} {'is ready' if prepared_now else 'was ready before: nothing to do'}")
    show_description(description, brief=True)


def _terminal() -> Any:
    """Return a console on stderr: TFDS' stdout is held back while it prepares."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that draws progress on the terminal, if there is one."""
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = _terminal()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def report(text: str, done: int, total: int | None) -> None:
            if [task.description for task in progress.tasks] != [escape(text)]:
                for task in progress.tasks:
                    progress.remove_task(task.id)
                progress.add_task(escape(text), total=total)
            progress.update(progress.tasks[0].id, completed=done)

        yield report
