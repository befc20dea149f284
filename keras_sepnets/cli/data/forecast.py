"""`sepnets data forecast`."""

from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.text import printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.console import drop_unread_output
from keras_sepnets.cli.options import json_option, network_options, read_settings, start_options, training_options
from keras_sepnets.cli.parameter_types import Fractions

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.lab.forecast import Forecast
    from keras_sepnets.training.plan import Plan

CLASSES_SHOWN = 30


@click.command(cls=Command)
@click.argument("source")
@click.option(
    "--target",
    type=float,
    metavar="A",
    help="Accuracy to reach, such as 0.95.  [default: say what twice the pictures would bring]",
)
@click.option(
    "--seeds", type=int, default=3, show_default=True, metavar="N", help="Trainings for each share of pictures."
)
@click.option(
    "--fractions",
    type=Fractions(),
    default="1/8,1/4,1/2,1",
    show_default=True,
    metavar="F,F,...",
    help="Shares of the training pictures, of every class.",
)
@network_options
@partial(training_options, dataset=False)
@partial(start_options, seed=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the forecast.  [default: runs/forecast-DATASET; of fitted classifiers with -fitted]",
)
@json_option
def forecast(
    source: str,
    target: float | None,
    seeds: int,
    fractions: tuple[float, ...],
    config: Path | None,
    assignments: tuple[str, ...],
    recipe: str | None,
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say how many more pictures an accuracy needs, in all and of each class, or that the data cannot say.

    Trains on an eighth, a quarter, half and all of the training pictures and fits a curve to the accuracies. With
    --weights, and without a recipe or a number of epochs, it only fits classifiers to the features of the weights,
    which takes minutes at most for a few thousand pictures. Otherwise it trains a network for each share and seed;
    repeat the command to continue. The test pictures are not part of the answer.

    \b
    sepnets data forecast folder:pictures --weights mobilenet.keras --target 0.95
    sepnets data forecast folder:pictures --weights imagenet --model mobilenet_v2 --image-size 160
    sepnets data forecast folder:pictures --recipe small-data --image-size 64 --target 0.9 --seeds 2
    """
    drop_unread_output()
    read = partial(read_settings, options | {"dataset": source}, config=config, assignments=assignments)
    settings = read(recipe=recipe)
    if settings.config.transfer.weights and not recipe and "training.epochs" not in settings.given:
        settings = read(recipe="probe")
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.cli.progress import ProgressDisplay, make_progress
        from keras_sepnets.lab import forecast as lab

    console = make_console(as_json=as_json)
    with make_progress(console) as progress:
        result = lab.forecast(
            settings.config,
            target=target,
            shares=fractions,
            seeds=seeds,
            output=output or lab.default_output(settings.config),
            download=download,
            cache_folder=cache_folder,
            callbacks=lambda title, plan: [ProgressDisplay(progress, batch_size=plan.batch_size, title=title)],
            on_plan=partial(_show_plan, console),
            on_progress=partial(console.print, markup=False),
        )
    _show_forecast(result, console)
    if as_json:
        print_json(result.to_json())


def _show_plan(console: "Console", plan: "Plan", trainings: list[str]) -> None:
    """Print the plan for all pictures, and how the shares are trained and tested."""
    from keras_sepnets.cli.plan import show_plan

    show_plan(plan, console)
    for heading, line in zip_longest(["forecast"], trainings, fillvalue=""):
        console.print(f"{heading:<9} {line}", markup=False)


def _show_forecast(result: "Forecast", console: "Console") -> None:
    """Print what was measured, the answer, and that for each class, the lowest accuracy first."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("share", "training pictures", "accuracy", "lowest and highest seed", box=None)
    for part in result.shares:
        spread = f"{min(part.top1):.1%} to {max(part.top1):.1%}"
        table.add_row(f"{part.share:.4g}", f"{part.num_examples:,}", f"{part.mean:.1%}", spread)
    console.print(table)
    target = result.overall.target
    if len(result.classes) > 1:
        aim = [] if target is None else [f"more for {100 * target:.4g}%"]
        table = Table("class", "training pictures", "recognised", "with twice the pictures", *aim, box=None)
        for one in sorted(result.classes, key=lambda growth: growth.measured)[:CLASSES_SHOWN]:
            low, high = one.doubled.interval_80 if one.doubled else (0.0, 0.0)
            table.add_row(
                escape(printable(one.class_name or "")),
                f"{one.num_examples:,}",
                f"{one.measured:.0%} of {one.num_tested:,}",
                f"{one.doubled.top1:.0%} ({low:.0%} to {high:.0%})" if one.doubled else "too few to say",
                *([] if target is None else [one.more_in_short]),
            )
        console.print(table)
        if len(result.classes) > CLASSES_SHOWN:
            console.print(f"and {len(result.classes) - CLASSES_SHOWN:,} more (all with --json)")
        console.print("classes: 80 % intervals, while all classes grow in the same proportion")
    if target is not None and result.overall.doubled:
        console.print(result.overall.model_copy(update={"target": None}).sentence, markup=False)
    console.print(result.overall.sentence, markup=False)
    console.print(f"forecast: {result.output} (forecast.json, forecast.png)", markup=False)
