import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from short_networks import short_networks

from keras_sepnets import Run, SepnetsError, train
from keras_sepnets.base.errors import InterruptedRunError
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.lab.ablation import ablate, default_output
from keras_sepnets.lab.change import apply_variant, intermediate_relu_ablation, setting_ablation
from keras_sepnets.lab.experiment import open_experiment, with_choices_of_runs
from keras_sepnets.models.registry import build_network
from keras_sepnets.settings.files import load_config, override

ABLATION = intermediate_relu_ablation(intermediate_relu=False)


def base(**settings):
    options = {
        "model.name": "xception", "model.alpha": 0.0625, "model.middle_repeats": 0, "data.image_size": 16,
        "training.epochs": 1, "training.batch_size": 256, "training.accelerate": "on",
        "training.precise_batch_norm": 0,
    }  # fmt: skip
    return load_config(options=options | {key.replace("__", "."): value for key, value in settings.items()})


def train_by_copying(config, *, output, **_):
    """Make a run from the one with seed 0 beside it, with one more right answer; in no time."""
    run = Run(shutil.copytree(output.parent / "seed-0", output))
    run.write_json("config.json", run.config.model_dump(mode="json") | {"training": config.training.model_dump()})
    evaluation = run.read_json("evaluation-test.json")
    run.write_json("evaluation-test.json", evaluation | {"top1": evaluation["top1"] + 1 / 360})
    return SimpleNamespace(run=run)


@pytest.fixture(scope="module")
def result_and_titles(tmp_path_factory):
    """An ablation with two seeds, the second added to the first, and the titles of the runs in their order."""
    titles = []

    def callbacks(title, plan):
        assert plan.steps_per_epoch == 5
        titles.append(title)
        return []

    output = tmp_path_factory.mktemp("ablation") / "relu"
    with short_networks():
        ablate(base(), ABLATION, output=output, seeds=1, callbacks=callbacks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_sepnets.lab.experiment.train", train_by_copying)
        return ablate(base(), ABLATION, output=output, seeds=2, callbacks=callbacks), titles


def test_flags_name_the_change_under_test():
    out, into = (intermediate_relu_ablation(intermediate_relu=flag) for flag in (False, True))
    assert (out.reference.name, out.ablated.name) == ("intermediate_relu", "no_intermediate_relu")
    assert into == (out.ablated, out.reference)
    assert out.ablated.settings == {"model.intermediate_activation": "linear"}
    assert out.reference.settings == {"model.intermediate_activation": "relu"}


def test_any_setting_of_a_network_can_be_the_change():
    v2 = load_config(options={"model.name": "mobilenet_v2", "model.alpha": 0.35})
    change = setting_ablation(v2, ["model.residual=none", "model.bottleneck_activation=relu6"])
    before = {"model.residual": "bottleneck", "model.bottleneck_activation": None}
    assert change.reference == ("reference", before)
    assert change.ablated.name == "residual=none,bottleneck_activation=relu6"
    assert change.ablated.settings == {"model.residual": None, "model.bottleneck_activation": "relu6"}
    assert default_output(v2, change).name == f"ablate-mobilenet_v2-digits-{change.ablated.name}"
    narrower = setting_ablation(base(), ["model.alpha=0.125"])
    assert narrower.ablated == ("alpha=0.125", {"model.alpha": 0.125})


def test_any_setting_of_a_training_or_of_the_data_can_be_the_change():
    given = load_config(options={"data.augmentation.flip": False, "training.epochs": 3})
    for text, setting, before, after in (
        ("training.label_smoothing=0.1", "training.label_smoothing", 0.0, 0.1),
        ("training.epochs=4", "training.epochs", 3, 4),
        ("data.augment=strong", "data.augment", None, "strong"),
        ("data.augmentation.mixup=0.2", "data.augmentation.mixup", None, 0.2),
        ("data.augmentation={mixup = 0.2}", "data.augmentation.mixup", None, 0.2),
        ("transfer.batch_norm=moving", "transfer.batch_norm", "auto", "moving"),
    ):
        change = setting_ablation(given, [text])
        assert change == (("reference", {setting: before}), (f"{setting}={after}", {setting: after}))
        assert not change.changes_network
        assert apply_variant(change.reference, given) == given
        assert apply_variant(change.ablated, given) != given
    both = setting_ablation(given, ["training.optimizer=sgd", "training.learning_rate=0.1"])
    ablated = apply_variant(both.ablated, given).training
    assert (ablated.optimizer, ablated.learning_rate, ablated.epochs) == ("sgd", 0.1, 3)


def test_what_a_change_makes_differ_between_runs_is_refused(tmp_path):
    with pytest.raises(SepnetsError, match=r"The runs of an ablation have the same.*training.batch_size"):
        ablate(base(), setting_ablation(base(), ["training.batch_size=auto"]), output=tmp_path / "a")


@pytest.mark.usefixtures("_short_networks")
def test_a_change_of_the_loss_leaves_only_the_test_to_compare(result_and_titles, tmp_path, monkeypatch):
    result, _ = result_and_titles
    whole = result.variants["no_intermediate_relu"].runs[0]
    settings = base(data__augment="none")

    def train_by_copying_one(config, *, output, **_):
        run = Run(shutil.copytree(whole.path, output))
        run.write_json("config.json", config.model_dump(mode="json"))
        return SimpleNamespace(run=run)

    monkeypatch.setattr("keras_sepnets.lab.experiment.train", train_by_copying_one)
    steps = []
    changed = ablate(
        settings,
        setting_ablation(settings, ["training.batch_size=128", "training.label_smoothing=0.1"]),
        output=tmp_path / "smoothing",
        seeds=2,
        callbacks=lambda _title, plan: steps.append(plan.steps_per_epoch) or [],
    )
    assert steps == [5, 10, 5, 10]
    assert changed.comparison.verdict == "no measurable difference"
    assert changed.loss_comparison.verdict.startswith("not comparable")
    with pytest.raises(SepnetsError, match="Both variants are the same"):
        ablate(base(), setting_ablation(base(), ["data.augment=light"]), output=tmp_path / "same")


def test_an_experiment_of_0_1_0_is_continued(tmp_path):
    open_experiment(tmp_path, base(), reference=list(ABLATION.reference), ablated=list(ABLATION.ablated))
    old = (
        (tmp_path / "experiment.json")
        .read_text()
        .replace("model.intermediate_activation", "intermediate_activation")
    )
    (tmp_path / "experiment.json").write_text(old)
    open_experiment(tmp_path, base(), reference=list(ABLATION.reference), ablated=list(ABLATION.ablated))


def test_open_settings_of_the_augmentation_stay_those_of_the_preset():
    settings = load_config(options={"data.augmentation.flip": False, "model.name": "mobilenet"})
    change = setting_ablation(settings, ["model.separable=false"])
    for variant in change:
        variant_settings = apply_variant(variant, settings)
        source = SimpleNamespace(name="folder:x", picture_size=None, deep_values=lambda _rules: None)
        policy = resolve_data(variant_settings.data, source, default_size=64)
        assert (policy.augmentation.flip, policy.augmentation.smallest_crop) == (False, 0.35)
    assert override(settings, "model.alpha=0.5").data.augmentation.model_fields_set == {"flip"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("model.residual=true", "changes nothing"),
        ("model.name=mobilenet", "cannot change model.name"),
        ("data.dataset=cifar10", "same test pictures, so it cannot change data.dataset"),
        ("training.seed=1", "cannot change training.seed"),
        ("training.label_smoothing=0.0", "changes nothing"),
        ("training.label_smothing=0.1", 'Did you mean "training.label_smoothing"'),
        ("model.residul=false", 'Did you mean "model.residual"'),
        ("model.residual", "reads KEY=VALUE"),
    ],
)
def test_invalid_changes_are_refused(change, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        setting_ablation(base(), [change])


def test_no_change_and_one_change_twice_are_refused():
    with pytest.raises(SepnetsError, match="needs a change"):
        setting_ablation(base(), [])
    with pytest.raises(SepnetsError, match="the same setting again"):
        setting_ablation(base(), ["model.alpha=0.5", "model.alpha=0.75"])


@pytest.mark.parametrize("change", ["model.intermediate_activation=linear", "model.alpha=0.0626"])
def test_two_settings_of_one_network_are_not_compared(change, tmp_path):
    with pytest.raises(SepnetsError, match="Both networks are the same"):
        ablate(base(), setting_ablation(base(), [change]), output=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_relu_is_taken_out_in_either_order():
    """With order pointwise_first, leaving the activation open would mean a ReLU."""
    ours = load_config(options={"model.name": "xception", "model.order": "pointwise_first"})
    models = [apply_variant(variant, ours).model for variant in ABLATION]
    kinds = []
    for model in models:
        small = model.model_copy(update={"alpha": 0.0625, "middle_repeats": 0})
        network = build_network(small, image_size=16, classes=2, seed=None)
        kinds.append(sum(layer.name.endswith("_intermediate") for layer in network.layers))
    assert kinds[0] > 0
    assert kinds[1] == 0


def test_trains_each_variant_with_each_seed(result_and_titles):
    result, titles = result_and_titles
    assert titles == [
        f"{variant}, seed {seed}" for seed in (0, 1) for variant in ("intermediate_relu", "no_intermediate_relu")
    ]
    for name, variant in result.variants.items():
        assert [run.path for run in variant.runs] == [result.output / name / f"seed-{seed}" for seed in (0, 1)]
        assert [run.config.training.seed for run in variant.runs] == [0, 1]
        activations = {run.config.model.intermediate_activation for run in variant.runs}
        assert activations == {"relu" if name == "intermediate_relu" else "linear"}


def test_results_follow_from_the_runs(result_and_titles):
    result, _ = result_and_titles
    written = json.loads((result.output / "results.json").read_text())
    assert written == result.to_json()
    means = {}
    for name, variant in written["variants"].items():
        per_run = [
            json.loads((run.path / "evaluation-test.json").read_text()) for run in result.variants[name].runs
        ]
        assert variant["top1"] == [one["top1"] for one in per_run]
        assert variant["mean"] == pytest.approx(np.mean(variant["top1"]))
        assert variant["std"] == pytest.approx(np.std(variant["top1"], ddof=1))
        assert variant["training_loss"] == [run.read_history()[0]["loss"] for run in result.variants[name].runs]
        means[name] = variant["mean"]
    comparison = written["comparison"]
    assert comparison["metric"] == "top1"
    assert comparison["difference"] == pytest.approx(means["no_intermediate_relu"] - means["intermediate_relu"])
    assert written["loss_comparison"]["metric"] == "training_loss"
    assert (result.output / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_interrupted_runs_are_trained_again_and_finished_ones_kept(result_and_titles, monkeypatch):
    result, _ = result_and_titles
    titles = []
    interrupted = result.variants["intermediate_relu"].runs[1].path
    (interrupted / "training.json").unlink()
    (interrupted / "half").write_text("x")
    shutil.rmtree(interrupted / "checkpoints")
    monkeypatch.setattr("keras_sepnets.lab.experiment.train", train_by_copying)
    again = ablate(
        base(), ABLATION, output=result.output, seeds=2, callbacks=lambda title, _: titles.append(title) or []
    )
    assert titles == ["intermediate_relu, seed 1"]
    assert not (interrupted / "half").exists()
    assert again.to_json() == result.to_json()


def test_a_run_that_was_stopped_is_resumed(result_and_titles, tmp_path, monkeypatch):
    result, _ = result_and_titles
    output = shutil.copytree(result.output, tmp_path / "relu")
    shutil.copytree(output / "intermediate_relu" / "seed-0", tmp_path / "whole")
    stopped = output / "intermediate_relu" / "seed-0"
    (stopped / "training.json").unlink()
    resumed = []

    def finish(run, **_):
        resumed.append(run.path)
        shutil.copy(tmp_path / "whole" / "training.json", run.path)
        return SimpleNamespace(run=run)

    monkeypatch.setattr("keras_sepnets.lab.experiment.resume", finish)
    again = ablate(base(), ABLATION, output=output, seeds=2)
    assert resumed == [stopped]
    assert again.top1 == result.top1


def test_another_experiment_in_the_folder_is_refused(result_and_titles, tmp_path):
    result, _ = result_and_titles
    with pytest.raises(SepnetsError, match="another experiment: its base.training.epochs is 1, not 2"):
        ablate(base(training__epochs=2), ABLATION, output=result.output, seeds=2)
    with pytest.raises(SepnetsError, match="another experiment"):
        ablate(base(), intermediate_relu_ablation(intermediate_relu=True), output=result.output)
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(SepnetsError, match="not empty"):
        ablate(base(), ABLATION, output=tmp_path)


@pytest.mark.usefixtures("_short_networks")
def test_a_run_does_not_depend_on_what_ran_before_it(result_and_titles, tmp_path):
    """So a pair shares its weights and pictures: the paper's network alone gives the run of the ablation."""
    result, _ = result_and_titles
    inside = result.variants["no_intermediate_relu"].runs[0]
    alone = train(base(), output=tmp_path / "alone").run
    weights = [run.load_model().get_weights() for run in (inside, alone)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert inside.config.training == alone.config.training


class Interrupt(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise KeyboardInterrupt


def test_ctrl_c_says_how_to_continue(result_and_titles):
    result, _ = result_and_titles
    with pytest.raises(
        InterruptedRunError, match=r"in intermediate_relu, seed 2, with 4 of 6 runs finished. Run the same"
    ):
        ablate(base(), ABLATION, output=result.output, seeds=3, callbacks=lambda *_: [Interrupt()])
    assert not (result.output / "intermediate_relu" / "seed-2").exists()


def test_networks_without_the_part_are_refused(tmp_path):
    with pytest.raises(
        SepnetsError, match="mobilenet cannot be ablated this way: it has no intermediate_activation"
    ):
        ablate(load_config(), ABLATION, output=tmp_path / "a")
    with pytest.raises(SepnetsError, match="at least one seed"):
        ablate(base(), ABLATION, output=tmp_path / "a", seeds=0)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("training.batch_size", "auto"), ("training.epochs", "auto"), ("training.patience", 3)]
)
def test_what_would_make_the_runs_of_a_pair_differ_is_refused(tmp_path, key, value):
    base = load_config(options={"model.name": "xception", key: value})
    with pytest.raises(SepnetsError, match=f"The runs of an ablation have the same.*{key}"):
        ablate(base, intermediate_relu_ablation(intermediate_relu=False), output=tmp_path / "a")


def test_an_experiment_continues_with_what_its_runs_have_measured(tmp_path):
    base = load_config(options={"training.intra_op_threads": "auto"})
    folders = [tmp_path / "reference" / "seed-0", tmp_path / "ablated" / "seed-0"]
    assert with_choices_of_runs(base, folders, "intra_op_threads") == base
    folders[1].mkdir(parents=True)
    begun = load_config(options={"training.intra_op_threads": 1, "training.batch_size": 8})
    (folders[1] / "config.json").write_text(begun.model_dump_json())
    found = with_choices_of_runs(base, folders, "intra_op_threads", "batch_size")
    assert (found.training.intra_op_threads, found.training.batch_size) == (1, 32)
    given = load_config(options={"training.intra_op_threads": 2})
    assert with_choices_of_runs(given, folders, "intra_op_threads") == given
