import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_builder
from tiny_builder import PHOTOS

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.data.batches.examples import DecodedExamples, StreamedExamples
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.batches.stores import decode_all
from keras_sepnets.data.catalogue.checking import check_source
from keras_sepnets.data.pictures.decoding import read_picture
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A TFDS data set of JPEG records."""
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    tiny_builder.TinyPhotos(data_dir=str(tmp_path / "tfds")).download_and_prepare()
    return open_source("tiny_photos")


def digits(**options):
    return Splits(open_source("digits"), DataConfig(image_size=16), **options)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("shortest", [40, 150, 300, None])
def test_a_record_has_the_same_pixels_as_the_file(photos, tmp_path, name, shortest):
    rules = PixelRules(shortest) if shortest else None
    (tmp_path / "a.jpg").write_bytes(PHOTOS[name])
    records = tf.data.Dataset.from_tensors(PHOTOS[name]).map(lambda encoded: photos.decode(encoded, rules))
    (pixels,) = records.as_numpy_iterator()
    assert np.array_equal(pixels, read_picture(tmp_path / "a.jpg", rules or PixelRules(10_000)))


@pytest.mark.parametrize("options", [{}, {"memory": 0}, {"cache_folder": True}], ids=["memory", "stream", "disk"])
def test_records_are_the_same_wherever_they_are_kept(photos, tmp_path, options):
    options = {name: tmp_path / "cache" if value is True else value for name, value in options.items()}
    splits = Splits(photos, DataConfig(image_size=32), **options)
    assert isinstance(splits.examples("test"), StreamedExamples if "memory" in options else DecodedExamples)
    seen = sorted(picture.shape for picture, _ in splits.examples("test").in_order().as_numpy_iterator())
    (tmp_path / "a.jpg").write_bytes(b"")
    expected = []
    for content in PHOTOS.values():
        (tmp_path / "a.jpg").write_bytes(content)
        expected += 3 * [read_picture(tmp_path / "a.jpg", PixelRules(32)).shape]
    assert seen == sorted(expected)


def test_a_labelled_split_without_a_role_is_not_checked(photos):
    result = check_source(photos)
    assert sum(result.num_examples.values()) == 24
    assert result.sizes["width"] == {"smallest": 90, "median": 500, "largest": 1500}


@pytest.mark.parametrize("damage", ["pixels", "npz", "no pixels", "no npz"])
def test_a_damaged_cache_is_written_again(tmp_path, damage):
    def pictures():
        examples = digits(cache_folder=tmp_path / "cache").examples("validation")
        assert isinstance(examples, DecodedExamples)
        return [picture.tobytes() for picture, _ in examples.in_order().as_numpy_iterator()]

    expected = pictures()
    (pixels,) = (tmp_path / "cache").glob("*.pixels")
    (index,) = (tmp_path / "cache").glob("*.npz")
    file = pixels if "pixels" in damage else index
    before = pixels.stat().st_mtime_ns
    assert pictures() == expected
    assert pixels.stat().st_mtime_ns == before  # found again
    if damage.startswith("no"):
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-7])
    assert pictures() == expected
    assert pixels.stat().st_mtime_ns != before


def test_a_whole_cache_in_a_read_only_folder_is_used(tmp_path, monkeypatch):
    def pictures():
        examples = digits(cache_folder=tmp_path / "cache").examples("validation")
        return [picture.tobytes() for picture, _ in examples.in_order().as_numpy_iterator()]

    cached = pictures()

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("filelock.FileLock", refuse)
    assert pictures() == cached
    with pytest.raises(FailedRunError, match="cannot be written: read-only"):
        digits(cache_folder=tmp_path / "cache").examples("test")


def test_if_runs_start_together_one_decodes(tmp_path):
    written = []
    original = StreamedExamples.in_order

    def in_order(self):
        written.append(self)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamedExamples, "in_order", in_order)
        threads = [
            threading.Thread(target=lambda: digits(cache_folder=tmp_path / "cache").examples("validation"))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(written) == 1


def test_a_data_set_prepared_again_is_decoded_again(photos, tmp_path):
    def cached():
        Splits(open_source("tiny_photos"), DataConfig(image_size=32), cache_folder=tmp_path / "c").examples("test")
        return len(list((tmp_path / "c").glob("*.pixels")))

    assert cached() == cached() == 1
    (info,) = (tmp_path / "tfds").rglob("dataset_info.json")
    info.touch()
    assert cached() == 2


def test_pictures_larger_than_estimated_stop_before_memory_is_full():
    pictures = tf.data.Dataset.from_tensors((np.zeros((10, 10, 3), np.uint8), 0)).repeat(5)
    assert decode_all(pictures, 5, memory=1500).num_examples == 5
    with pytest.raises(FailedRunError, match="more than 1.2 kB, .* --cache DIR"):
        decode_all(pictures, 5, memory=1200)


def test_every_role_is_complete_wherever_it_is_kept(tmp_path):
    for options in ({}, {"memory": 0}, {"cache_folder": tmp_path / "cache"}):
        splits = digits(**options)
        counts = {role: sum(1 for _ in splits.examples(role).in_order()) for role in ROLES}
        assert counts == {"train": 1293, "validation": 144, "test": 360}
