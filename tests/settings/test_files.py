import inspect
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sepnets import SepnetsError
from keras_sepnets.settings.files import load_config
from keras_sepnets.settings.schema import NETWORK_SETTINGS, RunConfig, XceptionConfig


def test_a_config_file_that_never_ends_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for file in (tmp_path / "pipe.toml", Path("/dev/zero")):
        with pytest.raises(SepnetsError, match="config file cannot be read: it is not a regular file"):
            load_config(file)


def test_defaults_are_mobilenet_on_digits():
    config = load_config()
    assert (config.model.name, config.data.dataset) == ("mobilenet", "digits")
    assert config == RunConfig()


@pytest.mark.parametrize("name", NETWORK_SETTINGS)
def test_settings_of_a_network_are_the_builders_arguments_with_its_defaults(name):
    from keras_sepnets.models import registry

    arguments = inspect.signature(registry.NETWORKS[name].build).parameters
    settings = NETWORK_SETTINGS[name].model_fields
    shared = {"include_top", "weights", "input_tensor", "input_shape", "pooling", "classes"}
    shared |= {"classifier_activation", "name", "include_preprocessing"}
    assert set(settings) - {"name"} == set(arguments) - shared
    for setting in set(settings) - {"name", "bn_momentum"}:  # bn_momentum: chosen from the steps
        assert settings[setting].default == arguments[setting].default, setting


def test_networks_of_config_and_registry_are_the_same():
    from keras_sepnets.models import registry

    assert list(NETWORK_SETTINGS) == list(registry.NETWORKS)


def test_later_settings_override_earlier_ones(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text('[model]\nname = "xception"\nalpha = 0.5\n[training]\nepochs = 3\nseed = 9\n')
    config = load_config(
        file,
        {"training.epochs": 4},
        ("training.epochs=5", "model.residual=false", "model.intermediate_activation=elu"),
        defaults={"model.alpha": 0.25, "model.middle_repeats": 1},
    )
    assert isinstance(config.model, XceptionConfig)
    assert (config.model.alpha, config.model.middle_repeats, config.model.residual) == (0.5, 1, False)
    assert config.model.intermediate_activation == "elu"
    assert (config.training.epochs, config.training.seed) == (5, 9)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("model.alfa=1", 'Unknown setting "model.alfa". Did you mean "model.alpha"?'),
        ("model.residual=true", 'Unknown setting "model.residual"'),
        ("learning_rate=1", 'Unknown setting "learning_rate". Did you mean "training.learning_rate"?'),
        ("lr=1", 'Did you mean "training.learning_rate"?'),
        ("data.alpha=1", 'Did you mean "model.alpha"?'),
        ("training.epoch=1", 'Did you mean "training.epochs"?'),
        ("trainig.epochs=1", 'Did you mean "training"?'),
        ("model.alpha=0", "model.alpha: Input should be greater than 0. Received: 0"),
        ("model.alpha=inf", "model.alpha: .*finite"),
        ("model.alpha=wide", "model.alpha: .*valid number. Received: 'wide'"),
        ("training.epochs=1.5", "training.epochs: .*valid integer or input should be 'auto'. Received: 1.5"),
        ("training.epochs=0", "training.epochs: .*Received: 0"),
        ("training.optimizer=lion", "training.optimizer: .*'adamw'"),
        ("data.augment=lots", "data.augment: .*'light'"),
        ("model.name=mobilnet", 'Unknown model "mobilnet". Did you mean "mobilenet"?'),
        ("model.name=3", 'Unknown model "3"'),
        ("model.name=[1]", "Unknown model"),
        ("training.warmup_epochs=inf", "training.warmup_epochs: .*finite"),
        ("training.weight_decay=nan", "training.weight_decay"),
        ("model=3", "model: .*Received: 3"),
        ("model.name.x=3", '"name" is a value, not a table'),
        ("alpha", "reads KEY=VALUE"),
        ("=3", "reads KEY=VALUE"),
    ],
)
def test_faults_are_reported_in_one_sentence(assignment, sentence):
    with pytest.raises(SepnetsError, match=sentence) as caught:
        load_config(options={"model.name": "mobilenet"}, assignments=(assignment,))
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("model = [")
    for file in (broken, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(SepnetsError, match="config file cannot be read.*Received"):
            load_config(file)


KEYS = [
    f"{section}.{key}" for section, values in RunConfig().model_dump().items() for key in values
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["inf", "-inf", "nan", "[1]", "{a = 1}", "true", "''", "1979-05-27", "0x10", "1e400"]),
    st.integers().map(str),
    st.floats().map(str),
    st.text(),
)


@given(st.one_of(st.text(), st.sampled_from(KEYS)), VALUES)
def test_any_assignment_is_a_setting_or_a_sentence(key, value):
    try:
        load_config(assignments=(f"{key}={value}",))
    except SepnetsError as error:
        assert str(error)


def test_json_round_trip():
    config = load_config(assignments=("model.name=xception", "data.image_size=48"))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("text", ["[trainig]\n", '"training.epochs" = 3\n'])
def test_an_unknown_table_is_refused_even_if_it_is_empty(tmp_path, text):
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(SepnetsError, match="Unknown setting"):
        load_config(tmp_path / "my.toml")
