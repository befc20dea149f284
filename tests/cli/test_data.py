import json

import pytest
import tensorflow_datasets as tfds
from click.testing import CliRunner
from tiny_builder import FILES, LABELLED, NAMES, PICTURES

from keras_sepnets.cli import main
from keras_sepnets.cli.data import data


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for url in (PICTURES, LABELLED):
        (tmp_path / "files" / NAMES[url]).write_bytes(FILES[url])
    return tmp_path / "files"


def run(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.mark.parametrize("command", sorted(data.commands))
def test_every_command_has_an_example_in_its_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"\n  sepnets data {command}" in result.output


def test_prepare_then_info_then_list(folder):
    result = run("prepare", "tiny_pictures", "--from", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny_pictures/plain:1.0.0 is ready\nclasses   3: ant, bee, cat\n")
    assert "splits    train 12\n" in result.stdout
    again = run("prepare", "tiny_pictures", "--from", folder)
    assert again.stdout.startswith("tiny_pictures/plain:1.0.0 was ready before: nothing to do\n")
    assert run("info", "tiny_pictures").stdout.splitlines()[0] == "name      tiny_pictures/plain:1.0.0 (ready)"
    line = next(line for line in run("list").stdout.splitlines() if "tiny" in line)
    assert line.split()[:2] == ["tiny_pictures/plain:1.0.0", "ready"]


def test_json_and_nothing_else_on_stdout(folder, data_dir):
    prepared = json.loads(run("prepare", "tiny_pictures", "--from", folder, "--json").stdout)
    described = json.loads(run("info", "tiny_pictures", "--json").stdout)
    assert prepared == {"prepared_now": True, **described}
    assert described["path"] == str(data_dir / "tiny_pictures/plain/1.0.0")
    assert [file["bytes"] for file in described["files"]] == [len(data) for data in FILES.values()]
    listed = json.loads(run("list", "--json").stdout)
    assert next(entry for entry in listed if entry["status"] == "ready")["splits"] == {"train": 12}


def test_info_of_an_unprepared_set_says_what_it_needs():
    text = run("info", "tiny_pictures").stdout
    assert f"needs     pictures.gz, {len(FILES[PICTURES])} bytes, {PICTURES}\n" in text
    assert "prepare   sepnets data prepare tiny_pictures/plain, or with these files in DIR: --from DIR\n" in text


def test_info_of_a_folder_counts_classes(picture_folder):
    text = run("info", f"folder:{picture_folder}").stdout
    assert "          train: blue 20, green 20, red 20\n" in text


def test_mistakes_exit_2_with_one_sentence(folder, tmp_path):
    (folder / NAMES[LABELLED]).unlink()
    for arguments, sentence in (
        (("prepare", "tiny_pictures", "--from", folder), f"labels.zip ({len(FILES[LABELLED])} bytes, {LABELLED})"),
        (("prepare", "tiny_pictures", "--from", tmp_path / "none"), "no such file or directory"),
        (("prepare", "cifr10"), 'Did you mean "cifar10"'),
        (("prepare", "folder:own"), "need no preparation"),
        (("prepare", "imdb_reviews"), "no picture with one class label"),
        (("info", "cifr10"), 'Did you mean "cifar10"'),
        (("info", "folder:missing"), "does not exist"),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert sentence in result.stderr
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "text", "sentence"),
    [
        ("check", "training.epochs=3", "takes only settings of data. Received: 'training.epochs=3'"),
        ("show", "model.alpha=0.5", "takes only settings of data. Received: 'model.alpha=0.5'"),
        ("show", "epochs=3", "takes only settings of data."),
        ("check", "data.dataset=digits", "named without --set; leave data.dataset out"),
        ("check", "data.fitt=pad", 'Did you mean "data.fit"'),
        ("info", "data.fit=pad", "takes only settings of data.path_column, data.label_column."),
    ],
)
def test_settings_that_would_change_nothing_are_refused(picture_folder, command, text, sentence):
    result = run(command, f"folder:{picture_folder}", "--set", text)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert sentence in result.stderr


def test_failures_exit_1(folder, monkeypatch):
    monkeypatch.setattr(tfds.core.DatasetInfo, "dataset_size", tfds.core.utils.Size(10**18))
    result = run("prepare", "tiny_pictures", "--from", folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The disk is full")


def test_ctrl_c_exits_130(folder, monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_sepnets.data.catalogue.offline._stage", press)
    result = run("prepare", "tiny_pictures", "--from", folder)
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


def test_digits_are_prepared_without_files():
    assert "splits    train 1,437, test 360" in run("prepare", "digits").stdout
