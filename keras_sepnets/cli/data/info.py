"""`sepnets data info`."""

from typing import TYPE_CHECKING

import click

from keras_sepnets.base.text import in_bytes, printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.settings import read_data_settings, set_data_option
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from keras_sepnets.data.catalogue.info import DataSetDescription

CLASSES_SHOWN = 20


@click.command(cls=Command)
@click.argument("name")
@set_data_option
@json_option
def info(name: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Describe a data set: a TFDS name, folder:PATH or manifest:FILE.

    \b
    sepnets data info fashion_mnist
    sepnets data info folder:pictures --json
    """
    with quiet_imports():
        from keras_sepnets.data.catalogue.info import describe_data_set
        from keras_sepnets.data.sources.columns import columns_of

    settings = read_data_settings(name, assignments, allowed=("data.path_column", "data.label_column"))
    description = describe_data_set(name, columns=columns_of(settings))
    if as_json:
        print_json(description.to_json())
    else:
        show_description(description)


def show_description(description: "DataSetDescription", *, brief: bool = False) -> None:
    """Print a data set, without its name if `brief`."""

    from keras_sepnets.cli.console import make_console

    rows = [("name", f"{description.name} ({description.status})")]
    names = ", ".join(description.classes[:CLASSES_SHOWN])
    more = ", ..." if len(description.classes) > CLASSES_SHOWN else ""
    rows.append(("classes", f"{len(description.classes)}: {names}{more}"))
    rows.append(("splits", count_splits(description.splits) if description.splits else "known once prepared"))
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


def count_splits(splits: dict[str, int]) -> str:
    """Return the splits with their numbers of examples, in words."""
    return ", ".join(f"{split} {count:,}" for split, count in splits.items())


def _describe_shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None or None in shape[:2]:
        return "various sizes" if shape is None or shape[-1] != 1 else "various sizes, grey"
    height, width, channels = shape
    return f"{height}x{width} px, {'grey' if channels == 1 else f'{channels} channels'}"
