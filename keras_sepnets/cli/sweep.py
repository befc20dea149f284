"""`sepnets sweep`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.console import drop_unread_output
from keras_sepnets.cli.options import json_option, network_options, read_settings, training_options
from keras_sepnets.cli.parameter_types import Duration, Values

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.lab.results_models import ExperimentResult
    from keras_sepnets.lab.sweep import SweepPoint, SweepResult

ALPHAS, SIZES = [0.25, 0.5, 1.0], [32, 64]
SEEDS = 3


@click.command(cls=Command)
@click.option("--alphas", type=Values(), metavar="A,A,...", help="Width multipliers.  [default: 0.25,0.5,1]")
@click.option("--image-sizes", type=Values(int), metavar="N,N,...", help="Picture sizes, px.  [default: 32,64]")
@click.option(
    "--over",
    multiple=True,
    metavar="KEY=V,V,...",
    help="Sweep these values of a setting instead, such as model.dropout=0,0.2. Can be repeated.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, metavar="N", help="Runs a point."
)
@click.option(
    "--pick",
    metavar="CONDITIONS",
    help='Pick a point, such as "top1>=0.9, multiply_adds<20M", by its validation accuracy.',
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Runs at a time."
)
@click.option("--budget", type=Duration(), metavar="TIME", help="Train as many seeds as fit into 2h or 45m.")
@network_options
@training_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the sweep.  [default: runs/sweep-NETWORK-DATASET-SETTINGS]",
)
@json_option
def sweep(
    alphas: list[float] | None,
    image_sizes: list[int] | None,
    over: tuple[str, ...],
    seeds: int,
    pick: str | None,
    jobs: int,
    budget: float | None,
    config: Path | None,
    assignments: tuple[str, ...],
    recipe: str | None,
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network at several widths and picture sizes, and show what accuracy costs.

    The points are judged on validation pictures; the test is looked at once, for the point that is picked. Of the
    points that fulfil the conditions, that with the fewest multiply-adds is picked, or, if they do not ask for an
    accuracy, the most accurate one. Finished runs are kept: repeat the command to continue.

    \b
    sepnets sweep --dataset folder:pictures --epochs 20
    sepnets sweep --alphas 0.25,0.5 --image-sizes 32,48 --pick "top1>=0.9, multiply_adds<20M"
    sepnets sweep --over model.alpha=0.25,0.5 --over training.label_smoothing=0,0.1 --jobs 2
    """
    drop_unread_output()
    with quiet_imports():
        from keras_sepnets.cli.matrix import run_experiment
        from keras_sepnets.lab import sweep as lab
        from keras_sepnets.lab.change import given_settings
        from keras_sepnets.runs.folder import dataset_slug, runs_root

    if over and (alphas or image_sizes):
        raise SepnetsError("Sweep over widths and sizes, or over the settings of --over; leave one of them out.")
    if pick:
        lab.parse_conditions(pick)  # refuses them before anything is trained
    grid: dict[str, list[Any]] = {"model.alpha": alphas or ALPHAS, "data.image_size": image_sizes or SIZES}
    if over:
        grid = dict(map(lab.parse_values, over))
    settings = read_settings(options, config=config, assignments=assignments, recipe=recipe)
    for key in settings.given.intersection(grid):
        raise SepnetsError(f"The sweep itself changes {key}; leave it out.")
    base = given_settings(settings.config)
    command = shlex.join(["sepnets", *sys.argv[1:]])
    experiment = lab.sweep_experiment(base, grid, seeds=seeds, command=command)
    names = "-".join(key.rpartition(".")[2] for key in grid)
    usual = runs_root() / f"sweep-{settings.config.model.name}-{dataset_slug(settings.config)}-{names}"
    swept: dict[str, SweepResult] = {}

    def show(result: "ExperimentResult", console: "Console") -> None:
        points = lab.find_points(result)
        _show_points(points, console)
        picked = lab.pick_point(result, points, pick, experiment.base) if pick else None
        swept["result"] = lab.SweepResult(
            experiment=result.experiment, dataset=result.dataset, seeds=result.seeds, points=points, pick=picked
        )
        _show_pick(swept["result"], console)

    run_experiment(
        experiment,
        output=output or usual,
        jobs=jobs,
        budget=budget,
        download=download,
        cache_folder=cache_folder,
        as_json=as_json,
        show=show,
    )
    if as_json:
        print_json(swept["result"].to_json())


def _show_points(points: "Sequence[SweepPoint]", console: "Console") -> None:
    """Print the points, those on the front marked."""
    from rich.table import Table

    keys = list(points[0].settings)
    table = Table(
        "", *(key.rpartition(".")[2] for key in keys), "validation top-1", "parameters", "multiply-adds", box=None
    )
    for point in sorted(points, key=lambda point: point.multiply_adds):
        low, high = point.val_top1_interval or (None, None)
        interval = f" ({low:.2%} to {high:.2%})" if low is not None and high is not None else ""
        table.add_row(
            "*" if point.on_front else "",
            *(str(point.settings[key]) for key in keys),
            f"{point.val_top1:.2%}{interval}",
            f"{point.parameters:,}",
            f"{point.multiply_adds:,}",
        )
    console.print(table)
    console.print("*: no other point is more accurate for as few multiply-adds")


def _show_pick(result: "SweepResult", console: "Console") -> None:
    """Print what was picked, and the command that trains it."""
    if result.pick:
        words = ", ".join(f"{key}={value}" for key, value in result.pick.settings.items())
        console.print(
            f"picked for {result.pick.conditions}: {words}; validation top-1 {result.pick.val_top1:.2%}, "
            f"test top-1 {result.pick.test_top1:.2%}",
            markup=False,
        )
        console.print(f"train it: {result.pick.command}", markup=False)
    console.print(f"sweep: {result.experiment}", markup=False)
