import csv
import itertools
import json
import sys

import keras
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import build_mobilenet
from keras_sepnets.cli import main
from keras_sepnets.cli.models import NetworkDescription
from keras_sepnets.settings.schema import NETWORK_SETTINGS


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
    (("train", "--set", "learning_rate=1"), 'Did you mean "training.learning_rate"'),
    (("train", "--lr", "1"), "No such option '--lr'. Did you mean '--learning-rate'?"),
    (("predict", "nowhere", "a.png", "--lr", "1"), "No such option"),
    (("train", "--alpha", "0"), "model.alpha"),
    (("train", "--alpha", "-1"), "model.alpha"),
    (("train", "--alpha", "0.01"), "use at least 0.03125"),
    (("train", "--image-size", "30"), "at least 31x31 px"),
    (("train", "--rho", "0.1"), "resolution multiplier, is too small or not finite"),
    (("train", "--rho", "1", "--image-size", "64"), "--rho and an image size"),
    (("train", "--rho", "nan"), "rho"),
    (("train", "--augment", "heavy"), "'--augment': 'heavy' is not one of 'none', 'light', 'standard', 'strong'"),
    (("train", "--config", "missing.toml"), "config file cannot be read"),
    (("train", "--output", "taken"), "not empty"),
    (("train", "--epochs", "many"), "--epochs"),
    (("evaluate", "nowhere"), "not a run folder"),
    (("predict", "nowhere", "a.png"), "not a run folder"),
    (
        ("ablate", "--model", "mobilenet"),
        "mobilenet cannot be ablated this way: it has no intermediate",
    ),
    (("ablate", "--change", "model.residual=true"), "changes nothing"),
    (("ablate", "--change", "model.residual=false", "--intermediate-relu"), "one change at a time"),
    (("ablate", "--set", "training.seed=3"), "with --seeds and leave training.seed out"),
    (("ablate", "--set", "model.intermediate_activation=elu"), "itself changes model.intermediate_activation"),
    (("ablate", "--output", "taken"), "not empty"),
    (("ablate", "--output", "taken/thesis.txt/below"), "cannot be written"),
    (("train", "--rho", "1", "--set", "data.image_size=64"), "--rho and an image size"),
    (("ablate", "--seeds", "0"), "at least one seed"),
    (("ablate", "--dataset", "cifr10"), 'Did you mean "cifar10"'),
    (("ablate", "--image-size", "6"), "at least 7x7 px"),
    (("cost", "--model", "mobilnet"), 'Did you mean "mobilenet"'),
    (("cost", "nowhere"), "neither a run folder nor a .keras or .h5 file"),
    (("cost", "taken"), "not a run folder"),
    (("cost", "taken/thesis.txt"), "neither a run folder nor a .keras or .h5 file"),
    (("cost", "nowhere", "--alpha", "0.5"), "leave out the other options of a network. Received: --alpha"),
    (("cost", "--grid", "--classes", "5"), "--grid draws the 16 MobileNets"),
    (("cost", "--grid", "--sort"), "leave them out here"),
    (("cost", "--against", "paper", "--image-size", "96"), "Received: --image-size"),
    (("cost", "--against", "paper", "--by", "layer"), "leave them out here"),
    (("cost", "--grid", "--output", "x.csv"), "would replace x.csv"),
    (("cost", "nowhere", "--grid"), "Ask one question at a time"),
    (("cost", "--output", "grid.png"), "--output names the picture of --grid"),
    (("cost", "--grid", "--output", "missing/grid.png"), "in a folder that exists"),
    (("cost", "--csv", "taken"), "in a folder that exists"),
    (("cost", "--against", "paper", "--model", "vgg"), 'Unknown model "vgg"'),
    (("cost", "--image-size", "30"), "at least 31x31 px"),
    (("cost", "--classes", "0"), "--classes"),
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


@pytest.mark.parametrize(
    ("model", "size"), [("mobilenet_v2", 64), pytest.param("inception_v3", 75, marks=pytest.mark.long)]
)
def test_every_network_can_be_planned_by_name(model, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--model", model, "--alpha", "0.25", "--set", "model.dropout=0.2", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert (plan["config"]["model"]["name"], plan["config"]["model"]["dropout"]) == (model, 0.2)
    assert plan["config"]["data"]["image_size"] == size
    assert plan["not_counted"] == []


# Multiply-adds, and parameters total, trainable, without batch norm.
COSTS = [
    ((), 568_740_352, (4_253_864, 4_231_976, 4_210_088)),
    (("--model", "xception"), 8_357_403_496, (22_910_480, 22_855_952, 22_801_424)),
    (("--model", "mobilenet_v2"), 300_774_272, (3_538_984, 3_504_872, 3_470_760)),
    (("--set", "model.separable=false"), 4_867_293_184, (29_306_056, 29_294_088, 29_282_120)),
    (("--set", "model.shallow=true"), 307_323_392, (2_899_624, 2_887_976, 2_876_328)),
    (("--model", "inception_v3"), 5_713_216_096, (23_851_784, 23_817_352, 23_800_136)),
]


@pytest.mark.parametrize(("options", "multiply_adds", "parameters"), COSTS)
def test_cost_of_every_network_as_json(options, multiply_adds, parameters):
    cost = json.loads(run("cost", *options, "--json").stdout)
    assert cost["multiply_adds"] == multiply_adds
    assert tuple(cost["parameters"][key] for key in ("total", "trainable", "without_bn")) == parameters
    assert sum(row["multiply_adds"] for row in cost["by_type"].values()) == multiply_adds
    assert sum(row["multiply_adds"] for row in cost["layers"]) == multiply_adds


def test_cost_as_table_and_csv(tmp_path):
    file = tmp_path / "cost.csv"
    options = ("--alpha", "0.25", "--rho", "0.571429", "--classes", "7", "--by", "layer", "--sort", "--csv", file)
    result = run("cost", *options)
    assert result.exit_code == 0, result.output
    assert "mobilenet, alpha=0.25, 7 classes, input 128x128x3" in result.stdout
    assert "alive at once" in result.stdout
    rows = list(csv.DictReader(file.open()))
    counts = [int(row["multiply_adds"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    summary = json.loads(run("cost", "--alpha", "0.25", "--image-size", "128", "--classes", "7", "--json").stdout)
    assert sum(counts) == summary["multiply_adds"]


def test_cost_of_a_run_and_of_its_file(finished):
    counted = json.loads((finished.run.path / "cost.json").read_text())
    for target in (finished.run.path, finished.run.path / "best.keras"):
        cost = json.loads(run("cost", target, "--json").stdout)
        assert {key: cost[key] for key in counted} == counted
        larger = json.loads(run("cost", target, "--image-size", "64", "--json").stdout)
        assert larger["multiply_adds"] > counted["multiply_adds"]
        assert larger["parameters"] == counted["parameters"]


def test_sizes_of_files_are_checked_and_files_kept(tmp_path):
    file = tmp_path / "network.keras"
    build_mobilenet(alpha=0.0625, shallow=True, classes=3).save(file)
    for size, sentence in (
        ("0", "Received: --image-size 0"),
        ("-3", "--image-size -3"),
        ("4", "does not work on"),
    ):
        result = run("cost", file, "--image-size", size)
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
    before = file.read_bytes()
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(before[: len(before) // 2])
    result = run("cost", damaged)
    assert (result.exit_code, "or it is damaged. Received: " in result.stderr) == (2, True)
    result = run("cost", file, "--csv", file)
    assert (result.exit_code, "would replace" in result.stderr) == (2, True)
    assert file.read_bytes() == before


def test_cost_against_paper():
    rows = json.loads(run("cost", "--against", "paper", "--model", "xception", "--json").stdout)
    assert [(row["row"], row["printed"], row["agrees"]) for row in rows] == [("Xception", 22_855_952, True)]
    lines = run("cost", "--against", "paper", "--model", "xception").stdout
    assert "1 of 1 numbers agree" in lines


def test_cost_grid_is_a_picture_and_a_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("cost", "--grid", "--json")
    assert (tmp_path / "mobilenet_grid.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "mobilenet_grid.csv").open()))
    assert [int(row["multiply_adds"]) for row in rows] == [
        row["multiply_adds"] for row in json.loads(result.stdout)
    ]
    assert len(rows) == 16
    assert run("cost", "--grid", "--output", "other.png").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"other.png", "other.csv"}


def test_models_lists_every_network_with_its_options(monkeypatch):
    networks = json.loads(run("models", "--json").stdout)
    assert [network["name"] for network in networks] == list(NETWORK_SETTINGS)
    for network in networks:
        assert "arXiv:" in network["source"]
        assert network["multiply_adds"] > 0
        for option in network["options"]:
            assert option["description"], option
        options = {option["name"] for option in network["options"]}
        assert options == set(NETWORK_SETTINGS[network["name"]].model_fields) - {"name"}
    described = {network["name"]: NetworkDescription.model_validate(network) for network in networks}
    monkeypatch.setattr(sys.modules["keras_sepnets.cli.models"], "describe_network", described.get)
    text = run("models").stdout
    assert "model.residual" in text
    assert "8,357,403,496 multiply-adds" in text


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

    monkeypatch.setattr("keras_sepnets.inference.evaluation.evaluate", explode)
    result = run("evaluate", finished.run.path)
    assert result.exit_code == 1
    assert "Error: RuntimeError: boom bang (--debug shows where)" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("evaluate", finished.run.path, "--debug").stderr


def test_the_widest_network_is_counted_without_its_weights():
    """4.2 M parameters grow by nearly 100 * 100, to 126 GB, and the classifier's by 100."""
    result = run("cost", "--model", "mobilenet", "--alpha", "100", "--json")
    widths = (3, 32, 64, 128, 128, 256, 256, *6 * (512,), 1024, 1024)
    pointwise = sum(before * after for before, after in itertools.pairwise(widths[1:]))
    kernels = 10_000 * pointwise + 100 * (27 * 32 + 9 * sum(widths[1:-1]) + 1000 * 1024) + 1000
    assert json.loads(result.stdout)["parameters"]["without_bn"] == kernels


def test_names_from_a_file_do_not_control_the_terminal(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense\x1b[31m")], name="red\x1b[2J")
    model.save(tmp_path / "a.keras")
    result = run("cost", tmp_path / "a.keras", "--by", "layer")
    assert result.exit_code == 0
    assert "red\\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


def test_another_backend_is_one_sentence(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    result = run("cost", "--model", "mobilenet")
    assert result.exit_code == 2
    assert "need Keras on TensorFlow; unset KERAS_BACKEND" in result.stderr
    assert len(result.stderr.splitlines()) == 1
