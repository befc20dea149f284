"""The protocol between a measurement and its worker, with workers of plain Python."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_sepnets.training.tuning.workers import Worker, WorkerError, start_worker

ECHO = """
import json, os, sys
task = json.loads(input())
print("= ready", flush=True)
for line in sys.stdin:
    print("chatter of a library", flush=True)
    print("=", json.dumps([task["name"], line.strip(), os.environ.get("COLOUR")]), flush=True)
"""


def start(code, **environment):
    return start_worker([sys.executable, "-c", code], {"name": "ä"}, environment)


def test_each_line_gets_its_answer():
    with start(ECHO, COLOUR="red") as worker:
        assert worker.answer() == "ready"
        assert json.loads(worker.ask("one")) == ["ä", "one", "red"]
        assert json.loads(worker.ask("two")) == ["ä", "two", "red"]


def test_the_functions_for_workers_speak_the_protocol():
    code = """
from keras_sepnets.training.tuning.workers import give, questions, read_task
give(read_task()["name"] == "ä")
for line in questions():
    give(2 * int(line))
"""
    with start(code) as worker:
        assert worker.answer() == "True"
        assert worker.ask("21") == "42"


@pytest.mark.parametrize(
    ("death", "message", "ran_out_of_memory"),
    [
        ("raise ValueError('no such network')", "ValueError: no such network", False),
        ("raise MemoryError", "MemoryError", True),
        ("sys.exit(3)", "no message", False),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL", True),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed by SIGTERM", False),
        ("os.write(2, b'terminate: std::bad_alloc\\xff'); os.abort()", "terminate: std::bad_alloc\ufffd", True),
    ],
)
def test_a_death_between_two_answers_is_an_error_that_names_its_cause(death, message, ran_out_of_memory):
    code = f"import os, signal, sys\ninput()\nprint('= 1', flush=True)\ninput()\n{death}"
    with start(code) as worker:
        assert worker.answer() == "1"
        with pytest.raises(WorkerError) as caught:
            worker.ask("go")
    assert str(caught.value) == message
    assert caught.value.ran_out_of_memory is ran_out_of_memory


def test_a_worker_that_never_reads_its_task_is_an_error_too():
    with start("raise SystemExit('not today')") as worker:
        time.sleep(0.2)
        worker.send("x" * 10**6)  # more than a pipe holds
        with pytest.raises(WorkerError, match="^not today$"):
            worker.answer()


def test_a_talkative_worker_is_not_blocked():
    with start("import sys\ninput()\nsys.stderr.write('warning\\n' * 10**6)\nprint('= 1')") as worker:
        assert worker.answer() == "1"


def test_the_worker_is_gone_after_the_block_however_it_ends():
    processes = []

    class Recorded(Worker):
        def __init__(self, process, stderr):
            super().__init__(process, stderr)
            processes.append(process)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_sepnets.training.tuning.workers.Worker", Recorded)
        with pytest.raises(KeyboardInterrupt), start("import time\ninput()\ntime.sleep(60)"):
            raise KeyboardInterrupt
    assert processes[0].returncode == -signal.SIGKILL
    assert processes[0].stdin.closed
    assert processes[0].stdout.closed


def test_ctrl_c_reaches_the_worker_only_through_its_parent():
    with start("import os\ninput()\nprint('=', os.getpgrp(), flush=True)\ninput()") as worker:
        assert int(worker.answer()) != os.getpgrp()


def test_a_worker_ends_when_its_parent_was_killed(tmp_path):
    worker = f"""
import pathlib, sys
input()
print("= 1", flush=True)
sys.stdin.read()
pathlib.Path({str(tmp_path / "ended")!r}).touch()
"""
    parent = f"""
import os, signal, sys
from keras_sepnets.training.tuning.workers import start_worker
with start_worker([sys.executable, "-c", {worker!r}], {{}}, {{}}) as worker:
    worker.answer()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", parent], check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
