"""`sepnets cost`: the command and its three questions."""

from pathlib import Path
from typing import Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, is_ordinary, to_csv_bytes, write_file
from keras_sepnets.cli.command import Command, print_json
from keras_sepnets.cli.cost.papers import compare_with_papers, draw_grid
from keras_sepnets.cli.cost.table import count_file, count_named, make_table
from keras_sepnets.cli.options import json_option, network_options, read_settings, rho_option

GRID = Path("mobilenet_grid.png")


@click.command(cls=Command)
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="[RUN|FILE]")
@network_options
@rho_option
@click.option(
    "--classes", type=click.IntRange(min=1), metavar="N", help="Classes of the classifier.  [default: 1000]"
)
@click.option(
    "--by",
    type=click.Choice(["layer", "type", "stage"]),
    help="Rows of the table.  [default: type]",
)
@click.option(
    "--sort", is_flag=True, help="Sort rows by multiply-adds, largest first, instead of in the network's order."
)
@click.option("--against", type=click.Choice(["paper"]), help="Compare with the numbers that the papers print.")
@click.option("--grid", is_flag=True, help="Draw Figure 4 of MobileNets: 4 widths, 4 resolutions.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Picture of --grid.  [default: {GRID}]",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the table to this file too; with --grid, by default beside the picture.",
)
@json_option
def cost(
    target: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None,
    classes: int | None,
    by: str | None,
    sort: bool,
    against: str | None,
    grid: bool,
    output: Path | None,
    csv_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Count parameters, multiply-adds and activation memory of a network, a run, or a .keras or .h5 file.

    The counts are exact integers for one picture; a multiply-add counts 1, in convolutions and dense layers only.

    \b
    sepnets cost --model mobilenet
    sepnets cost --model xception --by layer --sort
    sepnets cost --model mobilenet_v2 --alpha 0.35 --image-size 96 --by stage
    sepnets cost runs/mobilenet-digits-1
    sepnets cost --against paper
    sepnets cost --grid
    """
    given = {name for name, value in options.items() if value is not None}
    given |= {name for name, value in (("set", assignments), ("config", config), ("classes", classes)) if value}
    given |= {"rho"} if rho is not None else set()
    _check_modes(target, given=given, against=against, grid=grid, table=bool(by or sort), output=output)
    if csv_file and not grid:
        _check_csv(csv_file, beside=target)
    if grid:
        picture = output or GRID
        check_writable(picture)
        if csv_file is None and is_ordinary(picture):
            csv_file = picture.with_suffix(".csv")
        if csv_file:
            _check_csv(csv_file, beside=picture)
        answer = draw_grid(picture, csv_file)
    elif against:
        answer = compare_with_papers(options["model"])
    elif target:
        answer = make_table(*count_file(target, options["image_size"]), by or "type", sort=sort)
    else:
        settings = read_settings(options, config=config, assignments=assignments, rho=rho).config
        answer = make_table(*count_named(settings, classes or 1000), by or "type", sort=sort)
    if csv_file:
        write_file(csv_file, to_csv_bytes([list(answer.rows[0]), *(list(row.values()) for row in answer.rows)]))
    if as_json:
        print_json(answer.content)
    else:
        answer.show()


def _check_modes(
    target: Path | None, *, given: set[str], against: str | None, grid: bool, table: bool, output: Path | None
) -> None:
    """Refuse options that would change nothing."""
    if sum(map(bool, (target, against, grid))) > 1:
        raise SepnetsError("Ask one question at a time: about a run or file, --against, or --grid.")
    for question, allowed in (
        ("A run or file brings its own network", {"image_size"} if target else None),
        ("--against takes only --model", {"model"} if against else None),
        ("--grid draws the 16 MobileNets", set() if grid else None),
    ):
        if allowed is not None and given - allowed:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given - allowed))
            raise SepnetsError(f"{question}; leave out the other options of a network. Received: {names}")
    if table and (against or grid):
        raise SepnetsError("--by and --sort are for the table of a network's cost; leave them out here.")
    if output and not grid:
        raise SepnetsError(
            f"--output names the picture of --grid; for a table use --csv. Received: {str(output)!r}"
        )


def _check_csv(file: Path, *, beside: Path | None) -> None:
    check_writable(file)
    if beside is not None and file.resolve() == beside.resolve():
        raise SepnetsError(f"The CSV file would replace {beside}; name another one. Received: {str(file)!r}")
