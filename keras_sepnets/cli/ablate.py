"""`sepnets ablate`."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import config_from_options, json_option, network_options, training_options

# A small network on small pictures: six trainings in minutes on two cores.
DEFAULTS = {"model.name": "xception", "model.alpha": 0.25, "data.image_size": 48, "training.epochs": 8}
NETWORK_DEFAULTS = {"xception": {"model.middle_repeats": 2}, "inception_v3": {"data.image_size": 75}}


@click.command(cls=Command)
@click.option(
    "--intermediate-relu/--no-intermediate-relu",
    default=None,
    help="The change under test: put a ReLU between depthwise and pointwise step in, or (default) take it out.",
)
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Or this change of the network under test, such as model.residual=false. May be repeated.",
)
@click.option("--seeds", type=int, default=3, show_default=True, metavar="N", help="Pairs of runs.")
@network_options
@training_options
@click.option("--middle-repeats", type=int, metavar="N", help="Xception's middle-flow modules.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the experiment.")
@json_option
def ablate(
    intermediate_relu: bool | None,
    changes: tuple[str, ...],
    seeds: int,
    config: Path | None,
    assignments: tuple[str, ...],
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    recipe: str | None,
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
    sepnets ablate --change model.residual=false
    sepnets ablate --model mobilenet_v2 --change model.bottleneck_activation=relu6
    """
    if changes and intermediate_relu is not None:
        raise SepnetsError("Test one change at a time: --change or --[no-]intermediate-relu, not both.")
    settings = config_from_options(
        options, config=config, assignments=assignments, recipe=recipe, defaults=DEFAULTS
    )
    if settings.model.name in NETWORK_DEFAULTS:
        defaults = DEFAULTS | NETWORK_DEFAULTS[settings.model.name]
        settings = config_from_options(
            options, config=config, assignments=assignments, recipe=recipe, defaults=defaults
        )
    with quiet_imports():
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.lab import ablation

    if changes:
        change = ablation.setting_ablation(settings, changes)
    else:
        change = ablation.intermediate_relu_ablation(intermediate_relu=bool(intermediate_relu))
    output = output or ablation.default_output(settings, change)
    console = make_console(as_json=as_json)
    with display.make_progress(console) as progress:
        result = ablation.ablate(
            settings,
            change,
            output=output,
            seeds=seeds,
            download=download,
            cache_folder=cache_folder,
            callbacks=lambda title, plan: [
                display.ProgressDisplay(progress, batch_size=plan.batch_size, title=title)
            ],
            on_progress=partial(console.print, markup=False),
            on_plan=lambda plan: display.show_ablation_plan(change, seeds, plan, console),
        )
    display.show_ablation(result, console)
    if as_json:
        print_json(result.to_json())
