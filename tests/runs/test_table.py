"""Runs side by side."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from click.testing import CliRunner
from rich.console import Console

from keras_sepnets import Run, SepnetsError
from keras_sepnets.cli import main
from keras_sepnets.cli.runs import _show_runs
from keras_sepnets.runs.table import RunSummary, compare_settings, list_runs, summarize_run


@pytest.fixture
def runs(finished, tmp_path):
    """Four runs: finished, with another seed and unfinished, without a checkpoint, and damaged."""
    for name in ("a", "b", "nested/c", "d"):
        shutil.copytree(finished.run.path, tmp_path / name)
    other = Run(tmp_path / "b")
    (other.path / "training.json").unlink()
    training = other.config.training.model_copy(update={"seed": 7})
    other.write_json("config.json", other.config.model_copy(update={"training": training}).model_dump(mode="json"))
    (tmp_path / "nested" / "c" / "training.json").unlink()
    shutil.rmtree(tmp_path / "nested" / "c" / "checkpoints")
    with (tmp_path / "nested" / "c" / "history.csv").open("a") as file:
        file.write((tmp_path / "a" / "history.csv").read_text().splitlines()[1] + "\n")  # a second epoch
    (tmp_path / "d" / "cost.json").write_text("{")
    (tmp_path / "latest").symlink_to("a")
    return tmp_path


def test_every_run_is_listed_once_with_its_state(runs, finished):
    rows = {row.run: row for row in list_runs(runs)}
    states = {name: rows[str(runs / name)].status for name in ("a", "b", "nested/c", "d")}
    assert states == {"a": "finished", "b": "unfinished", "nested/c": "lost", "d": "damaged"}
    assert len(rows) == 4
    row = rows[str(runs / "a")]
    assert (row.epoch, row.epochs, row.parameters) == (1, 1, finished.cost.total)
    assert row.test_top1 == finished.test.top1
    assert row.validation_top1 == finished.run.read_history()[0]["val_top1"]
    with filelock.FileLock(runs / "b" / ".lock"):
        assert summarize_run(runs / "b").status == "training"


@pytest.mark.parametrize("lost", [("history.csv",), ("history.csv", "training.json")])
def test_the_epoch_of_a_run_without_its_history_is_unknown(finished, tmp_path, lost):
    shutil.copytree(finished.run.path, tmp_path / "copy")
    for name in lost:
        (tmp_path / "copy" / name).unlink()
    (listed,) = json.loads(CliRunner().invoke(main, ["runs", str(tmp_path), "--json"]).stdout)
    assert [listed[name] for name in ("epoch", "checkpoint_epoch", "validation_top1")] == [None] * 3
    assert listed["test_top1"] == finished.test.top1
    assert " unknown " in CliRunner().invoke(main, ["runs", str(tmp_path)]).stdout


def test_runs_are_shown_and_compared(runs):
    shown = CliRunner().invoke(main, ["runs", str(runs)])
    assert shown.exit_code == 0
    assert [word in shown.stdout for word in ("finished", "unfinished", "lost", "damaged", "0.0625")] == [True] * 5
    assert compare_settings(runs / "a", runs / "b") == {"training.seed": [0, 7]}
    difference = CliRunner().invoke(main, ["runs", "--diff", str(runs / "a"), str(runs / "b")])
    assert "training.seed" in difference.stdout
    listed = json.loads(CliRunner().invoke(main, ["runs", str(runs), "--json"]).stdout)
    assert [row["run"] for row in listed] == [row.run for row in list_runs(runs)]
    both = json.loads(
        CliRunner().invoke(main, ["runs", "--diff", str(runs / "a"), str(runs / "b"), "--json"]).stdout
    )
    assert both["settings"] == {"training.seed": [0, 7]}
    assert [row["status"] for row in both["runs"]] == ["finished", "unfinished"]


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("config.json", "[]", "config.json does not fit this version"),
        ("config.json", "[" * 100_000, "config.json does not fit this version"),
        ("history.csv", "epoch,loss\n1,0.5\n", "history.csv: it has no column"),
        ("history.csv", "epoch,val_top1,val_loss\n1,x,3\n", "history.csv: could not convert"),
        ("history.csv", "epoch,val_top1\n1\n", "history.csv: row 1 has another number of columns"),
        ("history.csv", "epoch\n1\x002\n", "history.csv: "),
        ("evaluation-test.json", "[]", "evaluation-test.json: it is not a JSON object"),
        ("environment.json", "{}", "environment.json: it has no started"),
        ("training.json", "3", "training.json: it is not a JSON object"),
    ],
)
def test_a_damaged_run_is_named_and_hides_no_other(finished, tmp_path, file, content, fault):
    for name in ("a", "b"):
        shutil.copytree(finished.run.path, tmp_path / name)
    (tmp_path / "b" / file).write_text(content)
    rows = {row.run: row for row in list_runs(tmp_path)}
    assert (rows[str(tmp_path / "a")].status, rows[str(tmp_path / "a")].fault) == ("finished", None)
    assert rows[str(tmp_path / "b")].status == "damaged"
    assert fault in rows[str(tmp_path / "b")].fault
    shown = CliRunner().invoke(main, ["runs", str(tmp_path)])
    assert (shown.exit_code, "b is damaged: " in shown.stdout) == (0, True)


def test_what_is_no_file_of_settings_is_a_damaged_run(finished, tmp_path):
    shutil.copytree(finished.run.path, tmp_path / "a")
    (tmp_path / "b" / "config.json").mkdir(parents=True)
    assert {row.run: row.status for row in list_runs(tmp_path)} == {
        str(tmp_path / "a"): "finished",
        str(tmp_path / "b"): "damaged",
    }


def test_a_row_is_of_the_network_that_the_run_keeps(finished, tmp_path):
    """Whose validation and test it shows, whatever else was evaluated since."""
    run = Run(shutil.copytree(finished.run.path, tmp_path / "a"))
    columns, first = (line.split(",") for line in (run.path / "history.csv").read_text().splitlines())
    later = dict(zip(columns, first, strict=True)) | {"epoch": 2, "val_top1": 0.05, "val_loss": 9.0}
    run.write_csv("history.csv", [columns, first, [later[column] for column in columns]])
    row = summarize_run(run.path)
    assert (row.checkpoint, row.checkpoint_epoch, row.validation_top1) == ("final", 2, 0.05)
    assert row.test_top1 is None  # it was tested after its first epoch
    test = run.read_json("evaluation-test.json")
    assert (test["checkpoint"], test["epoch"]) == ("final", 1)
    settings = json.loads((run.path / "config.json").read_bytes())
    settings["training"]["keep"] = "best"
    run.write_json("config.json", settings)
    run.write_json("evaluation-test.json", test | {"checkpoint": "best"})
    row = summarize_run(run.path)
    assert (row.checkpoint, row.checkpoint_epoch) == ("best", 1)
    assert (row.validation_top1, row.test_top1) == (float(first[columns.index("val_top1")]), test["top1"])


@pytest.fixture
def folds(finished, tmp_path):
    """A cross-validation of two folds, the second unfinished."""
    for fold in range(2):
        shutil.copytree(finished.run.path, tmp_path / "cross" / f"fold-{fold}")
    (tmp_path / "cross" / "fold-1" / "training.json").unlink()
    base = finished.run.config.model_dump(mode="json")
    base["data"]["folds"] = 2
    (tmp_path / "cross" / "experiment.json").write_text(json.dumps({"base": base}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "experiment.json").write_text(json.dumps({"base": {"data": {}}}))
    return tmp_path


def test_a_cross_validation_has_a_row_before_those_of_its_folds(folds):
    row, *rest = list_runs(folds)
    assert (row.run, row.status, row.folds, row.model) == (str(folds / "cross"), "unfinished", (1, 2), "mobilenet")
    assert [one.run for one in rest] == [str(folds / "cross" / f"fold-{fold}") for fold in range(2)]
    (folds / "cross" / "fold-1" / "training.json").write_bytes(
        (folds / "cross" / "fold-0" / "training.json").read_bytes()
    )
    (folds / "cross" / "results.json").write_text(json.dumps({"top1": 0.75, "top1_interval": [0.7, 0.8]}))
    row = list_runs(folds)[0]
    assert (row.status, row.folds, row.test_top1, row.test_top1_interval) == ("finished", (2, 2), 0.75, (0.7, 0.8))
    assert "2/2 folds" in CliRunner().invoke(main, ["runs", str(folds)]).stdout


def shown_at(width, rows, root):
    console = Console(width=width, force_terminal=True, no_color=True, highlight=False, file=io.StringIO())
    _show_runs(rows, root, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_and_accuracies_fit_into_a_terminal(width):
    rows = [
        RunSummary(
            run=f"runs/mobilenet_v2-my_pictures_of_birds-{number}", status="unfinished", epoch=3, epochs=12,
            model="mobilenet_v2", alpha=0.35, dataset="folder:/home/someone/data/my_pictures_of_birds",
            image_size=224, parameters=2_250_000 + number, multiply_adds=300_774_272, checkpoint="best",
            validation_top1=0.9012 + number / 1e4, test_top1=0.89, test_top1_interval=(0.8541, 0.9198),
        )
        for number in range(3)
    ]  # fmt: skip
    lines = shown_at(width, rows, Path("runs")).splitlines()
    for number, line in enumerate(lines[1:4]):
        assert line.strip().startswith(f"mobilenet_v2-my_pictures_of_birds-{number} ")
        assert f"{90.12 + number / 100:.2f}%" in line
        assert " 89.00% " in line
        assert ("85.41% to 91.98%" in line) == (width > 80)
        assert len(line) <= width
    assert "\u2026" not in "".join(lines)
    assert ("no room for: multiply-adds" in lines[-1]) == (len(lines) == 5)


def test_a_name_that_is_longer_than_the_terminal_is_continued_not_cut():
    name = "x" * 70 + "-17"
    row = RunSummary(run=f"runs/{name}", status="finished", model="mobilenet", alpha=1, dataset="digits")
    shown = shown_at(60, [row], Path("runs"))
    assert "17" in shown
    assert sum(line.count("x") for line in shown.splitlines()) == 70


def test_a_pipe_gets_every_column_and_any_locale_every_letter(finished, tmp_path):
    shutil.copytree(finished.run.path, tmp_path / f"größe-{'x' * 150}")
    command = [sys.executable, "-m", "keras_sepnets", "runs", str(tmp_path)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"x" * 150 in done.stdout
    assert f"{finished.cost.multiply_adds:,}".encode() in done.stdout


def test_where_there_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPNETS_RUNS", str(tmp_path / "none"))
    result = CliRunner().invoke(main, ["runs"])
    assert (result.exit_code, "There is no folder of runs" in result.stderr) == (2, True)
    assert "There are no runs yet" in CliRunner().invoke(main, ["runs", str(tmp_path)]).stdout
    with pytest.raises(SepnetsError, match="not a run folder"):
        summarize_run(tmp_path)
