"""The benchmark of training steps: what it measures and how it compares the sides."""

import json

import pytest
from click.testing import CliRunner

from keras_sepnets import SepnetsError
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.benchmarks.steps import FORMS, TrainingBenchmark, benchmark_training
from keras_sepnets.cli import main

pytestmark = pytest.mark.usefixtures("_short_networks", "_warm_workers")


def test_sides_take_turns_and_are_compared_round_by_round():
    result = TrainingBenchmark(
        model="mobilenet",
        alpha=1.0,
        image_size=128,
        batch_size=32,
        multiply_adds=100,
        images_per_second={"a": [2.0, 6.0, 4.0], "b": [1.0, 2.0, 4.0]},
        peak_gflops=[0.6] * 3,
    )
    assert result.ratio("a", "b") == (2.0, 1.0, 3.0)
    assert result.reference == "b"
    assert result.peak_share["a"] == pytest.approx(2 * 3 * 100 * 4.0 / 0.6e9)
    assert result.to_json()["ratios"]["b"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_training_steps_are_measured_in_processes():
    arguments = [
        "--alpha",
        "0.0625",
        "--image-size",
        "32",
        "--batch-size",
        "4",
        "--rounds",
        "2",
        "--seconds",
        "0.1",
    ]
    done = CliRunner().invoke(main, ["benchmark", "train", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert list(result["images_per_second"]) == list(FORMS)
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in result["images_per_second"].values())
    assert len(result["peak_gflops"]) == 2
    assert result["reference"] == "not accelerated"
    assert result["multiply_adds"] > 10_000


def test_errors_name_what_cannot_be_measured():
    with pytest.raises(SepnetsError, match='Unknown model "mobilnet"'):
        benchmark_training("mobilnet")
    with pytest.raises(SepnetsError, match="has xception with alpha=1 only; .* Received: alpha=0.5") as caught:
        benchmark_training("xception", alpha=0.5, against_keras=True)
    assert caught.value.exit_code == 2
    with pytest.raises(FailedRunError, match="could not be measured: .*pictures of at least"):
        benchmark_training("inception_v3", image_size=32, rounds=1)
