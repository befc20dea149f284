"""The protocol between a measurement and its worker, with workers of plain Python."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from keras_sepnets.training.tuning.workers import Worker, WorkerError, WorkerTimeoutError, start_worker

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


BUSY = """
import os, tempfile
from keras_sepnets.training.tuning.workers import give, read_task
read_task()
tempfile.mkstemp()
give(os.getpid())
while True:
    pass
"""


def is_running(process):
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_ends_with_its_parent_whatever_it_is_doing_and_leaves_nothing(tmp_path, number):
    parent = f"""
import os, sys
from keras_sepnets.training.tuning.workers import start_worker
with start_worker([sys.executable, "-c", {BUSY!r}], {{}}, {{}}) as worker:
    print(worker.answer(), flush=True)
    os.kill(os.getpid(), {int(number)})
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, check=False, env=environment)
    assert done.returncode == -number
    deadline = time.monotonic() + 20
    while is_running(int(done.stdout)) or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_whose_time_is_up_is_killed():
    with (
        start_worker([sys.executable, "-c", "input()\nwhile True: pass"], {}, {}, max_seconds=0.5) as worker,
        pytest.raises(WorkerTimeoutError, match=r"^not done after 0.5 s$"),
    ):
        worker.answer()


def test_what_a_killed_worker_wrote_to_the_temporary_folder_goes():
    code = "import tempfile\ninput()\nprint('=', tempfile.mkstemp()[1], flush=True)\nwhile True: pass"
    with start(code) as worker:
        file = Path(worker.answer())
        assert file.exists()
    assert not file.parent.exists()
