"""Recipes: settings that belong together, each with where it comes from; one TOML file each, beside this one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import did_you_mean
from keras_sepnets.settings.files import flatten

FOLDER = Path(__file__).parent
RECIPES = ("mobilenet-paper", "mobilenet-v2-paper", "xception-paper", "small-data", "finetune")


@dataclass(frozen=True)
class Recipe:
    """Settings and their sources."""

    name: str
    summary: str
    paper: str | None  # that it follows
    settings: dict[str, Any]  # tables, as in a file of `--config`
    sources: dict[str, str]  # dotted key -> where the value comes from

    def source_of(self, key: str) -> str:
        """Return where the value of a setting comes from, in words."""
        unknown = "not in the paper" if self.paper else "recipe"
        return self.sources.get(key, unknown)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as `sepnets recipes --json` prints it."""
        settings = flatten(self.settings)
        return {
            "name": self.name,
            "summary": self.summary,
            "paper": self.paper,
            "settings": {key: {"value": value, "source": self.source_of(key)} for key, value in settings.items()},
        }


def read_recipe(name: str) -> Recipe:
    """Return a recipe by name; raise SepnetsError if there is none of that name."""
    if name not in RECIPES:
        raise SepnetsError(
            f'Unknown recipe "{name}".{did_you_mean(name, RECIPES)} Known recipes: {", ".join(RECIPES)}.'
        )
    tree = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    summary, paper, sources = tree.pop("summary"), tree.pop("paper", None), tree.pop("sources", {})
    return Recipe(name, summary, paper, tree, flatten(sources))
