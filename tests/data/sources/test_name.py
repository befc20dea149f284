import os

import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_source


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("folder:pictures", "folder", "pictures"),
        ("folder:/a/b:c", "folder", "/a/b:c"),
        ("manifest:list.csv", "manifest", "list.csv"),
        ("folder:", "folder", ""),
        ("folder", "tfds", "folder"),
        ("mnist:3.0.1", "tfds", "mnist:3.0.1"),
        ("emnist/balanced:3.1.0", "tfds", "emnist/balanced:3.1.0"),
        ("FOLDER:pictures", "tfds", "FOLDER:pictures"),
    ],
)
def test_a_name_is_taken_apart_and_put_together_again(name, kind, place):
    parsed = DatasetName.parse(name)
    assert parsed == (kind, place)
    assert parsed.is_own_pictures == (kind != "tfds")
    assert str(parsed) == name


def test_only_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert str(DatasetName.parse("folder:a/../b").resolve()) == f"folder:{os.path.realpath('b')}"
    assert str(DatasetName.parse("manifest:~/list.csv").resolve()) == f"manifest:{tmp_path}/home/list.csv"
    assert str(DatasetName.parse("mnist:3.0.1").resolve()) == "mnist:3.0.1"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder:nowhere", "folder does not exist"),
        ("manifest:nowhere.csv", "manifest cannot be read"),
        ("no_such_set", "Unknown data set"),
        ("photos", 'did you mean "folder:photos"'),
        ("./photos", 'did you mean "folder:./photos"'),
        ("list.csv", 'did you mean "manifest:list.csv"'),
        ("folder:list.csv", r'did you mean "manifest:.*list\.csv"'),
    ],
)
def test_every_kind_of_name_is_opened_by_its_own_source(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "list.csv").write_text("x")
    with pytest.raises(SepnetsError, match=sentence):
        open_source(name)
