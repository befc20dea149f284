"""Runs side by side."""

import json
import shutil

import filelock
import pytest
from click.testing import CliRunner

from keras_sepnets import Run, SepnetsError
from keras_sepnets.cli import main
from keras_sepnets.runs.table import compare_settings, list_runs, summarize_run


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


def test_where_there_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SEPNETS_RUNS", str(tmp_path / "none"))
    result = CliRunner().invoke(main, ["runs"])
    assert (result.exit_code, "There is no folder of runs" in result.stderr) == (2, True)
    assert "There are no runs yet" in CliRunner().invoke(main, ["runs", str(tmp_path)]).stdout
    with pytest.raises(SepnetsError, match="not a run folder"):
        summarize_run(tmp_path)
