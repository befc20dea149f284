"""The options that name a change, as experiments; without any training."""

import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.lab.change import CHANGES, default_output, experiment_of_options, output_of_file, usual_network
from keras_sepnets.lab.definition import WRITTEN, read_definition, to_toml
from keras_sepnets.lab.matrix import arms_of
from keras_sepnets.models.registry import build_network
from keras_sepnets.settings.files import load_config


def settings(name="xception", **options):
    return load_config(
        options={"model.name": name} | {key.replace("__", "."): value for key, value in options.items()}
    )


def test_the_relu_option_names_the_change_under_test():
    out, into = (
        experiment_of_options(settings(), option=option).variants
        for option in ("no_intermediate_relu", "intermediate_relu")
    )
    assert [variant.name for variant in out] == ["intermediate_relu", "no_intermediate_relu"]
    assert into == list(reversed(out))
    assert [list(variant.settings.values()) for variant in out] == [["relu"], ["linear"]]


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_changes_the_network_of_its_paper(option):
    network = usual_network(option)
    small = {"alpha": 0.0625, **({"middle_repeats": 0} if network == "xception" else {})}
    arms = arms_of(experiment_of_options(settings(network), option=option))
    image_size = 48
    layers = [
        build_network(arm.config.model.model_copy(update=small), image_size=image_size, classes=2, seed=None)
        .get_config()["layers"]
        for arm in arms
    ]  # fmt: skip
    assert len(arms) == 2
    assert layers[0] != layers[1]


def test_xception_has_a_standard_convolution_as_one_segment():
    arms = arms_of(experiment_of_options(settings(), option="standard_convolution"))
    assert [arm.config.model.segments for arm in arms] == [None, 1]
    with pytest.raises(SepnetsError, match="inception_v3 cannot be ablated this way: it has no separable"):
        arms_of(experiment_of_options(settings("inception_v3"), option="standard_convolution"))


def test_a_list_alone_makes_the_variants_and_beside_a_change_a_grid():
    alone = experiment_of_options(settings(), lists={"segments": [1, 4, "all"], "alphas": None})
    assert [(one.name, one.settings["model.segments"]) for one in alone.variants] == [
        ("segments=1", 1), ("segments=4", 4), ("segments=all", "none"),
    ]  # fmt: skip
    assert not alone.grid
    assert [arm.config.model.segments for arm in arms_of(alone)] == [1, 4, None]
    both = experiment_of_options(
        settings(), option="no_residual", lists={"alphas": [0.25, 0.5], "image_sizes": [48]}
    )
    assert both.grid == {"model.alpha": [0.25, 0.5], "data.image_size": [48]}
    assert [arm.name for arm in arms_of(both)][:2] == ["residual,alpha=0.25,image_size=48",
                                                       "no_residual,alpha=0.25,image_size=48"]  # fmt: skip
    crossed = experiment_of_options(settings(), lists={"alphas": [0.25, 0.5], "image_sizes": [48, 64]})
    assert [one.name for one in crossed.variants] == ["alpha=0.25", "alpha=0.5"]
    assert crossed.grid == {"data.image_size": [48, 64]}
    assert len(arms_of(crossed)) == 4


def test_any_setting_can_be_the_change():
    given = settings("mobilenet", data__augmentation__flip=False, training__epochs=3)
    for text, key, before, after in (
        ("training.label_smoothing=0.1", "training.label_smoothing", 0.0, 0.1),
        ("training.epochs=4", "training.epochs", 3, 4),
        ("data.augment=strong", "data.augment", None, "strong"),
        ("transfer.batch_norm=moving", "transfer.batch_norm", "auto", "moving"),
        ("model.alpha=0.5", "model.alpha", 1.0, 0.5),
    ):
        reference, changed = experiment_of_options(given, changes=[text]).variants
        assert (reference.name, reference.settings) == ("reference", {} if before is None else {key: before})
        assert (changed.name, changed.settings) == (f"{key.removeprefix('model.')}={after}", {key: after})
    mixed = experiment_of_options(given, changes=["data.augmentation.mixup=0.2"])
    arms = arms_of(mixed)
    assert arms[1].config.data.augmentation.mixup == 0.2
    assert arms[1].config.data.augmentation.model_fields_set == {"flip", "mixup"}
    two = experiment_of_options(given, changes=["training.optimizer=sgd", "training.learning_rate=0.1"])
    assert arms_of(two)[1].config.training.optimizer == "sgd"
    other = arms_of(experiment_of_options(given, changes=["model.name=mobilenet_v2"]))
    assert [arm.config.model.name for arm in other] == ["mobilenet", "mobilenet_v2"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("model.residual=true", "changes nothing"),
        ("data.dataset=cifar10", "cannot vary data.dataset"),
        ("training.seed=1", "cannot vary training.seed"),
        ("training.label_smoothing=0.0", "changes nothing"),
        ("training.label_smothing=0.1", 'Did you mean "training.label_smoothing"'),
        ("model.residul=false", 'Did you mean "model.residual"'),
        ("model.shallow=true", "it has no shallow"),
        ("model.residual", "reads KEY=VALUE"),
    ],
)
def test_invalid_changes_are_refused(change, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        experiment_of_options(settings(), changes=[change])


def test_several_changes_or_none_are_refused():
    with pytest.raises(SepnetsError, match="needs a change"):
        experiment_of_options(settings())
    with pytest.raises(SepnetsError, match="the same setting again"):
        experiment_of_options(settings(), changes=["model.alpha=0.5", "model.alpha=0.75"])
    with pytest.raises(SepnetsError, match="one change at a time"):
        experiment_of_options(settings(), option="order", changes=["model.alpha=0.5"])
    with pytest.raises(SepnetsError, match="named twice"):
        experiment_of_options(settings(), lists={"alphas": [0.5, 0.5]})


def test_what_is_ablated_cannot_be_set_too():
    given = settings(model__intermediate_activation="elu")
    with pytest.raises(SepnetsError, match="itself changes model.intermediate_activation"):
        experiment_of_options(given, given=["model.intermediate_activation"], option="no_intermediate_relu")
    with pytest.raises(SepnetsError, match="itself changes model.alpha"):
        experiment_of_options(settings(model__alpha=2.0), given=["model.alpha"], lists={"alphas": [0.25, 0.5]})


def test_folders_are_found_again_by_the_same_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings()
    for arguments, name in (
        ({"option": "no_intermediate_relu"}, "no_intermediate_relu"),
        ({"changes": ["model.residual=false"]}, "residual=false"),
        ({"lists": {"segments": [1, 4]}}, "segments"),
        ({"option": "order", "lists": {"alphas": [1, 2]}}, "pointwise_first-alphas"),
    ):
        experiment = experiment_of_options(config, **arguments)
        found = default_output(experiment, config, arguments.get("lists"))
        assert str(found) == f"runs/ablate-xception-digits-{name}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "experiment.toml").write_text("seeds = 3\n")
    assert str(output_of_file(tmp_path / "mine")) == "runs/mine"
    (tmp_path / "mine" / "experiment.toml").write_text(f"{WRITTEN}\nseeds = 3\n")
    assert output_of_file(tmp_path / "mine") == tmp_path / "mine"
    (tmp_path / "width.toml").write_text("seeds = 3\n")
    assert str(output_of_file(tmp_path / "width.toml")) == "runs/width"


def test_what_is_left_open_is_open_in_the_file(tmp_path):
    experiment = experiment_of_options(settings("mobilenet"), changes=["data.augment=strong"])
    (tmp_path / "experiment.toml").write_text(to_toml(experiment))
    read, strong = arms_of(read_definition(tmp_path))
    assert (read.config.data.augment, strong.config.data.augment) == (None, "strong")
    assert [arm.config for arm in arms_of(experiment)] == [read.config, strong.config]
