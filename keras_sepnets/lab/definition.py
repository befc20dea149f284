"""The file of an experiment: its question, its variants, its seeds, and the margin, stated before it runs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, ValidationError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.settings.files import read_toml
from keras_sepnets.settings.layers import flatten
from keras_sepnets.settings.networks import PositiveFloat, Settings

FILE = "experiment.toml"
WRITTEN = "# Written by sepnets ablate, which runs it again: sepnets ablate FOLDER"
FIRST_PILOT = 1000  # seed of the first pilot; the runs of an experiment have smaller ones
RESERVED = ("pilots", "figures")  # folders beside those of the arms
LARGEST_MARGIN = 0.1  # a larger one is meant in points

Source: TypeAlias = Literal["weights", "order", "augmentation", "dropout", "split"]
SOURCES: tuple[str, ...] = get_args(Source)
Seed = Annotated[int, Field(ge=0, lt=FIRST_PILOT)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Variant(Settings):
    """A name and the settings, by dotted key, that make the variant."""

    name: Annotated[str, Field(min_length=1)]
    """name of its runs' folder, and in tables"""
    settings: dict[str, Any] = Field(default_factory=dict)
    """what it changes in the base"""


class Tune(Settings):
    """Learning rates, the same for every arm, of which pilots choose one by their validation accuracy."""

    learning_rate: Annotated[list[PositiveFloat], Field(min_length=2)]
    """the rates"""
    seeds: Annotated[int, Field(ge=1)] = 2
    """number of pilots for each rate"""


class Experiment(Settings):
    """The definition of an experiment."""

    question: str = ""
    """what it asks"""
    source: str = ""
    """the paper's figure, or where the question comes from"""
    command: str = ""
    """the command that ran it"""
    cost: str = ""
    """what it costs"""
    expected: str = ""
    """what was expected before it ran"""
    seeds: Annotated[int, Field(ge=1, lt=FIRST_PILOT)] | Annotated[list[Seed], Field(min_length=1)] = 8
    """number of seeds, 0, 1, ..., or a list of them"""
    until_decided: bool = False
    """add seeds until an always-valid interval decides every comparison; seeds is then their largest number"""
    claim: Literal["difference", "equivalence"] = "difference"
    """what it is to show, and for what the p-values are adjusted"""
    margin: Annotated[float, Field(gt=0)] | None = None
    """accuracy, as a fraction, to within which arms count as the same"""
    fixed: list[Source] = Field(default_factory=list)
    """sources of variation that are the same for all seeds"""
    reach: list[Share] = Field(default_factory=list)
    """validation accuracies for which the steps and epochs are reported"""
    compare: Literal["reference", "all pairs"] = "reference"
    """compare every variant with the first one, or with every other"""
    base: dict[str, Any] = Field(default_factory=dict)
    """settings of all runs, by dotted key"""
    variants: list[Variant] = Field(default_factory=list)
    """what is compared; the first one is the reference"""
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    """settings, by dotted key, whose values cross with every variant"""
    tune: Tune | None = None
    """how the learning rate is chosen; without it, every arm has that of its settings"""

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def read_definition(path: str | Path) -> Experiment:
    """Return the experiment of a file, or of the folder that has it.

    Raises:
        SepnetsError: There is none, or it is invalid.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise SepnetsError(
            f"There is no experiment; name a folder with {FILE}, or such a file. Received: {str(path)!r}"
        )
    return make_experiment(read_toml(file), str(file))


def make_experiment(content: Mapping[str, Any], place: str = "the experiment") -> Experiment:
    """Return the experiment of a TOML file's content; raise SepnetsError with the first fault."""
    content = dict(content)
    if "reference" in content and "ablated" in content and "variants" not in content:  # the form of 0.1.0
        content["variants"] = [_of_old_form(content.pop(side)) for side in ("reference", "ablated")]
    for key in ("base", "grid"):
        if isinstance(content.get(key), dict):
            content[key] = flatten(content[key])
    if isinstance(content.get("variants"), list):
        content["variants"] = [_flat(variant) for variant in content["variants"]]
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise SepnetsError(f"{place}: {_explain(error)}") from None
    _check(experiment, place)
    return experiment


def _flat(variant: Any) -> Any:
    if isinstance(variant, dict) and isinstance(variant.get("settings"), dict):
        return variant | {"settings": flatten(variant["settings"])}
    return variant


def _of_old_form(side: Any) -> Any:
    """Return a variant of version 0.1.0, which changed networks only and left out their section."""
    if isinstance(side, dict) and isinstance(side.get("settings"), dict):
        settings = {
            key if "." in key else f"model.{key}": value for key, value in flatten(side["settings"]).items()
        }
        return side | {"settings": settings}
    return side


def _check(experiment: Experiment, place: str) -> None:
    """Refuse what is valid key by key but is no experiment."""
    if not experiment.variants:
        raise SepnetsError(
            f"{place}: an experiment needs variants to compare; add [[variants]], each with a name and settings."
        )
    folders: dict[str, str] = {}
    for variant in experiment.variants:
        folder = folder_name(variant.name)
        if folder.lower() in folders:
            raise SepnetsError(
                f"{place}: two variants have the name of one folder; give them different names. "
                f"Received: {folders[folder.lower()]!r} and {variant.name!r}"
            )
        if folder.lower() in RESERVED or not folder.strip("."):
            raise SepnetsError(
                f"{place}: a variant cannot have this name; choose another. Received: {variant.name!r}"
            )
        folders[folder.lower()] = variant.name
    if len(set(experiment.seed_numbers)) < len(experiment.seed_numbers):
        raise SepnetsError(f"{place}: a seed is named twice. Received: seeds={experiment.seeds}")
    _check_margin(experiment, place)
    for key, values in experiment.grid.items():
        if not values or any(value in values[:place] for place, value in enumerate(values)):
            raise SepnetsError(f"{place}: the grid needs different values of {key}. Received: {values}")
        both = [variant.name for variant in experiment.variants if key in variant.settings]
        if both:
            raise SepnetsError(
                f"{place}: the grid sets {key}, and so does the variant {both[0]!r}; drop one of them."
            )
    if experiment.tune:
        rates = experiment.tune.learning_rate
        if len(set(rates)) < len(rates):
            raise SepnetsError(f"{place}: tune.learning_rate needs different values. Received: {rates}")
        settings = [key for variant in experiment.variants for key in variant.settings]
        if "training.learning_rate" in (*settings, *experiment.grid):
            raise SepnetsError(
                f"{place}: [tune] chooses the learning rate of every arm, so no variant and no grid can set "
                "training.learning_rate; drop one of them."
            )


def _check_margin(experiment: Experiment, place: str) -> None:
    if experiment.claim == "equivalence" and experiment.margin is None:
        raise SepnetsError(
            f"{place}: an experiment that is to show equivalence states its margin before it runs, such as "
            'margin = 0.005 for half a point; add it. Received: claim = "equivalence" without a margin'
        )
    if experiment.margin is not None and experiment.margin > LARGEST_MARGIN:
        raise SepnetsError(
            f"{place}: margin is an accuracy as a fraction, so 0.005 is half a point, and at most "
            f"{LARGEST_MARGIN:g}. Received: margin={experiment.margin:g}"
        )


def folder_name(name: str) -> str:
    """Return a name in characters that suit a folder's name."""
    return re.sub(r"[^\w.,=+-]+", "-", name)


def _explain(error: ValidationError) -> str:
    """Describe the first fault in one sentence, with the nearest valid key."""
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    path = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        tables: dict[str, type[Settings]] = {"variants": Variant, "tune": Tune}
        table = tables.get(path[0], Experiment) if len(path) > 1 else Experiment
        known = list(table.model_fields)
        where = "" if table is Experiment else f" of {path[0]}"
        return f'unknown key{where} "{path[-1]}".{did_you_mean(path[-1], known)} Known keys: {", ".join(known)}.'
    if fault["type"] == "missing":
        return f"{'.'.join(path)} is missing; add it."
    words = [part for part in path if not re.fullmatch(r"int|float|list\[.*\]|constrained-.*|function-.*", part)]
    return f"{'.'.join(words)}: {fault['msg']}. Received: {fault['input']!r}"


def to_toml(experiment: Experiment) -> str:
    """Return the file of an experiment."""
    lines = [WRITTEN]
    for key in type(experiment).model_fields:
        value = getattr(experiment, key)
        if key in ("base", "variants", "grid", "tune") or value == Experiment.model_fields[key].get_default(
            call_default_factory=True
        ):
            continue
        lines.append(f"{key} = {_to_toml_value(value)}")
    lines += ["", "[base]", *(f"{key} = {_to_toml_value(value)}" for key, value in experiment.base.items())]
    for variant in experiment.variants:
        settings = ", ".join(
            f"{json.dumps(key)} = {_to_toml_value(value)}" for key, value in variant.settings.items()
        )
        lines += ["", "[[variants]]", f"name = {_to_toml_value(variant.name)}", f"settings = {{ {settings} }}"]
    if experiment.grid:
        lines += ["", "[grid]"]
        lines += [f"{json.dumps(key)} = {_to_toml_value(values)}" for key, values in experiment.grid.items()]
    if experiment.tune:
        tune = experiment.tune
        lines += ["", "[tune]", f"learning_rate = {_to_toml_value(tune.learning_rate)}", f"seeds = {tune.seeds}"]
    return "\n".join(lines) + "\n"


def _to_toml_value(value: Any) -> str:
    """Return a value in TOML, which writes lists as JSON does, and has no null."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_to_toml_value, value))}]"
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)
