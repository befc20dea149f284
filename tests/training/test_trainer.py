import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sepnets import Run, SepnetsError, evaluate
from keras_sepnets.base.errors import FailedRunError, InterruptedRunError
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.checks import check_callbacks
from keras_sepnets.training.optimization import choose_momentum, compile_model
from keras_sepnets.training.plan import make_plan
from keras_sepnets.training.trainer import extend, resume, train

pytestmark = pytest.mark.usefixtures("_short_networks")


def changed(config, **assignments):
    settings = [f"{key.replace('__', '.')}={value}" for key, value in assignments.items()]
    tree = config.model_dump(exclude_none=True)
    flat = {f"{section}.{key}": value for section, values in tree.items() for key, value in values.items()}
    return load_config(options=flat, assignments=tuple(settings))


def test_run_folder_explains_itself(finished):
    names = {path.name for path in finished.run.path.iterdir()}
    assert names == {
        "config.json", "environment.json", "labels.json", "data.json", "cost.json", "history.csv", "training.json",
        "best.keras", "final.keras", "learning_curve.png", "checkpoints", ".lock", "events",
        "train_batch.png", "validation_predictions.png",
        "evaluation-test.json", "predictions-test.csv", "confusion-test.csv", "confusion-test.png",
    }  # fmt: skip
    config = json.loads((finished.run.path / "config.json").read_text())
    open_settings = {
        key for section in config.values() for key, value in section.items() if value in (None, "auto")
    }
    assert open_settings == {  # None is a choice here
        "base_batch_size", "weights", "freeze", "sixteen_bit_black", "sixteen_bit_white", "max_megapixels",
        "path_column", "label_column", "weights_seed", "order_seed", "augmentation_seed", "dropout_seed",
        "holdout_seed",
    }  # fmt: skip
    policy = config["data"].pop("augmentation")
    assert {key: value for key, value in policy.items() if value} == {
        "smallest_crop": 1.0, "crop_aspect": 4 / 3, "rotation": 10.0, "zoom": 0.1, "shift": 0.1,
        "randaugment_magnitude": 9.0,
    }  # fmt: skip
    assert config["data"] == {
        "dataset": "digits:1.0.0", "image_size": 32, "crop_fraction": 1.0, "augment": "light",
        "fit": "crop", "sixteen_bit": "high_byte", "sixteen_bit_black": None, "sixteen_bit_white": None,
        "max_megapixels": None, "path_column": None, "label_column": None, "class_names": "composed",
        "holdout_fraction": 0.1, "on_bad_picture": "stop", "overfit": 0, "folds": 0, "fold": 0,
        "holdout_seed": None, "training_fraction": 1.0, "subset_seed": 0,
    }  # fmt: skip
    assert finished.run.class_names == tuple("0123456789")
    assert finished.run.is_finished
    environment = json.loads((finished.run.path / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__


def test_history_has_a_row_per_epoch(finished):
    (row,) = finished.run.read_history()
    assert list(row) == [
        "epoch", "learning_rate", "loss", "top1", "val_loss", "val_top1",
        "seconds", "images_per_second", "memory_mb",
    ]  # fmt: skip
    assert row["epoch"] == 1


def test_result_is_what_the_files_say(finished):
    result = finished.to_json()
    assert result["parameters"] == json.loads((finished.run.path / "cost.json").read_text())["parameters"]["total"]
    assert result["train_seconds"] > 0
    assert result["images_per_second"] > 0
    assert result["test"]["num_examples"] == 360
    written = json.loads((finished.run.path / "evaluation-test.json").read_text())
    assert {key: written[key] for key in result["test"]} == result["test"]


def test_saved_network_opens_without_this_package(finished):
    code = (
        "import sys, keras, numpy; m = keras.models.load_model(sys.argv[1]);"
        "print(m.predict(numpy.zeros((1, 32, 32, 3)), verbose=0).shape, 'keras_sepnets' in sys.modules)"
    )
    file = str(finished.run.path / "final.keras")
    answer = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[-2] == "(1, 10) False"


def test_the_epochs_numbers_are_written_for_tensorboard(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for part, name in (("train", "top1"), ("validation", "val_top1")):
        events = EventAccumulator(str(finished.run.path / "events" / part))
        events.Reload()
        (written,) = events.Tensors("epoch_top1")
        value = float(tf.make_ndarray(written.tensor_proto))
        assert value == pytest.approx(finished.run.read_history()[0][name], rel=1e-6)


def test_pictures_show_what_the_network_saw_and_says(finished):
    for name in ("train_batch.png", "validation_predictions.png"):
        with Image.open(finished.run.path / name) as picture:
            assert np.asarray(picture).std() > 10
            assert picture.width > 500


@pytest.mark.long
def test_mixed_precision_trains_and_saves_an_ordinary_network(tiny_config, tmp_path):
    plan = make_plan(changed(tiny_config, training__precision="mixed_bfloat16"))
    assert plan.trained.get_layer("block1_pointwise").compute_dtype == "bfloat16"
    config = changed(tiny_config, training__precision="mixed_float16", training__ema_momentum=0.9)
    plan = make_plan(config)
    assert plan.trained.get_layer("block1_pointwise").compute_dtype == "float16"
    assert plan.trained.get_layer("predictions").compute_dtype == "float32"
    result = train(config, output=tmp_path / "run")
    network = result.run.load_model()
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert (
        network.get_layer("stem").get_weights()[0].tobytes()
        != plan.trained.get_layer("stem").get_weights()[0].tobytes()
    )
    assert result.run.read_history()[0]["val_loss"] < 5
    assert keras.config.dtype_policy().name == "float32"
    # A run that is extended has the same weights, optimizer and loss scale.
    again = extend(result.run, 2)
    assert [row["epoch"] for row in again.run.read_history()] == [1, 2]


def test_determinism_is_switched_on_where_it_is_asked_for(tiny_config, tmp_path, monkeypatch):
    switched = []
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", lambda: switched.append(1))
    train(changed(tiny_config, training__deterministic="true"), output=tmp_path / "run")
    assert switched == [1]


def test_says_where_each_split_came_from(finished):
    data = json.loads((finished.run.path / "data.json").read_text())
    assert data == {
        "dataset": "digits:1.0.0",
        "image_size": 32,
        "crop_fraction": 1.0,
        "fit": "crop",
        "classes": 10,
        "order": "by number",
        "train": {"num_examples": 1293, "from": "the set's train split, less what is held out"},
        "validation": {"num_examples": 144, "from": "held out from train"},
        "test": {"num_examples": 360, "from": "the set's test split"},
    }


def test_plan_settles_everything_and_writes_nothing(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(tiny_config)
    assert list(tmp_path.iterdir()) == []
    assert plan.steps_per_epoch == 1293 // 128
    assert plan.config.model.bn_momentum == choose_momentum(10, of="batch norm")
    assert plan.to_json()["num_examples"] == {"train": 1293, "validation": 144, "test": 360}
    huge = make_plan(changed(tiny_config, training__batch_size=5000))
    assert (huge.config.training.batch_size, huge.steps_per_epoch) == (1293, 1)


def fake_run(monkeypatch, epochs, error=None):
    """Let a training finish some epochs in no time, and then fail in the next."""

    def run(plan, recorder, saver, *_):
        compile_model(plan.trained, plan.config.training, plan.steps_per_epoch)
        recorder.set_model(plan.trained)
        recorder.on_train_begin()
        for epoch in range(epochs):
            recorder.on_epoch_begin(epoch)
            recorder.on_epoch_end(epoch, {"loss": 1.0, "top1": 0.5, "val_loss": 1.0, "val_top1": 0.5})
            saver.position.epoch += 1
            saver.save()
        if error:
            raise error

    monkeypatch.setattr("keras_sepnets.training.trainer.train_to_the_end", run)


def test_a_failure_in_training_keeps_the_newest_checkpoint(tiny_config, tmp_path, monkeypatch):
    fake_run(monkeypatch, 1, RuntimeError("out\nof luck"))
    with pytest.raises(
        FailedRunError, match=r"RuntimeError: out of luck. Its newest checkpoint is saved; resume with"
    ):
        train(tiny_config, output=tmp_path / "a")
    run = Run.open(tmp_path / "a")
    assert not run.is_finished
    assert run.is_resumable
    assert len(run.read_history()) == 1
    assert run.network_file().name == "best.keras"
    assert evaluate(run, "validation").num_examples == 144


def test_a_failure_before_the_first_checkpoint_leaves_nothing(tiny_config, tmp_path, monkeypatch):
    fake_run(monkeypatch, 0, RuntimeError("out of luck"))
    with pytest.raises(FailedRunError, match="nothing is saved"):
        train(tiny_config, output=tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            KeyboardInterrupt(),
            InterruptedRunError,
            "Interrupted during the test. The training is finished and saved",
        ),
        (
            SepnetsError("A picture is bad."),
            FailedRunError,
            "A picture is bad. The training is finished and saved",
        ),
    ],
)
def test_a_test_that_fails_keeps_the_finished_training(tiny_config, tmp_path, monkeypatch, error, kind, sentence):
    def fail(*_, **__):
        raise error

    fake_run(monkeypatch, 1)
    monkeypatch.setattr("keras_sepnets.training.trainer.evaluate", fail)
    with pytest.raises(kind, match=sentence):
        train(tiny_config, output=tmp_path / "a")
    assert (tmp_path / "a" / "final.keras").exists()


def test_a_nan_loss_stops_the_run(tiny_config, tmp_path):
    config = changed(tiny_config, training__learning_rate=1e30, training__warmup_epochs=0)
    with pytest.raises(FailedRunError, match=r"NaN or infinite in epoch 1, step \d+.*Lower the"):
        train(config, output=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_training_stops_after_epochs_without_improvement(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_sepnets.training.recorder.Recorder._is_better", lambda *_: False)
    config = changed(tiny_config, training__epochs=5, training__patience=2)
    run = train(config, output=tmp_path / "run").run
    assert len(run.read_history()) == 2
    assert run.is_finished
    (run.path / "training.json").unlink()  # as if it had been killed just then
    resume(run)
    assert len(run.read_history()) == 2


@pytest.mark.long
def test_training_can_stop_early_on_the_schedule_of_all_epochs(tiny_config, tmp_path):
    config = changed(tiny_config, training__epochs=2, training__stop_after=0.5, training__warmup_epochs=0)
    run = train(config, output=tmp_path / "run").run
    (row,) = run.read_history()
    assert row["learning_rate"] == pytest.approx(config.training.learning_rate / 2)  # in the middle of the cosine
    assert run.is_finished


def test_bad_output_is_refused_before_the_data_are_opened(tiny_config, finished):
    with pytest.raises(SepnetsError, match="holds another run"):
        train(changed(tiny_config, data__dataset="no_such_data_set"), output=finished.run.path)


@pytest.mark.parametrize(
    ("settings", "download", "sentence"),
    [
        ({"data__dataset": '"folder:x"'}, True, "--download is for data sets of TFDS"),
        ({"data__on_bad_picture": "skip"}, False, "--on-bad-picture skip is for picture files"),
    ],
)
def test_options_that_would_change_nothing_are_refused(tiny_config, settings, download, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        make_plan(changed(tiny_config, **settings), download=download)


@pytest.fixture
def damaged_folder(picture_folder, tmp_path):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    for number in range(12, 20):
        (folder / "red" / f"{number}.jpg").unlink()
    for file in (folder / "red" / "03.jpg", folder / "blue" / "05.jpg", *(folder / "green").glob("1[0-4].jpg")):
        file.write_bytes(file.read_bytes()[:-300])
    return folder


def test_damaged_pictures_stop_a_run_by_name_or_are_left_out_and_listed(tiny_config, damaged_folder, tmp_path):
    config = changed(tiny_config, data__dataset=f"folder:{damaged_folder}", training__batch_size=8)
    config = changed(config, data__augment="strong", training__class_weights="balanced")
    with pytest.raises(FailedRunError, match=r"(03|05|1[0-4])\.jpg.*damaged or truncated.*--on-bad-picture skip"):
        train(config, output=tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists()
    result = train(changed(config, data__on_bad_picture="skip"), output=tmp_path / "run")
    rows = (tmp_path / "run" / "bad_pictures.csv").read_text().splitlines()
    assert len(rows) == 1 + 7
    data = result.run.read_json("data.json")
    total = sum(data[role]["num_examples"] for role in ("train", "validation", "test"))
    assert total == 52
    left_out = [row for row in rows if any(f"{row}".startswith(str(path)) for path in paths_of_test(result.run))]
    assert result.test.num_examples == data["test"]["num_examples"] - len(left_out)
    assert result.run.config.data.augmentation.cutmix == 1.0
    assert evaluate(result.run, "train").num_examples < data["train"]["num_examples"]
    assert (tmp_path / "run" / "bad_pictures.csv").read_text().splitlines() == rows  # of training too


def test_a_validation_split_without_a_readable_picture_is_an_error(tiny_config, picture_folder, tmp_path):
    for split in ("train", "validation", "test"):
        shutil.copytree(picture_folder, tmp_path / "set" / split)
    for file in (tmp_path / "set" / "validation").rglob("*.jpg"):
        file.write_bytes(file.read_bytes()[:-400])
    config = changed(tiny_config, data__dataset=f"folder:{tmp_path / 'set'}", data__on_bad_picture="skip")
    for cache_folder in (None, tmp_path / "cache"):
        with pytest.raises(FailedRunError, match="No picture of the split could be read"):
            train(config, output=tmp_path / "run", cache_folder=cache_folder)


@pytest.mark.long
def test_what_is_held_out_after_files_were_added_is_not_the_test_of_the_run(tiny_config, picture_folder, tmp_path):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    config = changed(tiny_config, data__dataset=f"folder:{folder}", training__batch_size=48)
    run = train(config, output=tmp_path / "run").run
    assert evaluate(run).num_examples == 6
    for number in range(20):
        shutil.copy(folder / "red" / "00.jpg", folder / "red" / f"new{number}.jpg")
    with pytest.raises(SepnetsError, match="test pictures of .* have changed since the run started.*trained on"):
        evaluate(run)
    with pytest.warns(match="train pictures of .* have changed since the run started"):
        evaluate(run, "train")


def paths_of_test(run):
    splits = Splits(open_source(run.config.data.dataset, skip_bad=True), run.config.data)
    split, chosen = splits.parts["test"]
    return [path.decode() for path in splits.source.paths(split)[chosen]]


@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        (keras.callbacks.EarlyStopping, r"did you mean EarlyStopping\(\)\? Received: type"),
        ([keras.callbacks.EarlyStopping(), "early"], "or a list of them. Received: str"),
    ],
)
def test_what_is_no_callback_is_refused_before_anything_is_written(tiny_config, tmp_path, callbacks, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        train(tiny_config, output=tmp_path / "run", callbacks=callbacks)
    assert not (tmp_path / "run").exists()


def test_a_single_callback_needs_no_list():
    one = keras.callbacks.TerminateOnNaN()
    assert check_callbacks(one) == check_callbacks((one,)) == [one]
    assert check_callbacks(None) == []
