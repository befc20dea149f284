"""Measurements in a process of their own, which answers over pipes.

The worker reads its task as one line of JSON. It answers with lines that begin with "= ": one for the task, then
one for each further line that it reads. Other lines on its stdout are ignored. It ends at once when its stdin
closes, as it does when its parent ends in whatever way. Its temporary files go with it.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.temporary import temporary_folder
from keras_sepnets.base.text import last_line

ANSWER = "= "
MEMORY_ERRORS = ("ResourceExhausted", "MemoryError", "bad_alloc")  # of TensorFlow, Python and C++
# Any other signal is taken for a lack of memory: SIGKILL by the kernel, or a crash in native code.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LINES: queue.SimpleQueue[str] = queue.SimpleQueue()  # in a worker: what it has been sent and has not read


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


class WorkerTimeoutError(FailedRunError):
    """A worker was killed because its time was up."""


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
        self._max_seconds: float | None = None  # that it had, once they are over

    def kill_late(self, max_seconds: float) -> None:
        """Kill the process, because it had `max_seconds`; the caller, who waits for an answer, gets an error."""
        self._max_seconds = max_seconds
        self._process.kill()

    def terminate(self) -> None:
        """Ask the process to end; what it does then is up to it."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process at once; the caller, who waits for an answer, gets an error."""
        self._process.kill()

    def send(self, line: str) -> None:
        """Send a line. If the worker has died, the next `answer` raises."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def answer(self) -> str:
        """Wait for the next answer.

        Raises:
            WorkerError: The worker ended without one.
            WorkerTimeoutError: Its time was up.
        """
        for line in self._process.stdout:  # type: ignore[union-attr]
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER).strip()
        returncode = self._process.wait()
        if self._max_seconds is not None:
            raise WorkerTimeoutError(f"not done after {self._max_seconds:g} s")
        self._stderr.seek(0)
        raise WorkerError(returncode, self._stderr.read().decode(errors="replace"))

    def ask(self, line: str) -> str:
        """Send a line and wait for its answer."""
        self.send(line)
        return self.answer()


@contextlib.contextmanager
def start_worker(
    program: Sequence[str],
    task: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    max_seconds: float = threading.TIMEOUT_MAX,
) -> Iterator[Worker]:
    """Start a program and send it its task; kill it when the block ends.

    Args:
        program: The command.
        task: JSON values; the program reads them with `read_task`.
        environment: Variables to add to this process's own.
        max_seconds: Time after which the program is killed, whatever it is doing.
    """
    # A file for stderr: nobody reads it before the end, and a full pipe would block the worker.
    # A session of its own: Ctrl-C reaches only this process, which then kills the worker.
    # A folder of its own for temporary files: a worker that is killed leaves what TensorFlow wrote there.
    with temporary_folder() as folder, (folder / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            env=os.environ | {"TMPDIR": str(folder)} | dict(environment),
            start_new_session=True,
        )
        worker = Worker(process, stderr)
        timer = threading.Timer(max_seconds, worker.kill_late, [max_seconds])
        timer.daemon = True
        timer.start()
        try:
            worker.send(json.dumps(task))
            yield worker
        finally:
            timer.cancel()
            process.kill()
            process.communicate()  # closes the pipes, broken or not


def read_task() -> dict[str, Any]:
    """In a worker: read the task, and from now on end when the parent does."""
    threading.Thread(target=_read_lines, daemon=True).start()
    return json.loads(_LINES.get())


def _read_lines() -> None:
    with open(0, closefd=False) as lines:  # not sys.stdin, which the interpreter closes when it ends
        for line in lines:
            _LINES.put(line)
    os._exit(0)  # the parent has ended, or does not want the answer any more


def questions() -> Iterator[str]:
    """In a worker: yield the lines that follow the task, without an end."""
    while True:
        yield _LINES.get()


def give(answer: Any) -> None:
    """In a worker: answer."""
    print(f"{ANSWER}{answer}", flush=True)  # noqa: T201
