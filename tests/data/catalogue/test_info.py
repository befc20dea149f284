import json
import socket
import tempfile

import pytest
import tensorflow_datasets as tfds
from tiny_builder import FILES, LABELLED, NAMES, PICTURES

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.data.catalogue.info import describe_data_set, list_data_sets
from keras_sepnets.data.catalogue.offline import prepare_from_folder


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    """A data folder for each test, and no internet access."""
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))

    def refuse(_socket, address):
        raise AssertionError(f"tried to use the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "tfds"


@pytest.fixture
def prepared(tmp_path):
    for url in (PICTURES, LABELLED):
        (tmp_path / NAMES[url]).write_bytes(FILES[url])
    prepare_from_folder("tiny_pictures", tmp_path)


def test_list_without_any_prepared_set(data_dir, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    entries = {entry.name: entry for entry in list_data_sets()}
    assert entries["digits"].status == "embedded"
    assert {entry.status for entry in entries.values()} == {"embedded", "preparable"}
    assert {"cifar10", "fashion_mnist", "emnist", "imagenet2012", "tf_flowers", "beans"} <= entries.keys()
    assert not {"imdb_reviews", "coco", "celeb_a", "dtd"} & entries.keys()  # no class label
    assert entries["cifar10"].download_bytes == 170_052_171
    assert entries["emnist"].configs[:2] == ("byclass", "bymerge")
    assert entries["imagenet2012"].by_hand
    assert not data_dir.exists()
    assert list((tmp_path / "tmp").glob("*tfds")) == []  # which TFDS leaves for each builder


def test_list_begins_with_what_is_ready(prepared, data_dir):
    describe_data_set("digits")
    (data_dir / "broken" / "1.0.0").mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (data_dir / "broken" / "1.0.0" / name).write_text("{")
    digits, tiny, *rest = list_data_sets()
    assert (digits.name, digits.status, digits.splits) == (
        "digits:1.0.0",
        "embedded",
        {"train": 1437, "test": 360},
    )
    assert (tiny.name, tiny.status, tiny.splits) == ("tiny_pictures/plain:1.0.0", "ready", {"train": 12})
    folder = data_dir / "tiny_pictures" / "plain" / "1.0.0"
    assert tiny.bytes == sum(path.stat().st_size for path in folder.iterdir()) > 0
    assert {entry.status for entry in rest} == {"preparable"}
    assert "digits" not in {entry.name for entry in rest}
    json.dumps(tiny.to_json())


def test_description_before_preparation_lists_the_files():
    described = describe_data_set("tiny_pictures")
    assert (described.name, described.status) == ("tiny_pictures/plain:1.0.0", "preparable")
    assert (described.version, described.config, described.configs) == ("1.0.0", "plain", ("plain", "hasty"))
    assert (described.classes, described.picture_shape) == (("ant", "bee", "cat"), (4, 4, 1))
    assert (described.splits, described.bytes, described.instructions) == (None, None, None)
    assert {file.url: (file.file_name, file.bytes) for file in described.files} == {
        url: (NAMES[url], len(data)) for url, data in FILES.items()
    }


def test_description_after_preparation(prepared, data_dir):
    described = describe_data_set("tiny_pictures")
    assert (described.status, described.splits) == ("ready", {"train": 12})
    assert described.path == str(data_dir / "tiny_pictures/plain/1.0.0")
    assert described.bytes
    assert describe_data_set(described.name) == describe_data_set("tiny_pictures/plain:1.0.0")


def test_description_of_stock_sets_offline():
    described = describe_data_set("imagenet2012")
    assert len(described.classes) == 1000
    assert described.picture_shape == (None, None, 3)
    assert "ILSVRC2012_img_train.tar" in described.instructions
    (note,) = describe_data_set("cifar10").notes
    assert note == "class names, if there are any, are known once it is prepared"
    assert describe_data_set("digits").splits == {"train": 1437, "test": 360}


def test_description_of_a_folder_counts_every_class(picture_folder):
    described = describe_data_set(f"folder:{picture_folder}")
    assert (described.status, described.splits) == ("files", {"train": 60})
    assert described.class_counts == {"train": {"blue": 20, "green": 20, "red": 20}}
    assert described.bytes == sum(path.stat().st_size for path in picture_folder.rglob("*.jpg"))
    assert described.path == str(picture_folder)
    json.dumps(described.to_json())


def test_description_of_a_manifest(picture_folder, tmp_path):
    rows = [f"{path},{path.parent.name}" for path in sorted(picture_folder.rglob("0*.jpg"))]
    (tmp_path / "own.csv").write_text("\n".join(["path,label", *rows]))
    described = describe_data_set(f"manifest:{tmp_path}/own.csv")
    assert described.class_counts == {"train": {"blue": 10, "green": 10, "red": 10}}


def test_unknown_names():
    with pytest.raises(SepnetsError, match='Did you mean "cifar10"'):
        describe_data_set("cifr10")
    with pytest.raises(SepnetsError, match="does not exist"):
        describe_data_set("folder:missing")
