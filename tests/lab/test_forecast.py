"""A forecast: fitted classifiers on features of a finished run, and trainings that are interrupted once."""

import json
import shutil

import keras
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, SepnetsError
from keras_sepnets.base.errors import InterruptedRunError
from keras_sepnets.cli import main
from keras_sepnets.lab.forecast import forecast
from keras_sepnets.settings.files import load_config

pytestmark = pytest.mark.usefixtures("_short_networks")
SHARES = (0.25, 0.5, 1.0)


def base(picture_folder, **settings):
    options = {
        "model.alpha": 0.0625, "model.shallow": True, "data.dataset": f"folder:{picture_folder}",
        "data.image_size": 32, "training.epochs": 1, "training.batch_size": 8, "training.accelerate": "on",
        "training.precise_batch_norm": 0,
    }  # fmt: skip
    return load_config(options=options | {key.replace("__", "."): value for key, value in settings.items()})


class Interrupt(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise KeyboardInterrupt


def test_classifiers_are_fitted_to_the_features_of_given_weights(picture_folder, finished, tmp_path):
    output = tmp_path / "forecast"
    command = ["data", "forecast", f"folder:{picture_folder}", "--weights", str(finished.run.path)]
    command += ["--image-size", "32", "--seeds", "2", "--target", "0.9", "--output", str(output)]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((output / "forecast.json").read_text()) | {"forecast": str(output)}
    assert found["method"] == "fitted classifiers"
    assert found["tested_on"] == (
        "54 training and validation pictures in 5 folds, each by classifiers that have not seen it"
    )
    assert [share["num_examples"] for share in found["shares"]] == pytest.approx([6, 10.8, 21.6, 43.2], abs=1.5)
    assert found["overall"]["num_tested"] == 54
    assert [one["class_name"] for one in found["classes"]] == ["blue", "green", "red"]
    assert Image.open(output / "forecast.png").size == (800, 500)
    assert sorted(path.name for path in output.iterdir()) == ["forecast.json", "forecast.png"]

    again = CliRunner().invoke(main, command)  # replaces the result
    assert again.exit_code == 0, again.output
    text = " ".join(again.output.split())
    assert "forecast classifiers fitted to 0.125, 0.25, 0.5, 1 of the training pictures of every class" in text
    assert found["overall"]["sentence"] in text
    (output / "experiment.json").write_text("{}")
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "The output folder is not empty" in refused.stderr


@pytest.mark.long
def test_trainings_of_shares_take_the_same_steps_and_continue_where_they_stopped(picture_folder, tmp_path):
    titles, plans = [], []
    pictures = shutil.copytree(picture_folder, tmp_path / "pictures")

    def callbacks(title, _plan):
        titles.append(title)
        return [Interrupt()] if len(titles) == 2 else []

    options = {"shares": SHARES, "seeds": 1, "output": tmp_path / "out", "callbacks": callbacks}
    settings = base(pictures, training__epochs=2, training__patience=1)
    with pytest.raises(InterruptedRunError, match="with 1 of 3 runs finished"):
        forecast(settings, **options, on_plan=lambda _plan, lines: plans.append(lines[0]))
    assert (
        "3 trainings, on 0.25, 0.5, 1 of the training pictures of every class, 1 seed; each takes 12 steps"
        in plans[0]
    )
    result = forecast(settings, **options)
    assert titles == [f"{share:g} of the pictures, seed 0" for share in (0.25, 0.5, 0.5, 1)]

    runs = [Run(tmp_path / f"out/fraction-{share:g}/seed-0") for share in SHARES]
    assert [run.config.data.training_fraction for run in runs] == [*SHARES]
    assert [run.config.training.epochs for run in runs] == [12, 4, 2]  # of 1, 3 and 6 steps
    assert {(run.config.training.keep, run.config.training.patience) for run in runs} == {("final", 0)}
    counts = [run.read_json("data.json")["train"]["num_examples"] for run in runs]
    assert [share.num_examples for share in result.shares] == counts == [12, 24, 48]
    for run, share in zip(runs, result.shares, strict=True):
        assert share.top1 == pytest.approx([run.read_json("evaluation-validation.json")["top1"]])
    assert result.tested_on == "6 validation pictures"
    assert result.overall.reason == "too few"
    assert "are too few for a curve" in result.overall.sentence
    with pytest.raises(SepnetsError, match="The output folder holds another experiment: its base.training.epochs"):
        forecast(base(pictures), **options)
    (pictures / "red/00.jpg").unlink()
    with pytest.raises(SepnetsError, match="holds another experiment: its pictures_of_forecast.train is"):
        forecast(settings, **options)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({}, {"target": 95}, "The target is an accuracy between 0 and 1, such as 0.95. Received: 95"),
        ({}, {"shares": (0.5, 1.0)}, "needs at least 3 of them, such as 0.25,0.5,1. Received: 0.5,1"),
        ({}, {"shares": (0.1, 0.2, 0.5)}, "ascend to 1"),
        ({}, {"seeds": 0}, "at least one seed"),
        (
            {"training__seed": 3},
            {},
            "A forecast itself chooses training.seed; leave it out. Received: training.seed=3",
        ),
        ({"data__training_fraction": 0.5}, {}, "Received: data.training_fraction=0.5"),
        ({"data__folds": 5}, {}, "itself chooses data.folds"),
        ({"training__epochs": "auto"}, {}, "set training.epochs"),
    ],
)
def test_what_makes_no_forecast_is_refused_before_anything_is_read(settings, options, message, tmp_path):
    with pytest.raises(SepnetsError, match=message.replace(".", r"\.")):
        forecast(base("nowhere", **settings), output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_fractions_are_decimals_or_quotients():
    refused = CliRunner().invoke(main, ["data", "forecast", "digits", "--fractions", "1/4,half,1"])
    assert refused.exit_code == 2
    assert "write it as 0.25,0.5,1 or 1/4,1/2,1" in refused.stderr
