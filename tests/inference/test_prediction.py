import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets import Run, SepnetsError, evaluate, predict
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.cli import main
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.inference import evaluation
from keras_sepnets.inference.prediction import Prediction


@pytest.fixture(scope="module")
def test_pictures(finished, tmp_path_factory):
    """The test split as PNG files, named by place and label, at the size the network sees."""
    folder = tmp_path_factory.mktemp("test_split")
    examples = Splits(open_source("digits"), finished.run.config.data).examples("test")
    for place, (picture, label) in enumerate(examples.in_order().as_numpy_iterator()):
        Image.fromarray(picture).save(folder / f"{place:03d}-{label}.png")
    return folder


def test_predict_and_evaluate_agree_on_the_whole_test_split(finished, test_pictures):
    predictions = predict(finished.run, [test_pictures], top=10)
    assert len(predictions) == 360
    truth = [prediction.path.removesuffix(".png")[-1] for prediction in predictions]
    right = sum(prediction.labels[0] == label for prediction, label in zip(predictions, truth, strict=True))
    assert right / 360 == evaluate(finished.run).top1


def write_folder(root):
    """Write JPEG and PNG files of ten classes: large, small, grey, rotated by EXIF and transparent ones."""
    random = np.random.default_rng(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in range(10):
        for split, count in (("train", 4), ("test", 7)):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(20, 300, 2)
                picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
                if number % 4 == 0:
                    picture.putalpha(100)
                    picture.save(folder / f"{number}.png")
                elif number % 4 == 1:
                    picture.convert("L").save(folder / f"{number}.jpg")
                else:
                    picture.save(folder / f"{number}.jpg", exif=exif if number % 4 == 2 else Image.Exif())


def by_both(run, folder, monkeypatch, memory=None):
    """Return the probabilities of the test pictures from `evaluate`, and their predictions from `predict`."""
    splits = Splits(open_source(f"folder:{folder}"), run.config.data, memory=memory)
    seen = []
    summarize = evaluation.summarize
    monkeypatch.setattr(evaluation, "summarize", lambda *given: seen.append(given[0]) or summarize(*given))
    evaluate(run, splits=splits)
    return seen[0].tolist(), predict(run, [folder / "test"], top=10)


def in_order_of_classes(predictions, run):
    probabilities = [dict(zip(p.labels, p.probabilities, strict=True)) for p in predictions]
    return [[row[name] for name in run.class_names] for row in probabilities]


@pytest.mark.parametrize("memory", [None, 0], ids=["memory", "stream"])
def test_predict_and_evaluate_give_the_same_probabilities_to_the_bit(finished, tmp_path, monkeypatch, memory):
    write_folder(tmp_path / "set")
    run = Run.open(shutil.copytree(finished.run.path, tmp_path / "run"))
    evaluated, predictions = by_both(run, tmp_path / "set", monkeypatch, memory=memory)
    assert len(predictions) == 70  # more than a batch
    assert evaluated == in_order_of_classes(predictions, run)


def test_damaged_pictures_among_many_are_named_and_the_others_classified(finished, tmp_path):
    write_folder(tmp_path / "set")
    folder = tmp_path / "set" / "test"
    expected = [prediction for prediction in predict(finished.run, [folder]) if prediction.path[-5:] != "3.jpg"]
    damaged = sorted(folder.glob("*/3.jpg"))
    for place, file in enumerate(damaged):
        file.write_bytes(file.read_bytes()[:-300] if place else b"")
    named = []
    predictions = predict(finished.run, [folder], on_bad_picture=named.append)
    assert [error.path for error in named] == [str(file) for file in damaged]
    assert [prediction.path for prediction in predictions] == [prediction.path for prediction in expected]
    for prediction, other in zip(predictions, expected, strict=True):  # batches differ, so the last bits may too
        assert prediction.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    with pytest.warns(UserWarning, match=r"test/7/3\.jpg\" is damaged or truncated"):
        predict(finished.run, [folder / "7"])
    with pytest.raises(SepnetsError, match=r"2 files cannot be used.*0/3\.jpg.*7/3\.jpg"):
        predict(finished.run, [damaged[0], damaged[7]])


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_the_command_classifies_what_it_can_names_the_rest_and_ends_with_1(finished, tmp_path, options):
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 40), "red").save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"")
    command = ["predict", str(finished.run.path), str(tmp_path), "gone.png", "--top", "1", *options]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert [name in result.stdout for name in ("a.png", "b.png", "c.png")] == [True, False, True]
    assert f'Error: "{tmp_path}/b.png" is not a ' in result.stderr
    assert 'Error: "gone.png" does not exist' in result.stderr
    if options:
        assert len(json.loads(result.stdout)) == 2


def test_a_run_that_pads_predicts_as_it_evaluates(finished, tmp_path, monkeypatch):
    write_folder(tmp_path / "set")
    run = Run.open(shutil.copytree(finished.run.path, tmp_path / "run"))
    config = run.read_json("config.json")
    config["data"]["fit"] = "pad"
    run.write_json("config.json", config)
    evaluated, predictions = by_both(run, tmp_path / "set", monkeypatch)
    assert evaluated == in_order_of_classes(predictions, run)
    cropped = predict(finished.run, [tmp_path / "set" / "test"], top=10)
    assert [p.probabilities for p in predictions] != [p.probabilities for p in cropped]


def test_json_names_each_class_with_its_probability():
    prediction = Prediction(path="a.png", labels=("3", "8"), probabilities=(0.75, 0.25))
    assert prediction.to_json() == {
        "path": "a.png",
        "predictions": [{"label": "3", "probability": 0.75}, {"label": "8", "probability": 0.25}],
    }


def test_probabilities_fall_and_add_up_to_one(finished, test_pictures):
    (prediction,) = predict(finished.run, [next(test_pictures.iterdir())], top=10)
    assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-5)
    assert sorted(prediction.labels) == list("0123456789")


def test_files_keep_their_order_and_top_limits_the_classes(finished, test_pictures):
    files = sorted(test_pictures.iterdir(), reverse=True)[:40]
    predictions = predict(finished.run, files, top=2)
    assert [prediction.path for prediction in predictions] == [str(file) for file in files]
    assert {len(prediction.labels) for prediction in predictions} == {2}
    assert len(predict(finished.run, files[:1], top=99)[0].labels) == 10


def test_a_picture_and_its_rotated_copy_with_exif_get_the_same_answer(finished, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    Image.fromarray(np.rot90(pixels, -1)).save(tmp_path / "turned.png", exif=exif)
    # One by one: the last bits of a probability may depend on the place in a batch.
    (plain,) = predict(finished.run, [tmp_path / "plain.png"])
    (turned,) = predict(finished.run, [tmp_path / "turned.png"])
    assert plain.probabilities == turned.probabilities


@pytest.mark.parametrize("name", ["nothing.png", "words.png", "empty", "pipe.png"])
def test_what_cannot_be_classified_is_named(finished, tmp_path, name):
    (tmp_path / "words.png").write_text("words")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SepnetsError, match=name):
        predict(finished.run, [tmp_path / name])


def test_top_must_be_positive(finished, tmp_path):
    with pytest.raises(SepnetsError, match="Received: top=0"):
        predict(finished.run, [tmp_path], top=0)


def test_no_picture_gives_no_prediction(finished):
    assert predict(finished.run, []) == []


def test_a_path_is_enough_for_a_run_and_for_pictures(finished, test_pictures):
    folder, file = str(finished.run.path), str(next(test_pictures.iterdir()))
    assert predict(folder, file) == predict(finished.run, [file])
    assert len(predict(folder, str(test_pictures), top=1)) == 360
    assert evaluate(folder).top1 == finished.test.top1


def test_arrays_are_pictures_and_get_the_answers_of_their_files(finished, tmp_path):
    random = np.random.default_rng(5)
    arrays = [random.integers(0, 256, (50, 60, channels), dtype=np.uint8) for channels in (3, 4)]
    arrays.append(random.integers(0, 256, (40, 30), dtype=np.uint8))
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{number}.png")
    expected = [prediction.probabilities for prediction in predict(finished.run, tmp_path)]
    assert [prediction.probabilities for prediction in predict(finished.run, arrays)] == expected
    images = [Image.fromarray(array) for array in arrays]
    assert [prediction.probabilities for prediction in predict(finished.run, images)] == expected
    assert [prediction.path for prediction in predict(finished.run, arrays)] == ["0", "1", "2"]
    turned, exif = Image.fromarray(arrays[0]), Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    (expected_turned,) = predict(finished.run, tmp_path / "turned.png")
    (found,) = predict(finished.run, Image.open(tmp_path / "turned.png"))
    assert found.probabilities == expected_turned.probabilities
    one = predict(finished.run, arrays[0])
    assert one == predict(finished.run, arrays[0][None]) == predict(finished.run, (arrays[0],))
    assert predict(finished.run, arrays[2]) == predict(finished.run, arrays[2][..., None])


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (np.zeros((8, 8, 3)), r"array of uint8, .*Received: float64 \(8, 8, 3\) as picture 0"),
        (np.zeros((8, 8, 8), np.uint8), r"Received: uint8 \(8, 8, 8\)"),
        (["a.png", np.zeros((8, 8), np.uint8)], "Give paths or arrays, not both.*Received: str as picture 0"),
        (3, "Received: int"),
        (b"a.png", "Received: bytes"),
        ([None], "Received: NoneType as picture 0"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(finished, pictures, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        predict(finished.run, pictures)


def test_what_is_no_run_is_refused_in_one_sentence():
    with pytest.raises(SepnetsError, match="path of a run folder, or a Run. Received: int"):
        predict(3, "a.png")


def test_probabilities_that_are_nan_are_an_error_and_no_prediction(finished, tmp_path):
    """The weights are finite, but their products are not."""
    run = Run.open(shutil.copytree(finished.run.path, tmp_path / "run"))
    model = run.load_model()
    for name in ("stem_bn", "predictions"):
        layer = model.get_layer(name)
        layer.set_weights([np.full(weight.shape, 3e38, np.float32) for weight in layer.get_weights()])
    run.save_model(model, "final")
    with pytest.raises(FailedRunError, match="probabilities are NaN"):
        predict(run, np.full((32, 32, 3), 200, np.uint8))
