import shutil

import numpy as np
import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.config import DataConfig
from keras_sepnets.data.pictures import read_picture
from keras_sepnets.data.preprocessing import prepare_picture
from keras_sepnets.data.splits import ROLES, Splits, open_source


def open_splits(root):
    return Splits(open_source(f"folder:{root}"), DataConfig(dataset=f"folder:{root}", image_size=16))


def listed(splits, role):
    return list(splits.examples(role).in_order().as_numpy_iterator())


def test_one_folder_of_classes_is_split_in_proportion(picture_folder):
    splits = open_splits(picture_folder)
    assert splits.class_names == ("blue", "green", "red")
    assert {role: splits.num_examples(role) for role in ROLES} == {"train": 48, "validation": 6, "test": 6}
    for role, each in (("train", 16), ("validation", 2), ("test", 2)):
        assert np.bincount([label for _, label in listed(splits, role)]).tolist() == [each] * 3


def test_pictures_have_the_colour_of_their_class(picture_folder):
    for picture, label in listed(open_splits(picture_folder), "train"):
        assert picture.reshape(-1, 3).mean(axis=0).argmax() == 2 - label


def test_split_folders_are_taken_as_they_are(picture_folder, tmp_path):
    for split in ("train", "val", "test"):
        shutil.copytree(picture_folder, tmp_path / split)
    for extra in (tmp_path / "val").rglob("0[2-9].jpg"):
        extra.unlink()
    splits = open_splits(tmp_path)
    assert {role: splits.num_examples(role) for role in ROLES} == {"train": 60, "validation": 36, "test": 60}


def test_streaming_and_memory_give_the_same_pictures(picture_folder, monkeypatch):
    in_memory = open_splits(picture_folder)
    monkeypatch.setattr("keras_sepnets.data.examples.MEMORY_SHARE", 0)
    streamed = open_splits(picture_folder)
    for role in ROLES:
        assert in_memory.examples(role)._pictures.dtype == "uint8"
        assert streamed.examples(role)._pictures.dtype == "string"
        for one, other in zip(listed(in_memory, role), listed(streamed, role), strict=True):
            assert one[1] == other[1]
            assert np.array_equal(one[0], other[0])


def test_files_that_are_no_pictures_by_name_are_counted(picture_folder, tmp_path):
    shutil.copytree(picture_folder, tmp_path / "set")
    (tmp_path / "set" / "red" / "notes.txt").write_text("x")
    source = open_source(f"folder:{tmp_path / 'set'}")
    assert source.ignored_files == 1
    assert source.num_examples("train") == 60


def test_a_truncated_picture_is_named_when_it_is_decoded(picture_folder, tmp_path, monkeypatch):
    shutil.copytree(picture_folder, tmp_path / "set")
    bad = tmp_path / "set" / "red" / "03.jpg"
    bad.write_bytes(bad.read_bytes()[:-400])
    splits = open_splits(tmp_path / "set")
    role = next(role for role in ROLES if b"red/03.jpg".decode() in keys(splits, role))
    with pytest.raises(SepnetsError, match=r"red/03\.jpg.*truncated"):
        splits.examples(role)


def keys(splits, role):
    split, chosen = splits.parts[role]
    index = splits.source.index(split).keys
    return index if chosen is None else [key for key, keep in zip(index, chosen, strict=True) if keep]


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("no picture") if file.endswith(".txt") else shutil.copy(PICTURE[0], root / file)


PICTURE = []


@pytest.fixture(autouse=True)
def _picture(picture_folder):
    PICTURE[:] = [picture_folder / "red" / "00.jpg"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "at least two class folders.*no class folder"),
        (["a/1.jpg"], "at least two class folders.* with a$"),
        (["a/1.jpg", "b/notes.txt"], 'class "b" has no pictures'),
        (["train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg"], 'test folder has the class "c", which train'),
        (["test/a/1.jpg", "test/b/1.jpg"], "has test and no train folder"),
        (["Testing/a/1.jpg", "Testing/b/1.jpg"], "has test and no train folder"),
        (["train/a/1.jpg", "val/a/1.jpg", "Validation/a/1.jpg"], "two folders for validation: Validation and val"),
        (["train/a/1.jpg", "train/b/1.jpg", "bus/1.jpg"], "has train and also bus"),
        (["a/1.jpg", "b/1.jpg"], "too small: no example is left for validation"),
    ],
)
def test_unusable_folders_are_explained(tmp_path, files, sentence):
    make(tmp_path, *files)
    with pytest.raises(SepnetsError, match=sentence):
        open_splits(tmp_path)


def test_a_file_that_is_no_picture_is_named_at_once(picture_folder, tmp_path):
    shutil.copytree(picture_folder, tmp_path / "set")
    (tmp_path / "set" / "red" / "bad.png").write_text("no picture")
    with pytest.raises(SepnetsError, match=r'bad\.png" is not a JPEG'):
        open_source(f"folder:{tmp_path / 'set'}")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(SepnetsError, match="does not exist"):
        open_source(f"folder:{tmp_path / 'nowhere'}")


def test_training_sees_what_prediction_would_see(picture_folder):
    splits = open_splits(picture_folder)
    first_key = keys(splits, "test")[0]
    expected = prepare_picture(read_picture(picture_folder / first_key), 16)
    assert np.array_equal(listed(splits, "test")[0][0], expected)
