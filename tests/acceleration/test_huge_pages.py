"""The command line trains in a process that requests huge pages, where Linux grants them on request."""

import os
import sys

import pytest

from keras_sepnets import __main__, cli
from keras_sepnets.acceleration import huge_pages


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Programs that replace this one; the file `when` holds how Linux grants huge pages."""
    programs = []

    def execve(program, arguments, environment):
        programs.append((program, arguments, environment.get("GLIBC_TUNABLES")))

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(cli, "main", lambda **_options: None)
    monkeypatch.setattr(huge_pages, "WHEN", tmp_path / "when")
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "keras_sepnets", "train", "--seed", "1"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    return programs


@pytest.mark.parametrize(
    ("command", "when", "tunables", "restarts"),
    [
        ("train", "always [madvise] never", None, True),
        ("ablate", "always [madvise] never", None, True),
        ("cost", "always [madvise] never", None, False),
        ("train", "[always] madvise never", None, False),
        ("train", "always [madvise] never", "glibc.malloc.hugetlb=0", False),
        ("train", None, None, False),
    ],
)
def test_training_restarts_where_huge_pages_are_granted_on_request(
    command, when, tunables, restarts, started, monkeypatch
):
    if when:
        huge_pages.WHEN.write_text(when)
    if tunables:
        monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    monkeypatch.setattr(sys, "argv", ["sepnets", command])
    __main__.run()
    again = [sys.executable, "-m", "keras_sepnets", "train", "--seed", "1"]
    assert started == ([(sys.executable, again, "glibc.malloc.hugetlb=1")] if restarts else [])
