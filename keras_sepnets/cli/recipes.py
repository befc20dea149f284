"""`sepnets recipes`."""

import click

from keras_sepnets.cli.command import Command, print_json
from keras_sepnets.cli.options import json_option
from keras_sepnets.settings.recipes import RECIPES, read_recipe


@click.command(cls=Command)
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes for `sepnets train --recipe NAME`, or the settings of one recipe with their sources.

    \b
    sepnets recipes
    sepnets recipes xception-paper
    """
    found = [read_recipe(each) for each in ([name] if name else RECIPES)]
    if as_json:
        print_json([recipe.to_json() for recipe in found])
        return
    from rich.markup import escape
    from rich.table import Table

    from keras_sepnets.cli.console import make_console

    if name:
        table = Table("setting", "value", "from", box=None)
        for key, setting in found[0].settings.items():
            table.add_row(key, escape(str(setting.value)), escape(setting.source))
    else:
        table = Table("recipe", "purpose", "paper", box=None)
        for recipe in found:
            table.add_row(recipe.name, escape(recipe.summary), recipe.paper or "")
    make_console(as_json=False).print(table)
