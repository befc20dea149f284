"""Evaluation of a run on its own pictures after they moved, and on others."""

import csv
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, SepnetsError, build_mobilenet, evaluate, load_config
from keras_sepnets.cli import main
from keras_sepnets.data.batches.samples import count_found, describe_change, take_sample
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.data.sources.source import Part

CLASSES = ("a", "b", "c")


def draw(folder, classes=CLASSES, *, count=20, seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def run(tmp_path):
    """A run with an untrained network, which was to be trained on the folder `first`."""
    folder = draw(tmp_path / "first")
    options = {
        "model.alpha": 0.0625, "model.shallow": True, "data.image_size": 32, "data.crop_fraction": 1.0,
        "data.dataset": f"folder:{folder}", "data.augment": "none", "training.keep": "final",
    }  # fmt: skip
    config = load_config(options=options)
    run = Run.create(tmp_path / "run", config)
    splits = Splits(open_source(config.data.dataset), config.data)
    run.write_json("labels.json", list(splits.class_names))
    run.write_json("data.json", splits.to_json())
    run.save_model(build_mobilenet(alpha=0.0625, shallow=True, input_shape=(32, 32, 3), classes=3), "final")
    return run


@pytest.mark.usefixtures("_short_networks")
def test_pictures_that_moved_are_the_runs_own_and_others_are_not(run, tmp_path):
    expected = evaluate(run)
    assert expected.num_examples == 6
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(SepnetsError, match="no longer where they were.*--dataset folder:PATH"):
        evaluate(run)
    moved = evaluate(run, dataset=f"folder:{tmp_path / 'moved'}")
    assert moved.to_json() == expected.to_json()
    assert moved.about.dataset == f"folder:{tmp_path / 'moved'}"
    assert run.read_json("evaluation-test.json")["dataset"] == moved.about.dataset
    # Files of the same names with another content.
    others = draw(tmp_path / "others", seed=1)
    result = evaluate(run, dataset=f"folder:{others}")
    assert (result.num_examples, result.about.split) == (60, "all")
    assert run.read_json("evaluation-test.json")["num_examples"] == 6
    assert run.read_json("evaluation-of-others.json")["num_examples"] == 60


@pytest.mark.usefixtures("_short_networks")
def test_other_pictures_may_have_some_of_the_classes_and_splits(run, tmp_path):
    for split in ("train", "test"):
        draw(tmp_path / "others" / split, ("c", "b"), count=4, seed=len(split))
    dataset = f"folder:{tmp_path / 'others'}"
    result = evaluate(run, dataset=dataset)
    assert (result.num_examples, result.about.split, result.confusion.shape) == (8, "test", (3, 3))
    assert result.confusion.sum(axis=1).tolist() == [0, 4, 4]
    rows = list(csv.DictReader((run.path / "predictions-of-others-test.csv").open()))
    assert sorted(row["label"] for row in rows) == ["b"] * 4 + ["c"] * 4
    assert all(row["path"].startswith(f"test/{row['label']}/") for row in rows)
    assert evaluate(run, "train", dataset=dataset).about.split == "train"
    done = CliRunner().invoke(main, ["evaluate", str(run.path), "--dataset", dataset, "--split", "val"])
    assert (done.exit_code, "no validation split; name one that it has" in done.stderr) == (2, True)
    draw(tmp_path / "unknown", ("a", "b", "d"), count=2)
    with pytest.raises(SepnetsError, match='knows no class "d".*Its classes are a, b, c'):
        evaluate(run, dataset=f"folder:{tmp_path / 'unknown'}")


@pytest.mark.usefixtures("_short_networks")
def test_pictures_that_the_run_was_trained_on_are_found_in_another_set(run, tmp_path):
    """Whatever they are called there."""
    others = draw(tmp_path / "others", seed=1)
    for file in (tmp_path / "first").rglob("*.png"):
        shutil.copy(file, others / file.parent.name / f"copy-{file.name}")
    with pytest.warns(UserWarning, match="trained on some of these pictures: of 16 .*, 16 are among"):
        evaluate(run, dataset=f"folder:{others}")


def test_a_sample_depends_on_contents_and_not_on_places(tmp_path):
    sources = [
        open_source(f"folder:{draw(tmp_path / name, seed=seed)}") for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    same, moved, others = (take_sample(source, Part("train")) for source in sources)
    assert len(same) == 16
    assert same == moved
    assert not same.keys() & others.keys()
    assert [count_found(same, source, Part("train")) for source in sources] == [16, 16, 0]
    assert sources[0].digest(Part("train")) == sources[2].digest(Part("train"))  # which knows names alone


def test_a_change_is_described_by_what_was_recorded():
    role = {"num_examples": 2, "from": "the set's test split", "digest": "x", "sample": {"y": 3}}
    recorded = {"dataset": "folder:/a", "classes": 3, "test": role}
    assert describe_change(recorded, recorded) is None
    assert describe_change(recorded | {"test": {"num_examples": 2, "digest": "x"}}, recorded) is None
    assert describe_change(recorded, recorded | {"test": role | {"num_examples": 3, "digest": "z"}}) == (
        "test had 2 pictures and has 3"
    )
    assert describe_change(recorded, recorded | {"test": role | {"sample": {}}}) == (
        "test has other pictures than before"
    )
    assert describe_change(recorded, recorded | {"dataset": "folder:/b"}, moved=True) is None
    assert "folder:/b" in describe_change(recorded, recorded | {"dataset": "folder:/b"})
    assert describe_change(recorded, recorded | {"classes": 4}) == "classes was 3 and is 4"
