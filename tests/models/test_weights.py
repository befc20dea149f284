"""Weights from files that these tests write with keras.applications, in the layouts that are published."""

import functools
import hashlib
import http.server
import logging
import re
import threading

import h5py
import keras
import numpy as np
import pytest
from parity import assert_same_outputs, randomize, write_legacy

from keras_sepnets import SepnetsError, build_inception_v3, build_mobilenet, build_mobilenet_v2, build_xception
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.models import hashes, mobilenet, mobilenet_v2, xception
from keras_sepnets.models.weight_files import keras_name

PRECISION = 1e-4  # of float32, whose rounding grows in a deep network of random weights
SMALL = {"alpha": 0.25, "input_shape": (32, 32, 3)}


def reference_mobilenet(size=64, alpha=0.25, **head):
    model = keras.applications.MobileNet(weights=None, input_shape=(size, size, 3), alpha=alpha, **head)
    randomize(model, seed=11)
    return model


@pytest.fixture(scope="module")
def keras_home(tmp_path_factory):
    """A Keras cache that holds the published files, of random weights."""
    home = tmp_path_factory.mktemp("keras")
    (home / "models").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(home))
        patch.setattr("keras_sepnets.models.weights.HASHES", {})
        yield home


PUBLISHED = [
    (
        functools.partial(build_mobilenet, alpha=0.25, input_shape=(128, 128, 3)),
        functools.partial(keras.applications.MobileNet, alpha=0.25, input_shape=(128, 128, 3)),
        "mobilenet_2_5_128_tf.h5",
        "mobilenet_2_5_128_tf_no_top.h5",
    ),
    pytest.param(
        functools.partial(build_mobilenet_v2, alpha=0.35, input_shape=(96, 96, 3)),
        functools.partial(keras.applications.MobileNetV2, alpha=0.35, input_shape=(96, 96, 3)),
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5",
        marks=pytest.mark.long,
    ),
    pytest.param(
        functools.partial(build_xception, input_shape=(71, 71, 3)),
        functools.partial(keras.applications.Xception, input_shape=(71, 71, 3)),
        "xception_weights_tf_dim_ordering_tf_kernels.h5",
        "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        marks=pytest.mark.long,
    ),
    pytest.param(
        functools.partial(build_inception_v3, input_shape=(75, 75, 3)),
        functools.partial(keras.applications.InceptionV3, input_shape=(75, 75, 3)),
        "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        marks=pytest.mark.long,
    ),
]
NAMES = ["mobilenet", "mobilenet_v2", "xception", "inception_v3"]


@pytest.mark.parametrize(("build", "build_reference", "file", "no_top"), PUBLISHED, ids=NAMES)
def test_published_weights_of_every_network(build, build_reference, file, no_top, keras_home, caplog):
    """The files of 2016 and 2017 name their layers differently from today's code; only the order matters."""
    reference = build_reference(weights=None)
    randomize(reference, seed=4)
    write_legacy(reference, keras_home / "models" / file, old_names=True)
    ours = build(weights="imagenet")
    assert_same_outputs(ours, reference, reference.input_shape[1], PRECISION)
    report = ours.load_report
    assert (report.adapted, report.fresh, report.unused) == ({}, (), ())
    assert set(report.loaded) == {layer.name for layer in ours.layers if layer.weights}
    assert not caplog.records, "nothing to warn about"

    body = build_reference(weights=None, include_top=False, pooling="avg")
    randomize(body, seed=5)
    write_legacy(body, keras_home / "models" / no_top)
    ours = build(weights="imagenet", include_top=False, pooling="avg")
    assert_same_outputs(ours, body, body.input_shape[1], PRECISION)

    with caplog.at_level(logging.WARNING, logger="keras_sepnets"):
        grey = build(weights="imagenet", classes=7, input_shape=(*body.input_shape[1:3], 1))
    (first,) = grey.load_report.adapted
    assert grey.load_report.fresh == ("predictions",)
    assert f"{first} adapted (from 3 to 1 channels); left random: predictions" in caplog.text
    pixels = np.random.default_rng(0).uniform(0, 255, (1, *grey.input_shape[1:])).astype("float32")
    features = keras.Model(grey.input, grey.get_layer("avg_pool").output)(pixels, training=False)
    expected = body(np.repeat(pixels, 3, axis=-1) / 127.5 - 1, training=False)
    np.testing.assert_allclose(features, expected, atol=PRECISION * np.abs(expected).max())


def test_other_sizes_take_the_weights_of_the_largest(keras_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()  # a folder of that name must not matter
    write_legacy(reference_mobilenet(), keras_home / "models" / "mobilenet_2_5_224_tf.h5")
    model = build_mobilenet(weights="imagenet", alpha=0.25, input_shape=(40, 50, 3))
    assert model.load_report.source.endswith("mobilenet_2_5_224_tf.h5")


@pytest.mark.parametrize("alpha", [1.3, 1.4])
def test_wide_mobilenet_v2_was_published_at_224_px_only(alpha):
    assert mobilenet_v2.PUBLISHED.file(alpha, 96, True).endswith(f"kernels_{alpha}_224.h5")


def test_every_known_hash_belongs_to_a_file_that_can_be_requested():
    asked = set()
    for published in (mobilenet.PUBLISHED, mobilenet_v2.PUBLISHED, xception.PUBLISHED):
        for alpha in published.alphas:
            for size in published.sizes:
                asked |= {published.file(alpha, size, top) for top in (True, False)}
    known = {name for name in hashes.HASHES if not name.startswith("inception")}
    assert known <= asked
    assert {name for name in asked if name.startswith("mobilenet_") and "_v2_" not in name} <= known
    assert all(re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", value) for value in hashes.HASHES.values())


def test_only_published_widths_have_weights():
    with pytest.raises(SepnetsError, match=r"for alpha 1, 0.75, 0.5, 0.25; .*Received: alpha=0.3"):
        build_mobilenet(alpha=0.3, weights="imagenet")


class TestDownload:
    @pytest.fixture
    def server(self, tmp_path, monkeypatch):
        """A folder on a local web server, in place of the published one."""
        folder, home = tmp_path / "served", tmp_path / "home"
        folder.mkdir()
        home.mkdir()
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
        monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(mobilenet, "PUBLISHED", mobilenet.PUBLISHED._replace(url=url))
        monkeypatch.setenv("KERAS_HOME", str(home))
        yield folder
        server.shutdown()

    def test_a_missing_file_is_fetched_once_and_checked(self, server, tmp_path, monkeypatch):
        name = "mobilenet_2_5_224_tf.h5"
        reference = reference_mobilenet()
        write_legacy(reference, server / name)
        known = {name: hashlib.sha256((server / name).read_bytes()).hexdigest()}
        monkeypatch.setattr("keras_sepnets.models.weights.HASHES", known)
        build = functools.partial(build_mobilenet, alpha=0.25, input_shape=(64, 64, 3), weights="imagenet")
        assert_same_outputs(build(), reference, 64)
        (server / name).unlink()
        assert_same_outputs(build(), reference, 64)  # from the cache

        cached = tmp_path / "home" / "models" / name
        cached.write_bytes(b"damaged")
        with pytest.raises(SepnetsError, match="its hash differs; delete it") as caught:
            build()
        assert str(cached) in str(caught.value)
        assert cached.read_bytes() == b"damaged", "the user's file stays"

    def test_a_wrong_download_is_refused(self, server, monkeypatch):
        monkeypatch.setattr("keras_sepnets.models.weights.HASHES", hashes.HASHES)
        (server / "mobilenet_2_5_224_tf.h5").write_bytes(b"not what was published")
        with pytest.raises(FailedRunError, match="could not be downloaded .*hash does not match"):
            build_mobilenet(alpha=0.25, weights="imagenet")
        with pytest.raises(SepnetsError, match="its hash differs; delete it"):
            build_mobilenet(alpha=0.25, weights="imagenet")

    def test_offline_one_sentence_names_the_file_and_its_place(self, server, tmp_path):
        with pytest.raises(FailedRunError) as caught:
            build_mobilenet(alpha=0.25, weights="imagenet")
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert "Fetch http://127.0.0.1" in sentence
        assert "/mobilenet_2_5_224_tf.h5 on a machine with internet access" in sentence
        assert str(tmp_path / "home" / "models" / "mobilenet_2_5_224_tf.h5") in sentence


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_own_files_of_every_format(suffix, tmp_path):
    source = build_mobilenet(**SMALL, classes=3, name="source")
    randomize(source, seed=2)
    path = tmp_path / f"mine{suffix}"
    (source.save_weights if suffix == ".weights.h5" else source.save)(path)
    loaded = build_mobilenet(**SMALL, classes=3, weights=path)
    assert_all_equal(loaded, source)
    assert loaded.load_report.fresh == loaded.load_report.unused == ()

    other = build_mobilenet(**SMALL, classes=5, weights=str(path))
    assert other.load_report.fresh == ("predictions",)
    assert len(other.load_report.loaded) == len(loaded.load_report.loaded) - 1
    headless = build_mobilenet(**SMALL, include_top=False, weights=path)
    assert len(headless.load_report.unused) == 1
    assert (headless.get_layer("stem").kernel.numpy() == source.get_layer("stem").kernel.numpy()).all()


def assert_all_equal(model, source):
    for mine, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.usefixtures("_short_networks")
def test_a_run_folder(finished):
    options = {"alpha": 0.0625, "shallow": True, "input_shape": (32, 32, 3), "classes": 10}
    model = build_mobilenet(**options, weights=finished.run.path)
    assert_all_equal(model, finished.run.load_model())
    assert model.load_report.source == str(finished.run.path / "final.keras")


def test_weights_files_of_keras_applications_with_its_convolution_as_classifier(tmp_path):
    reference = reference_mobilenet(classes=5)
    reference.save_weights(tmp_path / "theirs.weights.h5")
    path = tmp_path / "theirs.weights.h5"
    ours = build_mobilenet(alpha=0.25, input_shape=(64, 64, 3), classes=5, weights=path)
    assert_same_outputs(ours, reference, 64, PRECISION)
    assert ours.load_report.fresh == ours.load_report.unused == ()


def test_a_backbone_inside_another_model(tmp_path):
    backbone = build_mobilenet(**SMALL, include_top=False, pooling="avg")
    keras.Sequential([backbone, keras.layers.Dense(5, name="mine")]).save(tmp_path / "transfer.keras")
    model = build_mobilenet(**SMALL, classes=5, weights=tmp_path / "transfer.keras")
    assert (model.load_report.fresh, model.load_report.unused) == (("predictions",), ("mine",))
    assert_all_equal(model.get_layer("stem"), backbone.get_layer("stem"))
    assert build_mobilenet(**SMALL).load_report is None


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_whole_models_of_keras_applications(suffix, tmp_path):
    reference = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), alpha=0.35, classes=5)
    randomize(reference, seed=6)
    reference.save(tmp_path / f"theirs{suffix}")
    ours = build_mobilenet_v2(alpha=0.35, input_shape=(64, 64, 3), classes=5, weights=tmp_path / f"theirs{suffix}")
    assert_same_outputs(ours, reference, 64, PRECISION)


def test_background_class_of_slim_checkpoints_is_dropped(tmp_path):
    reference = reference_mobilenet(classes=1001)
    write_legacy(reference, tmp_path / "slim.h5")
    ours = build_mobilenet(alpha=0.25, input_shape=(64, 64, 3), classes=1000, weights=tmp_path / "slim.h5")
    assert ours.load_report.adapted == {"predictions": "without the background class"}
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    expected = reference(pixels / 127.5 - 1, training=False).numpy()[:, 1:]
    np.testing.assert_allclose(ours(pixels, training=False), expected / expected.sum(), atol=1e-5)
    whole = build_mobilenet(alpha=0.25, input_shape=(64, 64, 3), classes=1001, weights=tmp_path / "slim.h5")
    assert whole.load_report.adapted == {}


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (3, 2), (3, 4), (1, 3), (4, 3), (2, 5)])
def test_first_kernel_for_another_number_of_channels(given, wanted, tmp_path):
    """A picture with equal channels gives the same output as before."""
    source = build_mobilenet(alpha=0.25, input_shape=(32, 32, given), classes=2)
    randomize(source, seed=1)
    source.save_weights(tmp_path / "w.weights.h5")
    build = functools.partial(build_mobilenet, alpha=0.25, classes=2, weights=tmp_path / "w.weights.h5")
    model = build(input_shape=(32, 32, wanted))
    assert model.load_report.adapted == {"stem": f"from {given} to {wanted} channels"}
    before, after = (network.get_layer("stem").kernel.numpy() for network in (source, model))
    if wanted == 1:
        np.testing.assert_allclose(after.sum(axis=2), before.sum(axis=2), rtol=1e-5)
    else:
        repeated = np.concatenate([before] * 3, axis=2)[:, :, :wanted]
        np.testing.assert_allclose(after, repeated * given / wanted, rtol=1e-6)


def test_layers_that_the_network_leaves_out_are_listed(tmp_path, caplog):
    build_xception(alpha=0.125, input_shape=(32, 32, 3), classes=2).save(tmp_path / "full.keras")
    with caplog.at_level(logging.WARNING, logger="keras_sepnets"):
        model = build_xception(
            alpha=0.125, input_shape=(32, 32, 3), classes=2, residual=False, weights=tmp_path / "full.keras"
        )
    shortcuts = [f"block{n}_shortcut{end}" for n in (2, 3, 4, 13) for end in ("", "_bn")]
    assert list(model.load_report.unused) == shortcuts
    assert "not used: block2_shortcut" in caplog.text


def test_a_new_fully_connected_head_starts_fresh(tmp_path):
    build_xception(alpha=0.125, input_shape=(32, 32, 3), classes=2).save(tmp_path / "w.keras")
    model = build_xception(
        alpha=0.125, input_shape=(32, 32, 3), classes=2, fully_connected=True, weights=tmp_path / "w.keras"
    )
    assert model.load_report.fresh == ("fc1", "fc2", "predictions")


class TestRefused:
    """One sentence; the network is not built, so nothing is half-loaded."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("refused")
        model = build_mobilenet(**SMALL, classes=3)
        for name in ("good.keras", "good.h5"):
            model.save(folder / name)
        model.save_weights(folder / "good.weights.h5")
        for name in ("good.keras", "good.h5", "good.weights.h5"):
            content = (folder / name).read_bytes()
            (folder / f"cut-{name}").write_bytes(content[: len(content) // 2])
            (folder / f"empty-{name}").write_bytes(b"")
        (folder / "notes.txt").write_text("x")
        (folder / "empty").mkdir()
        return folder

    @pytest.mark.parametrize(
        "name", [f"{damage}-good{end}" for damage in ("cut", "empty") for end in (".keras", ".h5", ".weights.h5")]
    )
    def test_damaged_files(self, folder, name):
        with pytest.raises(SepnetsError, match=rf"cannot be (read|loaded).*{re.escape(name)}") as caught:
            build_mobilenet(**SMALL, classes=3, weights=folder / name)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("nowhere.h5", "These weights do not exist"),
            ("notes.txt", "run folder or a file ending in .keras"),
            ("empty", "not a run folder"),
            ("missing/imagenet", "These weights do not exist"),
        ],
    )
    def test_paths_without_weights(self, folder, name, sentence):
        with pytest.raises(SepnetsError, match=sentence):
            build_mobilenet(**SMALL, weights=folder / name)

    @pytest.mark.parametrize("name", ["good.keras", "good.h5", "good.weights.h5"])
    def test_another_width_or_network(self, folder, name):
        with pytest.raises(SepnetsError, match=r"another network: for stem, mobilenet needs \(3, 3, 3, 16\), the"):
            build_mobilenet(alpha=0.5, input_shape=(32, 32, 3), weights=folder / name)
        with pytest.raises(SepnetsError, match="another network"):
            build_xception(alpha=0.25, input_shape=(32, 32, 3), weights=folder / name)

    @pytest.mark.parametrize("link", [h5py.ExternalLink, None], ids=["external", "soft"])
    @pytest.mark.parametrize("place", ["model_weights", "model_weights/stem", "model_weights/stem/stem/kernel"])
    def test_links_to_elsewhere(self, folder, tmp_path, place, link):
        (tmp_path / "linked.h5").write_bytes((folder / "good.h5").read_bytes())
        with h5py.File(tmp_path / "linked.h5", "r+") as file:
            file.move(place, "moved")
            file[place] = link(str(folder / "good.h5"), place) if link else h5py.SoftLink("/moved")
        with pytest.raises(SepnetsError, match=rf"cannot be read: {place.split('/')[-1]} is missing or a link"):
            build_mobilenet(**SMALL, classes=3, weights=tmp_path / "linked.h5")

    @pytest.mark.parametrize(
        ("dtype", "sentence"), [("S4", "not an array of numbers"), ("c8", "not an array of numbers"), ("f4", None)]
    )
    def test_arrays_of_other_things_than_numbers(self, folder, tmp_path, dtype, sentence):
        (tmp_path / "odd.weights.h5").write_bytes((folder / "good.weights.h5").read_bytes())
        with h5py.File(tmp_path / "odd.weights.h5", "r+") as file:
            group = file["layers/conv2d/vars"]
            shape = group["0"].shape
            del group["0"]
            group.create_dataset("0", shape, dtype=dtype)
        if sentence is None:
            build_mobilenet(**SMALL, classes=3, weights=tmp_path / "odd.weights.h5")
        else:
            with pytest.raises(SepnetsError, match=sentence):
                build_mobilenet(**SMALL, classes=3, weights=tmp_path / "odd.weights.h5")

    def test_a_layer_with_more_arrays_than_ours(self, tmp_path):
        inputs = keras.Input((32, 32, 3))
        keras.Model(inputs, keras.layers.Conv2D(8, 3, name="stem")(inputs)).save(tmp_path / "biased.h5")
        with pytest.raises(SepnetsError, match=r"needs \(3, 3, 3, 8\), the file has \(3, 3, 3, 8\), \(8,\)"):
            build_mobilenet(**SMALL, weights=tmp_path / "biased.h5")

    def test_separable_convolutions_with_a_bias(self, tmp_path):
        def biased(layer):
            config = layer.get_config()
            return type(layer).from_config(config | ({"use_bias": True} if "depth_multiplier" in config else {}))

        reference = keras.applications.Xception(weights=None, include_top=False, input_shape=(71, 71, 3))
        write_legacy(keras.models.clone_model(reference, clone_function=biased), tmp_path / "biased.h5")
        with pytest.raises(SepnetsError, match="another network: for block2_sepconv1_pointwise"):
            build_xception(include_top=False, input_shape=(71, 71, 3), weights=tmp_path / "biased.h5")

    def test_arrays_that_claim_to_be_huge(self, tmp_path):
        with h5py.File(tmp_path / "bomb.h5", "w") as file:
            file.attrs["layer_names"] = [b"stem"]
            group = file.create_group("stem")
            group.attrs["weight_names"] = [b"kernel"]
            group.create_dataset("kernel", (3, 3, 10**9, 8), dtype="float32", chunks=True)
        with pytest.raises(SepnetsError, match="claims 288,000,000,000 bytes"):
            build_mobilenet(**SMALL, weights=tmp_path / "bomb.h5")


@pytest.mark.parametrize(
    "kind", ["Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense", "ReLU", "SeparableConv2D"]
)
def test_names_of_classes_match_keras(kind):
    from keras.src.utils.naming import to_snake_case

    assert keras_name(kind) == to_snake_case(kind)
