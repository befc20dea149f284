"""Recipes hold together, and say where their values come from."""

import json
import re
import tomllib

import pytest
from click.testing import CliRunner

from keras_sepnets import SepnetsError
from keras_sepnets.cli import main
from keras_sepnets.settings.files import load_config
from keras_sepnets.settings.layers import flatten
from keras_sepnets.settings.recipes import FOLDER, RECIPES, read_recipe
from keras_sepnets.settings.schema import RunConfig

PAPERS = [name for name in RECIPES if name.endswith("-paper")]


def test_every_file_is_a_recipe():
    assert {file.stem for file in FOLDER.glob("*.toml")} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_and_its_sources_are_of_its_settings(name):
    recipe = read_recipe(name)
    config = load_config(recipe=recipe.tables)
    settings = flatten(recipe.tables)
    assert {key: flatten(config.model_dump())[key] for key in settings} == settings
    assert {key: setting.value for key, setting in recipe.settings.items()} == settings
    written = tomllib.loads((FOLDER / f"{name}.toml").read_text()).get("sources", {})
    assert set(flatten(written)) <= set(settings)
    assert (recipe.paper is not None) == name.endswith("-paper")


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_recipe_says_of_every_value_where_it_comes_from(name):
    recipe = read_recipe(name)
    for key, setting in recipe.settings.items():
        assert any(word in setting.source for word in ("section", "Table", "Figure", "not in the paper")), key


def test_what_the_papers_print():
    """The numbers of the papers' sections on training."""
    xception = load_config(recipe=read_recipe("xception-paper").tables).training
    assert (xception.optimizer, xception.momentum, xception.learning_rate) == ("sgd", 0.9, 0.045)
    assert (xception.decay_rate, xception.decay_epochs, xception.l2) == (0.94, 2.0, 1e-5)
    v2 = load_config(recipe=read_recipe("mobilenet-v2-paper").tables).training
    assert (v2.optimizer, v2.momentum, v2.rmsprop_decay, v2.l2) == ("rmsprop", 0.9, 0.9, 4e-5)
    assert (v2.learning_rate, v2.decay_rate, v2.decay_epochs, v2.batch_size) == (0.045, 0.98, 1.0, 96)
    v1 = load_config(recipe=read_recipe("mobilenet-paper").tables).training
    assert (v1.optimizer, v1.label_smoothing, v1.weight_decay) == ("rmsprop", 0.0, 0.0)


def test_given_settings_override_a_recipe_and_another_network_has_its_own():
    settings = read_recipe("xception-paper").tables
    config = load_config(options={"training.epochs": 3}, recipe=settings, defaults={"training.seed": 5})
    assert (config.model.name, config.training.epochs, config.training.seed) == ("xception", 3, 5)
    other = load_config(options={"model.name": "mobilenet"}, recipe=settings)
    assert (other.model, other.training.l2) == (RunConfig().model, 1e-5)


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(SepnetsError, match='Unknown recipe "xception-papr". Did you mean "xception-paper"'):
        read_recipe("xception-papr")


def test_recipes_are_listed_and_shown():
    listed = CliRunner().invoke(main, ["recipes"])
    assert (listed.exit_code, all(name in listed.stdout for name in RECIPES)) == (0, True)
    shown = CliRunner().invoke(main, ["recipes", "xception-paper"])
    assert "section 4.3" in shown.stdout
    (described,) = json.loads(CliRunner().invoke(main, ["recipes", "finetune", "--json"]).stdout)
    assert described["settings"]["transfer.freeze"] == {"value": "backbone", "source": "recipe"}


def test_the_printed_config_is_toml_with_every_setting_and_what_it_means():
    printed = CliRunner().invoke(main, ["train", "--print-config"]).stdout
    assert load_config(options=flatten(tomllib.loads(printed))) == RunConfig()
    keys = set(re.findall(r"^(?:# )?(\w+) =", printed, re.MULTILINE))
    wanted = {key for table in RunConfig().model_dump().values() for key in table}
    assert wanted - {"augmentation"} <= keys
    assert {"smallest_crop", "cutmix"} <= keys
    for line in printed.splitlines():
        assert not line or line.startswith(("[", "# All")) or "  # " in line


def test_a_recipe_survives_being_printed():
    for name in RECIPES:
        printed = CliRunner().invoke(main, ["train", "--recipe", name, "--print-config"]).stdout
        expected = load_config(recipe=read_recipe(name).tables)
        assert load_config(options=flatten(tomllib.loads(printed))) == expected


def test_a_dry_run_says_where_every_setting_comes_from(tmp_path):
    (tmp_path / "my.toml").write_text("[training]\nlearning_rate = 0.3\n")
    arguments = ["--recipe", "mobilenet-v2-paper", "--alpha", "0.35", "--config", str(tmp_path / "my.toml")]
    arguments += ["--accelerate", "on"]  # so that no trial takes its time
    plan = json.loads(CliRunner().invoke(main, ["train", *arguments, "--dry-run", "--json"]).stdout)
    sources = plan["sources"]
    assert set(sources) == set(flatten(plan["config"]))
    assert (sources["model.alpha"], sources["training.accelerate"]) == ("--alpha", "--accelerate")
    assert sources["training.learning_rate"] == str(tmp_path / "my.toml")
    assert sources["training.decay_rate"] == "mobilenet-v2-paper: section 6.1"
    assert sources["training.epochs"] == "mobilenet-v2-paper: not in the paper"
    assert sources["training.patience"] == "default"
    assert sources["data.augmentation.flip"] == "augmentation standard"
    assert "steps" in sources["training.ema_momentum"]
    assert "mobilenet-v2-paper: not in the paper" in sources["training.ema_momentum"]
    assert plan["config"]["training"]["ema_momentum"] < 1


@pytest.mark.parametrize(
    "assignment",
    [
        "model.residual=none", "training.learning_rate=0.012345678", "training.ema_momentum=0.9999999",
        "data.augmentation={crop_aspect=1.23456789}", 'transfer.weights=a "quoted" name', "training.l2=1e-9",
    ],
)  # fmt: skip
def test_what_is_printed_is_what_was_meant(tmp_path, assignment):
    arguments = ["train", "--model", "mobilenet_v2", "--set", assignment, "--print-config"]
    printed = CliRunner().invoke(main, arguments).stdout
    (tmp_path / "my.toml").write_text(printed)
    expected = load_config(options={"model.name": "mobilenet_v2"}, assignments=(assignment,))
    assert load_config(tmp_path / "my.toml") == expected


def test_given_augmentation_replaces_that_of_a_recipe():
    settings = {"data": {"augmentation": {"mixup": 0.2}}}
    assert load_config(recipe=settings).data.augmentation.mixup == 0.2
    assert load_config(options={"data.augment": "none"}, recipe=settings).data.augmentation is None


def dry_run_sources(*arguments):
    done = CliRunner().invoke(main, ["train", *arguments, "--alpha", "0.0625", "--dry-run", "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["sources"]


def test_what_follows_from_other_options_says_from_which():
    more = ("--recipe", "small-data", "--set", "data.augmentation={flip=true}")
    sources = dry_run_sources("--overfit", "16", *more)
    assert sources["training.epochs"] == sources["data.augment"] == "--overfit"
    assert sources["data.augmentation.flip"] == "--set"
    assert sources["training.label_smoothing"] == "Inception V3 (arXiv:1512.00567), section 7"
    small = dry_run_sources("--augment", "standard")
    assert small["data.augmentation.shift"] == "augmentation standard of small pictures"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dry-run", "--smoke"], "exclude each other"),
        (["--resume", "--print-config"], "no unfinished run"),
        (["--extend", "RUN", "--set", "training.epochs=auto"], "Give only the total number of epochs"),
    ],
)
def test_options_that_do_not_go_together(finished, arguments, sentence):
    arguments = [str(finished.run.path) if argument == "RUN" else argument for argument in arguments]
    result = CliRunner().invoke(main, ["train", *arguments], env={"SEPNETS_RUNS": str(finished.run.path / "none")})
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
