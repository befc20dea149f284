"""The settings that follow from options."""

import tomllib

import click
import pytest
from click.testing import CliRunner

from keras_sepnets import Run, build_mobilenet, load_config
from keras_sepnets.cli import main
from keras_sepnets.cli.parameter_types import SplitName


@pytest.fixture
def weights(tmp_path):
    options = {"model.name": "xception", "model.alpha": 0.25, "model.bn_momentum": 0.9}
    return Run.create(tmp_path / "weights", load_config(options=options)).path


def printed(*arguments):
    done = CliRunner().invoke(main, ["train", *map(str, arguments), "--print-config"])
    assert done.exit_code == 0, done.stderr
    return tomllib.loads(done.stdout)


def test_weights_of_a_run_bring_its_network_but_not_its_momentum(weights):
    model = printed("--weights", weights, "--recipe", "small-data", "--set", "model.dropout=0.2")["model"]
    assert (model["name"], model["alpha"], model["dropout"]) == ("xception", 0.25, 0.2)
    assert "bn_momentum" not in model
    assert printed("--weights", weights, "--alpha", "0.5")["model"]["alpha"] == 0.5
    other = printed("--weights", weights, "--model", "mobilenet")["model"]
    assert (other["name"], other["alpha"]) == ("mobilenet", 1.0)


@pytest.mark.parametrize(("word", "split"), [("val", "validation"), ("dev", "validation"), ("Testing", "test")])
def test_a_split_may_be_called_as_people_call_it(word, split):
    assert SplitName()(word) == split


def test_what_is_no_split_is_refused_with_the_three():
    with pytest.raises(click.BadParameter, match="'train', 'validation', 'test'"):
        SplitName()("pred")


def test_rho_is_the_share_of_the_size_of_the_network_of_the_weights(weights):
    assert printed("--weights", weights, "--rho", "0.5")["data"]["image_size"] == 150


def test_what_options_imply_gives_way_to_what_is_given():
    assert printed("--overfit", "8")["training"]["epochs"] == 100
    assert printed("--overfit", "8", "--max-time", "1h")["training"]["epochs"] == "auto"
    assert printed("--overfit", "8", "--epochs", "3")["training"]["epochs"] == 3
    assert printed("--overfit", "8", "--set", "data.augment=light")["data"]["augment"] == "light"
    assert printed("--overfit", "8", "--recipe", "xception-paper")["data"]["augment"] == "none"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_weights_of_a_file_bring_its_network(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    build_mobilenet(alpha=0.25, shallow=True, dropout=0.3, input_shape=(32, 32, 3), classes=3).save(path)
    model = printed("--weights", path)["model"]
    assert (model["name"], model["alpha"], model["shallow"], model["dropout"]) == ("mobilenet", 0.25, True, 0.3)
    assert "bn_momentum" not in model
    assert printed("--weights", path, "--set", "model.dropout=0.1")["model"]["dropout"] == 0.1
    assert printed("--weights", path, "--model", "xception")["model"]["alpha"] == 1.0


def test_weights_without_an_architecture_bring_no_network(tmp_path):
    build_mobilenet(alpha=0.25, input_shape=(32, 32, 3)).save_weights(tmp_path / "mine.weights.h5")
    for weights in (tmp_path / "mine.weights.h5", tmp_path / "missing.keras", tmp_path, "imagenet"):
        assert printed("--weights", weights)["model"]["alpha"] == 1.0


def test_a_width_that_contradicts_the_file_is_refused_before_any_trial(tmp_path, monkeypatch):
    def trial(*_, **__):
        raise AssertionError("nothing is to be timed")

    monkeypatch.setattr("keras_sepnets.training.plan.choose_fastest_form", trial)
    path = tmp_path / "mine.keras"
    build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), classes=3).save(path)
    done = CliRunner().invoke(main, ["train", "--weights", str(path), "--alpha", "1", "--dry-run"])
    assert done.exit_code == 2, done.stderr
    assert "these look like alpha=0.25: use --alpha 0.25. Received: weights=" in done.stderr
