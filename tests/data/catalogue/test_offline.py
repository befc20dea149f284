import errno
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tiny_builder import FILES, LABELLED, LABELS, NAMES, PICTURES, PIXELS, TinyPictures, without_name

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.data.catalogue import builders, originals
from keras_sepnets.data.catalogue.offline import prepare_from_folder
from keras_sepnets.data.sources.opening import open_source

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package dataset-fashion-mnist


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
def folder(tmp_path):
    """The two files under meaningless names, one in a sub-folder, among others."""
    (tmp_path / "usb" / "deep").mkdir(parents=True)
    (tmp_path / "usb" / "a").write_bytes(FILES[PICTURES])
    (tmp_path / "usb" / "deep" / "download (1)").write_bytes(FILES[LABELLED])
    (tmp_path / "usb" / "same size").write_bytes(bytes(len(FILES[PICTURES])))
    (tmp_path / "usb" / "nowhere").symlink_to("missing")
    return tmp_path / "usb"


def leftovers(data_dir):
    return sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.suffix != ".lock")


def stored(name="tiny_pictures"):
    return list(tfds.as_numpy(tfds.load(name, split="train", data_dir=tfds.core.constants.DATA_DIR)))


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_recognised_by_content_and_the_stock_builder_does_the_rest(folder, data_dir):
    before, steps = content(folder), []
    assert prepare_from_folder("tiny_pictures", folder, report=lambda *step: steps.append(step)) is True
    assert np.array_equal([example["image"] for example in sorted(stored(), key=by_pixels)], PIXELS)
    assert leftovers(data_dir)[:2] == ["tiny_pictures", "tiny_pictures/.config"]
    assert not any("downloads" in name or "staging" in name for name in leftovers(data_dir))
    assert content(folder) == before
    size = len(FILES[PICTURES])
    assert ("checking pictures.gz", size, size) in steps
    assert open_source("tiny_pictures").class_names == ("ant", "bee", "cat")
    files = content(data_dir)
    assert prepare_from_folder("tiny_pictures", folder) is False
    assert content(data_dir) == files


def by_pixels(example):
    return example["image"].tolist()


def test_only_files_of_the_right_size_are_read(folder, monkeypatch):
    (folder / "other").write_bytes(bytes(5000))
    read = []
    digest = originals.OriginalFiles._digest
    monkeypatch.setattr(
        originals.OriginalFiles,
        "_digest",
        lambda self, match, *rest: read.append(match.path) or digest(self, match, *rest),
    )
    prepare_from_folder("tiny_pictures", folder)
    assert {Path(path).name for path in read} <= {"a", "download (1)", "same size"}


def test_gzip_headers_that_lost_name_and_time_are_rebuilt(folder):
    bare = without_name(FILES[PICTURES])
    assert len(bare) == len(FILES[PICTURES]) - len(b"pictures\0")
    (folder / "a").write_bytes(bare)
    assert prepare_from_folder("tiny_pictures", folder) is True
    assert len(stored()) == 12
    assert (folder / "a").read_bytes() == bare


def test_damaged_bare_gzip_files_are_refused(folder, data_dir):
    bare = bytearray(without_name(FILES[PICTURES]))
    bare[-1] ^= 1
    (folder / "a").write_bytes(bare)
    with pytest.raises(SepnetsError, match="1 file is missing: pictures.gz"):
        prepare_from_folder("tiny_pictures", folder)
    assert leftovers(data_dir) == []


def test_missing_files_are_listed_by_name_size_and_url(folder, data_dir):
    (folder / "a").write_bytes(FILES[PICTURES][:-1] + b"x")
    (folder / "deep" / "download (1)").rename(folder / "labels.zip")
    with (folder / "labels.zip").open("ab") as file:
        file.write(b"more")
    with pytest.raises(SepnetsError) as caught:
        prepare_from_folder("tiny_pictures", folder)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    for url in (PICTURES, LABELLED):
        assert f"{NAMES[url]} ({len(FILES[url]):,} bytes, {url}" in message
    assert f"the one found has {len(FILES[LABELLED]) + 4} bytes: damaged or another version" in message
    assert "2 files are missing" in message
    assert "never.asked.for" not in message
    assert leftovers(data_dir) == []


def test_files_of_earlier_downloads_are_used_and_kept(folder, data_dir):
    (folder / "a").unlink()
    cached = data_dir / "downloads" / "tiny_pictures" / "cached"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(FILES[PICTURES])
    assert prepare_from_folder("tiny_pictures", folder) is True
    assert cached.read_bytes() == FILES[PICTURES]
    assert list((data_dir / "downloads").rglob("*")) == [cached.parent, cached]


def test_urls_without_a_checksum_are_refused(folder, data_dir):
    with pytest.raises(
        SepnetsError, match="registers no checksum .* Received: https://pictures.invalid/tiny/unreg"
    ):
        prepare_from_folder("tiny_pictures/hasty", folder)
    assert leftovers(data_dir) == []


def test_builder_without_any_checksum(folder, data_dir, monkeypatch):
    monkeypatch.setattr(TinyPictures, "url_infos", None)
    monkeypatch.setattr("tensorflow_datasets.core.download.checksums.get_all_url_infos", dict)
    with pytest.raises(SepnetsError, match="registers no checksum"):
        prepare_from_folder("tiny_pictures", folder)
    assert leftovers(data_dir) == []


def test_files_that_are_fetched_by_hand_are_taken_from_the_folder(folder, data_dir):
    with pytest.raises(SepnetsError, match="downloaded by hand.* TFDS says: Ask the authors for labels.txt"):
        prepare_from_folder("tiny_by_hand", folder)
    assert leftovers(data_dir) == []
    (folder / "labels.txt").write_text(LABELS)
    assert prepare_from_folder("tiny_by_hand", folder) is True
    assert len(stored("tiny_by_hand")) == 12


def run_out(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["shutil.copyfileobj", "tensorflow_datasets.core.download.extractor._copy"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(place, folder, data_dir, monkeypatch):
    (folder / "a").write_bytes(without_name(FILES[PICTURES]))
    monkeypatch.setattr(place, run_out)
    with pytest.raises(
        FailedRunError, match=r"The disk is full: .* Received: .*tfds, where [\d,]+ bytes are free; the files"
    ):
        prepare_from_folder("tiny_pictures", folder)
    assert leftovers(data_dir) == []


def test_a_full_disk_noticed_by_tfds_names_the_bytes_needed(folder, data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.DatasetInfo, "dataset_size", tfds.core.utils.Size(10**18))
    with pytest.raises(
        FailedRunError, match="1,000,000,000,000,000,000 bytes are needed and [0-9,]+ bytes are free"
    ):
        prepare_from_folder("tiny_pictures", folder)
    assert leftovers(data_dir) == []


@pytest.mark.parametrize(
    "place",
    [
        "keras_sepnets.data.catalogue.offline._stage",
        "tiny_builder.TinyPictures._generate_examples",
        "tensorflow_datasets.core.download.extractor._copy",
    ],
)
def test_ctrl_c_leaves_nothing(place, folder, data_dir, monkeypatch):
    def press(*_):
        time.sleep(0.2)  # unpacking runs in other threads; the main thread has to wait for them
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    pressed: list[bool] = []
    monkeypatch.setattr(place, press)
    with pytest.raises(KeyboardInterrupt):
        prepare_from_folder("tiny_pictures", folder)
    assert leftovers(data_dir) == []


def test_other_configurations_and_leftovers_of_killed_processes(folder, data_dir):
    prepare_from_folder("tiny_pictures", folder)
    kept = leftovers(data_dir)
    (data_dir / ".tiny_pictures.staging-killed" / "x").mkdir(parents=True)
    with pytest.raises(SepnetsError):
        prepare_from_folder("tiny_pictures/hasty", folder)
    assert leftovers(data_dir) == kept


def test_unfinished_folders_of_killed_processes_are_removed_after_an_hour(folder, data_dir):
    old, new = (data_dir / "tiny_pictures" / "plain" / f"incomplete.{name}_1.0.0" for name in ("old", "new"))
    for left in (old, new):
        left.mkdir(parents=True)
        (left / "part").write_bytes(b"x")
    for path in (old / "part", old):
        os.utime(path, (0, time.time() - 3700))
    prepare_from_folder("tiny_pictures", folder)
    assert not old.exists()
    assert new.exists()


def test_folders_that_cannot_be_used(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, sentence in (
        (tmp_path / "missing", "no such file or directory"),
        (folder / "a", "not a directory"),
        (tmp_path / "empty", "The folder is empty"),
    ):
        with pytest.raises(SepnetsError, match=f"{sentence}. Received: {path}"):
            prepare_from_folder("tiny_pictures", path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_are_named(folder):
    (folder / "a").chmod(0)
    (folder / "deep").chmod(0)
    with pytest.raises(SepnetsError, match=f"Could not be read: {folder}/deep, {folder}/a"):
        prepare_from_folder("tiny_pictures", folder)
    (folder / "deep").chmod(0o700)


def test_unreadable_files_are_reported(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(originals.OriginalFiles, "_digest", refuse)
    with pytest.raises(SepnetsError, match="Could not be read: .*/usb/"):
        prepare_from_folder("tiny_pictures", folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tiny_picture", 'Did you mean "tiny_pictures"'),
        ("tiny_pictures/none", "cannot be opened"),
        ("folder:pictures", "need no preparation"),
        ("imdb_reviews", "no picture with one class label"),
    ],
)
def test_names_that_cannot_be_prepared(name, sentence, folder, data_dir):
    with pytest.raises(SepnetsError, match=sentence):
        prepare_from_folder(name, folder)
    assert not data_dir.exists()


def test_digits_need_neither_files_nor_a_network(folder):
    assert builders.prepare("digits") is True
    assert builders.prepare("digits") is False
    assert prepare_from_folder("digits", folder) is False


def test_a_download_that_fails_leaves_no_half_prepared_set(data_dir, monkeypatch):
    monkeypatch.setattr(builders, "MAX_RETRIES", 0)
    with pytest.raises(FailedRunError, match="could not be prepared.*tiny_pictures --from DIR"):
        builders.prepare("tiny_pictures")
    assert not (data_dir / "tiny_pictures").exists()


def test_unprepared_sets_name_both_ways():
    with pytest.raises(SepnetsError, match="sepnets data prepare tiny_pictures, .* tiny_pictures --from DIR"):
        open_source("tiny_pictures")


def test_data_folder_that_cannot_be_written(folder, data_dir):
    data_dir.write_text("a file")
    with pytest.raises(FailedRunError, match="could not be prepared"):
        prepare_from_folder("tiny_pictures", folder)


def test_copies_where_links_are_impossible(folder, data_dir, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert prepare_from_folder("tiny_pictures", folder) is True


@pytest.mark.long
@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_the_debian_package(data_dir):
    assert prepare_from_folder("fashion_mnist", FASHION_MNIST) is True
    source = open_source("fashion_mnist")
    assert source.name == "fashion_mnist:3.0.1"
    assert {split: source.num_examples(split) for split in source.splits} == {"train": 60_000, "test": 10_000}
    assert np.bincount(source.index("test").labels).tolist() == [1000] * 10
    assert [name for name in leftovers(data_dir) if "/" not in name] == ["fashion_mnist"]
    shutil.rmtree(data_dir)
