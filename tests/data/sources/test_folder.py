import os
import shutil

import numpy as np
import psutil
import pytest
from PIL import Image

from keras_sepnets import SepnetsError
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.data.batches.caches import memory_budget
from keras_sepnets.data.batches.examples import DecodedExamples, FileExamples
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.batches.stores import FileStore
from keras_sepnets.data.pictures.decoding import read_picture
from keras_sepnets.data.pictures.preprocessing import prepare_picture
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig


def open_splits(root, *, skip_bad=False, **options):
    source = open_source(f"folder:{root}", skip_bad=skip_bad)
    return Splits(source, DataConfig(dataset=source.name, image_size=16), **options)


def listed(splits, role):
    return list(splits.examples(role).in_order().as_numpy_iterator())


def prepared(splits, role):
    return list(splits.evaluation_batches(role, 1).as_numpy_iterator())


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


def test_streaming_and_memory_give_the_same_pictures(picture_folder):
    in_memory = open_splits(picture_folder)
    streamed = open_splits(picture_folder, memory=0)
    assert "in memory" in in_memory.place
    assert "anew in every epoch" in streamed.place
    for role in ROLES:
        assert isinstance(in_memory.examples(role), DecodedExamples)
        assert isinstance(streamed.examples(role), FileExamples)
        for one, other in zip(listed(in_memory, role), listed(streamed, role), strict=True):
            assert one[1] == other[1]
            assert np.array_equal(one[0], other[0])


def test_files_without_the_suffix_of_a_picture_are_counted(picture_folder, tmp_path):
    shutil.copytree(picture_folder, tmp_path / "set")
    (tmp_path / "set" / "red" / "notes.txt").write_text("x")
    source = open_source(f"folder:{tmp_path / 'set'}")
    assert source.notes == ["ignored: 1 file without the suffix of a picture, such as red/notes.txt"]
    assert source.num_examples("train") == 60


@pytest.fixture
def damaged(picture_folder, tmp_path):
    """A data set with three truncated pictures."""
    root = shutil.copytree(picture_folder, tmp_path / "damaged")
    for name in ("red/03.jpg", "blue/19.jpg", "green/00.jpg"):
        (root / name).write_bytes((root / name).read_bytes()[:-400])
    return root


WAYS = pytest.mark.parametrize(
    "way", [{}, {"memory": 0}, {"cache_folder": True}], ids=["memory", "stream", "disk"]
)


def options_of(way, tmp_path):
    return {key: tmp_path / "cache" if value is True else value for key, value in way.items()}


@WAYS
def test_a_truncated_picture_is_named_when_it_is_decoded(damaged, tmp_path, way):
    splits = open_splits(damaged, **options_of(way, tmp_path))

    def read_all():
        with splits.translated_failures():
            for role in ROLES:
                listed(splits, role)

    with pytest.raises(FailedRunError, match=r"(red/03|blue/19|green/00)\.jpg.*damaged or truncated.*skip"):
        read_all()


@WAYS
def test_a_split_without_readable_pictures_is_reported(picture_folder, tmp_path, way):
    for split in ("train", "validation"):
        shutil.copytree(picture_folder, tmp_path / "set" / split)
    for file in (tmp_path / "set" / "validation").rglob("*.jpg"):
        file.write_bytes(file.read_bytes()[:-400])
    splits = open_splits(tmp_path / "set", skip_bad=True, **options_of(way, tmp_path))
    if "memory" in way or "cache_folder" in way:
        assert listed(splits, "test") == []
    else:
        with pytest.raises(FailedRunError, match="No picture of the split could be read"):
            listed(splits, "test")


def test_a_class_without_readable_pictures_is_named(picture_folder, tmp_path):
    root = shutil.copytree(picture_folder, tmp_path / "set")
    for file in (root / "red").iterdir():
        file.write_text("words")
    with pytest.raises(SepnetsError, match='No training picture of the class "red" can be read'):
        open_source(f"folder:{root}", skip_bad=True)


def test_a_class_name_that_is_not_utf8_is_named(picture_folder, tmp_path):
    root = shutil.copytree(picture_folder, tmp_path / "set")
    (root / "red").rename(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))
    with pytest.raises(SepnetsError, match="not in UTF-8"):
        open_source(f"folder:{root}")


def test_the_file_that_stopped_a_pipeline_is_found_among_many(damaged, monkeypatch):
    monkeypatch.setattr("keras_sepnets.data.batches.reading.REMEMBERED", 1)
    splits = open_splits(damaged, memory=0)
    with pytest.raises(FailedRunError, match="damaged or truncated"), splits.translated_failures():
        listed(splits, "train")


def test_the_memory_of_decoded_pictures_is_known_beforehand(picture_folder):
    source = open_source(f"folder:{picture_folder}")
    sizes = [3 * np.prod(Image.open(path).size) for split in source.splits for path in source.paths(split)]
    assert FileStore(source, PixelRules(shortest=1000), None, 2 * sum(sizes)).decodes_at_once
    assert not FileStore(source, PixelRules(shortest=1000), None, 2 * sum(sizes) - 1).decodes_at_once


def test_a_container_gets_a_quarter_of_its_own_memory(tmp_path, monkeypatch):
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr("keras_sepnets.base.machine.CONTAINER_LIMITS", (tmp_path / "max", tmp_path / "none"))
    assert memory_budget() == psutil.virtual_memory().total // 4
    (tmp_path / "max").write_text("4000000\n")
    assert memory_budget() == 1_000_000


@WAYS
def test_where_bad_pictures_are_skipped_each_good_one_is_evaluated_once(damaged, picture_folder, tmp_path, way):
    (damaged / "red" / "words.jpg").write_text("words")
    (damaged / "blue" / "empty.png").write_bytes(b"")
    splits = open_splits(damaged, skip_bad=True, **options_of(way, tmp_path))
    seen = [picture.tobytes() for role in ROLES for picture, _ in listed(splits, role)]
    assert len(seen) == len(set(seen)) == 57
    whole = open_splits(picture_folder)
    assert set(seen) < {picture.tobytes() for role in ROLES for picture, _ in listed(whole, role)}
    named = {path.removeprefix(f"{damaged}/") for path in splits.bad_pictures}
    assert named == {"red/03.jpg", "blue/19.jpg", "green/00.jpg", "red/words.jpg", "blue/empty.png"}


@WAYS
def test_where_bad_pictures_are_skipped_training_takes_the_next_one(damaged, tmp_path, way):
    splits = open_splits(damaged, skip_bad=True, **options_of(way, tmp_path))
    examples = splits._store.examples("train", None)
    good = {}
    for picture, label in examples.in_order().as_numpy_iterator():
        good.setdefault(picture.tobytes(), int(label))
    order = [
        (picture.tobytes(), int(label))
        for _, picture, label in examples.shuffled(3, 60).take(60).as_numpy_iterator()
    ]
    assert all(good[picture] == label for picture, label in order)
    counts = {picture: sum(other == picture for other, _ in order) for picture in good}
    assert sorted(counts.values()) == [1] * 55 + [2, 3]  # two of the damaged ones are neighbours


def test_a_picture_damaged_after_the_check_does_not_kill_a_run_that_skips(picture_folder, tmp_path):
    root = shutil.copytree(picture_folder, tmp_path / "set")
    splits = open_splits(root, skip_bad=True, memory=0)
    batches = splits.training_batches(6, 8, 0).as_numpy_iterator()
    next(batches)
    for file in root.rglob("1?.jpg"):
        file.unlink()
    for _ in range(16):
        pictures, _ = next(batches)
        assert pictures.shape == (6, 16, 16, 3)
    assert splits.bad_pictures
    assert set(splits.bad_pictures.values()) == {"does not exist"}


def test_a_cache_on_disk_is_of_the_file_as_it_is(picture_folder, tmp_path):
    root = shutil.copytree(picture_folder, tmp_path / "set")
    cache = tmp_path / "cache"
    before = listed(open_splits(root, cache_folder=cache), "test")
    assert len(list(cache.rglob("*.npy"))) == 6
    changed = root / keys(open_splits(root), "test")[0]
    Image.new("RGB", (40, 40), "white").save(changed)
    after = listed(open_splits(root, cache_folder=cache), "test")
    assert (after[0][0] > 250).all()
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(before[1:], after[1:], strict=True))
    for file in cache.rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])  # cut off: decoded anew
    again = listed(open_splits(root, cache_folder=cache), "test")
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(after, again, strict=True))


def test_a_cache_folder_that_cannot_be_made_is_named(picture_folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SepnetsError, match="cache folder cannot be made"):
        open_splits(picture_folder, cache_folder=tmp_path / "file" / "cache")


def test_a_class_that_test_lacks_is_noted_and_shifts_no_label(picture_folder, tmp_path):
    for split in ("train", "val", "test"):
        shutil.copytree(picture_folder, tmp_path / split)
    shutil.rmtree(tmp_path / "test" / "blue")
    splits = open_splits(tmp_path)
    assert splits.source.notes == ["no test picture of blue"]
    assert {int(label) for _, label in listed(splits, "test")} == {1, 2}


LAYOUTS = {
    "training_set/{} test_set/{}": "train test",
    "training_set/training_set/{} test_set/test_set/{}": "train test",
    "archive/seg_train/seg_train/{} archive/seg_test/seg_test/{}": "train test",
    "Train_set/{} Val_set/{} Test_set/{}": "train validation test",
    "data/TrainingData/{} data/ValidationData/{}": "train validation",
    "cats-train/{} cats-dev/{} cats-eval/{}": "train validation test",
    "train2017/images/{} val2017/images/{}": "train validation",
    "pets/train/{} pets/test/{} pets/pets/train/{} pets/pets/test/{}": "train test",
    "{}/train {}/test": "train test",
    "{}": "train",
    "archive/pets/{}": "train",
    "steam_{} bullet_{}": "train",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_that_mean_splits_are_never_classes(tmp_path, layout):
    for name in ("cat", "dog"):
        make(
            tmp_path / "pets",
            *(f"{place.format(name)}/{number}.jpg" for place in layout.split() for number in "12"),
        )
    source = open_source(f"folder:{tmp_path / 'pets'}")
    assert source.splits == tuple(LAYOUTS[layout].split())
    assert set(source.class_names) <= {"cat", "dog"} or "steam" in layout
    assert source.num_examples("train") == (8 if "steam" in layout else 4)


def test_what_was_understood_is_said_and_plain_names_need_no_word(tmp_path):
    make(tmp_path / "plain", *(f"{split}/{name}/1.jpg" for split in ("train", "val") for name in "ab"))
    assert open_source(f"folder:{tmp_path / 'plain'}").notes == []
    make(
        tmp_path / "odd",
        *(f"x/{split}/{split}/{name}/1.jpg" for split in ("my_train", "my_test") for name in "ab"),
    )
    make(tmp_path / "odd" / "x", "my_pred/1.jpg", "my_pred/more/2.jpg", "docs/words.txt", "my_test/my_test/0.jpg")
    source = open_source(f"folder:{tmp_path / 'odd'}")
    assert source.splits == ("train", "test")
    assert source.notes == [
        "the pictures are in x",
        "understood: my_train/my_train is train, my_test/my_test is test",
        "not used: 2 pictures in my_pred, which has no class folders; sepnets predict classifies them",
        "ignored: docs, which has no pictures",
        "ignored: 1 picture outside the class folders: my_test/my_test/0.jpg",
    ]


@pytest.mark.parametrize(
    ("places", "classes"),
    [
        ("flowers/rose flowers/tulip", {"rose", "tulip"}),
        ("pets/rose pets/tulip", {"rose", "tulip"}),
        ("pets/flowers/rose pets/flowers/tulip", {"rose", "tulip"}),
        ("flowers/0 flowers/1 flowers/2", {"0", "1", "2"}),
        ("cats/2020 cats/2021", None),
        ("cats/2020-05-01 cats/2020-06-12", None),
        ("cats/1.jpg cats/indoors cats/outdoors", None),
    ],
)
def test_a_single_folder_is_an_archives_or_a_class_but_never_in_silence(tmp_path, places, classes):
    make(tmp_path / "pets", *(place if place.endswith(".jpg") else f"{place}/1.jpg" for place in places.split()))
    name = f"folder:{tmp_path / 'pets'}"
    if classes is None:
        sentence = rf'if the folders in "cats" are the classes, name it: "{name}/cats"\. Received: .* with cats$'
        with pytest.raises(SepnetsError, match=sentence):
            open_source(name)
        return
    source = open_source(name)
    assert set(source.class_names) == classes
    if places.startswith("pets/") and "flowers" not in places:
        assert source.notes == ["the pictures are in pets"]
    else:
        assert 'as nothing lies beside it; if "flowers" is itself a class' in source.notes[0]


def test_a_single_folder_inside_a_split_is_said(tmp_path):
    make(tmp_path, *(f"train/cats/{name}/1.jpg" for name in ("indoors", "outdoors")))
    assert open_source(f"folder:{tmp_path}").notes == [
        "understood: train/cats is train (its folders are the classes)"
    ]


@pytest.mark.parametrize("unlabelled", ["test/1.jpg", "test/unknown/1.jpg", "test/test/1.jpg"])
def test_an_unlabelled_test_is_said_and_not_dropped_in_silence(tmp_path, unlabelled):
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", unlabelled)
    source = open_source(f"folder:{tmp_path}")
    assert source.splits == ("train",)
    assert source.notes[0].startswith("not used: 1 picture in test")


def test_classes_in_composed_and_decomposed_unicode_are_one(tmp_path):
    make(tmp_path, "train/caf\u00e9/1.jpg", "train/cafe\u0301/2.jpg", "train/tea/1.jpg", "test/cafe\u0301/1.jpg")
    source = open_source(f"folder:{tmp_path}")
    assert source.class_names == ("caf\u00e9", "tea")
    assert source.num_examples("train") == 3
    assert source.notes[0].startswith("one class each")


def test_classes_that_differ_only_in_case_are_said(tmp_path):
    make(tmp_path, "Cat/1.jpg", "cat/1.jpg")
    assert "only case" in open_source(f"folder:{tmp_path}").notes[0]


@pytest.mark.parametrize(("sides", "size"), [((32,), 64), ((28,), 64), ((80,), 160), ((500,), 224)])
def test_small_pictures_are_trained_at_twice_their_size(tmp_path, sides, size):
    for number in range(40):
        side = 600 if number == 7 else sides[0] - number % 3  # one odd picture changes nothing
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (side, 20)).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    resolved = resolve_data(DataConfig(), open_source(f"folder:{tmp_path}"), default_size=224)
    assert resolved.image_size == size
    assert resolved.crop_fraction == (1.0 if sides[0] <= 64 else 0.875)


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
        (["train/a/1.jpg", "train/b/1.jpg", "test/c/1.jpg"], 'test pictures have the class "c", which train'),
        (["test/a/1.jpg", "test/b/1.jpg"], "has test and no train folder"),
        (["train/1.jpg", "test/a/1.jpg", "test/b/1.jpg"], "at least two class folders"),
        (["train_1/a/1.jpg", "train_2/a/1.jpg"], "two folders for train: train_1 and train_2"),
        (["a_train/1.jpg", "a_test/1.jpg", "b_train/1.jpg", "b_test/1.jpg"], "two folders for train"),
        (["train/train/a/1.jpg", "train/test/a/1.jpg"], "where classes should be: test, train"),
        (["a/train/1.jpg", "a/test/1.jpg", "b/1.jpg"], "Some class folders have split folders inside, but b"),
        (
            ["a/train/1.jpg", "a/test/1.jpg", "a/1.jpg", "b/1.jpg"],
            "a has split folders inside, but it may",
        ),
        (
            [f"{one}/{split}/{name}/1.jpg" for one in "ab" for split in ("train", "test") for name in "xy"],
            "more than",
        ),
        (["1.jpg", "labels.csv"], r'"manifest:.*labels\.csv"'),
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


def test_a_file_that_is_not_a_picture_is_named_at_once(picture_folder, tmp_path):
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
    expected = prepare_picture(read_picture(picture_folder / first_key, PixelRules(16)), 16)
    assert np.array_equal(prepared(splits, "test")[0][0][0], expected)
