"""What is temporary goes with its process; files that are being written do not meet."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_sepnets.base.files import remove_unfinished, write_file, written_aside
from keras_sepnets.base.temporary import temporary_folder


def test_a_temporary_folder_goes_when_its_block_ends():
    with temporary_folder() as folder:
        (folder / "a").mkdir()
        (folder / "a" / "file").write_text("x")
    assert not folder.exists()


CODE = """
import atexit, os, shutil, sys, tempfile
from keras_sepnets.base.temporary import temporary_files_apart
with temporary_files_apart():
    atexit.register(shutil.rmtree, tempfile.mkdtemp())  # as Matplotlib does
    file = tempfile.mkstemp()[1]
    print(file, os.environ["TMPDIR"], flush=True)
    if int(sys.argv[1]):
        os.kill(os.getpid(), int(sys.argv[1]))
print(os.environ["TMPDIR"], os.path.exists(file))
"""


@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_temporary_files_of_a_process_go_with_it(tmp_path, number):
    command = [sys.executable, "-c", CODE, str(int(number))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (-number, "")
    file, folder, *after = done.stdout.split()
    assert Path(file).parent == Path(folder)
    assert Path(folder).parent == tmp_path
    assert after == ([] if number else [str(tmp_path), "True"])
    deadline = time.monotonic() + 20
    while number and list(tmp_path.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())


def test_two_that_write_the_same_file_at_once_both_succeed(tmp_path):
    file = tmp_path / f"{'a' * 249}.keras"  # as long as names may be
    with written_aside(file) as one:
        with written_aside(file) as other:
            assert one.suffix == other.suffix == ".keras"
            one.write_text("one")
            other.write_text("other")
        assert file.read_text() == "other"
    assert file.read_text() == "one"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    write_file(tmp_path / "whole", b"x")
    with written_aside(tmp_path / "half") as half, written_aside(tmp_path / "other") as other:
        half.write_text("x")
        other.write_text("x")
        remove_unfinished(tmp_path, older_than=60.0)
        assert half.exists()
        remove_unfinished(tmp_path / "half")
        assert (half.exists(), other.exists()) == (False, True)
        remove_unfinished(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]
        half.write_text("again")
        other.write_text("again")
