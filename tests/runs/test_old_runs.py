"""A run folder of each version that was released is opened, shown, evaluated and resumed by this one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_sepnets import Run, evaluate
from keras_sepnets.runs.table import summarize_run
from keras_sepnets.training.trainer import resume

STORED = sorted((Path(__file__).parents[1] / "fixtures").glob("run-*"))


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.name)
def test_a_stored_run_is_opened_evaluated_and_resumed(stored, tmp_path):
    """Each was stopped in its second of three epochs, after the 8th of 15 steps."""
    run = Run.open(shutil.copytree(stored, tmp_path / "run"))
    assert summarize_run(run.path).status == "unfinished"
    (first,) = run.read_history()
    evaluation = evaluate(run, "validation", checkpoint="best")
    assert evaluation.top1 == pytest.approx(first["val_top1"], abs=1e-6)
    assert evaluation.loss == pytest.approx(first["val_loss"], rel=1e-3)
    resume(run)
    history = run.read_history()
    assert history[0] == first
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert np.isfinite([row["val_loss"] for row in history]).all()
    assert run.is_finished
