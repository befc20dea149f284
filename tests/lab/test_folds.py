"""A cross-validation: one manifest with groups, two folds and the final network, interrupted once."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from scans import write_scans
from short_networks import short_networks
from sklearn.metrics import log_loss

from keras_sepnets import Run, SepnetsError, evaluate, predict
from keras_sepnets.base.errors import InterruptedRunError
from keras_sepnets.base.intervals import wilson_interval
from keras_sepnets.cli import main
from keras_sepnets.lab.experiment import open_experiment
from keras_sepnets.lab.folds import cross_validate, default_output, settings_of_final
from keras_sepnets.lab.pooling import pool_folds
from keras_sepnets.runs.table import summarize_run
from keras_sepnets.settings.files import load_config

pytestmark = pytest.mark.usefixtures("_short_networks")
PICTURES, CLASSES = 120, 10


def base(dataset, **settings):
    options = {
        "model.alpha": 0.0625, "model.shallow": True, "data.dataset": dataset, "data.image_size": 32,
        "training.epochs": 1, "training.batch_size": 64, "training.accelerate": "on",
        "training.precise_batch_norm": 0,
    }  # fmt: skip
    return load_config(options=options | {key.replace("__", "."): value for key, value in settings.items()})


class Interrupt(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Scans in a manifest, three pictures of a writer in a row, some of them in a test split."""
    folder = write_scans(tmp_path_factory.mktemp("scans"), PICTURES)
    files = sorted(folder.rglob("*.png"))
    rows = [
        [
            file.relative_to(folder),
            file.parent.name,
            f"writer {int(file.stem) // 3}",
            ("train", "test")[n % 7 == 0],
        ]
        for n, file in enumerate(files)
    ]
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "group", "split"], *rows])
    return f"manifest:{folder / 'list.csv'}"


@pytest.fixture(scope="module")
def result_and_titles(dataset, tmp_path_factory):
    """A cross-validation that was interrupted in its second fold, and the titles of the runs in their order."""
    output, titles = tmp_path_factory.mktemp("folds") / "two", []

    def callbacks(title, _plan):
        titles.append(title)
        return [Interrupt()] if titles == ["fold-0", "fold-1"] else []

    with short_networks():
        with pytest.raises(
            InterruptedRunError, match="in fold-1, with 1 of 2 runs finished. Run the same command"
        ):
            cross_validate(base(dataset), 2, output=output, callbacks=callbacks)
        with pytest.raises(SepnetsError, match=r"not finished: 1 of 2 folds are trained. .* --folds 2"):
            pool_folds(output)
        return cross_validate(base(dataset), 2, output=output, final=True, callbacks=callbacks), titles


@pytest.fixture
def copied(result_and_titles, tmp_path):
    """A copy of the cross-validation that a test may change."""
    return shutil.copytree(result_and_titles[0].output, tmp_path / "copy")


def read_csv(file):
    return list(csv.DictReader(file.open(newline="")))


def test_finished_folds_are_kept_and_the_interrupted_one_is_trained(result_and_titles, dataset):
    result, titles = result_and_titles
    assert titles == ["fold-0", "fold-1", "fold-1", "final"]
    again = cross_validate(
        base(dataset), 2, output=result.output, final=True, callbacks=lambda title, _: titles.append(title) or []
    )
    assert titles == ["fold-0", "fold-1", "fold-1", "final"]
    assert again.to_json() == result.to_json()


def test_every_picture_is_predicted_once_by_a_network_that_has_not_seen_it(result_and_titles, dataset):
    result, _ = result_and_titles
    rows = read_csv(result.output / "predictions.csv")
    listed = {row["path"]: row for row in read_csv(Run(dataset.removeprefix("manifest:")).path)}
    assert [row["path"] for row in rows] == sorted(listed)
    assert [row["label"] for row in rows] == [listed[row["path"]]["label"] for row in rows]
    tested = [{listed[row["path"]]["group"] for row in rows if row["fold"] == fold} for fold in "01"]
    assert not tested[0] & tested[1]
    folder = Run(dataset.removeprefix("manifest:")).path.parent
    for fold in (0, 1):
        own = [row for row in rows if row["fold"] == str(fold)][:5]
        found = predict(result.folds[fold].run, [folder / row["path"] for row in own], top=CLASSES)
        for row, prediction in zip(own, found, strict=True):
            assert prediction.labels[0] == row["predicted"]
            assert prediction.probabilities[0] == pytest.approx(float(row["probability"]), abs=1e-5)
            for name, probability in zip(prediction.labels, prediction.probabilities, strict=True):
                assert float(row[f"p({name})"]) == pytest.approx(probability, abs=1e-5)
            assert row["label_probability"] == row[f"p({row['label']})"]


def test_the_result_follows_from_the_predictions(result_and_titles):
    result, _ = result_and_titles
    rows = read_csv(result.output / "predictions.csv")
    labels = np.array([int(row["label"]) for row in rows])
    probabilities = np.array([[float(row[f"p({name})"]) for name in range(CLASSES)] for row in rows])
    right = probabilities.argmax(axis=1) == labels
    assert result.num_examples == PICTURES
    assert result.top1 == right.mean()
    assert result.top1_interval == wilson_interval(int(right.sum()), PICTURES)
    ranks = (-probabilities).argsort(axis=1, kind="stable")[:, :5]
    assert result.top5 == pytest.approx((ranks == labels[:, None]).any(axis=1).mean())
    assert result.loss == pytest.approx(log_loss(labels, probabilities, labels=range(CLASSES)), rel=1e-4)
    folds = np.array([int(row["fold"]) for row in rows])
    by_fold = [right[folds == fold].mean() for fold in (0, 1)]
    assert [fold.top1 for fold in result.folds] == pytest.approx(by_fold)
    assert (result.mean, result.std) == pytest.approx((np.mean(by_fold), np.std(by_fold, ddof=1)))
    confusion = np.array(result.confusion)
    assert confusion.sum() == PICTURES
    assert np.trace(confusion) == right.sum()
    assert json.loads((result.output / "results.json").read_text()) == result.to_json()
    written = [row[1:] for row in csv.reader((result.output / "confusion.csv").open())][1:]
    assert np.array_equal(np.array(written, int), confusion)


def test_all_folds_share_what_the_plan_measured(dataset, tmp_path, monkeypatch):
    measured, planned = [], []

    def choose(config, **_):
        measured.append(config)
        return 48, "measured"

    def stop(runs, **_):
        planned.extend(runs)
        raise SepnetsError("enough")

    monkeypatch.setattr("keras_sepnets.training.choices.choose_batch_size", choose)
    monkeypatch.setattr("keras_sepnets.lab.folds.train_all", stop)
    monkeypatch.setattr("keras_sepnets.lab.folds.settings_of_final", lambda config, _folds: config)
    config = base(dataset, training__batch_size="auto", training__seed=7)
    with pytest.raises(SepnetsError, match="enough"):
        cross_validate(config, 3, output=tmp_path / "a", final=True)
    assert len(measured) == 1
    assert [run.folder.name for run in planned] == ["fold-0", "fold-1", "fold-2", "final"]
    assert [run.config.data.fold for run in planned] == [0, 1, 2, "none"]
    for run in planned:
        assert (run.config.training.batch_size, run.config.training.seed, run.config.data.folds) == (48, 7, 3)
        assert run.config.training == planned[0].config.training


def finished_fold(folder, best_epoch, trained, **training):
    """A run folder as far as the final network looks at it."""
    options = {f"training.{key}": value for key, value in training.items()}
    run = Run.create(folder, load_config(options=options))
    for name in ("best", "final"):
        run.write_bytes(f"{name}.keras", b"")
    run.write_json("data.json", {"validation": {"num_examples": 100}})
    if not best_epoch:
        run.write_json("classifier.json", {"val_top1": 0.9, "val_loss": 0.2})
    rows = ([epoch, 0.5, 0.3 if epoch == best_epoch else 0.7] for epoch in range(1, trained + 1))
    run.write_csv("history.csv", [["epoch", "val_top1", "val_loss"], *rows])
    return folder


@pytest.mark.parametrize(
    ("best", "trained", "keep", "share"),
    [
        ((4, 0, 8), (14, 10, 18), "best", 0.2),  # the median, of 20 epochs
        ((4, 0, 8), (14, 10, 18), "final", 0.7),  # where patience stopped them
        ((4, 0), (20, 20), "best", 0.1),
        ((1, 1), (20, 20), "final", 1.0),
        ((0, 0), (15, 15), "best", 0.0),  # no epoch was better than the fitted classifier
    ],
)
def test_the_final_network_stops_where_the_folds_were_best(best, trained, keep, share, tmp_path):
    settings = {"keep": keep, "epochs": 20}
    folds = [
        finished_fold(tmp_path / f"fold-{n}", *epochs, **settings)
        for n, epochs in enumerate(zip(best, trained, strict=True))
    ]
    final = settings_of_final(load_config(options={"training.patience": 10, "training.epochs": 30}), folds)
    assert (final.training.stop_after, final.training.patience, final.training.epochs) == (share, 0, 30)


def test_the_kept_epoch_of_older_folds_is_read_from_their_histories(finished, tmp_path):
    folder = shutil.copytree(finished.run.path, tmp_path / "fold-0")
    run = Run(folder)
    training = run.config.training.model_copy(update={"keep": "best"})
    run.write_json("config.json", run.config.model_copy(update={"training": training}).model_dump(mode="json"))
    run.write_json("training.json", {})
    assert settings_of_final(load_config(), [folder]).training.stop_after == 1.0


def test_evaluate_pools_the_folds_and_repeats_what_is_missing(result_and_titles, copied):
    result, _ = result_and_titles
    (copied / "results.json").unlink()
    (copied / "predictions.csv").unlink()
    (copied / "fold-1" / "evaluation-test.json").unlink()
    evaluate(Run.open(copied / "fold-0"), "test", checkpoint="best")  # is not what the folds are judged by
    done = CliRunner().invoke(main, ["evaluate", str(copied), "--json"])
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    same = ("top1", "top1_interval", "num_examples", "confusion", "mean", "std")
    assert {key: printed[key] for key in same} == {key: result.to_json()[key] for key in same}
    assert Run.open(copied / "fold-0").read_json("evaluation-test.json")["checkpoint"] == "final"
    assert (copied / "predictions.csv").read_bytes() == (result.output / "predictions.csv").read_bytes()
    shown = CliRunner().invoke(main, ["evaluate", str(copied)]).stdout
    assert f"all folds: top-1 {result.top1:.2%} (95 % interval" in shown
    assert f"its accuracy is that of the folds, {result.top1:.2%}" in shown


def test_the_final_network_has_the_accuracy_of_the_folds_and_no_test(result_and_titles, dataset):
    result, _ = result_and_titles
    final = Run.open(result.output / "final")
    assert result.final.path == final.path
    assert not final.has("evaluation-test.json")
    assert final.network_file().name == "final.keras"
    recorded = final.read_json("evaluation-folds.json")
    assert (recorded["top1"], recorded["num_examples"]) == (result.top1, PICTURES)
    assert final.read_json("data.json")["train"]["num_examples"] == PICTURES
    assert (final.config.training.patience, final.config.training.stop_after) == (0, 1.0)
    assert final.read_json("evaluation-train.json")["split"] == "train"
    row = summarize_run(final.path)
    assert (row.status, row.validation_top1, row.test_top1) == ("finished", None, None)
    for split in ("test", "validation"):
        done = CliRunner().invoke(main, ["evaluate", str(final.path), "--split", split])
        assert (done.exit_code, f"which sepnets evaluate {result.output} shows" in done.stderr) == (2, True)
    picture = next(Run(dataset.removeprefix("manifest:")).path.parent.rglob("*.png"))
    assert len(predict(final, [picture])) == 1


def test_another_cross_validation_in_the_folder_is_refused(result_and_titles, dataset):
    result, _ = result_and_titles
    with pytest.raises(SepnetsError, match="another experiment: its base.data.folds is 2, not 3"):
        cross_validate(base(dataset), 3, output=result.output)
    with pytest.raises(SepnetsError, match="another experiment: its base.training.epochs is 1, not 2"):
        cross_validate(base(dataset, training__epochs=2), 2, output=result.output)


def test_other_pictures_are_refused(dataset, tmp_path):
    file = Run(dataset.removeprefix("manifest:")).path
    copy = shutil.copytree(file.parent, tmp_path / "scans") / "list.csv"
    output, asked = tmp_path / "folds", base(f"manifest:{copy}")
    with pytest.raises(InterruptedRunError):
        cross_validate(asked, 2, output=output, callbacks=lambda *_: [Interrupt()])
    assert not (output / "fold-0").exists()
    run = Run.create(output / "fold-0", asked)
    run.write_json("data.json", {role: {"num_examples": 1} for role in ("train", "validation", "test")})
    with pytest.raises(SepnetsError, match="have changed since the cross-validation began.*name a new folder"):
        cross_validate(asked, 2, output=output)


@pytest.mark.parametrize(
    ("settings", "folds", "sentence"),
    [
        ({}, 1, "needs at least 2 folds. Received: folds=1"),
        ({"data__fold": 1}, 3, "tests on each fold in turn; leave data.fold out"),
        ({"data__overfit": 4}, 3, "has no folds; leave data.overfit or data.folds out"),
        ({"training__epochs": "auto"}, 3, "same number of epochs; set --epochs"),
        (
            {},
            200,
            "more folds than pictures of the class",
        ),
    ],
)
def test_what_cannot_be_cross_validated_is_refused_and_nothing_written(
    settings, folds, sentence, dataset, tmp_path
):
    with pytest.raises(SepnetsError, match=sentence):
        cross_validate(base(dataset, **settings), folds, output=tmp_path / "a", final=True)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"folds": 1}, "at least 2 folds; 0 turns it off"),
        ({"fold": 1}, "no such fold"),
        ({"folds": 3, "fold": 3}, "no such fold.*data.folds=3, data.fold=3"),
        ({"fold": "none"}, "no such fold"),
    ],
)
def test_a_single_run_names_a_fold_that_exists(data, sentence, dataset):
    from keras_sepnets.training.plan import make_plan

    with pytest.raises(SepnetsError, match=sentence):
        make_plan(base(dataset, **{f"data__{key}": value for key, value in data.items()}))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--folds", "1"], "1 is not in the range x>=2"),
        (["--final"], "--final follows a cross-validation; add --folds K"),
        *(
            (["--folds", "5", *more], f"leave out {more[0]}. Received: --folds 5")
            for more in (["--resume"], ["--extend", "x"], ["--smoke"], ["--overfit", "4"], ["--max-time", "1h"])
        ),
    ],
)
def test_options_that_do_not_go_with_folds_are_refused(arguments, sentence):
    done = CliRunner().invoke(main, ["train", *arguments])
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.stderr


def test_dry_run_shows_the_first_fold_and_a_line_on_all(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--dataset", dataset, "--alpha", "0.0625", "--image-size", "32", "--accelerate", "on"]
    done = CliRunner().invoke(main, [*arguments, "--folds", "4", "--final", "--dry-run"])
    assert done.exit_code == 0, done.stderr
    assert "fold 0 of folds 0 to 3" in done.stdout
    assert (
        "folds     4 runs like this one, then one on all of them; each of the 120 pictures is tested"
        in done.stdout
    )
    assert "data.folds" in done.stdout
    assert list(tmp_path.iterdir()) == []
    plain = CliRunner().invoke(main, [*arguments, "--dry-run"]).stdout
    assert "with 18 test pictures, the 95 % interval of an accuracy near 90 % is 30 points wide" in plain
    assert "points wide" not in done.stdout


def test_the_folder_is_named_after_network_data_and_folds(dataset):
    assert default_output(base(dataset), 5).name == "mobilenet-list-5-folds"


def test_an_ablation_is_no_cross_validation(tmp_path):
    open_experiment(tmp_path / "a", load_config())  # and what version 0.1.0 wrote beside it
    written = json.loads((tmp_path / "a" / "experiment.json").read_text())
    (tmp_path / "a" / "experiment.json").write_text(
        json.dumps(written | {"reference": ["a", {}], "ablated": ["b", {}]})
    )
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "a")])
    assert (done.exit_code, "This folder holds an ablation" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "a"), "--split", "train"])
    assert (done.exit_code, "leave out --split, --checkpoint, --dataset and --set" in done.stderr) == (2, True)
