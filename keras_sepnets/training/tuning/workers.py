"""Work in a process of its own: it reads a task as a line of JSON and answers each further line with `= ...`."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.text import last_line

ANSWER = "= "
MEMORY_WORDS = ("ResourceExhausted", "MemoryError")


class WorkerError(FailedRunError):
    """A worker ended without an answer."""

    def __init__(self, returncode: int, stderr: str) -> None:
        """Keep the exit status and the last line that the worker wrote to stderr."""
        super().__init__(last_line(stderr))
        self.ran_out_of_memory = returncode < 0 or any(word in stderr for word in MEMORY_WORDS)


class Worker:
    """A process that answers, from the side of the one that asks."""

    def __init__(self, process: subprocess.Popen) -> None:
        """Take a process whose stdin, stdout and stderr are text pipes."""
        self._process = process

    def send(self, line: str) -> None:
        """Send a line; a process that has ended is noticed by `answer`."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def answer(self) -> str:
        """Wait for the next answer; raise WorkerError if the process ends without one."""
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line.startswith(ANSWER):
            _, stderr = self._process.communicate()
            raise WorkerError(self._process.returncode, stderr)
        return line.removeprefix(ANSWER).strip()

    def ask(self, line: str) -> str:
        """Send a line and wait for its answer."""
        self.send(line)
        return self.answer()


@contextlib.contextmanager
def start_worker(
    program: Sequence[str], task: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Worker]:
    """Start a program and send it its task; the process is killed when the block ends.

    Args:
        program: The command.
        task: Plain values; the program reads them with `read_task`.
        environment: Variables besides this process's own.
    """
    process = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict(environment),
    )
    worker = Worker(process)
    try:
        worker.send(json.dumps(task))
        yield worker
    finally:
        process.kill()
        with contextlib.suppress(ValueError):  # its pipes were read to the end before
            process.communicate()


def read_task() -> dict[str, Any]:
    """In a worker: return the task."""
    return json.loads(input())


def questions() -> Iterator[str]:
    """In a worker: give every line that follows the task."""
    yield from sys.stdin


def give(answer: Any) -> None:
    """In a worker: answer."""
    print(f"{ANSWER}{answer}", flush=True)  # noqa: T201  for the process that asked
