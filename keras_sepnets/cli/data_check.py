"""`sepnets data check` and `sepnets data show`: pictures before anyone trains on them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, write_file
from keras_sepnets.base.text import printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import json_option
from keras_sepnets.settings.files import load_config

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.data.catalogue.checking import Check

CLASSES_SHOWN = 30
EXAMPLES_SHOWN = 5
SHOWN_AT = 224  # px, where neither the data set nor the user says otherwise


@click.command(cls=Command)
@click.argument("source")
@click.option("--sheet", type=click.Path(path_type=Path), metavar="FILE", help="Draw some pictures of each class.")
@json_option
@click.pass_context
def check(context: click.Context, source: str, sheet: Path | None, as_json: bool) -> None:
    """Read every picture once and tell what would hurt; exit code 2 if that is serious.

    \b
    sepnets data check folder:pictures
    sepnets data check manifest:pictures.csv --sheet sheet.png --json
    """
    if sheet:
        check_writable(sheet)
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.data.catalogue.checking import check_source
        from keras_sepnets.data.sources.opening import open_source
        from keras_sepnets.runs.plots import draw_rows
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = make_console(as_json=as_json)
    opened = open_source(source, skip_bad=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        result = check_source(
            opened, lambda done, total: progress.update(task, completed=done, total=total, refresh=False)
        )
    if sheet:
        rows = {
            f"{printable(name)} ({sum(result.classes[name].values()):,})": pictures
            for name, pictures in result.thumbnails.items()
        }
        write_file(sheet, draw_rows(rows))
    if as_json:
        print_json({**result.to_json(), "sheet": str(sheet) if sheet else None})
    else:
        _show_check(result, console)
        if sheet:
            console.print(f"contact sheet: {sheet}", markup=False)
    context.exit(SepnetsError.exit_code if result.has_errors else 0)


@click.command(cls=Command)
@click.argument("source")
@click.option("--augment", metavar="NAME", help="none, light, standard or strong.  [default: by the data set]")
@click.option("--image-size", type=click.IntRange(min=1), metavar="N", help="Height and width in pixels.")
@click.option("--pictures", type=click.IntRange(min=1), default=32, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option(
    "--output", type=click.Path(path_type=Path), default="augmented.png", show_default=True, metavar="FILE"
)
@json_option
def show(
    source: str,
    augment: str | None,
    image_size: int | None,
    pictures: int,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Draw the first training pictures of a run, as the network will see them.

    \b
    sepnets data show digits
    sepnets data show folder:pictures --augment strong --output augmented.png
    """
    check_writable(output)
    options = {"data.dataset": source, "data.augment": augment, "data.image_size": image_size}
    settings = load_config(options={key: value for key, value in options.items() if value is not None})
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.data.batches.labels import describe_label
        from keras_sepnets.data.batches.resolution import resolve_data
        from keras_sepnets.data.batches.splits import Splits
        from keras_sepnets.data.sources.name import DatasetName
        from keras_sepnets.data.sources.opening import open_source
        from keras_sepnets.runs.plots import draw_pictures

    opened = open_source(source, skip_bad=True)
    config = resolve_data(settings.data, opened, default_size=SHOWN_AT)
    # Files can be had in the order of a run without decoding them all before; records cannot.
    splits = Splits(opened, config, memory=0 if DatasetName.parse(source).is_own_pictures else None)
    pictures = min(pictures, splits.num_examples("train"))
    with splits.translated_failures():
        batch, labels = next(splits.training_batches(pictures, 1, seed).as_numpy_iterator())
    policy = f"{config.augment} {config.image_size} px: {splits.policy.describe() or 'no change'}"
    titles = [describe_label(label, splits.class_names) for label in labels]
    write_file(output, draw_pictures(batch, titles, policy))
    if as_json:
        print_json({**config.model_dump(mode="json"), "seed": seed, "file": str(output)})
        return
    console = make_console(as_json=False)
    console.print(f"{policy}\n{pictures} pictures: {output}", markup=False)
    if splits.bad_pictures:
        console.print(
            f"left out: {len(splits.bad_pictures):,} files that cannot be read; sepnets data check names them"
        )


def _show_check(result: "Check", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    roles = list(result.num_examples)
    table = Table("class", *roles, box=None)
    for name, counts in list(result.classes.items())[:CLASSES_SHOWN]:
        table.add_row(escape(printable(name)), *(f"{counts[role]:,}" for role in roles))
    console.print(table)
    if len(result.classes) > CLASSES_SHOWN:
        console.print(f"and {len(result.classes) - CLASSES_SHOWN:,} more classes")
    width, height = result.sizes["width"], result.sizes["height"]
    console.print(
        f"{sum(result.num_examples.values()):,} pictures, median {width['median']}x{height['median']} px, from "
        f"{width['smallest']}x{height['smallest']} to {width['largest']}x{height['largest']}; "
        + ", ".join(f"{count:,} {colour}" for colour, count in result.colours.items())
    )
    for issue in result.issues:
        count = f"{len(issue.examples):,} " if issue.examples else ""
        console.print(f"{issue.severity}: {issue.kind}: {count}{issue.message}", markup=False)
        for example in issue.examples[:EXAMPLES_SHOWN]:
            console.print(f"    {printable(example)}", markup=False)
        if len(issue.examples) > EXAMPLES_SHOWN:
            console.print(f"    and {len(issue.examples) - EXAMPLES_SHOWN:,} more (all with --json)")
    if not result.issues:
        console.print("nothing to complain about")
