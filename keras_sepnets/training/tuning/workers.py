"""Measurements in a process of their own, which answers over pipes.

The worker reads its task as one line of JSON. It answers with lines that begin with "= ": one for the task, then
one for each further line that it reads. Other lines on its stdout are ignored. It ends when its stdin closes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.text import last_line

ANSWER = "= "
MEMORY_ERRORS = ("ResourceExhausted", "MemoryError", "bad_alloc")  # of TensorFlow, Python and C++
# Any other signal is taken for a lack of memory: SIGKILL by the kernel, or a crash in native code.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerError(FailedRunError):
    """A worker ended without an answer; the message is the last line of its stderr."""

    def __init__(self, returncode: int, stderr: str) -> None:
        """Read the cause off the exit status, negative for a signal, and stderr."""
        was_killed = returncode < 0
        said_nothing = was_killed and not stderr.strip()
        super().__init__(f"killed by {_signal_name(-returncode)}" if said_nothing else last_line(stderr))
        self.ran_out_of_memory = any(name in stderr for name in MEMORY_ERRORS) or (
            was_killed and -returncode not in STOP_SIGNALS
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


class Worker:
    """The caller's end of a worker; `start_worker` makes one."""

    def __init__(self, process: subprocess.Popen, stderr: IO[bytes]) -> None:
        """Take a process with text pipes for stdin and stdout, and the file that its stderr goes to."""
        self._process = process
        self._stderr = stderr

    def send(self, line: str) -> None:
        """Send a line. If the worker has died, the next `answer` raises."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def answer(self) -> str:
        """Wait for the next answer.

        Raises:
            WorkerError: The worker ended without one.
        """
        for line in self._process.stdout:  # type: ignore[union-attr]
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER).strip()
        returncode = self._process.wait()
        self._stderr.seek(0)
        raise WorkerError(returncode, self._stderr.read().decode(errors="replace"))

    def ask(self, line: str) -> str:
        """Send a line and wait for its answer."""
        self.send(line)
        return self.answer()


@contextlib.contextmanager
def start_worker(
    program: Sequence[str], task: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Worker]:
    """Start a program and send it its task; kill it when the block ends.

    Args:
        program: The command.
        task: JSON values; the program reads them with `read_task`.
        environment: Variables to add to this process's own.
    """
    # A file for stderr: nobody reads it before the end, and a full pipe would block the worker.
    # A session of its own: Ctrl-C reaches only this process, which then kills the worker.
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            env=os.environ | dict(environment),
            start_new_session=True,
        )
        try:
            worker = Worker(process, stderr)
            worker.send(json.dumps(task))
            yield worker
        finally:
            process.kill()
            process.communicate()  # closes the pipes, broken or not


def read_task() -> dict[str, Any]:
    """In a worker: read the task."""
    return json.loads(input())


def questions() -> Iterator[str]:
    """In a worker: yield the lines that follow the task."""
    yield from sys.stdin


def give(answer: Any) -> None:
    """In a worker: answer."""
    print(f"{ANSWER}{answer}", flush=True)  # noqa: T201
