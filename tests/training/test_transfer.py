"""Runs that start from weights: what is loaded, what is frozen, and when it is not any more."""

import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from run_outcome import outcome
from short_networks import short_networks
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stops import Signal, stop

from keras_sepnets import (
    Run,
    SepnetsError,
    build_mobilenet,
    build_mobilenet_v2,
    build_xception,
    evaluate,
    predict,
    train,
)
from keras_sepnets.cli import main
from keras_sepnets.models.stages import stages
from keras_sepnets.runs.table import list_runs
from keras_sepnets.settings.files import load_config
from keras_sepnets.settings.recipes import read_recipe
from keras_sepnets.training.loop import Position
from keras_sepnets.training.phases import Phase, freeze
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.trainer import extend, resume

TINY = {
    "model.name": "mobilenet", "model.alpha": 0.0625, "data.image_size": 48, "training.batch_size": 64,
    "training.epochs": 1,
}  # fmt: skip
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def frozen_layers(model):
    return [layer.name for layer in model.layers if layer.weights and not layer.trainable]


def test_stages_have_the_papers_names():
    assert stages(build_mobilenet(alpha=0.0625, classes=3)) == ["stem", *(f"block{k}" for k in range(1, 14))]
    assert stages(build_mobilenet_v2(alpha=0.0625, classes=3))[-2:] == ["block17", "last"]
    assert stages(build_xception(alpha=0.0625, classes=3)) == [f"block{k}" for k in range(1, 15)]


@pytest.mark.parametrize(
    ("last", "block"),
    [("entry_flow", 4), ("middle_flow", 6), ("exit_flow", 8), ("block5", 5), ("backbone", 8), (None, 0)],
)
def test_all_stages_up_to_the_last_are_frozen(last, block):
    model = build_xception(alpha=0.0625, middle_repeats=2, classes=3)
    freeze(model, last)
    blocks = {int(name.split("_")[0].removeprefix("block")) for name in frozen_layers(model)}
    assert blocks == set(range(1, block + 1))
    assert model.get_layer("predictions").trainable
    freeze(model, None)
    assert frozen_layers(model) == []


def test_a_stage_that_is_none_is_refused_with_those_that_are():
    with pytest.raises(SepnetsError, match='no stage "block99" to freeze.*Stages: backbone, stem, block1'):
        freeze(build_mobilenet(alpha=0.0625, classes=3), "block99")


def test_frozen_batch_norm_is_in_inference_mode():
    model = build_mobilenet(alpha=0.0625, input_shape=(32, 32, 3), classes=3, dropout=0.0)
    pictures = np.random.default_rng(0).random((4, 32, 32, 3)).astype(np.float32) * 255
    assert not np.allclose(model(pictures, training=True), model(pictures, training=False))
    freeze(model, "backbone")
    np.testing.assert_array_equal(model(pictures, training=True), model(pictures, training=False))


@pytest.fixture(scope="module")
def trained_source(tmp_path_factory):
    """A finished run of a short MobileNet on digits, with ten classes."""
    with short_networks():
        return train(load_config(options=TINY), output=tmp_path_factory.mktemp("source") / "run").run


@pytest.fixture
def source(_short_networks, trained_source):
    return trained_source


@pytest.fixture(scope="module")
def emotions(tmp_path_factory):
    """A stand-in for facial emotions: grey 48x48 pictures in 7 folders, each with stripes in another direction."""
    root = tmp_path_factory.mktemp("emotions")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for number, name in enumerate(EMOTIONS):
        (root / name).mkdir()
        angle = number * np.pi / len(EMOTIONS)
        for index in range(20):
            stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 2 + random.uniform(0, 6))
            pixels = (128 + 90 * stripes + random.normal(0, 15, (48, 48))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


def options_of(source, emotions, **more):
    options = {
        "data.dataset": f"folder:{emotions}", "transfer.weights": str(source.path), "transfer.freeze": "backbone",
        "transfer.unfreeze_after": 1, "training.epochs": 2, "training.batch_size": 56, "model.dropout": 0.3,
        "training.ema_momentum": 0.8, "training.label_smoothing": 0.1, "data.augmentation.mixup": 0.2,
    }  # fmt: skip
    return {**TINY, **options, **more}


def test_a_run_says_what_it_loaded_and_starts_from_it(source, emotions):
    plan = make_plan(load_config(options=options_of(source, emotions)))
    report = plan.load_report
    assert report.fresh == ("predictions",)
    assert (report.adapted, report.unused) == ({}, ("predictions",))
    theirs = source.load_model()
    for name in report.loaded:
        for one, other in zip(plan.trained.get_layer(name).weights, theirs.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(one, other)
    assert plan.phases == (Phase(0, 1, "backbone"), Phase(1, 2, None, 0.1))
    # What was saved after the last epoch of a phase was saved before the next one began.
    positions = [Position(), Position(0, 1), Position(1, 0), Position(1, 1), Position(2, 0)]
    assert [plan.phase_at(position).begin for position in positions] == [0, 0, 0, 1, 1]
    assert plan.config.transfer.weights == str(source.path.resolve())


@pytest.fixture(scope="module")
def fine_tuned(trained_source, emotions, tmp_path_factory):
    """A run on emotions that the command line made of `source`, and what was printed."""
    output = tmp_path_factory.mktemp("emotions") / "run"
    arguments = [
        "train", "--recipe", "finetune", "--weights", str(trained_source.path), "--dataset", f"folder:{emotions}",
        "--image-size", "48", "--epochs", "2", "--unfreeze-after", "1", "--batch-size", "56", "--json",
        "--output", str(output),
    ]  # fmt: skip
    with short_networks():
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return Run.open(output), done


def test_emotions_from_given_weights_end_to_end(source, fine_tuned):
    """Recipe, freezing, averaged weights, resume and evaluate, through the command line."""
    run, done = fine_tuned
    assert "predictions" in done.stderr  # left random
    assert (
        "frozen up to backbone for 1 epoch, then everything trained at 0.1 times the learning rate" in done.stderr
    )
    assert run.config.model.model_dump(exclude={"bn_momentum"}) == source.config.model.model_dump(
        exclude={"bn_momentum"}
    )
    assert run.read_json("weights.json")["fresh"] == ["predictions"]
    assert run.class_names == EMOTIONS
    result = json.loads(done.stdout)
    assert result["test"]["num_examples"] == 14
    again = CliRunner().invoke(main, ["evaluate", str(run.path), "--json"])
    assert json.loads(again.stdout)["top1"] == result["test"]["top1"]


@pytest.mark.long
@pytest.mark.usefixtures("_short_networks")
def test_a_recipe_with_freezing_and_averages_is_stopped_resumed_and_evaluated_on_real_data(fine_tuned, tmp_path):
    """Digits, from weights that were trained on something else with other classes."""
    weights, _ = fine_tuned
    recipe = read_recipe("finetune").tables
    changes = {"training.epochs": 3, "transfer.unfreeze_after": 1, "training.batch_size": 64}
    changes |= {"training.min_steps": 0}
    changes |= {"transfer.weights": str(weights.path), "training.learning_rate": 0.01}
    network = {key: value for key, value in TINY.items() if key.startswith(("model.", "data."))}
    config = load_config(options={**network, **changes}, recipe=recipe)
    run = stop(config, tmp_path / "run", Signal(0, 3), Signal(1, 3))
    done = CliRunner().invoke(main, ["train", "--resume", str(run.path), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)["test"]
    again = json.loads(CliRunner().invoke(main, ["evaluate", str(run.path), "--json"]).stdout)
    assert {key: again[key] for key in result} == result
    assert result["num_examples"] == 360
    assert result["top1"] > 0.2
    assert run.read_json("weights.json")["fresh"] == ["predictions"]
    assert 0 < run.config.training.ema_momentum < 1


def test_the_classifier_is_fitted_first_and_the_best_network_is_tested_and_used(fine_tuned):
    run, done = fine_tuned
    fitted = run.read_json("classifier.json")
    assert (fitted["num_examples"], fitted["features"]) == (112, 8)
    assert "classifier fitted to 112 pictures: validation loss" in done.stderr
    assert run.config.transfer.classifier == "fitted"
    assert run.config.training.keep == "best"
    assert run.network_file().name == "best.keras"
    assert run.read_json("evaluation-test.json")["checkpoint"] == "best"
    assert evaluate(run, "validation").loss <= fitted["val_loss"] + 1e-6  # it counts as epoch 0


def test_batch_norm_of_given_weights_is_frozen(source, fine_tuned):
    theirs, ours = source.load_model(), fine_tuned[0].load_model("final")
    names = [layer.name for layer in theirs.layers if layer.name.endswith("bn")]
    for name in names:
        for one, other in zip(theirs.get_layer(name).weights, ours.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(theirs.get_layer("stem").kernel, ours.get_layer("stem").kernel)


@pytest.fixture(scope="module")
def probed(trained_source, emotions, tmp_path_factory):
    """A run of the recipe probe on emotions."""
    output = tmp_path_factory.mktemp("probe") / "run"
    arguments = ["train", "--recipe", "probe", "--weights", str(trained_source.path), "--image-size", "48"]
    arguments += ["--dataset", f"folder:{emotions}", "--output", str(output), "--json"]
    with short_networks():
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return Run.open(output), json.loads(done.stdout)


def test_a_probe_is_scikit_learns_logistic_regression_on_the_features(source, probed, emotions):
    run, _ = probed
    network, plan = run.load_model(), make_plan(run.config)
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=run.read_json("classifier.json")["strength"], max_iter=1000)
    )
    theirs = source.load_model()
    backbone = keras.Model(theirs.inputs, theirs.get_layer("avg_pool").output)
    batches = {role: list(plan.splits.evaluation_batches(role, 64)) for role in ("train", "test")}
    pipeline.fit(
        np.concatenate([backbone.predict_on_batch(pictures) for pictures, _ in batches["train"]]),
        np.concatenate([labels for _, labels in batches["train"]]),
    )
    ((pictures, _),) = batches["test"]
    expected = pipeline.predict_proba(backbone.predict_on_batch(pictures))
    np.testing.assert_allclose(network.predict_on_batch(pictures), expected, atol=5e-3)


def test_a_probe_is_an_ordinary_run(probed, emotions, tmp_path):
    run, result = probed
    assert (result["test"]["num_examples"], run.is_finished, run.read_history()) == (14, True, [])
    again = CliRunner().invoke(main, ["evaluate", str(run.path), "--json"])
    assert json.loads(again.stdout)["top1"] == result["test"]["top1"]
    (picture,) = list(emotions.rglob("00.png"))[:1]
    assert len(predict(run, [picture])[0].labels) == 5
    (row,) = [row for row in list_runs(run.path.parent) if row.run == str(run.path)]
    assert (row.epoch, row.epochs) == (0, 0)
    assert row.validation_top1 == run.read_json("classifier.json")["val_top1"]
    longer = Run(shutil.copytree(run.path, tmp_path / "longer"))
    with short_networks():
        extend(longer, 1)
    assert [row["epoch"] for row in longer.read_history()] == [1]


def test_few_pictures_are_trained_for_more_epochs_unless_a_number_is_given(source, emotions):
    arguments = ["train", "--recipe", "finetune", "--weights", str(source.path), "--image-size", "48"]
    arguments += ["--dataset", f"folder:{emotions}", "--dry-run"]
    plan = CliRunner().invoke(main, arguments)
    assert "67 epochs x 3 steps x 32 pictures (5 would be only 15 steps; at least 200 steps)" in plan.stdout
    plan = CliRunner().invoke(main, [*arguments, "--epochs", "2"])
    assert "2 epochs x 3 steps x 32 pictures\n" in plan.stdout


def test_a_classifier_that_fits_is_taken_over_and_not_fitted(source):
    plan = make_plan(load_config(options={**TINY, "transfer.weights": str(source.path)}))
    assert plan.config.transfer.classifier == "given"
    np.testing.assert_array_equal(
        plan.trained.get_layer("predictions").kernel, source.load_model().get_layer("predictions").kernel
    )


class Watch(keras.callbacks.Callback):
    """Notes after each epoch what is trained, and the weights and statistics of the first block."""

    def __init__(self):
        super().__init__()
        self.trained, self.first = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.trained.append(len(self.model.trainable_variables))
        layers = [layer for layer in self.model.layers if layer.name.startswith("block1_")]
        self.first.append([array for layer in layers for array in layer.get_weights()])


@pytest.mark.long
def test_frozen_stages_stay_as_they_are_until_they_are_not_and_stops_change_nothing(source, emotions, tmp_path):
    weights = Run(shutil.copytree(source.path, tmp_path / "weights"))
    config = load_config(options=options_of(weights, emotions, **{"training.epochs": 3}))
    watch = Watch()
    whole = train(config, output=tmp_path / "whole", callbacks=[watch]).run
    assert watch.trained[0] == 2 < watch.trained[1] == watch.trained[2]
    theirs = source.load_model()
    start = [array for layer in theirs.layers if layer.name.startswith("block1_") for array in layer.get_weights()]
    for kept, array in zip(watch.first[0], start, strict=True):
        np.testing.assert_array_equal(kept, array)
    assert not np.array_equal(watch.first[1][0], start[0])
    # At the very end of the frozen epoch, and in the first step after it.
    run = stop(config, tmp_path / "stopped", Signal(0), Signal(1, 0))
    shutil.rmtree(weights.path)  # they are in the checkpoint now
    assert outcome(resume(run).run) == outcome(whole)
    assert evaluate(run, "validation").num_examples == 14


@pytest.mark.long
def test_what_is_saved_of_a_frozen_network_is_not_frozen_and_patience_waits_for_the_end_of_the_first_phase(
    source, emotions, tmp_path, monkeypatch
):
    monkeypatch.setattr("keras_sepnets.training.recorder.Recorder._is_better", lambda *_: False)
    more = {"training.epochs": 5, "transfer.unfreeze_after": 3, "training.patience": 1}
    run = train(load_config(options=options_of(source, emotions, **more)), output=tmp_path / "run").run
    assert len(run.read_history()) == 4
    network = run.load_model("final")
    assert frozen_layers(network) == []
    whole = CliRunner().invoke(main, ["cost", str(run.path), "--json"])
    assert json.loads(whole.stdout)["parameters"] == run.read_json("cost.json")["parameters"]


def test_the_network_of_weights_is_taken_over_unless_another_is_asked_for(tmp_path):
    network = {"model.name": "xception", "model.alpha": 0.0625, "model.middle_repeats": 0}
    source = Run.create(tmp_path / "run", load_config(options=network))
    source.save_model(build_xception(alpha=0.0625, middle_repeats=0, classes=10, input_shape=(48, 48, 3)), "final")
    arguments = ["train", "--weights", str(source.path), "--image-size", "48", "--dry-run", "--json"]
    same = json.loads(CliRunner().invoke(main, arguments).stdout)
    assert same["config"]["model"]["name"] == "xception"
    assert same["sources"]["model.alpha"] == "the network of the weights"
    other = CliRunner().invoke(main, [*arguments, "--model", "mobilenet"])
    assert (other.exit_code, "These weights belong to another network" in other.stderr) == (2, True), other.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"transfer.weights": None}, "Frozen random weights would learn nothing"),
        ({"transfer.freeze": None}, "Nothing is frozen, so there is nothing to unfreeze"),
        ({"transfer.unfreeze_after": 2}, "The run ends after 2 epochs, so it would never unfreeze"),
        (
            {
                "transfer.weights": None,
                "transfer.freeze": None,
                "transfer.unfreeze_after": 0,
                "transfer.classifier": "fitted",
            },
            "Only the classifier of given weights can be given or fitted",
        ),
        ({"transfer.classifier": "given"}, "The weights have no classifier for these classes"),
        ({"transfer.freeze": "block77"}, 'mobilenet has no stage "block77"'),
        ({"transfer.weights": "nowhere"}, "These weights do not exist"),
        ({"model.alpha": 0.125}, "These weights belong to another network"),
    ],
)
def test_impossible_settings_are_refused(source, emotions, settings, sentence):
    options = {key: value for key, value in options_of(source, emotions, **settings).items() if value is not None}
    with pytest.raises(SepnetsError, match=sentence):
        make_plan(load_config(options=options))
