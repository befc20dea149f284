"""The settings that follow from options."""

import tomllib

import pytest
from click.testing import CliRunner

from keras_sepnets import Run, load_config
from keras_sepnets.cli import main


@pytest.fixture
def weights(tmp_path):
    options = {"model.name": "xception", "model.alpha": 0.25, "model.bn_momentum": 0.9}
    return Run.create(tmp_path / "weights", load_config(options=options)).path


def printed(*arguments):
    done = CliRunner().invoke(main, ["train", *map(str, arguments), "--print-config"])
    assert done.exit_code == 0, done.stderr
    return tomllib.loads(done.stdout)


def test_weights_of_a_run_bring_its_network_but_not_its_momentum(weights):
    model = printed("--weights", weights, "--recipe", "small-data")["model"]
    assert (model["name"], model["alpha"], model["dropout"]) == ("xception", 0.25, 0.2)
    assert "bn_momentum" not in model
    assert printed("--weights", weights, "--alpha", "0.5")["model"]["alpha"] == 0.5
    other = printed("--weights", weights, "--model", "mobilenet")["model"]
    assert (other["name"], other["alpha"]) == ("mobilenet", 1.0)


def test_rho_is_the_share_of_the_size_of_the_network_of_the_weights(weights):
    assert printed("--weights", weights, "--rho", "0.5")["data"]["image_size"] == 150


def test_what_options_imply_gives_way_to_what_is_given():
    assert printed("--overfit", "8")["training"]["epochs"] == 100
    assert printed("--overfit", "8", "--max-time", "1h")["training"]["epochs"] == "auto"
    assert printed("--overfit", "8", "--epochs", "3")["training"]["epochs"] == 3
    assert printed("--overfit", "8", "--set", "data.augment=light")["data"]["augment"] == "light"
    assert printed("--overfit", "8", "--recipe", "xception-paper")["data"]["augment"] == "none"
