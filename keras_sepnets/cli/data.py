"""`sepnets data`: which data sets there are, what is in one, and how one is prepared."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.text import in_bytes, printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from keras_sepnets.data.catalogue.info import DataSetDescription, ListedDataSet

CLASSES_SHOWN = 20


@click.group()
def data() -> None:
    """List, describe and prepare data sets.

    \b
    sepnets data list                                 what is ready, and what can be prepared
    sepnets data info cifar10                         classes, splits, sizes, the files it is made from
    sepnets data prepare cifar10                      download and prepare with TFDS
    sepnets data prepare cifar10 --from ~/Downloads   the same from files on this machine, without a network
    """


@data.command("list", cls=Command)
@json_option
def list_command(as_json: bool) -> None:
    """List the data sets that are ready on this machine and those that TFDS can prepare.

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


@data.command(cls=Command)
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Describe a data set: a TFDS name, folder:PATH or manifest:FILE.

    \b
    sepnets data info fashion_mnist
    sepnets data info folder:pictures --json
    """
    with quiet_imports():
        from keras_sepnets.data.catalogue.info import describe_data_set

    description = describe_data_set(name)
    if as_json:
        print_json(description.to_json())
    else:
        _show_description(description)


@data.command(cls=Command)
@click.argument("name")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the original files from here, under any name, and use no network.",
)
@json_option
def prepare(name: str, folder: Path | None, as_json: bool) -> None:
    """Prepare a TFDS data set: download it, or take its original files from a folder.

    With --from the files are recognised by the sizes and SHA-256 sums that TFDS registers.

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
        print_json({"prepared_now": prepared_now, **description.to_json()})
        return
    click.echo(f"{description.name} {'is ready' if prepared_now else 'was ready before: nothing to do'}")
    _show_description(description, brief=True)


def _terminal() -> Any:
    """Return a console for what is not the result: TFDS' stdout is held back while it prepares."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a function that draws what is being done on the terminal, if there is one."""
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


def _show_list(entries: list["ListedDataSet"]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    table = Table("data set", "", box=None)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("")
    for entry in entries:
        remarks = [_count_splits(entry.splits)] if entry.splits else []
        if entry.configs:
            remarks.append(f"{len(entry.configs)} configurations, as {entry.name}/{entry.configs[0]}")
        if entry.by_hand:
            remarks.append("some files by hand")
        size = entry.bytes if entry.bytes is not None else entry.download_bytes
        table.add_row(
            escape(entry.name),
            entry.status,
            in_bytes(size) if size is not None else "",
            escape("; ".join(remarks)),
        )
    console.print(table)
    console.print(
        "The size of ready and embedded sets is that on disk; of preparable sets, that of the files they are\n"
        "made from, where TFDS registers them. sepnets data prepare NAME downloads these, or takes them from a\n"
        "folder with --from DIR. Pictures of your own need no preparation: folder:PATH, manifest:FILE."
    )


def _show_description(description: "DataSetDescription", *, brief: bool = False) -> None:
    from keras_sepnets.cli.console import make_console

    rows = [("name", f"{description.name} ({description.status})")]
    names = ", ".join(description.classes[:CLASSES_SHOWN])
    more = ", ..." if len(description.classes) > CLASSES_SHOWN else ""
    rows.append(("classes", f"{len(description.classes)}: {names}{more}"))
    rows.append(("splits", _count_splits(description.splits) if description.splits else "known once prepared"))
    for split, counts in (description.class_counts or {}).items():
        shown = ", ".join(f"{label} {count:,}" for label, count in list(counts.items())[:CLASSES_SHOWN])
        rows.append(("", f"{split}: {shown}{', ...' if len(counts) > CLASSES_SHOWN else ''}"))
    rows.append(("pictures", _describe_shape(description.picture_shape)))
    if description.bytes is None:
        rows.append(("place", f"{description.path}, not prepared"))
    else:
        rows.append(("place", f"{description.path}, {in_bytes(description.bytes)}"))
    if description.configs:
        rows.append(("configs", ", ".join(description.configs)))
    rows += [("note", note) for note in description.notes]
    if description.bytes is None:
        rows += [("needs", f"{file.file_name}, {file.bytes:,} bytes, {file.url}") for file in description.files]
        if description.instructions:
            rows.append(("by hand", description.instructions))
        name = description.name.rpartition(":")[0]
        rows.append(("prepare", f"sepnets data prepare {name}, or with these files in DIR: --from DIR"))
    console = make_console(as_json=False)
    for heading, text in rows[1:] if brief else rows:
        console.print(f"{heading:<9} {printable(text)}", markup=False)


def _count_splits(splits: dict[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in splits.items())


def _describe_shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None or None in shape[:2]:
        return "of various sizes" if shape is None or shape[-1] != 1 else "of various sizes, grey"
    height, width, channels = shape
    return f"{height}x{width} px, {'grey' if channels == 1 else f'{channels} channels'}"
