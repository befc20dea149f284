"""Settings from TOML files, options and recipes, and back into a TOML file with comments."""

import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.settings.schema import NETWORK_SETTINGS, SECTIONS, AugmentationConfig, RunConfig

COMMENT_COLUMN = 28


def load_config(
    file: Path | None = None,
    options: dict[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
    *,
    recipe: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
) -> RunConfig:
    """Return settings: a recipe's, under a TOML file's, under options, under `dotted.key=value` texts.

    Args:
        file: A TOML file with the tables `model`, `data`, `training` and `transfer`.
        options: Dotted keys to values.
        assignments: Texts such as `model.residual=false`; the value is read as TOML, else as a string.
        recipe: The tables of a recipe; those of its network are left out where another network is asked for.
        defaults: Dotted keys to values that hold where nothing else is said.

    Raises:
        SepnetsError: The file cannot be read, or a key or value is not one of ours.
    """
    tree: dict[str, Any] = read_toml(file) if file else {}
    for key, value in (options or {}).items():
        _assign(tree, key, value)
    for text in assignments:
        _assign_text(tree, text)
    for key, value in recipe_settings(recipe or {}, flatten(tree)).items():
        _assign(tree, key, value, only_new=True)
    for key, value in (defaults or {}).items():
        _assign(tree, key, value, only_new=True)
    return make_config(tree)


def recipe_settings(recipe: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that hold beside those that were said, by dotted key.

    Where another network is asked for, those of its own network do not hold; where another augmentation is, not
    its changes of one.
    """
    settings = flatten(recipe)
    network = said.get("model.name")
    left_out = [] if network in (None, settings.get("model.name", network)) else ["model."]
    left_out += ["data.augmentation."] if "data.augment" in said else []
    return {key: value for key, value in settings.items() if not key.startswith(tuple(left_out))}


def override(config: RunConfig, assignment: str) -> RunConfig:
    """Return the settings with one `dotted.key=value` text applied; raise SepnetsError if it is none of ours."""
    tree = config.model_dump(exclude_unset=True)  # what was not said stays open
    tree["model"] = config.model.model_dump()
    _assign_text(tree, assignment)
    return make_config(tree)


def make_config(tree: dict[str, Any]) -> RunConfig:
    """Return the validated RunConfig of nested plain values; raise SepnetsError with the first fault."""
    model = tree.setdefault("model", {})
    if isinstance(model, dict):
        name = model.setdefault("name", "mobilenet")
        if not isinstance(name, str) or name not in NETWORK_SETTINGS:
            raise SepnetsError(
                f'Unknown model "{name}".{did_you_mean(str(name), NETWORK_SETTINGS)} '
                f"Known models: {', '.join(NETWORK_SETTINGS)}."
            )
    try:
        return TypeAdapter(RunConfig).validate_python(tree)
    except ValidationError as error:
        raise SepnetsError(_explain(error)) from None


def read_toml(file: Path) -> dict[str, Any]:
    """Return a TOML file's content; raise SepnetsError if it is missing or not TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SepnetsError(f"The config file cannot be read: {error}. Received: {str(file)!r}") from None


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def to_toml(config: RunConfig) -> str:
    """Return a TOML file with every setting, its unit and meaning; what is open is commented out."""
    lines = ["# All settings. What is commented out is chosen when a run is planned (sepnets train --dry-run)."]
    for section in ("model", *SECTIONS):
        lines += ["", f"[{section}]", *_by_key(getattr(config, section)).values()]
    changes = config.data.augmentation or AugmentationConfig()
    amounts = _by_key(changes, said=changes.model_fields_set).values()
    place = lines.index("[training]") - 1
    return "\n".join([*lines[:place], "", "[data.augmentation]", *amounts, *lines[place:]]) + "\n"


def _by_key(table: BaseModel, said: Collection[str] | None = None) -> dict[str, str]:
    """Return a line of TOML for every setting of a table; what is None or was not said is commented out."""
    lines = {}
    for key, info in sorted(type(table).model_fields.items(), key=lambda item: item[0] != "name"):
        value = getattr(table, key)
        if key == "augmentation":
            continue
        is_open = value is None and info.default is None
        setting = f"{key} =" if is_open else f"{key} = {_to_toml_value(value)}"
        if is_open or (said is not None and key not in said):
            setting = f"# {setting}"
        meaning = info.description or f"or {', '.join(name for name in NETWORK_SETTINGS if name != value)}"
        if key != "name" and value != info.default and info.default is not None:
            meaning += f" (default: {_to_toml_value(info.default)})"
        lines[key] = f"{setting:<{COMMENT_COLUMN}}  # {meaning}"
    return lines


def _to_toml_value(value: Any) -> str:
    return '"none"' if value is None else json.dumps(value, ensure_ascii=False)  # else both write alike


def _assign(tree: dict[str, Any], dotted_key: str, value: Any, *, only_new: bool = False) -> None:
    *parents, leaf = dotted_key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise SepnetsError(f'"{parent}" is a value, not a table. Received: {dotted_key}={value!r}')
    if not (only_new and leaf in tree):
        tree[leaf] = value


def _assign_text(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not (key.strip() and equals):
        raise SepnetsError(f"A setting reads KEY=VALUE, such as model.residual=false. Received: {text!r}")
    _assign(tree, key.strip(), from_toml_value(value))


def from_toml_value(text: str) -> Any:
    """Return the value of a setting as TOML has it, else as a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _explain(error: ValidationError) -> str:
    """Return one sentence for the first fault of a ValidationError, with the nearest valid key."""
    fault = error.errors(include_url=False)[0]
    path = [str(part) for part in fault["loc"]]
    if path[:1] == ["model"] and len(path) > 1:
        del path[1]  # pydantic puts the network's name here
    if fault["type"] == "extra_forbidden":
        key = ".".join(path)
        known = _known_keys(path[:-1], error)
        near = did_you_mean(key, known) or did_you_mean(path[-1], known)
        return f'Unknown setting "{key}".{near} Known settings: {", ".join(known)}.'
    # One fault for each form that a value may have, such as a number or "auto".
    faults = [other["msg"] for other in error.errors(include_url=False) if other["loc"][:2] == fault["loc"][:2]]
    forms = path[: 3 if path[:2] == ["data", "augmentation"] else 2]
    message = " or ".join([faults[0], *(_lower(other) for other in faults[1:])]) if len(path) > len(forms) else ""
    return f"{'.'.join(forms)}: {message or fault['msg']}. Received: {fault['input']!r}"


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
