"""The options that commands share, and the settings that they make."""

import math
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.command import quiet_imports
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.files import flatten, from_toml_value, load_config, read_toml
from keras_sepnets.settings.recipes import read_recipe
from keras_sepnets.settings.schema import RunConfig

Function = TypeVar("Function", bound=Callable[..., Any])

# Option name -> dotted key of the settings.
SETTINGS = {
    "model": "model.name",
    "alpha": "model.alpha",
    "middle_repeats": "model.middle_repeats",
    "dataset": "data.dataset",
    "image_size": "data.image_size",
    "augment": "data.augment",
    "on_bad_picture": "data.on_bad_picture",
    "overfit": "data.overfit",
    "weights": "transfer.weights",
    "freeze": "transfer.freeze",
    "unfreeze_after": "transfer.unfreeze_after",
    "class_weights": "training.class_weights",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "patience": "training.patience",
    "accelerate": "training.accelerate",
    "precision": "training.precision",
    "deterministic": "training.deterministic",
    "seed": "training.seed",
}


class NumberOrAuto(click.ParamType):
    """A whole number, or the word auto."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or the word."""
        try:
            return value if value == "auto" else int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a whole number nor auto", param, ctx)


class StepsOrTime(click.ParamType):
    """A number of steps, or a time such as 10m."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an int or a timedelta."""
        if isinstance(value, int | timedelta):
            return value
        if not value.isdecimal():
            return timedelta(seconds=Duration().convert(value, param, ctx))
        if not int(value):
            self.fail("there is no checkpoint every 0 steps; say 1 or more", param, ctx)
        return int(value)


class Duration(click.ParamType):
    """A time such as 2h, 90m, 1h30m or 45s."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return seconds."""
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", value)
        try:
            amounts = [float(part or 0) for part in parts.groups()] if parts else []
        except ValueError:
            amounts = []
        seconds = sum(amount * unit for amount, unit in zip(amounts, (3600, 60, 1), strict=False))
        if seconds <= 0:
            self.fail(f"{value!r} is no time; write it as 2h, 90m, 1h30m or 45s", param, ctx)
        return float(seconds)


cache_option = click.option(
    "--cache",
    "cache_folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep decoded pictures there; by default in memory, if they fit a quarter of it.",
)
_NETWORK_OPTIONS = (
    click.option("--model", metavar="NAME", help="Network; sepnets models lists them.  [default: mobilenet]"),
    click.option("--alpha", type=float, metavar="A", help="Width multiplier: scales every layer's filters."),
    click.option("--image-size", type=int, metavar="N", help="Height and width in pixels."),
    click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings in TOML."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting, such as model.residual=false. May be repeated.",
    ),
)
_TRAINING_OPTIONS = (
    click.option("--recipe", metavar="NAME", help="Settings that belong together; sepnets recipes lists them."),
    click.option(
        "--dataset",
        metavar="NAME",
        help="digits (built in), a TFDS name such as cifar10, or your own pictures: folder:PATH, manifest:FILE.",
    ),
    click.option("--download", is_flag=True, help="Allow TFDS to download the data set."),
    cache_option,
    click.option("--on-bad-picture", metavar="WHAT", help="stop (default), or skip files that cannot be read."),
    click.option("--augment", metavar="NAME", help="none, light (no mirror images), standard or strong."),
    click.option("--class-weights", metavar="WHAT", help="balanced: all classes weigh the same in the loss."),
    click.option("--epochs", type=int, metavar="N", help="Passes over the training pictures."),
    click.option(
        "--batch-size", type=NumberOrAuto(), metavar="N", help="Pictures a step; auto: what fits the memory."
    ),
    click.option("--learning-rate", type=float, metavar="R", help="The highest, after the warm-up."),
    click.option(
        "--accelerate", metavar="WHAT", help="auto (default): what is measured to train faster here; on, off."
    ),
    click.option(
        "--precision", metavar="WHAT", help="float32 (default), bfloat16, or auto: what is measured to be faster."
    ),
)
rho_option = click.option(
    "--rho", type=float, metavar="R", help="Resolution multiplier: image size / the paper's size."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else, on stdout."
)


def network_options(function: Function) -> Function:
    """Add the options that describe a network."""
    for option in reversed(_NETWORK_OPTIONS):
        function = option(function)
    return function


def training_options(function: Function) -> Function:
    """Add the options that describe a network's data and training."""
    for option in reversed(_TRAINING_OPTIONS):
        function = option(function)
    return function


def config_from_options(
    options: dict[str, Any],
    *,
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None = None,
    recipe: str | None = None,
    defaults: dict[str, Any] | None = None,
) -> RunConfig:
    """Return the settings: defaults, then recipe, file, options, and KEY=VALUE, each over the last.

    A run that starts from the weights of another has the same network, as far as nothing else is said.
    """
    tables = read_recipe(recipe).settings if recipe else None
    settings = {SETTINGS[name]: value for name, value in options.items() if value is not None}
    if rho is not None:
        given = load_config(config, settings, assignments, recipe=tables)
        if given.data.image_size is not None:
            raise SepnetsError(
                "--rho and an image size say the same thing; leave one of them out. "
                f"Received: --rho {rho} and data.image_size={given.data.image_size}"
            )
        settings["data.image_size"] = _size_from_rho(rho, given.model.name)
    found = load_config(config, settings, assignments, recipe=tables, defaults=defaults)
    network = network_of_weights(found.transfer.weights)
    if not network:
        return found
    load = partial(load_config, config, settings, assignments, recipe=tables)
    name = {"model.name": network["model.name"]}
    if load(defaults=(defaults or {}) | name).model.name != network["model.name"]:
        return found
    return load(defaults=(defaults or {}) | network)


def network_of_weights(weights: str | None) -> dict[str, Any]:
    """Return the network's settings of the run that weights come from, by dotted key; none where it is no run."""
    run = None if weights is None else Run(Path(weights).expanduser())
    if run is None or not run.has("config.json"):
        return {}
    network = run.config.model.model_dump(exclude={"bn_momentum"})
    return {f"model.{key}": value for key, value in network.items()}


def said_settings(
    options: dict[str, Any], *, config: Path | None, assignments: tuple[str, ...], rho: float | None = None
) -> set[str]:
    """Return the dotted keys of all settings that the user named, wherever."""
    said = {SETTINGS[name] for name, value in options.items() if value is not None}
    for text in assignments:
        key, _, value = text.partition("=")
        found = from_toml_value(value)
        said |= set(flatten({key.strip(): found})) if isinstance(found, dict) else {key.strip()}
    said |= {"data.image_size"} if rho is not None else set()
    return said | set(flatten(read_toml(config)) if config else {})


def _size_from_rho(rho: float, model: str) -> int:
    with quiet_imports():
        from keras_sepnets.models.registry import NETWORKS

    size = round(rho * NETWORKS[model].default_size) if math.isfinite(rho) else 0
    if size < NETWORKS[model].minimum_size:
        raise SepnetsError(
            "rho, the resolution multiplier, is too small or no number: "
            f"{model} needs {NETWORKS[model].minimum_size} of its "
            f"{NETWORKS[model].default_size} px. Received: rho={rho}"
        )
    return size
