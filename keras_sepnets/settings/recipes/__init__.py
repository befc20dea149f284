"""Recipes: named sets of settings, each value with its source; one TOML file each in this folder."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.settings.layers import Layer, flatten

FOLDER = Path(__file__).parent
RECIPES = ("mobilenet-paper", "mobilenet-v2-paper", "xception-paper", "small-data", "finetune", "probe")


class RecipeSetting(Result):
    """A setting of a recipe."""

    value: Any
    """Its value."""
    source: str
    """Section, table or figure of the paper; "not in the paper"; or "recipe", where no paper is followed."""


class Recipe(Result):
    """A named set of settings."""

    name: str
    """As in `sepnets train --recipe NAME`."""
    summary: str
    """What it is for."""
    paper: str | None
    """The paper that it follows; null if none."""
    settings: dict[str, RecipeSetting]
    """Value and source of each setting, by dotted key."""
    tables: dict[str, Any] = Field(exclude=True)
    """The settings as tables, as in a file for `--config`."""

    def layer(self) -> Layer:
        """Return the settings as a layer to merge."""
        prefix = f"{self.name}: " if self.paper else ""
        return Layer(
            {key: setting.value for key, setting in self.settings.items()},
            {key: f"{prefix}{setting.source}" for key, setting in self.settings.items()},
        )


def read_recipe(name: str) -> Recipe:
    """Return a recipe by name; raise SepnetsError if there is no recipe of that name."""
    if name not in RECIPES:
        raise SepnetsError(
            f'Unknown recipe "{name}".{did_you_mean(name, RECIPES)} Known recipes: {", ".join(RECIPES)}.'
        )
    tables = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    summary, paper, sources = tables.pop("summary"), tables.pop("paper", None), flatten(tables.pop("sources", {}))
    unknown = "not in the paper" if paper else "recipe"
    settings = {
        key: RecipeSetting(value=value, source=sources.get(key, unknown)) for key, value in flatten(tables).items()
    }
    return Recipe(name=name, summary=summary, paper=paper, settings=settings, tables=tables)
