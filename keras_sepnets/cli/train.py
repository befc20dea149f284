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
    said_settings,
    training_options,
)
from keras_sepnets.config import RunConfig
from keras_sepnets.errors import SepnetsError
from keras_sepnets.runs import Run, newest_unfinished

NEWEST = "newest"  # what --resume means without a run


@click.command(cls=Command)
@network_options
@training_options
@rho_option
@click.option("--patience", type=int, metavar="N", help="End after N epochs without a better one.")
@click.option("--seed", type=int, metavar="N", help="Decides weights, order and augmentation.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Run folder, new or empty.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Go on with this unfinished run, exactly where it was; without RUN, with the newest.",
)
@click.option(
    "--extend",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with this finished run until it has --epochs N in all.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Steps between checkpoints.  [default: what takes at most 1 % of the time]",
)
@click.option("--dry-run", is_flag=True, help="Show the plan; train nothing, make no run folder.")
@json_option
def train(
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None,
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    resume: str | None,
    extend: Path | None,
    checkpoint_every: int | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network and test it once; everything is kept in a run folder.

    Ctrl-C and SIGTERM keep a run where it is, kill -9 where its last checkpoint is; --resume goes on just there.

    \b
    sepnets train --model mobilenet --alpha 0.5
    sepnets train --model mobilenet --dataset folder:pictures --image-size 128 --epochs 30
    sepnets train --model xception --set model.middle_repeats=2 --set model.residual=false
    sepnets train --dataset cifar10 --download --dry-run
    sepnets train --resume runs/mobilenet-digits-1
    sepnets train --extend runs/mobilenet-digits-1 --epochs 40
    """
    settings = config_from_options(options, config=config, assignments=assignments, rho=rho)
    run = None
    if resume is not None or extend is not None:
        run = _find(resume, extend)
        said = said_settings(options, config=config, assignments=assignments, rho=rho)
        if extend is not None and said != {"training.epochs"}:
            raise SepnetsError("Say how many epochs the run is to have, and nothing else: --extend RUN --epochs N")
        _refuse_changes(run, {key: _value(settings, key) for key in said if extend is None})
        if output is not None or dry_run or download:
            raise SepnetsError(
                "A run that goes on has its folder and data; leave --output, --dry-run, --download out."
            )
        epochs = settings.training.epochs
        settings = run.config
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

        common: dict[str, Any] = {
            "cache_folder": cache_folder,
            "checkpoint_every": checkpoint_every,
            "callbacks": [bar],
            "on_plan": on_plan,
        }
        if run is not None and extend is not None:
            result = training.extend(run, epochs, **common)
        elif run is not None:
            result = training.resume(run, **common)
        else:
            result = training.train(settings, output=output, download=download, **common)
    console.print(display.describe_evaluation(result.test))
    console.print(f"{result.train_seconds:.0f} s of training, {result.images_per_second:,.0f} images/s")
    display.warn_of_bad_pictures(result.run, console)
    console.print(f"run: {result.run.path}", markup=False)
    if as_json:
        print_json(result.to_json())


def _find(resume: str | None, extend: Path | None) -> Run:
    if extend is not None:
        if resume is not None:
            raise SepnetsError("--resume is for unfinished runs, --extend for finished ones; say one of them.")
        return Run.open(extend)
    return newest_unfinished() if resume in (None, NEWEST) else Run.open(Path(str(resume)))


def _refuse_changes(run: Run, said: dict[str, Any]) -> None:
    """Raise SepnetsError for a setting that differs from the run's: it would be another run."""
    for key, value in said.items():
        found = _value(run.config, key)
        if not _is_same(key, value, found, run):
            raise SepnetsError(
                f"A run is resumed with the settings that it began with: its {key} is {found!r}. Leave it out, or "
                f"begin a new run. Received: {value!r}"
            )


def _is_same(key: str, said: Any, found: Any, run: Run) -> bool:
    """Tell whether a setting is that of a run, which keeps it as it was settled by the plan."""
    if key == "data.dataset":
        scheme, _, path = said.partition(":")
        absolute = f"{scheme}:{Path(path).expanduser().resolve()}" if scheme in ("folder", "manifest") else said
        return found == absolute or str(found).startswith(f"{said}:")  # a TFDS name without its version
    if key == "training.batch_size" and said > found:  # it was lowered to the number of pictures
        return found == run.read_json("data.json")["train"]["num_examples"]
    return said == found


def _value(config: RunConfig, dotted_key: str) -> Any:
    value: Any = config
    for part in dotted_key.split("."):
        value = getattr(value, part, None)
    return value
