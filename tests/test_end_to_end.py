"""The installed console script, as a user runs it: train, evaluate, predict, ablate."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from warm import start_sepnets

SEPNETS = Path(sys.executable).with_name("sepnets")
SHALLOW = ("--set", "model.shallow=true")
# Without a trial of forms, which tests/training/tuning has.
FORM = ("--accelerate", "on", "--set", "training.intra_op_threads=1")
TINY = ("--epochs", "1", "--batch-size", "128", "--image-size", "32", "--alpha", "0.0625", *FORM)


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("user")


ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "PYTEST"))}


def sepnets(*arguments, cwd):
    """Run the console script in a clean environment; return the finished process."""
    result = subprocess.run(
        [SEPNETS, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result


def warm_sepnets(*arguments, cwd, quick=True):
    """Run the command line in a process that has imported TensorFlow already."""
    with start_sepnets(
        *arguments, quick=quick, cwd=cwd, env=ENVIRONMENT | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    ) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return subprocess.CompletedProcess(arguments, 0, out, err)


def test_train_evaluate_predict_ablate(work_folder):
    trained = sepnets("train", "--model", "mobilenet", *SHALLOW, *TINY, "--json", cwd=work_folder)
    result = json.loads(trained.stdout)
    assert result["run"] == "runs/mobilenet-digits-1"
    assert result["test"]["num_examples"] == 360
    assert result.keys() == {
        "run", "best_epoch", "train_seconds", "images_per_second", "checkpoint_seconds", "parameters",
        "multiply_adds", "seconds", "test",
    }  # fmt: skip
    assert "epoch 1/1  loss" in trained.stderr
    for noise in ("WARNING", "oneDNN", "cuda", "I0000", "E0000"):
        assert noise not in trained.stderr

    evaluated = json.loads(warm_sepnets("evaluate", result["run"], "--json", cwd=work_folder).stdout)
    assert evaluated["top1"] == result["test"]["top1"]

    Image.new("RGBA", (30, 50), "red").save(work_folder / "red.png")
    (prediction,) = json.loads(warm_sepnets("predict", result["run"], "red.png", "--json", cwd=work_folder).stdout)
    assert prediction["path"] == "red.png"
    assert len(prediction["predictions"]) == 5

    ablated = warm_sepnets(
        "ablate",
        "--no-intermediate-relu",
        *TINY,
        "--middle-repeats",
        "0",
        "--seeds",
        "1",
        "--json",
        cwd=work_folder,
    )
    answer = json.loads(ablated.stdout)
    assert answer["comparison"]["reference"] == "intermediate_relu"
    assert answer["comparison"]["verdict"] == "one seed: no interval"
    assert Path(work_folder, answer["experiment"], "learning_curves.png").exists()


@pytest.mark.long
def test_the_same_command_trains_the_same_network_again(work_folder):
    results = [
        json.loads(
            warm_sepnets("train", *SHALLOW, *TINY, "--output", name, "--json", cwd=work_folder, quick=False).stdout
        )
        for name in ("one", "other")
    ]
    assert results[0]["test"] == results[1]["test"]
    one, other = (keras.models.load_model(work_folder / name / "final.keras") for name in ("one", "other"))
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_own_pictures_from_the_first_command_to_the_last(work_folder, picture_folder):
    shutil.copytree(picture_folder, work_folder / "pictures")
    run = warm_sepnets("train", "--dataset", "folder:pictures", *TINY[4:], "--epochs", "2", "--batch-size", "16",
                  "--output", "mine", "--json", cwd=work_folder)  # fmt: skip
    assert json.loads(run.stdout)["test"]["num_examples"] == 6
    answer = json.loads(
        warm_sepnets("predict", "mine", "pictures/red", "--top", "1", "--json", cwd=work_folder).stdout
    )
    assert len(answer) == 20
    labels = [row["predictions"][0]["label"] for row in answer]
    assert set(labels) <= {"blue", "green", "red"}
