"""`sepnets train`."""

import shlex
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, size_of_weights
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.console import drop_unread_output
from keras_sepnets.cli.folds import refuse_with_folds, train_folds
from keras_sepnets.cli.options import (
    Settings,
    json_option,
    network_options,
    read_settings,
    rho_option,
    start_options,
    training_options,
)
from keras_sepnets.cli.parameter_types import Duration, StepsOrTime
from keras_sepnets.cli.rehearsal import show_dry_run, try_smoke_test
from keras_sepnets.cli.resuming import NEWEST, epochs_to_extend_to, find_run, moved_to, refuse_changes
from keras_sepnets.settings.files import to_toml
from keras_sepnets.settings.layers import Layer
from keras_sepnets.training.clock import TimeLimit

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.training.plan import Plan
    from keras_sepnets.training.trainer import TrainingResult

EPOCHS_OF_OVERFITTING = 100


@click.command(cls=Command)
@network_options
@training_options
@rho_option
@click.option("--patience", type=int, metavar="N", help="Stop after N epochs without improvement.")
@click.option(
    "--max-time",
    "max_seconds",
    type=Duration(),
    metavar="TIME",
    help="Train as many epochs as fit into 2h or 45m, start and test included; at most --epochs.",
)
@start_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder, new or empty.  [default: a new one in runs/]",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Resume an unfinished run exactly where it stopped; without RUN, the newest one.",
)
@click.option(
    "--extend",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue a finished run to a total of --epochs N.",
)
@click.option(
    "--checkpoint-every",
    type=StepsOrTime(),
    metavar="STEPS",
    help="Steps, or a time such as 10m, between checkpoints.  [default: at a cost of at most 1 % of the time]",
)
@click.option(
    "--overfit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Check that the network can learn N pictures by heart.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validate: K runs, so that each picture is tested once by a network that has not seen it.",
)
@click.option("--final", is_flag=True, help="After --folds, train one more network on every picture.")
@click.option("--smoke", is_flag=True, help="Try every part of the run on one batch; keep nothing.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the plan and the source of each setting; do not train. A form of the network is tried only with "
    "--accelerate auto.",
)
@click.option(
    "--print-config", is_flag=True, help="Print the settings as a TOML file with comments; do not train."
)
@json_option
def train(
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None,
    recipe: str | None,
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    resume: str | None,
    extend: Path | None,
    checkpoint_every: int | timedelta | None,
    max_seconds: float | None,
    final: bool,
    smoke: bool,
    dry_run: bool,
    print_config: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network, test it once, and keep everything in a run folder.

    Ctrl-C, SIGTERM and a closed terminal stop a run cleanly after the current step; after kill -9, its last
    checkpoint remains. --resume continues exactly there.

    \b
    sepnets train --model mobilenet --alpha 0.5
    sepnets train --model mobilenet --dataset folder:pictures --image-size 128 --epochs 30
    sepnets train --recipe xception-paper --dataset cifar10 --download --dry-run
    sepnets train --recipe finetune --weights runs/mobilenet-digits-1 --dataset folder:pictures
    sepnets train --recipe probe --weights imagenet --model mobilenet_v2 --dataset folder:pictures
    sepnets train --model xception --set model.middle_repeats=2 --set model.residual=false
    sepnets train --resume runs/mobilenet-digits-1
    sepnets train --extend runs/mobilenet-digits-1 --epochs 40
    sepnets train --dataset folder:pictures --folds 5 --final
    """
    drop_unread_output()
    limit, folds = TimeLimit.of(max_seconds), options["folds"]
    others = {"--resume": resume is not None, "--extend": extend is not None, "--smoke": smoke}
    others |= {"--overfit": options["overfit"] is not None, "--max-time": max_seconds is not None}
    refuse_with_folds(folds=folds, final=final, others=others)
    settings = read_settings(
        options,
        config=config,
        assignments=assignments,
        rho=rho,
        recipe=recipe,
        implied=_implied_settings(overfit=options["overfit"] is not None, max_time=max_seconds is not None),
    )
    if dry_run + smoke + print_config > 1:
        raise SepnetsError("--dry-run, --smoke and --print-config exclude each other; use one of them.")
    planning: dict[str, Any] = {"cache_folder": cache_folder, "max_seconds": limit}
    running = {**planning, "checkpoint_every": checkpoint_every}
    if resume is not None or extend is not None:
        fixed = output is not None or dry_run or smoke or print_config or recipe is not None or download
        _continue(settings, resume, extend, fixed=fixed, running=running, as_json=as_json)
    elif print_config:
        click.echo(to_toml(settings.config), nl=False)
    elif dry_run:
        show_dry_run(settings, download=download, as_json=as_json, folds=folds, final=final, **planning)
    elif smoke:
        try_smoke_test(settings, download=download, as_json=as_json, **planning)
    elif folds:
        shared = {"cache_folder": cache_folder, "checkpoint_every": checkpoint_every, "download": download}
        train_folds(settings, final=final, output=output, as_json=as_json, **shared)
    else:
        with quiet_imports():
            from keras_sepnets.training import trainer

        begin = partial(trainer.train, settings.config, output=output, download=download, **running)
        _train(begin, as_json=as_json)


def _implied_settings(*, overfit: bool, max_time: bool) -> Layer:
    """Return the settings that other options imply, unless they are given."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if overfit:
        values |= {"training.epochs": EPOCHS_OF_OVERFITTING, "data.augment": "none"}
        sources |= dict.fromkeys(values, "--overfit")
    if max_time:
        values["training.epochs"], sources["training.epochs"] = "auto", "--max-time"
    return Layer(values, sources)


def _continue(
    settings: Settings,
    resume: str | None,
    extend: Path | None,
    *,
    fixed: bool,
    running: dict[str, Any],
    as_json: bool,
) -> None:
    """Resume or extend a run; `fixed`: whether options are given that a run has settled already."""
    run = find_run(resume, extend)
    epochs = None if extend is None else epochs_to_extend_to(settings)
    refuse_changes(run, settings, extends=epochs is not None)
    running = {**running, "dataset": moved_to(run, settings)}
    if fixed:
        raise SepnetsError(
            "A run that continues keeps its folder, settings and data; leave out --output, --dry-run, --smoke, "
            "--print-config, --recipe and --download."
        )
    with quiet_imports():
        from keras_sepnets.training import trainer

    begin = partial(trainer.resume, run) if epochs is None else partial(trainer.extend, run, epochs)
    _train(partial(begin, **running), as_json=as_json)


def _train(begin: "Callable[..., TrainingResult]", *, as_json: bool) -> None:
    """Run a training with a progress bar and print its result.

    `begin` takes the keywords `callbacks`, `on_plan` and `on_progress`.
    """
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.cli.plan import show_plan
        from keras_sepnets.cli.progress import ProgressDisplay, make_progress

    console = make_console(as_json=as_json)
    with make_progress(console) as progress:
        bar = ProgressDisplay(progress)

        def on_plan(plan: "Plan") -> None:
            bar.batch_size = plan.batch_size
            show_plan(plan, console)
            plan.splits.on_read = bar.show_reading

        result = begin(callbacks=[bar], on_plan=on_plan, on_progress=bar.tell)
    _show_result(result, console)
    if as_json:
        print_json(result.to_json())


def _show_result(result: "TrainingResult", console: "Console") -> None:
    from keras_sepnets.cli.evaluate import show_evaluation, warn_of_bad_pictures

    overfits = result.run.config.data.overfit > 0
    if result.test:
        show_evaluation(result.test, console, with_limits=not overfits)
    else:
        console.print("test: none, because it was trained on every picture; its accuracy is that of the folds")
    speed = result.images_per_second
    each = f" ({1000 / speed:,.2f} ms for each)" if speed else ""
    parts = sorted(result.seconds.items(), key=lambda part: -part[1])
    console.print(
        f"{sum(result.seconds.values()):.0f} s: "
        + ", ".join(f"{part} {seconds:.0f} s" for part, seconds in parts if seconds >= 0.5)
        + f"; {speed:,.0f} images/s in training{each}"
    )
    if result.test and overfits:
        learned = "learned" if result.test.top1 == 1 else "did NOT learn"
        pictures = counted(result.test.num_examples, "picture")
        console.print(f"overfit: the network {learned} its {pictures} by heart")
    warn_of_bad_pictures(result.run, console)
    console.print(f"run: {result.run.path}", markup=False)
    if not overfits:
        _show_what_is_next(result, console)


def _show_what_is_next(result: "TrainingResult", console: "Console") -> None:
    """Print commands for the finished run, with its size and cost."""
    run, cost = result.run.path, result.cost
    console.print(
        f"network: {result.run.network_file()}, {cost.total:,} parameters, {size_of_weights(cost.total)}, "
        f"{cost.multiply_adds:,} multiply-adds",
        markup=False,
    )
    if result.test and result.test.top1 < 1:
        console.print(f"which pictures were wrong: {run}/predictions-test.csv", markup=False)
    name, longer = shlex.quote(str(run)), max(2 * len(result.run.read_history()), 1)
    console.print(
        f"next: sepnets predict {name} PICTURE...\n"
        f"      sepnets evaluate {name} --dataset folder:OTHER_PICTURES\n"
        f"      sepnets train --extend {name} --epochs {longer}",
        markup=False,
    )
