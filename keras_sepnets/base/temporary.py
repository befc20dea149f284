"""Temporary files that go when their process ends, however it ends."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "sepnets-"
# Its stdin is a pipe from this process, which closes when the process ends, even if it is killed.
REMOVER = ("/bin/sh", "-c", 'read -r _; rm -rf -- "$0"')


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new folder; it is deleted when the block or the process ends, even if SIGKILL ends it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a system without a shell
            remover = subprocess.Popen(
                [*REMOVER, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C and a closed terminal do not reach it
            )
            stack.callback(remover.communicate)  # closes the pipe and waits
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextlib.contextmanager
def temporary_files_apart() -> Iterator[None]:
    """Let the temporary files that are made in a block go when this process ends, however it ends.

    Otherwise, what TensorFlow writes when it traces Python code stays after a signal.
    """
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(_folder_of(os.getpid()))
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


@functools.cache
def _folder_of(_process: int) -> Path:
    """Return the temporary folder of this process, which stays to its end, when libraries clean up."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder())
