"""`sepnets ablate`."""

from pathlib import Path
from typing import Any

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import config_from_options, config_options

# A small network on small pictures: six trainings in minutes on two cores.
DEFAULTS = {"model.name": "xception", "model.alpha": 0.25, "data.image_size": 48, "training.epochs": 8}
XCEPTION_DEFAULTS = {"model.middle_repeats": 2}


@click.command(cls=Command)
@click.option(
    "--intermediate-relu/--no-intermediate-relu",
    default=False,
    help="The change under test: put a ReLU between depthwise and pointwise step in, or (default) take it out.",
)
@click.option("--seeds", type=int, default=3, show_default=True, metavar="N", help="Pairs of runs.")
@config_options
@click.option("--middle-repeats", type=int, metavar="N", help="Xception's middle-flow modules.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the experiment.")
def ablate(
    intermediate_relu: bool,
    seeds: int,
    config: Path | None,
    assignments: tuple[str, ...],
    output: Path | None,
    download: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network with and without one part, over paired seeds, and compare.

    Both networks of a pair start from the same weights and see the same pictures in the same order. Finished
    runs are kept: run the same command again to go on, or with more seeds to add some. Defaults: Xception,
    alpha 0.25, 2 middle-flow modules, digits at 48 px, 8 epochs.

    \b
    sepnets ablate --no-intermediate-relu
    sepnets ablate --intermediate-relu --dataset cifar10 --image-size 64 --epochs 20 --seeds 5
    """
    settings = config_from_options(options, config=config, assignments=assignments, defaults=DEFAULTS)
    if settings.model.name == "xception":
        defaults = DEFAULTS | XCEPTION_DEFAULTS
        settings = config_from_options(options, config=config, assignments=assignments, defaults=defaults)
    with quiet_imports():
        from keras_sepnets import ablation
        from keras_sepnets.cli import display

    change = ablation.intermediate_relu_ablation(intermediate_relu=intermediate_relu)
    output = output or ablation.default_output(settings, change)
    console = display.make_console(as_json=as_json)
    with display.make_progress(console) as progress:
        result = ablation.ablate(
            settings,
            change,
            output=output,
            seeds=seeds,
            download=download,
            callbacks=lambda title, plan: [
                display.ProgressDisplay(progress, batch_size=plan.config.training.batch_size, title=title)
            ],
            on_plan=lambda plan: display.show_ablation_plan(change, seeds, plan, console),
        )
    display.show_ablation(result, console)
    if as_json:
        print_json(result.to_json())
