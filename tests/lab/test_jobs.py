"""Parallel processes that train runs, with workers of plain Python, and the time that is left."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from keras_sepnets.base.errors import InterruptedRunError
from keras_sepnets.lab import jobs
from keras_sepnets.lab.experiment import PlannedRun
from keras_sepnets.lab.jobs import Running, run_all, threads_of
from keras_sepnets.lab.progress import Event, TimeLeft
from keras_sepnets.settings.files import load_config

WORKER = """
import json, os, pathlib, signal, sys, time
def give(**event): print("=", json.dumps(event), flush=True)
json.loads(input())
for line in sys.stdin:
    run = json.loads(line)
    folder = pathlib.Path(run["folder"])
    folder.mkdir(parents=True)
    (folder / "threads").write_text(str(run["config"]["training"]["intra_op_threads"]))
    (folder / "pid").write_text(str(os.getpid()))
    if "crash" in run["title"]: os.kill(os.getpid(), signal.SIGKILL)
    if "fail" in run["title"]:
        give(kind="failed", text="no such picture")
        continue
    if "long" in run["title"]:
        def stop(*_):
            (folder / "saved").write_text("x")
            give(kind="failed", text="Terminated")
        signal.signal(signal.SIGTERM, stop)
        give(kind="step", done=0.5)
        time.sleep(20)
        continue
    give(kind="step", done=0.5, text="epoch 1/1")
    give(kind="finished")
"""


@pytest.fixture(autouse=True)
def _plain_workers(monkeypatch):
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, "-c", WORKER))


def planned(folder, *titles):
    return [PlannedRun(folder / title, load_config(), title) for title in titles]


def test_runs_are_shared_out_and_a_crash_ends_only_its_own(tmp_path):
    runs = planned(tmp_path, "one", "crash", "two", "fail", "three", "four")
    events = []
    failures = run_all(runs, Running(jobs=2, on_event=events.append))
    assert {failure.run.title: failure.message for failure in failures} == {
        "crash": "its process ended: killed by SIGKILL", "fail": "no such picture",
    }  # fmt: skip
    ended = [(event.kind, runs[event.run].title) for event in events if event.kind in ("finished", "failed")]
    assert sorted(ended) == [
        ("failed", "crash"), ("failed", "fail"), ("finished", "four"), ("finished", "one"), ("finished", "three"),
        ("finished", "two"),
    ]  # fmt: skip
    share = max(1, (os.cpu_count() or 1) // 2)
    assert (tmp_path / "one" / "threads").read_text() == str(share)


def test_ctrl_c_lets_every_process_save_its_run(tmp_path):
    runs = planned(tmp_path, "long 1", "long 2", "long 3")
    begun = []

    def interrupt(event):
        begun.append(event)
        if sum(one.kind == "step" for one in begun) == 2:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    begin = time.monotonic()
    with pytest.raises(InterruptedRunError, match="with 0 of 3 runs finished. Run the same command again"):
        run_all(runs, Running(jobs=2, on_event=interrupt))
    assert time.monotonic() - begin < 15
    assert sorted(path.parent.name for path in tmp_path.glob("*/saved")) == ["long 1", "long 2"]
    for pid in tmp_path.glob("*/pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_run_goes_on_with_the_threads_that_it_began_with(tmp_path):
    (run,) = planned(tmp_path, "one")
    config = load_config(options={"training.intra_op_threads": 3})
    assert threads_of(run._replace(config=config), 2) == 3
    run.folder.mkdir()
    (run.folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    assert threads_of(run, 2) == 3


def test_the_time_left_follows_from_the_runs_so_far():
    now = [0.0]
    left = TimeLeft(["a", "b", "a", "b", "a"], clock=lambda: now[0])
    left.skip(4)
    assert left.seconds() is None
    left.note(Event("start", 0))
    now[0] = 5.0
    left.note(Event("step", 0, 0.5))
    assert left.seconds() == pytest.approx(10 - 5 + 3 * 10)
    now[0] = 10.0
    left.note(Event("finished", 0))
    left.note(Event("start", 1))
    now[0] = 20.0
    left.note(Event("step", 1, 0.25))
    assert left.seconds() == pytest.approx((40 - 10) + 10 + 40)
    left.note(Event("failed", 1))
    assert left.seconds() == pytest.approx(10 + 10)
    parallel = TimeLeft(["a"] * 4, jobs=2, clock=lambda: now[0])
    parallel.note(Event("start", 0))
    now[0] = 30.0
    parallel.note(Event("finished", 0))
    assert parallel.seconds() == pytest.approx(3 * 10 / 2)
