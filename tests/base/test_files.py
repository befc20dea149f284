import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, replace_file, user_folder, whole_path, write_file


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "kept").mkdir()
    file, link, dangling = tmp_path / "kept" / "a.csv", tmp_path / "link.csv", tmp_path / "new.csv"
    file.write_bytes(b"old")
    link.symlink_to("kept/a.csv")
    dangling.symlink_to("kept/b.csv")
    for path in (link, dangling):
        check_writable(path)
        write_file(path, b"new")
        assert path.is_symlink()
    assert file.read_bytes() == (tmp_path / "kept" / "b.csv").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.csv", "b.csv", "kept", "link.csv", "new.csv"]


def test_a_file_of_ours_takes_the_place_of_a_link(tmp_path):
    (tmp_path / "other").write_bytes(b"theirs")
    (tmp_path / "config.json").symlink_to("other")
    replace_file(tmp_path / "config.json", b"ours")
    assert not (tmp_path / "config.json").is_symlink()
    assert (tmp_path / "other").read_bytes() == b"theirs"


def test_a_pipe_is_written_into(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    check_writable(pipe)
    write_file(pipe, b"content")
    reader.join(5)
    assert read == [b"content"]
    assert pipe.is_fifo()


def test_a_device_stays_a_device():
    check_writable(Path(os.devnull))
    write_file(Path(os.devnull), b"content")
    assert Path(os.devnull).is_char_device()


def test_what_is_written_to_stdout_keeps_its_place(tmp_path):
    """Also where the shell has redirected stdout to a file, which others write to before and after."""
    program = (
        "import pathlib; from keras_sepnets.base.files import check_writable, write_file; print('before'); "
        "path = pathlib.Path('/dev/stdout'); check_writable(path); write_file(path, b'csv\\n'); print('after')"
    )
    file = tmp_path / "out"
    file.write_text("first\n")
    with file.open("ab") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert file.read_text() == "first\nbefore\ncsv\nafter\n"
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert piped.stdout == "before\ncsv\nafter\n"


def test_many_writers_of_a_file_leave_one_whole_content_and_nothing_else(tmp_path):
    contents = [bytes([number]) * 10_000 for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_file(tmp_path / "a.json", content), contents))
    assert (tmp_path / "a.json").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "nowhere").symlink_to("missing/a.csv")
    for name in (".", "missing/a.csv", "nowhere"):
        with pytest.raises(SepnetsError, match="in a folder that exists"):
            check_writable(tmp_path / name)


@pytest.mark.parametrize("home", ["/proc/none", "relative"])
def test_a_user_without_a_home_to_write_to_has_folders_in_the_temporary_one(home, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert user_folder("sets") == tmp_path / "home" / "sets"
    monkeypatch.setenv("HOME", home)
    assert user_folder("sets") == tmp_path / "sets"


def test_a_home_folder_that_is_unknown_stays_a_tilde(monkeypatch, tmp_path):
    def unknown(_):
        raise KeyError

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert whole_path("~/pictures") == tmp_path / "~" / "pictures"
