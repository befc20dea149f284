"""Evaluation of a run on its own pictures after they moved, and on others."""

import csv
import hashlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, SepnetsError, build_mobilenet, evaluate, load_config
from keras_sepnets.cli import main
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.samples import count_found, describe_change, take_sample
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_data, open_source
from keras_sepnets.data.sources.source import Part
from keras_sepnets.inference.pictures import open_pictures
from keras_sepnets.training.continuing import check_same_data

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


@pytest.mark.usefixtures("_short_networks")
@pytest.mark.parametrize(
    ("places", "about", "counts"),
    [
        ("test/a test/b test/c", "test", [2, 2, 2]),
        ("a b c", "all", [2, 2, 2]),
        ("b", "all", [0, 2, 0]),
        ("b/2020 b/2021", "all", [0, 4, 0]),  # the run knows b, so these are no classes
        ("more/b/old more/b/new", "all", [0, 4, 0]),
        ("val/c", "all", [0, 0, 2]),
        ("train/a train/b test/c", "test", [0, 0, 2]),
        ("a/test c/test a/train c/train", "test", [2, 0, 2]),
    ],
)
def test_whatever_has_labels_that_the_run_knows_is_evaluated(run, tmp_path, places, about, counts):
    draw(tmp_path / "new", places.split(), count=2, seed=7)
    if places == "b":
        (tmp_path / "new" / "a").mkdir()  # of which there is no picture yet
    result = evaluate(run, dataset=f"folder:{tmp_path / 'new'}")
    assert (result.about.split, result.confusion.sum(axis=1).tolist()) == (about, counts)


@pytest.mark.usefixtures("_short_networks")
def test_a_list_is_evaluated_with_columns_and_limits_of_its_own(run, tmp_path, monkeypatch):
    draw(tmp_path, ("b",), count=3, seed=7)
    rows = [f"b/{number}.png,{'abc'[number]},x,test" for number in range(3)]
    (tmp_path / "new.csv").write_text("\n".join(["file,kind,site,split", *rows]))
    dataset = f"manifest:{tmp_path}/new.csv"
    with pytest.raises(SepnetsError, match=r"may have the label in \"kind\" or \"site\""):
        evaluate(run, dataset=dataset)
    result = evaluate(run, dataset=dataset, settings=["data.label_column=kind"])
    assert (result.about.split, result.confusion.sum(axis=1).tolist()) == ("test", [1, 1, 1])
    assert result.notes == ('understood: the path from the column "file", the label from the column "kind"',)
    monkeypatch.setattr("keras_sepnets.data.pictures.headers.MAXIMUM_PIXELS", 100)
    with pytest.raises(SepnetsError, match="too large.*data.on_bad_picture=skip"):
        evaluate(run, dataset=dataset, settings=["data.label_column=kind"])
    larger = evaluate(run, dataset=dataset, settings=["data.label_column=kind", "data.max_megapixels=1"])
    assert larger.to_json() == result.to_json()
    command = ["evaluate", str(run.path), "--dataset", dataset, "--set"]
    done = CliRunner().invoke(main, [*command, "data.image_size=64"])
    assert (done.exit_code, "takes only settings of data.path_column" in done.stderr) == (2, True)


@pytest.mark.usefixtures("_short_networks")
def test_all_classes_that_a_run_does_not_know_are_named_in_one_sentence(run, tmp_path):
    draw(tmp_path / "new", ("a", "A", "dog"), count=1)
    with pytest.raises(SepnetsError, match='knows no class "A", "dog". Its classes are a, b, c; rename'):
        evaluate(run, dataset=f"folder:{tmp_path / 'new'}")
    draw(tmp_path / "flat", (".",), count=1)
    with pytest.raises(SepnetsError, match="needs class folders with pictures"):
        evaluate(run, dataset=f"folder:{tmp_path / 'flat'}")


def old_run_with_decomposed_names(tmp_path):
    """Return a run as version 0.1.0 wrote it, whose classes are in decomposed Unicode, and in its order."""
    names = ("cafe\u0301", "caff", "tea")  # composed, the first two would change places
    folder = draw(tmp_path / "old", names)
    run = Run.create(tmp_path / "run", load_config(options={
        "model.alpha": 0.0625, "model.shallow": True, "data.image_size": 32, "data.crop_fraction": 1.0,
        "data.dataset": f"folder:{folder}", "data.augment": "none",
    }))  # fmt: skip
    config = run.read_json("config.json")
    del config["data"]["class_names"]
    run.write_json("config.json", config)
    run.write_json("labels.json", list(names))
    splits = Splits(open_data(run.config.data), run.config.data)
    data = {"dataset": splits.source.name}
    for role in ROLES:
        keys = sorted(splits.keys(role))
        lines = "".join(f"{key}\0{key.split('/')[0]}\n" for key in keys)  # the digest of 0.1.0
        data[role] = {"num_examples": len(keys), "digest": hashlib.sha256(lines.encode()).hexdigest()}
    run.write_json("data.json", data)
    run.save_model(build_mobilenet(alpha=0.0625, shallow=True, input_shape=(32, 32, 3), classes=3), "final")
    return run


@pytest.mark.usefixtures("_short_networks")
@pytest.mark.filterwarnings("error:The test pictures")
def test_a_run_of_0_1_0_with_decomposed_names_is_evaluated_and_continues(tmp_path):
    run = old_run_with_decomposed_names(tmp_path)
    result = evaluate(run)
    assert result.confusion.sum(axis=1).tolist() == [2, 2, 2]
    splits = Splits(open_data(run.config.data), run.config.data)
    assert splits.class_names == run.class_names
    check_same_data(run, SimpleNamespace(splits=splits), moved=False)
    # Others are matched by name, in whatever form it is.
    composed = draw(tmp_path / "new", ("tea", "caf\u00e9"), count=3, seed=2)
    with pytest.warns(UserWarning, match="earlier version"):
        others = evaluate(run, dataset=f"folder:{composed}")
    assert others.confusion.sum(axis=1).tolist() == [3, 0, 3]


def test_the_final_network_of_a_cross_validation_is_tested_by_its_folds_or_on_others(run, tmp_path):
    data = run.config.data.model_copy(update={"folds": 3, "fold": "none"})
    run.write_json("config.json", run.config.model_copy(update={"data": data}).model_dump(mode="json"))
    with pytest.raises(SepnetsError, match="of its cross-validation tell its accuracy; --dataset SOURCE tests it"):
        open_pictures(run, "test")
    (tmp_path / "experiment.json").write_text("{}")
    with pytest.raises(SepnetsError, match=f"accuracy, which sepnets evaluate {tmp_path} shows; --dataset"):
        open_pictures(run, "test")
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(SepnetsError, match=f"--dataset folder:PATH, for {run.path} and each other run by itself"):
        open_pictures(run, "train")


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
