"""`sepnets ablate`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted
from keras_sepnets.cli.accuracy import describe_majority
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.console import drop_unread_output
from keras_sepnets.cli.options import json_option, network_options, read_settings, training_options

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.lab.ablation import Ablation, AblationResult
    from keras_sepnets.training.plan import Plan

# A small network on small pictures: six trainings in minutes on two cores.
DEFAULTS = {"model.name": "xception", "model.alpha": 0.25, "data.image_size": 48, "training.epochs": 8}
NETWORK_DEFAULTS = {"xception": {"model.middle_repeats": 2}, "inception_v3": {"data.image_size": 75}}


@click.command(cls=Command)
@click.option(
    "--intermediate-relu/--no-intermediate-relu",
    default=None,
    help="Test adding a ReLU between the depthwise and the pointwise step, or (default) removing it.",
)
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Test this change of any setting instead, such as model.residual=false or training.label_smoothing=0.1. "
    "Can be repeated.",
)
@click.option("--seeds", type=int, default=3, show_default=True, metavar="N", help="Number of paired runs.")
@network_options
@training_options
@click.option("--middle-repeats", type=int, metavar="N", help="Number of Xception's middle-flow modules.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the experiment.  [default: runs/ablate-NETWORK-DATASET-CHANGE]",
)
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
    """Train a network with and without one part or setting, over paired seeds, and compare the two.

    Apart from the change, both runs of a pair start from the same weights and see the same pictures in the same
    order. Finished runs are kept: repeat the command to continue, or give more seeds to add pairs. Defaults:
    Xception, alpha 0.25, 2 middle-flow modules, digits at 48 px, 8 epochs.

    \b
    sepnets ablate --no-intermediate-relu
    sepnets ablate --intermediate-relu --dataset cifar10 --image-size 64 --epochs 20 --seeds 5
    sepnets ablate --change model.residual=false
    sepnets ablate --change training.label_smoothing=0.1 --seeds 5
    sepnets ablate --model mobilenet_v2 --change model.bottleneck_activation=relu6
    """
    drop_unread_output()
    if changes and intermediate_relu is not None:
        raise SepnetsError("Test one change at a time: --change or --[no-]intermediate-relu, not both.")
    settings = read_settings(
        options,
        config=config,
        assignments=assignments,
        recipe=recipe,
        defaults=DEFAULTS,
        defaults_of=NETWORK_DEFAULTS,
    ).config
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.cli.progress import ProgressDisplay, make_progress
        from keras_sepnets.lab import ablation

    if changes:
        change = ablation.setting_ablation(settings, changes)
    else:
        change = ablation.intermediate_relu_ablation(intermediate_relu=bool(intermediate_relu))
    output = output or ablation.default_output(settings, change)
    console = make_console(as_json=as_json)
    with make_progress(console) as progress:
        result = ablation.ablate(
            settings,
            change,
            output=output,
            seeds=seeds,
            download=download,
            cache_folder=cache_folder,
            callbacks=lambda title, plan: [ProgressDisplay(progress, batch_size=plan.batch_size, title=title)],
            on_progress=partial(console.print, markup=False),
            on_plan=lambda plan: _show_plan(change, seeds, plan, console),
        )
    _show_result(result, console)
    if as_json:
        print_json(result.to_json())


def _show_plan(ablation: "Ablation", seeds: int, plan: "Plan", console: "Console") -> None:
    """Print what an ablation will do, with the plan of its reference."""
    from keras_sepnets.cli.plan import show_plan

    console.print(
        f"{ablation.reference.name} (reference) against {ablation.ablated.name} (ablated), "
        f"{counted(seeds, 'paired seed')}, {2 * seeds} runs; plan of the reference:"
    )
    show_plan(plan, console)


def _show_result(result: "AblationResult", console: "Console") -> None:
    """Print the variants, then the paired differences with their verdicts."""
    from rich.table import Table

    from keras_sepnets.base.intervals import TOO_FEW

    table = Table("variant", "test top-1", "mean training loss", "parameters", "multiply-adds", box=None)
    for role, variant in zip(("reference", "ablated"), result.ablation, strict=True):
        values = result.variants[variant.name].to_json()
        table.add_row(
            f"{variant.name} ({role})",
            _with_spread(values["mean"], values["std"], "{:.2%}"),
            _with_spread(values["training_loss_mean"], values["training_loss_std"], "{:.4f}"),
            f"{values['parameters']:,}",
            f"{values['multiply_adds']:,}",
        )
    console.print(table)
    for metric, difference, scale, form in (
        ("test top-1", result.top1, 100, "{:+.2f} points"),
        ("mean training loss", result.training_loss, 1, "{:+.4f}"),
    ):
        interval = ""
        if difference.interval and difference.verdict != TOO_FEW:
            low, high = (form.format(scale * end) for end in difference.interval)
            interval = f" (95 % interval {low} to {high})"
        mean = form.format(scale * difference.difference)
        console.print(f"{metric}, ablated - reference: {mean}{interval}: {difference.verdict}")
    if result.majority_top1 is not None:
        console.print(f"for comparison: {describe_majority(result.majority_top1)}")
    console.print(f"experiment: {result.output} (results.json, learning_curves.png)", markup=False)


def _with_spread(mean: float, std: float | None, form: str) -> str:
    return form.format(mean) + (f" ± {form.format(std)}" if std is not None else "")
