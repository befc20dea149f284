import json

import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_an_example_in_its_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"\n  sepnets {command} " in result.output


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--model", "mobilenet", "--alpha", "0.5", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "834,666 parameters, 12,167,168 multiply-adds at 64x64 px" in result.stdout
    assert "validation 144: held out from train" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_rho_is_the_share_of_the_papers_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--model", "xception", "--alpha", "0.1", "--rho", "0.2", "--dry-run", "--json")
    assert json.loads(result.stdout)["config"]["data"]["image_size"] == round(0.2 * 299)


MISTAKES = [
    (("train", "--model", "mobilnet"), 'Did you mean "mobilenet"'),
    (("train", "--dataset", "cifr10"), 'Did you mean "cifar10"'),
    (("train", "--dataset", "cifar10"), "sepnets train --dataset cifar10 --download"),
    (("train", "--dataset", "cifar10:0.0.1"), "cifar10:0.0.1"),
    (("train", "--dataset", "folder:missing"), "does not exist"),
    (("train", "--set", "model.alfa=1"), 'Did you mean "model.alpha"'),
    (("train", "--alpha", "0"), "model.alpha"),
    (("train", "--alpha", "-1"), "model.alpha"),
    (("train", "--alpha", "0.01"), "use at least 0.03125"),
    (("train", "--image-size", "30"), "at least 31x31 px"),
    (("train", "--rho", "0.1"), "resolution multiplier, is too small or no number"),
    (("train", "--rho", "1", "--image-size", "64"), "--rho and an image size"),
    (("train", "--rho", "nan"), "rho"),
    (("train", "--augment", "heavy"), "data.augment"),
    (("train", "--config", "missing.toml"), "config file cannot be read"),
    (("train", "--output", "taken"), "not empty"),
    (("train", "--epochs", "many"), "--epochs"),
    (("evaluate", "nowhere"), "no run folder"),
    (("predict", "nowhere", "a.png"), "no run folder"),
    (
        ("ablate", "--model", "mobilenet"),
        "mobilenet cannot be ablated this way: it has no intermediate",
    ),
    (("ablate", "--set", "training.seed=3"), "with --seeds and leave training.seed out"),
    (("ablate", "--set", "model.intermediate_activation=elu"), "itself changes model.intermediate_activation"),
    (("ablate", "--output", "taken"), "not empty"),
    (("ablate", "--output", "taken/thesis.txt/below"), "cannot be written"),
    (("train", "--rho", "1", "--set", "data.image_size=64"), "--rho and an image size"),
    (("ablate", "--seeds", "0"), "at least one seed"),
    (("ablate", "--dataset", "cifr10"), 'Did you mean "cifar10"'),
    (("ablate", "--image-size", "6"), "at least 7x7 px"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_mistakes_exit_2_with_one_sentence_and_write_nothing(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("x")
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == [
        result.stderr.splitlines()[-1]
    ]
    assert result.stdout == "" or arguments[0] == "ablate"
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "thesis.txt"]


def test_evaluate_and_predict_print_json_and_nothing_else(finished, tmp_path):
    result = run("evaluate", finished.run.path, "--json")
    evaluation = json.loads(result.stdout)
    assert {"run", "split", "top1", "top5", "loss", "num_examples"} <= evaluation.keys()
    assert evaluation["top1"] == finished.test.top1
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    result = run("predict", finished.run.path, tmp_path / "a.png", "--top", "3", "--json")
    (prediction,) = json.loads(result.stdout)
    assert prediction["path"] == str(tmp_path / "a.png")
    assert [set(row) for row in prediction["predictions"]] == [{"label", "probability"}] * 3


def test_people_read_a_line(finished, tmp_path):
    assert f"top-1 {finished.test.top1:.2%} (95 % interval" in run("evaluate", finished.run.path).stdout
    Image.new("L", (20, 20)).save(tmp_path / "[red]a.png")
    assert "[red]a.png" in run("predict", finished.run.path, tmp_path / "[red]a.png").stdout


def test_unexpected_failures_exit_1_and_debug_shows_where(monkeypatch, finished):
    def explode(*_, **__):
        raise RuntimeError("boom\nbang")

    monkeypatch.setattr("keras_sepnets.evaluation.evaluate", explode)
    result = run("evaluate", finished.run.path)
    assert result.exit_code == 1
    assert "Error: RuntimeError: boom bang (--debug shows where)" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("evaluate", finished.run.path, "--debug").stderr
