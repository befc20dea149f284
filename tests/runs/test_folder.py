import json

import numpy as np
import pytest

from keras_sepnets import Run, RunConfig, SepnetsError
from keras_sepnets.base.files import write_file
from keras_sepnets.models.loading import load_network
from keras_sepnets.runs.folder import dataset_slug
from keras_sepnets.settings.files import load_config


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_folders_are_numbered_and_never_reused(tmp_path, monkeypatch):
    paths = [Run.create(None, RunConfig()).path for _ in range(3)]
    assert [str(path) for path in paths] == [f"runs/mobilenet-digits-{n}" for n in (1, 2, 3)]
    monkeypatch.setenv("SEPNETS_RUNS", str(tmp_path / "elsewhere"))
    assert Run.create(None, RunConfig()).path == tmp_path / "elsewhere" / "mobilenet-digits-1"


@pytest.mark.parametrize(
    ("dataset", "slug"),
    [
        ("digits", "digits"),
        ("imagenet_resized/32x32:0.1.0", "imagenet_resized-32x32"),
        ("folder:/a/my pictures/", "my-pictures"),
        ("folder:..", "pictures"),
    ],
)
def test_folder_names_suit_a_file_system(dataset, slug):
    assert dataset_slug(load_config(options={"data.dataset": dataset})) == slug


def test_config_comes_back_as_it_was(tmp_path):
    config = load_config(options={"model.name": "xception", "model.alpha": 0.3})
    assert Run.open(Run.create(tmp_path / "a", config).path).config == config


def test_a_run_of_version_0_1_0_sees_pictures_as_it_did_then(tmp_path):
    run = Run.create(tmp_path / "a", RunConfig())
    settings = run.read_json("config.json")
    for key in ("fit", "sixteen_bit", "sixteen_bit_black", "sixteen_bit_white", "max_megapixels"):
        del settings["data"][key]
    run.write_json("config.json", settings)
    assert (run.config.data.fit, run.config.data.sixteen_bit) == ("crop", "high_byte")


def test_a_used_folder_is_refused(tmp_path):
    Run.create(tmp_path / "a", RunConfig())
    with pytest.raises(SepnetsError, match="holds another run"):
        Run.create(tmp_path / "a", RunConfig())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("x")
    with pytest.raises(SepnetsError, match="not empty"):
        Run.create(tmp_path / "b", RunConfig())
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SepnetsError):
            Run.create(path, RunConfig())
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", RunConfig())


@pytest.mark.parametrize("content", [None, "{", '{"model": {"name": "vgg"}}', '{"extra": 1}'])
def test_what_is_not_a_run_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(SepnetsError):
        _ = Run.open(tmp_path).config


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    run = Run.create(tmp_path / "a", RunConfig())
    run.write_json("labels.json", ["old"])

    class Broken:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.save_model(Broken(), "best")
    with pytest.raises(TypeError):
        run.write_json("labels.json", [object()])
    assert run.class_names == ("old",)
    assert sorted(path.name for path in run.path.iterdir()) == ["config.json", "labels.json"]


def test_damage_is_named(tmp_path):
    run = Run.create(tmp_path / "a", RunConfig())
    with pytest.raises(SepnetsError, match="no finished epoch"):
        run.network_file()
    with pytest.raises(SepnetsError, match="no best"):
        run.network_file("best")
    write_file(run.path / "labels.json", b"[")
    with pytest.raises(SepnetsError, match="labels.json"):
        _ = run.class_names
    write_file(run.path / "final.keras", b"not a model")
    with pytest.raises(SepnetsError, match="cannot be loaded"):
        run.load_model()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "it is not a JSON object"),
        ({"dataset": None}, "dataset: .*string"),
        ({"dataset": "x", "train": 3}, "train: Input should be a valid dictionary"),
        ({"dataset": "x", "train": {}}, "train.num_examples: Field required"),
        ({"dataset": "x", "train": {"num_examples": "many"}}, "train.num_examples: .*integer"),
        ({"dataset": "x", "train": {"num_examples": 1, "sample": [1]}}, "train.sample: .*dictionary"),
        ({"dataset": "x", "train": {"num_examples": 1, "digest": 5}}, "train.digest: .*string"),
    ],
)
def test_a_damaged_data_json_is_named_with_what_is_wrong_and_what_to_do(tmp_path, content, fault):
    run = Run.create(tmp_path / "a", RunConfig())
    run.write_json("data.json", {})
    with pytest.raises(SepnetsError, match="data.json: it has no train; restore"):
        _ = run.read_data()["train"]
    run.write_json("data.json", content)
    with pytest.raises(SepnetsError, match=rf"data.json: {fault}.*; restore the file, or train again. Received: "):
        run.read_data()


def test_what_a_json_file_lacks_is_named(tmp_path):
    run = Run.create(tmp_path / "a", RunConfig())
    run.write_json("cost.json", {"parameters": {}})
    assert run.read_json("cost.json") == {"parameters": {}}
    with pytest.raises(SepnetsError, match="cost.json: it has no total"):
        _ = run.read_json("cost.json")["parameters"]["total"]


def test_csv_and_json_are_plain(tmp_path):
    run = Run.create(tmp_path / "a", RunConfig())
    run.write_csv("history.csv", [["epoch", "loss"], [1, 0.5]])
    assert run.read_history() == [{"epoch": 1.0, "loss": 0.5}]
    run.write_json("x.json", {"größe": 1})
    assert json.loads((run.path / "x.json").read_text()) == {"größe": 1}


def test_damage_to_a_network_file_is_reported(finished, tmp_path):
    """Flipped bits, truncations and zeroed tails of a .keras file: refused, or without any consequence."""
    whole = (finished.run.path / "final.keras").read_bytes()
    expected = [array.tobytes() for array in load_network(finished.run.path / "final.keras").get_weights()]
    random, file, refused = np.random.default_rng(0), tmp_path / "a.keras", 0
    for number in range(45):
        content = bytearray(whole)
        place = int(random.integers(len(content)))
        if number % 3 == 0:
            content[place] ^= 1 << int(random.integers(8))
        elif number % 3 == 1:
            content = content[:place]
        else:
            content[place:] = bytes(len(content) - place)
        file.write_bytes(content)
        try:
            network = load_network(file)
        except SepnetsError as error:
            refused += 1
            assert "The network cannot be loaded" in str(error)
        else:
            assert [array.tobytes() for array in network.get_weights()] == expected
    assert refused >= 40
