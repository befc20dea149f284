"""Which network a weight file belongs to: files of this package and of keras.applications, of every format."""

import json
import zipfile

import keras
import pytest
from parity import write_legacy

from keras_sepnets import SepnetsError, build_inception_v3, build_mobilenet, build_mobilenet_v2, build_xception
from keras_sepnets.models.alpha import find_alpha, round_filters, scale_filters
from keras_sepnets.models.architecture import read_architecture
from keras_sepnets.models.recognition import recognise

SIZE = {"input_shape": (32, 32, 3), "classes": 3}
OF_KERAS = [
    (keras.applications.MobileNet, {"alpha": 0.25, "include_top": False}, ("mobilenet", 0.25)),
    (keras.applications.MobileNetV2, {"alpha": 0.35}, ("mobilenet_v2", 0.35)),
    (keras.applications.Xception, {"input_shape": (71, 71, 3)}, ("xception", 1.0)),
    pytest.param(
        keras.applications.InceptionV3, {"input_shape": (75, 75, 3)}, ("inception_v3", 1.0), marks=pytest.mark.long
    ),
]
OURS = [
    (build_mobilenet, {"alpha": 0.0625, "shallow": True, "separable": False, "bn_epsilon": 1e-5}),
    pytest.param(
        build_mobilenet_v2,
        {"alpha": 0.4, "residual": "expansion", "bottleneck_activation": "relu6"},
        marks=pytest.mark.long,
    ),
    pytest.param(build_mobilenet_v2, {"alpha": 0.1, "residual": None, "dropout": 0.3}, marks=pytest.mark.long),
    pytest.param(
        build_xception,
        {
            "alpha": 0.125, "middle_repeats": 1, "segments": 3, "order": "pointwise_first",
            "intermediate_activation": "elu", "residual": False, "fully_connected": True,
        },
        marks=pytest.mark.long,
    ),
    (build_xception, {"alpha": 0.1, "middle_repeats": 0, "segments": 1, "intermediate_activation": "relu"}),
    pytest.param(build_inception_v3, {"alpha": 0.3, "input_shape": (75, 75, 3)}, marks=pytest.mark.long),
]  # fmt: skip


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.35, 1.0, 1.4, 0.0625, 0.7, 0.123, 1 / 3, 2.5])
def test_alpha_follows_from_filter_counts(alpha):
    layers = [lambda a, b=base: scale_filters(b, a) for base in (32, 64, 128, 1024)]
    layers += [lambda a, b=base: round_filters(int(b * a)) for base in (16, 24, 96, 320)]
    found = find_alpha([(layer, layer(alpha)) for layer in layers])
    assert [layer(found) for layer in layers] == [layer(alpha) for layer in layers]
    assert found == alpha or alpha == 1 / 3


def test_of_several_alphas_a_preferred_or_round_one_is_found_and_of_none_none():
    half = [(lambda a: scale_filters(32, a), 16)]  # 0.5 to 0.53125
    assert find_alpha(half) == 0.5
    assert find_alpha(half, preferred=(1.0, 0.52)) == 0.52
    assert find_alpha([*half, (lambda a: scale_filters(64, a), 40)]) is None
    assert find_alpha([]) is None


@pytest.mark.parametrize(("build", "options", "expected"), OF_KERAS, ids=["v1", "v2", "xception", "inception"])
def test_files_of_keras_applications(build, options, expected, tmp_path):
    model = build(**{**SIZE, **options}, weights=None)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"theirs{suffix}")
        config = recognise(tmp_path / f"theirs{suffix}")
        assert (config.name, config.alpha) == expected
        rest = {"alpha", "dropout"}
        assert config.model_dump(exclude=rest) == type(config)().model_dump(exclude=rest)


@pytest.mark.parametrize(("build", "options"), OURS)
def test_own_files_show_every_option(build, options, tmp_path):
    model = build(**{**SIZE, **options}, name="mine")
    found = []
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"mine{suffix}")
        found.append(recognise(tmp_path / f"mine{suffix}"))
    settings = {key: value for key, value in options.items() if key != "input_shape"}
    assert f"build_{found[0].name}" == build.__name__
    assert found[0].model_dump(include=set(settings)) == settings
    assert found[0] == found[1]


def test_a_backbone_in_another_model_is_found(tmp_path):
    backbone = build_mobilenet(alpha=0.25, input_shape=(32, 32, 3), include_top=False, pooling="avg")
    keras.Sequential([backbone, keras.layers.Dense(5)]).save(tmp_path / "nested.keras")
    assert recognise(tmp_path / "nested.keras").alpha == 0.25


class TestNotOurs:
    @pytest.fixture(scope="class")
    def file(self, tmp_path_factory):
        path = tmp_path_factory.mktemp("ours") / "good.keras"
        build_mobilenet(alpha=0.25, **SIZE).save(path)
        return path

    @staticmethod
    def rewritten(file, path, change):
        """Write a file whose description is changed."""
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
            new.writestr("config.json", json.dumps(change(json.loads(old.read("config.json")))))
            new.writestr("model.weights.h5", old.read("model.weights.h5"))
        return path

    def test_other_networks_and_damaged_files(self, file, tmp_path):
        inputs = keras.Input((32, 32, 3))
        keras.Model(inputs, keras.layers.Conv2D(8, 3, name="block1_pointwise")(inputs)).save(tmp_path / "b.keras")
        (tmp_path / "c.keras").write_bytes(file.read_bytes()[:1000])
        for name in ("b.keras", "c.keras", "missing.keras"):
            assert recognise(tmp_path / name) is None

    def test_widths_that_no_alpha_gives(self, file, tmp_path):
        def widen(config):
            (stem,) = (layer for layer in config["config"]["layers"] if layer["name"] == "stem")
            stem["config"]["filters"] = 9
            return config

        assert recognise(self.rewritten(file, tmp_path / "odd.keras", widen)) is None

    @pytest.mark.parametrize("filters", [2**40, -1, "many", None, 8.5])
    def test_absurd_filter_counts(self, file, tmp_path, filters):
        def widen(config):
            for layer in config["config"]["layers"]:
                if layer["name"] == "block3_pointwise":
                    layer["config"]["filters"] = filters
            return config

        path = self.rewritten(file, tmp_path / "absurd.keras", widen)
        assert recognise(path) is None
        with pytest.raises((ValueError, TypeError)):
            [layer.weight_shapes() for layer in read_architecture(path)]

    def test_a_description_that_is_huge_or_deep(self, tmp_path, monkeypatch):
        monkeypatch.setattr("keras_sepnets.models.architecture.LARGEST_JSON", 200_000)
        for name, text in (("huge", "[" + "1," * 200_000 + "1]"), ("deep", 90_000 * "[" + 90_000 * "]")):
            with zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as archive:
                archive.writestr("config.json", text)
            with pytest.raises(ValueError, match="more than 200,000 bytes|nested too deeply"):
                read_architecture(tmp_path / f"{name}.keras")
            assert recognise(tmp_path / f"{name}.keras") is None


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5", "-weights.h5"])
def test_the_error_names_the_alpha_that_fits(suffix, tmp_path):
    path = tmp_path / f"half{suffix}"
    model = build_mobilenet(alpha=0.5, shallow=True, **SIZE)
    if suffix == "-weights.h5":
        write_legacy(model, path)
    else:
        (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    with pytest.raises(SepnetsError, match=r"; these look like alpha=0.5: use --alpha 0.5\. Received: weights="):
        build_mobilenet(alpha=1.0, shallow=True, **SIZE, weights=path)


def test_the_error_names_another_network_and_options_that_fit(tmp_path):
    keras.applications.MobileNetV2(alpha=0.35, **SIZE, weights=None).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(
        SepnetsError, match="like mobilenet_v2 with alpha=0.35: use --model mobilenet_v2 --alpha 0.35"
    ):
        build_mobilenet(alpha=1.0, **SIZE, weights=tmp_path / "a.weights.h5")
    build_mobilenet(alpha=0.25, shallow=True, **SIZE).save(tmp_path / "b.keras")
    with pytest.raises(
        SepnetsError, match=r"alpha=0.25, shallow=True: use --alpha 0.25 --set model.shallow=true\."
    ):
        build_mobilenet(alpha=0.25, **SIZE, weights=tmp_path / "b.keras")


def test_an_error_without_a_network_that_fits_ends_as_before(tmp_path):
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, keras.layers.Conv2D(8, 3, name="stem")(inputs)).save(tmp_path / "other.h5")
    with pytest.raises(SepnetsError, match=r"the file has \(3, 3, 3, 8\), \(8,\)\. Received"):
        build_mobilenet(alpha=0.25, **SIZE, weights=tmp_path / "other.h5")
