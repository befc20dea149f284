"""Where commands print, and what happens when nobody reads it."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
from keras_sepnets.cli.console import drop_unread_output, make_console
drop_unread_output()
print("first", flush=True)
sys.stdin.readline()
for number in range(1000):
    make_console(as_json=False).print(f"line {number}")
    print("a warning", file=sys.stderr)
open(sys.argv[1], "w").write("done")
"""


def start(file, *options):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *options, "-c", CODE, str(file)]
    return subprocess.Popen(command, text=True, env=environment, **pipes)


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_a_process_whose_output_nobody_reads_goes_on(tmp_path, options):
    process = start(tmp_path / "done", *options)
    assert process.stdout.readline() == "first\n"
    process.stdout.close()
    process.stderr.close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(60) == 0
    assert (tmp_path / "done").read_text() == "done"


def test_a_process_whose_output_is_read_prints_everything(tmp_path):
    out, err = start(tmp_path / "done").communicate("\n", timeout=60)
    assert out.splitlines() == ["first", *(f"line {number}" for number in range(1000))]
    assert err.splitlines() == ["a warning"] * 1000
