"""`sepnets train`."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import (
    Duration,
    StepsOrTime,
    config_from_options,
    json_option,
    network_of_weights,
    network_options,
    rho_option,
    said_settings,
    training_options,
)
from keras_sepnets.runs.folder import Run, newest_unfinished
from keras_sepnets.settings.files import flatten, recipe_settings, to_toml
from keras_sepnets.settings.recipes import read_recipe
from keras_sepnets.settings.schema import AUGMENTATIONS, RunConfig, TransferConfig

NEWEST = "newest"  # what --resume means without a run
EPOCHS_OF_OVERFITTING = 100


@click.command(cls=Command)
@network_options
@training_options
@rho_option
@click.option("--patience", type=int, metavar="N", help="End after N epochs without a better one.")
@click.option(
    "--max-time",
    "max_seconds",
    type=Duration(),
    metavar="TIME",
    help="Such as 2h or 45m: as many epochs as fit, at most --epochs where said; ends resumable.",
)
@click.option(
    "--weights", metavar="W", help="Start from imagenet, a run folder or a weight file; the report says what fits."
)
@click.option(
    "--freeze",
    metavar="STAGE",
    help="Leave the network up to this stage as it is; backbone: all but the classifier.",
)
@click.option(
    "--unfreeze-after", type=int, metavar="N", help="Train everything after N epochs, at a lower learning rate."
)
@click.option("--deterministic", is_flag=True, default=None, help="The same bits on a GPU too; slower there.")
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
    type=StepsOrTime(),
    metavar="STEPS",
    help="Steps, or a time such as 10m, between checkpoints.  [default: what takes at most 1 % of the time]",
)
@click.option(
    "--overfit", type=click.IntRange(min=1), metavar="N", help="Can the network learn N pictures by heart?"
)
@click.option("--smoke", is_flag=True, help="Try every part of the run on a batch; keep nothing.")
@click.option("--dry-run", is_flag=True, help="Show the plan and where each setting comes from; train nothing.")
@click.option(
    "--print-config", is_flag=True, help="Print the settings as a TOML file with comments; train nothing."
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
    smoke: bool,
    dry_run: bool,
    print_config: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network and test it once; everything is kept in a run folder.

    Ctrl-C and SIGTERM keep a run where it is, kill -9 where its last checkpoint is; --resume goes on just there.

    \b
    sepnets train --model mobilenet --alpha 0.5
    sepnets train --model mobilenet --dataset folder:pictures --image-size 128 --epochs 30
    sepnets train --recipe xception-paper --dataset cifar10 --download --dry-run
    sepnets train --recipe finetune --weights runs/mobilenet-digits-1 --dataset folder:pictures
    sepnets train --model xception --set model.middle_repeats=2 --set model.residual=false
    sepnets train --resume runs/mobilenet-digits-1
    sepnets train --extend runs/mobilenet-digits-1 --epochs 40
    """
    said = said_settings(options, config=config, assignments=assignments, rho=rho)
    filled = {}  # settings that follow from other options -> which
    if "training.epochs" not in said and (max_seconds is not None or options["overfit"]):
        options["epochs"] = EPOCHS_OF_OVERFITTING if max_seconds is None else "auto"
        filled["training.epochs"] = "--overfit" if max_seconds is None else "--max-time"
    if "data.augment" not in said and options["overfit"]:
        options["augment"] = "none"
        filled["data.augment"] = "--overfit"
    settings = config_from_options(options, config=config, assignments=assignments, rho=rho, recipe=recipe)
    if dry_run + smoke + print_config > 1:
        raise SepnetsError("--dry-run, --smoke and --print-config are three different things; say one of them.")
    run = None
    if resume is not None or extend is not None:
        run = _find(resume, extend)
        if extend is not None and (said != {"training.epochs"} or settings.training.epochs == "auto"):
            raise SepnetsError("Say how many epochs the run is to have, and nothing else: --extend RUN --epochs N")
        _refuse_changes(run, {key: _value(settings, key) for key in said if extend is None})
        if output is not None or dry_run or smoke or print_config or recipe or download:
            raise SepnetsError(
                "A run that goes on has its folder, settings and data; leave --output, --dry-run, --smoke, "
                "--print-config, --recipe, --download out."
            )
        epochs = int(settings.training.epochs) if extend is not None else 0
        settings = run.config
    if print_config:
        click.echo(to_toml(settings), nl=False)
        return
    with quiet_imports():
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.training import plan as planning
        from keras_sepnets.training import trainer as training
        from keras_sepnets.training.smoke import smoke_test

    console = make_console(as_json=as_json)
    tell = partial(console.print, markup=False)
    if dry_run or smoke:
        plan = planning.make_plan(
            settings,
            download=download,
            cache_folder=cache_folder,
            max_seconds=max_seconds,
            on_progress=tell,
        )
        display.show_plan(plan, console)
        if smoke:
            steps = smoke_test(plan, on_step=lambda step: display.show_smoke_step(step, console))
            result_json: dict[str, Any] = {"steps": [step.to_json() for step in steps]}
        else:
            sources = _sources(plan, said, recipe, filled)
            display.show_sources(plan.config, sources, console)
            result_json = {**plan.to_json(), "sources": sources}
        if as_json:
            print_json(result_json)
        return
    with display.make_progress(console) as progress:
        bar = display.ProgressDisplay(progress)

        def on_plan(plan: planning.Plan) -> None:
            bar.batch_size = plan.batch_size
            display.show_plan(plan, console)

        common: dict[str, Any] = {
            "cache_folder": cache_folder,
            "checkpoint_every": checkpoint_every,
            "max_seconds": max_seconds,
            "callbacks": [bar],
            "on_plan": on_plan,
        }
        if run is not None and extend is not None:
            result = training.extend(run, epochs, **common)
        elif run is not None:
            result = training.resume(run, **common)
        else:
            result = training.train(settings, output=output, download=download, on_progress=tell, **common)
    display.show_result(result, console)
    if as_json:
        print_json(result.to_json())


def _sources(plan: Any, said: set[str], recipe: str | None, filled: dict[str, str]) -> dict[str, str]:
    """Return for every setting of a plan where its value comes from, in words."""
    given = read_recipe(recipe) if recipe else None
    from_recipe = (
        recipe_settings(given.settings, {key: _value(plan.config, key) for key in said | set(filled)})
        if given
        else {}
    )
    of_weights = network_of_weights(plan.config.transfer.weights)
    preset = AUGMENTATIONS[plan.config.data.augment].model_dump()
    sources = {}
    for key, value in flatten(plan.config.model_dump(mode="json")).items():
        words = []
        if key in filled:
            words.append(filled[key])
        elif key in said:
            words.append("given")
        elif given and key in from_recipe:
            words.append(f"{given.name}: {given.source_of(key)}" if given.paper else given.source_of(key))
        elif key.startswith("data.augmentation."):
            same = value == preset[key.rpartition(".")[2]]
            words.append(f"augmentation {plan.config.data.augment}{'' if same else ' of small pictures'}")
        elif key in of_weights:
            words.append("the network of the weights")
        if key in plan.chosen:
            words.append(plan.chosen[key])
        sources[key] = "; ".join(words) or "default"
    return sources


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
    if said == "auto":
        return True  # what it came to is in the run
    if key == "transfer.weights":
        return found == TransferConfig(weights=said).with_whole_path().weights
    if key == "training.batch_size" and said > found:  # it was lowered to the number of pictures
        return found == run.read_json("data.json")["train"]["num_examples"]
    return said == found


def _value(config: RunConfig, dotted_key: str) -> Any:
    value: Any = config
    for part in dotted_key.split("."):
        value = getattr(value, part, None)
    return value
