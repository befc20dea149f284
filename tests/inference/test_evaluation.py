import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sepnets import Run, SepnetsError, evaluate
from keras_sepnets.cli import main
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
    sizes = {label: sum(labels == label) for label in set(labels.tolist())}
    assert result.majority_top1 == max(sizes.values()) / count
    right = {
        label: sum(rank == 0 for rank, own in zip(ranks, labels, strict=True) if own == label) for label in sizes
    }
    assert result.class_mean_top1 == pytest.approx(np.mean([right[label] / sizes[label] for label in sizes]))


def test_rows_of_the_confusion_matrix_are_true_classes():
    result = summarize(np.array([[0.9, 0.1, 0], [0.8, 0.1, 0.1]]), np.array([0, 2]), "test")
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_json_has_the_numbers_alone():
    result = summarize(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]), "test")
    written = result.to_json()
    assert list(written) == [
        "top1", "top5", "loss", "num_examples", "top1_interval", "majority_top1", "class_mean_top1"
    ]  # fmt: skip
    assert written["top1_interval"] == list(result.top1_interval)
    assert json.loads(json.dumps(written)) == written


@pytest.mark.parametrize(("word", "role"), [("val", "validation"), ("Training", "train"), ("dev", "validation")])
def test_other_words_for_a_split_are_understood(run, monkeypatch, word, role):
    def refuse(_run, role, *_):
        raise SepnetsError(role)

    monkeypatch.setattr("keras_sepnets.inference.evaluation.open_pictures", refuse)
    with pytest.raises(SepnetsError, match=f"^{role}$"):
        evaluate(run, word)


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


@pytest.mark.parametrize("split", ["unknown", "dataset", "order", ""])  # two of them are keys of data.json
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


def test_the_test_of_the_kept_network_stays_when_the_other_one_is_evaluated(run):
    evaluate(run)
    kept = {file.name: file.read_bytes() for file in run.path.glob("*-test.*")}
    assert kept.keys() >= {"evaluation-test.json", "predictions-test.csv", "confusion-test.csv"}
    evaluate(run, checkpoint="best")
    assert {name: (run.path / name).read_bytes() for name in kept} == kept
    other = run.read_json("evaluation-test-best.json")
    assert (other["checkpoint"], other["epoch"], run.read_json("evaluation-test.json")["checkpoint"]) == (
        "best", 1, "final",
    )  # fmt: skip
    assert other["predictions"] == str(run.path / "predictions-test-best.csv")


def test_every_prediction_is_written_and_the_surest_mistakes_are_named(run):
    result = evaluate(run)
    rows = list(csv.DictReader((run.path / "predictions-test.csv").open(encoding="utf-8")))
    assert len(rows) == 360
    wrong = [row for row in rows if row["label"] != row["predicted"]]
    assert len(wrong) == 360 - round(360 * result.top1)
    surest = sorted(wrong, key=lambda row: -float(row["probability"]))[:5]
    assert [mistake.name for mistake in result.mistakes] == [row["path"] for row in surest]
    for mistake, row in zip(result.mistakes, surest, strict=True):
        assert (mistake.label, mistake.predicted) == (row["label"], row["predicted"])
        assert mistake.probability == pytest.approx(float(row["probability"]), rel=1e-5)


def test_a_result_that_cannot_be_kept_is_still_shown(run, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    def classify(_model, splits, role):
        labels = splits.source.index(splits.parts[role].split).labels
        return np.eye(10)[labels], labels

    monkeypatch.setattr("keras_sepnets.inference.evaluation.classify_split", classify)
    monkeypatch.setattr(Run, "write_bytes", refuse)
    with pytest.warns(UserWarning, match="not kept, because the run folder cannot be written: .*Read-only"):
        result = evaluate(run)
    assert (result.top1, result.about.predictions) == (1, None)
    with pytest.raises(OSError, match="Read-only"):
        evaluate(run, must_keep=True)
    shown = CliRunner().invoke(main, ["evaluate", str(run.path)])
    assert (shown.exit_code, "top-1 100.00%" in shown.stdout, "not kept" in shown.stderr) == (0, True, True)
    assert "every prediction" not in shown.stdout


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["0", "1"], "it has 2 class names for a network of 10 classes"),
        ({}, "it is not a list of different class names"),
        (["0"] * 10, "it is not a list of different class names"),
        (list(range(10)), "it is not a list of different class names"),
    ],
)
def test_labels_that_do_not_fit_the_network_are_damage(run, tmp_path, monkeypatch, names, fault):
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    copy.write_json("labels.json", names)
    model = SimpleNamespace(output_shape=(None, 10))
    monkeypatch.setattr("keras_sepnets.runs.folder.load_network", lambda _file: model)
    for command in (["evaluate", str(copy.path)], ["predict", str(copy.path), __file__]):
        done = CliRunner().invoke(main, command)
        assert (done.exit_code, f"labels.json: {fault}" in done.stderr) == (2, True), done.stderr


def test_best_network_can_be_chosen(run):
    assert evaluate(run, "validation", checkpoint="best").top1 == pytest.approx(run.read_history()[0]["val_top1"])


def test_unknown_split_is_named(run):
    with pytest.raises(SepnetsError, match="train, validation or test. Received: 'fold'"):
        evaluate(run, "fold")


@pytest.mark.draws
def test_a_picture_that_cannot_be_drawn_is_a_warning(run, monkeypatch):
    monkeypatch.setattr("keras_sepnets.inference.evaluation.draw_confusion", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="confusion-test.png could not be drawn: division by zero"):
        assert evaluate(run).num_examples == 360
