"""Accuracy against cost over two settings, and the choice of a point."""

import json

import pytest
from click.testing import CliRunner
from pretended import pretend_trainings

from keras_sepnets import SepnetsError
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.cli import main
from keras_sepnets.lab.ablation import ablate
from keras_sepnets.lab.sweep import (
    find_points,
    pareto_front,
    parse_conditions,
    parse_values,
    pick_point,
    sweep_experiment,
    training_command,
)

BASE = {"model.name": "mobilenet", "training.epochs": 2}


def test_the_front_has_what_no_other_point_beats():
    points = [(1, 0.5), (2, 0.7), (3, 0.7), (2, 0.6), (4, 0.9), (4, 0.9)]
    assert pareto_front(points) == [True, True, False, False, True, True]


def test_values_are_read_as_toml_or_words():
    assert parse_values("model.dropout=0,0.2") == ("model.dropout", [0, 0.2])
    assert parse_values("model.residual = true,false") == ("model.residual", [True, False])
    assert parse_values("training.optimizer=sgd,adamw") == ("training.optimizer", ["sgd", "adamw"])


def test_conditions_are_read_with_their_units():
    assert parse_conditions("top1>=0.9, multiply_adds<20M") == [("top1", ">=", 0.9), ("multiply_adds", "<", 2e7)]
    assert parse_conditions("parameters <= 1.5k,top1>90%") == [("parameters", "<=", 1500.0), ("top1", ">", 0.9)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "A condition reads"),
        ("top1", "A condition reads"),
        ("top1>=0.9 multiply_adds<3", "A condition reads"),
        ("top>=0.9", 'Did you mean "top1"'),
        ("top1>=90", "top1 is a fraction"),
        ("top1>=0.9.1", "not a number"),
    ],
)
def test_bad_conditions_are_refused(text, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        parse_conditions(text)


@pytest.mark.long
def test_the_cheapest_point_that_is_accurate_enough_is_picked_on_validation(tmp_path, monkeypatch):
    pretend_trainings(monkeypatch)
    grid = {"model.alpha": [0.25, 0.5, 1.0], "data.image_size": [32]}
    experiment = sweep_experiment(BASE, grid, seeds=2)
    result = ablate(experiment, output=tmp_path / "x")
    points = find_points(result)
    assert [point.settings["model.alpha"] for point in points] == [0.25, 0.5, 1.0]
    assert points[0].multiply_adds < points[1].multiply_adds < points[2].multiply_adds
    best = max(points, key=lambda point: point.val_top1)
    lowest = min(points, key=lambda point: point.val_top1).val_top1
    cheap = pick_point(result, points, f"top1>={lowest}", BASE)
    assert cheap.settings["model.alpha"] == 0.25
    accurate = pick_point(result, points, "multiply_adds<1G", BASE)
    assert accurate.val_top1 == best.val_top1
    assert accurate.test_top1 == result.arms[points.index(best)].mean
    with pytest.raises(FailedRunError, match="No point of the sweep fulfils"):
        pick_point(result, points, "top1>=0.999", BASE)


def test_the_command_trains_the_point():
    settings = {"training.weight_decay": 0.0, "data.image_size": 48, "model.alpha": 0.5, "model.name": "xception"}
    settings |= {"model.residual": False, "data.dataset": "folder:my pictures"}
    assert training_command(settings) == (
        "sepnets train --model xception --alpha 0.5 --image-size 48 --dataset 'folder:my pictures' "
        "--set training.weight_decay=0.0 --set model.residual=false"
    )


def test_the_command_prints_points_and_pick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretend_trainings(monkeypatch)
    monkeypatch.setattr("keras_sepnets.cli.matrix.show_plan", lambda _plan, _console: None)
    arguments = ["sweep", "--alphas", "0.25,1", "--image-sizes", "32,48", "--epochs", "2", "--seeds", "2"]
    done = CliRunner().invoke(main, [*arguments, "--pick", "top1>=0.1", "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert len(answer["points"]) == 4
    assert answer["pick"]["command"].startswith("sepnets train --model mobilenet --alpha 0.25 --image-size 32")
    assert (tmp_path / "runs" / "sweep-mobilenet-digits-alpha-image_size" / "results.json").is_file()
    for more, sentence in (
        (["--pick", "top1=3"], "A condition reads"),
        (["--over", "model.dropout=0,0.1"], "leave one of them out"),
        (["--alpha", "0.5"], "itself changes model.alpha"),
    ):
        refused = CliRunner().invoke(main, [*arguments, *more])
        assert refused.exit_code == 2
        assert sentence in refused.stderr
