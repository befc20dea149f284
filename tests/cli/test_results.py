"""The documented classes are those of the printed JSON, and the choices those of the schema."""

import json
import re
from typing import get_args

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from keras_sepnets.cli import main
from keras_sepnets.cli.options import SETTINGS
from keras_sepnets.cli.parameter_types import SPLITS
from keras_sepnets.cli.results import RESULTS
from keras_sepnets.data.batches.splits import ROLES
from keras_sepnets.settings.recipes import read_recipe
from keras_sepnets.settings.schema import SECTIONS


def commands(group=main, words=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def test_every_command_with_json_has_its_result():
    with_json = {name for name, command in commands() if any("--json" in option.opts for option in command.params)}
    assert {name.partition(" --")[0] for name in RESULTS} == with_json


def test_json_of_recipes_has_the_documented_keys():
    (recipe_class,) = get_args(RESULTS["recipes"])
    (printed,) = json.loads(CliRunner().invoke(main, ["recipes", "finetune", "--json"]).stdout)
    assert list(printed) == [name for name, field in recipe_class.model_fields.items() if not field.exclude]
    assert printed == read_recipe("finetune").to_json()


@pytest.mark.parametrize("option", ["augment", "on_bad_picture", "class_weights", "accelerate", "precision"])
def test_choices_are_those_of_the_schema(option):
    train = main.commands["train"]
    (choice,) = [parameter.type for parameter in train.params if parameter.name == option]
    section, field = SETTINGS[option].split(".")
    with pytest.raises(ValidationError) as caught:
        SECTIONS[section](**{field: "other"})
    assert re.findall(r"'(\w+)'", caught.value.errors()[0]["ctx"]["expected"]) == list(choice.choices)
    result = CliRunner().invoke(main, ["train", f"--{option.replace('_', '-')}", "other"])
    assert (result.exit_code, "'other' is not one of" in result.stderr) == (2, True)


def test_json_of_shown_data_has_the_documented_keys(tmp_path):
    arguments = ["data", "show", "digits", "--pictures", "1", "--output", str(tmp_path / "a.png"), "--json"]
    assert list(json.loads(CliRunner().invoke(main, arguments).stdout)) == list(RESULTS["data show"].model_fields)


def test_splits_of_evaluate_are_the_roles_of_the_data():
    assert SPLITS == ROLES
