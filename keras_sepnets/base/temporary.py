"""Temporary files that go when their process ends, however it ends."""

import contextlib
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
    """Let all temporary files of this process, and of those that it starts, go when it ends.

    Otherwise, what TensorFlow writes when it traces Python code stays after a signal.
    """
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    with temporary_folder() as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
            if variable is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = variable
