"""Settings from TOML files and options, validated, and back into a TOML file with comments."""

import json
import os
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import read_regular_file
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.settings.layers import NOTHING, Layer, flatten, merge, with_rate_for_weights
from keras_sepnets.settings.schema import (
    DEFAULT_NETWORK,
    NETWORK_SETTINGS,
    SECTIONS,
    AugmentationConfig,
    RunConfig,
)

COMMENT_COLUMN = 28
MOST_BYTES = 10_000_000  # of a file with settings
OTHER_NAMES = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay"}  # what people type for settings


def load_config(
    file: str | os.PathLike | None = None,
    options: dict[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
    *,
    recipe: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
) -> RunConfig:
    """Return validated settings: defaults, overridden by recipe, file, options and assignments, in this order.

    Args:
        file: A TOML file with the tables `model`, `data`, `training` and `transfer`.
        options: Values by dotted key, such as `{"model.alpha": 0.5}`.
        assignments: Texts such as `model.residual=false`; the value is read as TOML, otherwise as a string.
        recipe: A recipe's tables. Its network settings are dropped if another network is asked for.
        defaults: Values by dotted key that replace the schema's defaults.

    Raises:
        SepnetsError: The file cannot be read, or a key or value is invalid.
    """
    given = read_given(file, Layer.of(options or {}), assignments)
    merged = merge(given, recipe=Layer.of(flatten(recipe or {})), defaults=Layer.of(defaults or {}))
    return make_config(with_rate_for_weights(merged).tree())


def read_given(file: str | os.PathLike | None, options: Layer, assignments: tuple[str, ...]) -> Layer:
    """Return what a user set: a TOML file, overridden by options, overridden by `dotted.key=value` texts.

    Raises:
        SepnetsError: The file cannot be read, or a text is not of this form.
    """
    tables = read_toml(Path(file)) if file else {}
    for key in tables:
        if key not in RunConfig.model_fields:
            make_config({key: tables[key]})  # refuses it, even if it is empty or has a dot
    given = options.over(Layer.of(flatten(tables), str(file)).over(NOTHING))
    for text in [assignments] if isinstance(assignments, str) else assignments:
        given = _parse_assignment(text).over(given)
    return given


def check_keys(assignments: Sequence[str], allowed: Collection[str]) -> None:
    """Refuse `dotted.key=value` texts of other settings than these, or than those in tables of these names."""
    for text in assignments:
        for key in read_given(None, NOTHING, (text,)).values:
            if not any(f"{key}.".startswith(f"{name}.") for name in allowed):
                raise SepnetsError(
                    f"Here, --set takes only settings of {', '.join(allowed)}.{did_you_mean(key, allowed)} "
                    f"Received: {text!r}"
                )


def override(config: RunConfig, assignment: str) -> RunConfig:
    """Return the settings with one `dotted.key=value` text applied; raise SepnetsError if it is invalid."""
    tree = config.model_dump(exclude_unset=True)  # what is unset stays open
    tree["model"] = config.model.model_dump()
    return make_config(_parse_assignment(assignment).over(Layer.of(flatten(tree))).tree())


def make_config(tree: dict[str, Any]) -> RunConfig:
    """Return the validated RunConfig of nested plain values; raise SepnetsError with the first fault."""
    model = tree.setdefault("model", {})
    if isinstance(model, dict):
        name = model.setdefault("name", DEFAULT_NETWORK)
        if not isinstance(name, str) or name not in NETWORK_SETTINGS:
            raise SepnetsError(
                f'Unknown model "{name}".{did_you_mean(str(name), NETWORK_SETTINGS)} '
                f"Known models: {', '.join(NETWORK_SETTINGS)}."
            )
    try:
        config = TypeAdapter(RunConfig).validate_python(tree)
    except ValidationError as error:
        raise SepnetsError(_explain(error)) from None
    if config.training.epochs == 0 and config.transfer.classifier != "fitted":
        raise SepnetsError(
            "training.epochs: a run has at least 1 epoch, unless it only fits a classifier "
            "(transfer.classifier=fitted, as in the recipe probe). Received: 0"
        )
    return config


def read_toml(file: Path) -> dict[str, Any]:
    """Return a TOML file's content; raise SepnetsError if it is missing or not TOML."""
    try:
        return tomllib.loads(read_regular_file(file, MOST_BYTES).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SepnetsError(f"The config file cannot be read: {error}. Received: {str(file)!r}") from None


def to_toml(config: RunConfig) -> str:
    """Return a TOML file with every setting, its unit and meaning; settings left open are commented out."""
    lines = ["# All settings. Those commented out are chosen when a run is planned (sepnets train --dry-run)."]
    for section in ("model", *SECTIONS):
        lines += ["", f"[{section}]", *_by_key(getattr(config, section)).values()]
    changes = config.data.augmentation or AugmentationConfig()
    amounts = _by_key(changes, active=changes.model_fields_set).values()
    place = lines.index("[training]") - 1
    return "\n".join([*lines[:place], "", "[data.augmentation]", *amounts, *lines[place:]]) + "\n"


def _by_key(table: BaseModel, active: Collection[str] | None = None) -> dict[str, str]:
    """Return a line of TOML for every setting of a table; those that are None or not active are commented out."""
    lines = {}
    for key, info in sorted(type(table).model_fields.items(), key=lambda item: item[0] != "name"):
        value = getattr(table, key)
        if key == "augmentation":
            continue
        is_open = value is None and info.default is None
        setting = f"{key} =" if is_open else f"{key} = {_to_toml_value(value)}"
        if is_open or (active is not None and key not in active):
            setting = f"# {setting}"
        meaning = info.description or f"or {', '.join(name for name in NETWORK_SETTINGS if name != value)}"
        if key != "name" and value != info.default and info.default is not None:
            meaning += f" (default: {_to_toml_value(info.default)})"
        lines[key] = f"{setting:<{COMMENT_COLUMN}}  # {meaning}"
    return lines


def _to_toml_value(value: Any) -> str:
    """Return a value in TOML, which writes everything but null as JSON does."""
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)


def _parse_assignment(text: str) -> Layer:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise SepnetsError(f"A setting reads KEY=VALUE, such as model.residual=false. Received: {text!r}")
    return Layer.of({key.strip(): _from_toml_value(value)}, "--set")


def _from_toml_value(text: str) -> Any:
    """Return a value as TOML reads it, otherwise as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _explain(error: ValidationError) -> str:
    """Describe the first fault of a ValidationError in one sentence, with the nearest valid key."""
    fault = error.errors(include_url=False)[0]
    path = [str(part) for part in fault["loc"]]
    if path[:1] == ["model"] and len(path) > 1:
        del path[1]  # pydantic puts the network's name here
    if fault["type"] == "extra_forbidden":
        key = ".".join(path)
        known = _known_keys(path[:-1], error)
        near = _in_its_table(path[-1], key) or did_you_mean(key, known) or did_you_mean(path[-1], known)
        return f'Unknown setting "{key}".{near} Known settings: {", ".join(known)}.'
    # pydantic reports one fault for each form that a value may have, such as a number or "auto".
    faults = [other["msg"] for other in error.errors(include_url=False) if other["loc"][:2] == fault["loc"][:2]]
    forms = path[: 3 if path[:2] == ["data", "augmentation"] else 2]
    message = " or ".join([faults[0], *(_lower(other) for other in faults[1:])]) if len(path) > len(forms) else ""
    return f"{'.'.join(forms)}: {message or fault['msg']}. Received: {fault['input']!r}"


def _in_its_table(name: str, key: str) -> str:
    """Return ` Did you mean "x"?` for the setting of this name in another table than that of the unknown key."""
    tables = {"model": {field for kind in NETWORK_SETTINGS.values() for field in kind.model_fields}}
    tables |= {section: set(kind.model_fields) for section, kind in SECTIONS.items()}
    tables["data.augmentation"] = set(AugmentationConfig.model_fields)
    name = OTHER_NAMES.get(name, name)
    found = [f"{table}.{name}" for table, fields in tables.items() if name in fields]
    return f' Did you mean "{found[0]}"?' if found and found[0] != key else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _known_keys(parents: list[str], error: ValidationError) -> list[str]:
    if not parents:
        return list(RunConfig.model_fields)
    if parents == ["model"]:
        network = str(error.errors()[0]["loc"][1])
        fields = NETWORK_SETTINGS[network].model_fields
    elif parents == ["data", "augmentation"]:
        fields = AugmentationConfig.model_fields
    else:
        fields = SECTIONS[parents[0]].model_fields
    return [f"{'.'.join(parents)}.{field}" for field in fields]
