"""`sepnets train`."""

from pathlib import Path
from typing import Any

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import (
    config_from_options,
    json_option,
    network_options,
    rho_option,
    training_options,
)


@click.command(cls=Command)
@network_options
@training_options
@rho_option
@click.option("--seed", type=int, metavar="N", help="Decides weights, order and augmentation.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Run folder, new or empty.")
@click.option("--dry-run", is_flag=True, help="Show the plan; train nothing, make no run folder.")
@json_option
def train(
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None,
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network and test it once; everything is kept in a run folder.

    \b
    sepnets train --model mobilenet --alpha 0.5
    sepnets train --model mobilenet --dataset folder:pictures --image-size 128 --epochs 30
    sepnets train --model xception --set model.middle_repeats=2 --set model.residual=false
    sepnets train --dataset cifar10 --download --dry-run
    """
    settings = config_from_options(options, config=config, assignments=assignments, rho=rho)
    with quiet_imports():
        from keras_sepnets import training
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    if dry_run:
        plan = training.make_plan(settings, download=download, cache_folder=cache_folder)
        display.show_plan(plan, console)
        if as_json:
            print_json(plan.to_json())
        return
    with display.make_progress(console) as progress:
        bar = display.ProgressDisplay(progress, batch_size=settings.training.batch_size)

        def on_plan(plan: training.Plan) -> None:
            bar.batch_size = plan.config.training.batch_size
            display.show_plan(plan, console)

        result = training.train(
            settings,
            output=output,
            download=download,
            cache_folder=cache_folder,
            callbacks=[bar],
            on_plan=on_plan,
        )
    console.print(display.describe_evaluation(result.test))
    console.print(f"{result.train_seconds:.0f} s of training, {result.images_per_second:,.0f} images/s")
    display.warn_of_bad_pictures(result.run, console)
    console.print(f"run: {result.run.path}", markup=False)
    if as_json:
        print_json(result.to_json())
