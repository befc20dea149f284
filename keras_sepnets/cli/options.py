"""The options that commands share, and the settings that follow from them."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import whole_path
from keras_sepnets.cli.command import quiet_imports
from keras_sepnets.cli.parameter_types import NumberOrAuto
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.files import make_config, read_given
from keras_sepnets.settings.layers import NOTHING, Layer, merge, with_rate_for_weights
from keras_sepnets.settings.recipes import read_recipe
from keras_sepnets.settings.schema import DEFAULT_NETWORK, NETWORK_SETTINGS, SECTIONS, RunConfig

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
    "folds": "data.folds",
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


def setting_choice(key: str) -> click.Choice:
    """Return the choice among the words that the schema allows for a setting."""
    section, field = key.split(".")
    return click.Choice(_literals(SECTIONS[section].model_fields[field].annotation))


def _literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for part in get_args(annotation) for word in _literals(part)]


augment_option = click.option(
    "--augment",
    type=setting_choice("data.augment"),
    help="How training pictures vary; light has no mirror images.  [default: depends on the data set]",
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change any setting, such as model.residual=false. Can be repeated.",
)
cache_option = click.option(
    "--cache",
    "cache_folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep decoded pictures in this folder.  [default: in memory, if they fit into a quarter of it]",
)
_NETWORK_OPTIONS = (
    click.option(
        "--model",
        metavar="NAME",
        help="Network; sepnets models lists them.  [default: mobilenet; of ablate: xception]",
    ),
    click.option("--alpha", type=float, metavar="A", help="Width multiplier: scales the filters of every layer."),
    click.option("--image-size", type=int, metavar="N", help="Height and width in pixels."),
    click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Read settings from TOML."),
    set_option,
)
_LEARNING_RATE_OPTION = click.option(
    "--learning-rate", type=float, metavar="R", help="Peak, reached after the warm-up."
)
_TRAINING_OPTIONS = (
    click.option("--recipe", metavar="NAME", help="Start from a recipe; sepnets recipes lists them."),
    click.option(
        "--dataset",
        metavar="NAME",
        help="digits (built in), a TFDS name such as cifar10, or your own pictures: folder:PATH, manifest:FILE.",
    ),
    click.option("--download", is_flag=True, help="Allow TFDS to download the data set."),
    cache_option,
    click.option(
        "--on-bad-picture",
        type=setting_choice("data.on_bad_picture"),
        help="Stop at files that cannot be read, or skip them.  [default: stop]",
    ),
    augment_option,
    click.option(
        "--class-weights",
        type=setting_choice("training.class_weights"),
        help="balanced: every class has the same total weight in the loss.  [default: none]",
    ),
    click.option("--epochs", type=int, metavar="N", help="Passes over the training pictures."),
    click.option(
        "--batch-size",
        type=NumberOrAuto(),
        metavar="N",
        help="Pictures per step; auto: as many as fit into memory.",
    ),
    _LEARNING_RATE_OPTION,
    click.option(
        "--accelerate",
        type=setting_choice("training.accelerate"),
        help="Use fused operations; auto measures which is faster here.  [default: auto]",
    ),
    click.option(
        "--precision",
        type=setting_choice("training.precision"),
        help="Number format of the training; auto measures which is faster.  [default: float32]",
    ),
)
_START_OPTIONS = (
    click.option(
        "--weights",
        metavar="W",
        help="Start from imagenet, a run folder or a weight file; the plan shows what fits.",
    ),
    click.option(
        "--freeze",
        metavar="STAGE",
        help="Freeze the network up to this stage; backbone: everything but the classifier.",
    ),
    click.option(
        "--unfreeze-after",
        type=int,
        metavar="N",
        help="Train everything after N epochs, at a lower learning rate.",
    ),
    click.option(
        "--deterministic", is_flag=True, default=None, help="Bit-identical results on GPUs too; slower there."
    ),
    click.option("--seed", type=int, metavar="N", help="Seed of weights, order and augmentation."),
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


def training_options(function: Function, *, learning_rate: bool = True) -> Function:
    """Add the options that describe a network's data and training; `learning_rate`: with --learning-rate R."""
    for option in reversed(_TRAINING_OPTIONS):
        if learning_rate or option is not _LEARNING_RATE_OPTION:
            function = option(function)
    return function


def start_options(function: Function) -> Function:
    """Add the options that describe what a training starts from: weights, frozen stages, seed."""
    for option in reversed(_START_OPTIONS):
        function = option(function)
    return function


class Settings(NamedTuple):
    """The settings that a command is to run with."""

    config: RunConfig
    sources: dict[str, str]  # where each setting comes from, by dotted key; a missing one has its default
    given: frozenset[str]  # dotted keys that the user set in a file or by options


def read_settings(
    options: dict[str, Any],
    *,
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None = None,
    recipe: str | None = None,
    defaults: dict[str, Any] | None = None,
    defaults_of: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    implied: Layer = NOTHING,
) -> Settings:
    """Merge a command's defaults, the network of the weights, a recipe, a file, options and KEY=VALUE texts.

    Each overrides the one before. A run that starts from another run's weights has that run's network, unless
    another network is asked for. `defaults_of` has more defaults for single networks, by their names.

    Raises:
        SepnetsError: A file cannot be read, or a setting is invalid.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    flags = Layer(
        {SETTINGS[name]: value for name, value in chosen.items()},
        {SETTINGS[name]: f"--{name.replace('_', '-')}" for name in chosen},
    )
    given = read_given(config, flags, assignments)
    recipe_layer = read_recipe(recipe).layer() if recipe else NOTHING
    network_of = functools.cache(network_of_weights)

    def merged(values: dict[str, Any]) -> Layer:
        defaults = Layer.of(values, "default")
        return merge(given, implied=implied, recipe=recipe_layer, defaults=defaults, network_of=network_of)

    layer = merged(defaults or {})
    network = layer.values.get("model.name", DEFAULT_NETWORK)
    if network in defaults_of:
        layer = merged((defaults or {}) | defaults_of[network])
    layer = with_rate_for_weights(layer)
    if rho is not None and network in NETWORK_SETTINGS:
        size = _size_from_rho(rho, network, layer.values.get("data.image_size"))
        layer = Layer.of({"data.image_size": size}, "--rho").over(layer)
        given = given.over(Layer.of({"data.image_size": size}))
    return Settings(make_config(layer.tree()), layer.sources, frozenset(given.values))


def network_of_weights(weights: str) -> Layer:
    """Return the network's settings of the run or file that weights come from; nothing if they are unknown."""
    path = whole_path(weights)
    if weights in ("none", "imagenet"):
        return NOTHING
    if Run(path).has("config.json"):
        network = Run(path).config.model.model_dump(exclude={"bn_momentum"})
    elif path.is_file():
        with quiet_imports():
            from keras_sepnets.models.recognition import recognise

        found = recognise(path)
        network = found.model_dump(exclude_unset=True) if found else {}
    else:
        return NOTHING
    return Layer.of({f"model.{key}": value for key, value in network.items()}, "the network of the weights")


def _size_from_rho(rho: float, model: str, image_size: Any) -> int:
    if image_size is not None:
        raise SepnetsError(
            "--rho and an image size set the same thing; leave one of them out. "
            f"Received: --rho {rho} and data.image_size={image_size}"
        )
    with quiet_imports():
        from keras_sepnets.models.registry import NETWORKS

    size = round(rho * NETWORKS[model].default_size) if math.isfinite(rho) else 0
    if size < NETWORKS[model].minimum_size:
        raise SepnetsError(
            f"rho, the resolution multiplier, is too small or not finite: {model} needs at least "
            f"{NETWORKS[model].minimum_size} of its {NETWORKS[model].default_size} px. Received: rho={rho}"
        )
    return size
