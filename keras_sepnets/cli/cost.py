"""`sepnets cost`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, to_csv_bytes, write_file
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import config_from_options, json_option, network_options, rho_option
from keras_sepnets.models.loading import load_network
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.schema import RunConfig

if TYPE_CHECKING:
    from keras_sepnets.cost.counting import Cost

GRID = Path("mobilenet_grid.png")


@click.command(cls=Command)
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="[RUN|FILE.keras]")
@network_options
@rho_option
@click.option("--classes", type=click.IntRange(min=1), metavar="N", help="Of the classifier.  [default: 1000]")
@click.option(
    "--by",
    type=click.Choice(["layer", "type", "stage"]),
    help="What a row of the table is.  [default: type]",
)
@click.option("--sort", is_flag=True, help="Rows of most multiply-adds first, instead of the network's order.")
@click.option("--against", type=click.Choice(["paper"]), help="Compare with what the papers print.")
@click.option("--grid", is_flag=True, help="Draw MobileNets' Figure 4: 4 widths, 4 resolutions.")
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
    help="Also write the table there; with --grid, beside the picture by default.",
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
    """Count parameters, multiply-adds and activation memory: of a network by its name, of a run or a .keras file.

    Exact integers for one picture; one multiply-add counts 1, convolutions and dense layers only.

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
        csv_file = csv_file or picture.with_suffix(".csv")
        check_writable(picture)
        _check_csv(csv_file, beside=picture)
        answer = _grid(picture, csv_file)
    elif against:
        answer = _against_paper(options["model"])
    elif target:
        answer = _table(*_count_file(target, options["image_size"]), by or "type", sort=sort)
    else:
        settings = config_from_options(options, config=config, assignments=assignments, rho=rho)
        answer = _table(*_count_named(settings, classes or 1000), by or "type", sort=sort)
    if csv_file:
        write_file(csv_file, to_csv_bytes([list(answer.rows[0]), *(list(row.values()) for row in answer.rows)]))
    if as_json:
        print_json(answer.content)
    else:
        answer.show()


class _Answer(NamedTuple):
    """What a question came to: for a CSV file, as JSON, and for people."""

    rows: list[dict[str, Any]]
    content: Any
    show: Callable[[], None]


def _check_modes(
    target: Path | None, *, given: set[str], against: str | None, grid: bool, table: bool, output: Path | None
) -> None:
    """Refuse options that would change nothing."""
    if sum(map(bool, (target, against, grid))) > 1:
        raise SepnetsError("A run or file, --against and --grid are three questions; ask one at a time.")
    for question, allowed in (
        ("A run or file brings its own network", {"image_size"} if target else None),
        ("--against takes --model at most", {"model"} if against else None),
        ("--grid is of the 16 MobileNets", set() if grid else None),
    ):
        if allowed is not None and given - allowed:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given - allowed))
            raise SepnetsError(f"{question}; leave the other options of a network out. Received: {names}")
    if table and (against or grid):
        raise SepnetsError("--by and --sort are for the table of a network's cost; leave them out here.")
    if output and not grid:
        raise SepnetsError(
            f"--output names the picture of --grid; for a table use --csv. Received: {str(output)!r}"
        )


def _count_named(settings: RunConfig, classes: int) -> tuple[str, "Cost"]:
    with quiet_imports():
        from keras_sepnets.cost.counting import count_cost
        from keras_sepnets.models.registry import NETWORKS, build_network

    size = settings.data.image_size or NETWORKS[settings.model.name].default_size
    model = build_network(settings.model, image_size=size, classes=classes, seed=None)
    changed = settings.model.model_dump(exclude={"name"}, exclude_defaults=True)
    options = "".join(f", {name}={value}" for name, value in changed.items())
    return f"{settings.model.name}{options}, {classes} classes", count_cost(model)


def _count_file(target: Path, image_size: int | None) -> tuple[str, "Cost"]:
    if not target.is_dir() and not (target.is_file() and target.suffix == ".keras"):
        raise SepnetsError(f"This is neither a run folder nor a .keras file. Received: {str(target)!r}")
    file = Run.open(target).network_file() if target.is_dir() else target
    with quiet_imports():
        from keras_sepnets.cost.counting import count_cost

    model = load_network(file)
    if image_size is None:
        return f"{target} ({model.name})", count_cost(model)
    built_for = getattr(model, "input_shape", None)
    if not isinstance(built_for, tuple) or len(built_for) != 4 or image_size < 1:
        raise SepnetsError(
            "--image-size counts a model of pictures at another size in pixels. "
            f"Received: --image-size {image_size} for inputs of shape {built_for}"
        )
    return f"{target} ({model.name})", count_cost(model, (image_size, image_size, built_for[-1]))


def _table(title: str, cost: "Cost", by: str, *, sort: bool) -> _Answer:
    from keras_sepnets.cli import tables

    rows = tables.cost_rows(cost, by)
    if sort:
        rows.sort(key=lambda row: row["multiply_adds"], reverse=True)
    content = {"network": title, **cost.to_json()}
    return _Answer(rows, content, lambda: tables.show_cost(title, cost, rows))


def _against_paper(network: str | None) -> _Answer:
    with quiet_imports():
        from keras_sepnets.cli import tables
        from keras_sepnets.cost.papers import compare_with_papers
        from keras_sepnets.settings.files import make_config

    if network:
        make_config({"model": {"name": network}})  # an unknown name is told
    comparisons = compare_with_papers(network)
    rows = [comparison.to_json() for comparison in comparisons]
    return _Answer(rows, rows, lambda: tables.show_comparisons(comparisons))


def _grid(picture: Path, csv_file: Path) -> _Answer:
    with quiet_imports():
        from keras_sepnets.cli import tables
        from keras_sepnets.cost.papers import mobilenet_grid
        from keras_sepnets.runs.plots import draw_grid

    rows = [vars(point) for point in mobilenet_grid()]
    write_file(picture, draw_grid(rows, "MobileNets: ImageNet top-1 of the authors' checkpoints over cost"))
    return _Answer(rows, rows, lambda: tables.show_grid(rows, picture, csv_file))


def _check_csv(file: Path, *, beside: Path | None) -> None:
    check_writable(file)
    if beside is not None and file.resolve() == beside.resolve():
        raise SepnetsError(f"The CSV file would replace {beside}; name another one. Received: {str(file)!r}")
