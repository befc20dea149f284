"""The range test: known bounds of linear problems, a copy that leaves the run alone, one curve per seed."""

import dataclasses
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from keras_sepnets import SepnetsError
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.cli import main
from keras_sepnets.cli.results import RESULTS
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.tuning.learning_rate import (
    SMALLEST_FALL,
    Curve,
    find_learning_rate,
    measure_losses,
    suggest_rates,
)

TINY = {
    "model.alpha": 0.0625, "model.shallow": True, "data.image_size": 32, "data.augment": "none",
    "training.batch_size": 64, "training.accelerate": "on", "training.epochs": 1, "training.intra_op_threads": 1,
}  # fmt: skip
SETTINGS = [f"--set={key}={json.dumps(value)}" for key, value in TINY.items()]
RATES = np.geomspace(1e-6, 10, 100).tolist()


def quadratic(curvature, *, dimensions=5):
    """Return gradient descent on a quadratic, which diverges at rates above 2 / curvature."""
    weights = np.ones(dimensions)
    curvatures = np.linspace(curvature / 2, curvature, dimensions)

    def step(rate):
        nonlocal weights
        loss = float(curvatures @ weights**2)
        weights = weights - rate * curvatures * weights
        return loss

    return step


@pytest.mark.parametrize("curvature", [0.5, 3.0, 40.0, 1000.0])
def test_the_suggestion_is_below_the_rate_at_which_a_quadratic_diverges(curvature):
    found = suggest_rates(measure_losses(quadratic(curvature), RATES))
    bound = 2 / curvature
    assert bound / 1000 < found.learning_rate < bound
    assert found.steepest < bound


def test_a_loss_that_explodes_ends_the_test():
    curve = measure_losses(quadratic(40.0), RATES)
    assert curve.stopped_by == "a loss of 4 times the lowest"
    assert len(curve.rates) == len(curve.losses) < 100
    assert 2 / 40 < curve.rates[-1] < 1


def test_a_loss_of_nan_ends_the_test_with_the_steps_before_it():
    losses = iter([*np.linspace(2, 1, 60), math.nan])
    curve = measure_losses(lambda _rate: next(losses), RATES)
    assert (curve.stopped_by, len(curve.losses)) == ("a loss of NaN", 60)
    assert curve.rates == RATES[:60]
    with pytest.raises(FailedRunError, match="NaN or infinite in the first step"):
        measure_losses(lambda _rate: math.inf, RATES)


def test_the_marks_are_those_of_a_known_curve():
    """The loss falls along a logistic curve, fastest at 1e-3, and jumps up at 1e-1."""
    decades = np.log10(RATES)
    losses = np.where(decades < -1, 1 / (1 + np.exp(4 * (decades + 3))), 5.0)
    found = suggest_rates(Curve(RATES, losses.tolist(), "the last step"))
    assert abs(math.log10(found.steepest) + 3) < 0.1
    assert -1.8 < math.log10(found.lowest_loss_at) < -1
    assert found.learning_rate == pytest.approx(found.lowest_loss_at / 10, rel=0.05)


@pytest.fixture(scope="module")
def plan():
    return make_plan(load_config(options=TINY | {"training.optimizer": "sgd", "training.momentum": 0.0}))


@pytest.fixture(scope="module", autouse=True)
def _any_fall():
    """Accept any fall of the loss: a tiny network learns little in a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_sepnets.training.tuning.learning_rate.SMALLEST_FALL", -1.0)
        yield


@pytest.fixture(scope="module")
def found(plan):
    return find_learning_rate(plan, steps=30)


@pytest.mark.long
def test_the_same_plan_gives_the_same_curve_and_keeps_its_weights(plan, found):
    before = [variable.numpy().copy() for variable in plan.network.variables]
    seen = []
    assert find_learning_rate(plan, steps=30, on_step=lambda *step: seen.append(step)) == found
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 30
    assert seen == list(enumerate(found.losses, start=1))
    assert found.passes == round(len(found.rates) * 64 / 1293, 1)
    for variable, value in zip(plan.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_rates_are_those_of_the_setting_where_the_run_scales_it(plan, found):
    training = plan.config.training.model_copy(update={"base_batch_size": 32})  # doubles the rate
    config = plan.config.model_copy(update={"training": training})
    scaled = find_learning_rate(dataclasses.replace(plan, config=config), steps=30)
    assert scaled.rates[:3] == found.rates[:3]
    assert scaled.losses[0] == found.losses[0]  # before the first step
    assert scaled.losses[-1] != found.losses[-1]


def test_too_few_steps_or_pictures_are_refused(plan):
    with pytest.raises(SepnetsError, match="at least 30 steps. Received: steps=10"):
        find_learning_rate(plan, steps=10)
    few = make_plan(load_config(options=TINY | {"data.overfit": 8}))
    with pytest.raises(SepnetsError, match="at least 10 training pictures.*Received: 8"):
        find_learning_rate(few)


def test_the_command_prints_json_and_writes_only_the_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["tune", "--learning-rate", "--steps", "30", *SETTINGS, "--json"])
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert list(printed) == list(RESULTS["tune"].model_fields)
    assert printed["file"] == "learning_rate.png"
    assert [path.name for path in tmp_path.iterdir()] == ["learning_rate.png"]
    assert f"--learning-rate {printed['learning_rate']:g}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say what to tune: sepnets tune --learning-rate"),
        (("--learning-rate", "--output", "missing/a.png"), "in a folder that exists"),
        (("--learning-rate", "--output", "notes.txt"), "a name that ends in .png"),
        (("--learning-rate", "--steps", "3"), "at least 30 steps"),
    ],
)
def test_mistakes_exit_2_and_write_nothing(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["tune", *arguments, *SETTINGS])
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.iterdir())


def test_a_loss_that_never_falls_suggests_nothing(monkeypatch):
    monkeypatch.setattr("keras_sepnets.training.tuning.learning_rate.SMALLEST_FALL", SMALLEST_FALL)
    noise = np.random.default_rng(0).normal(2.3, 0.05, 100)
    with pytest.raises(
        FailedRunError, match="fell by less than 5% at every learning rate.*Received: losses from 2.3"
    ):
        suggest_rates(Curve(RATES, noise.tolist(), "the last step"))
