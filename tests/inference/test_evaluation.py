import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sepnets import Run, SepnetsError, evaluate
from keras_sepnets.inference.evaluation import summarize


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 10**6))
def test_metrics_are_what_counting_by_hand_gives(classes, count, seed):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), count)
    labels = random.integers(0, classes, count)
    result = summarize(probabilities, labels, "test")
    ranks = [
        sorted(range(classes), key=lambda c: -row[c]).index(label)
        for row, label in zip(probabilities, labels, strict=True)
    ]
    assert result.top1 == sum(rank == 0 for rank in ranks) / count
    assert result.top5 == pytest.approx(sum(rank < 5 for rank in ranks) / count)
    assert result.loss == pytest.approx(-np.mean(np.log(probabilities[np.arange(count), labels])), rel=1e-6)
    assert result.confusion.sum() == count
    assert np.trace(result.confusion) / count == result.top1
    assert result.confusion.shape == (classes, classes)


def test_rows_of_the_confusion_matrix_are_true_classes():
    result = summarize(np.array([[0.9, 0.1, 0], [0.8, 0.1, 0.1]]), np.array([0, 2]), "test")
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_json_has_the_numbers_alone():
    result = summarize(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]), "test")
    written = result.to_json()
    assert list(written) == ["top1", "top5", "loss", "num_examples", "top1_interval"]
    assert written["top1_interval"] == list(result.top1_interval)
    assert json.loads(json.dumps(written)) == written


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    """A copy of the finished run, to write evaluations into."""
    return Run.open(shutil.copytree(finished.run.path, tmp_path_factory.mktemp("copy") / "run"))


@pytest.mark.parametrize(("split", "count"), [("train", 1293), ("validation", 144), ("test", 360)])
@pytest.mark.draws
def test_every_example_of_a_split_counts_once(run, split, count):
    result = evaluate(run, split)
    assert result.num_examples == result.confusion.sum() == count
    written = json.loads((run.path / f"evaluation-{split}.json").read_text())
    assert (written["split"], written["num_examples"], written["top1"]) == (split, count, result.top1)
    rows = list(csv.reader((run.path / f"confusion-{split}.csv").open()))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list("0123456789")
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), result.confusion)
    assert (run.path / f"confusion-{split}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("split", ["training", "dataset", "order", ""])  # two of them are keys of data.json
def test_a_split_that_does_not_exist_is_named(run, split):
    with pytest.raises(SepnetsError, match="A split is train, validation or test. Received"):
        evaluate(run, split)


def test_agrees_with_keras_own_evaluation(run):
    from keras_sepnets.data.batches.splits import Splits
    from keras_sepnets.data.sources.opening import open_source

    config = run.config
    batches = Splits(open_source("digits"), config.data).evaluation_batches("test", 7).as_numpy_iterator()
    pictures, labels = (np.concatenate(column) for column in zip(*batches, strict=True))
    model = run.load_model()
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, top1 = model.evaluate(pictures, labels, verbose=0)
    result = evaluate(run)
    assert result.top1 == pytest.approx(top1, abs=1e-6)
    assert result.loss == pytest.approx(loss, rel=1e-4)


def test_best_network_can_be_chosen(run):
    assert evaluate(run, "validation", checkpoint="best").top1 == pytest.approx(run.read_history()[0]["val_top1"])


def test_unknown_split_is_named(run):
    with pytest.raises(SepnetsError, match="train, validation or test. Received: 'dev'"):
        evaluate(run, "dev")


@pytest.mark.draws
def test_a_picture_that_cannot_be_drawn_is_a_warning(run, monkeypatch):
    monkeypatch.setattr("keras_sepnets.inference.evaluation.draw_confusion", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="confusion-test.png could not be drawn: division by zero"):
        assert evaluate(run).num_examples == 360
