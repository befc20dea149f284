import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from deploy_page import about, needs_node, run_scripts
from keras import layers

from keras_sepnets import (
    Run,
    SepnetsError,
    build_inception_v3,
    build_mobilenet,
    build_mobilenet_v2,
    build_xception,
    evaluate,
)
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.cli import main
from keras_sepnets.data.pictures.preprocessing import prepare_picture
from keras_sepnets.deploy.html import export
from keras_sepnets.deploy.html.card import describe_run
from keras_sepnets.deploy.html.export import export_html
from keras_sepnets.deploy.html.network import flatten
from keras_sepnets.deploy.html.node import classify_in_node
from keras_sepnets.deploy.html.packing import pack
from keras_sepnets.deploy.html.page import render_page

NETWORKS = [
    (build_mobilenet, 32, {"alpha": 0.25}),
    (build_mobilenet, 33, {"alpha": 0.25, "separable": False, "dropout": 0.5}),
    (build_mobilenet, 32, {"alpha": 0.25, "include_preprocessing": False}),
    (build_mobilenet_v2, 33, {"alpha": 0.35}),
    (build_mobilenet_v2, 32, {"alpha": 0.35, "residual": "expansion", "bottleneck_activation": "relu6"}),
    (build_mobilenet_v2, 32, {"alpha": 0.35, "residual": None}),
    (build_xception, 32, {"alpha": 0.1, "middle_repeats": 1}),
    (
        build_xception,
        33,
        {"alpha": 0.1, "middle_repeats": 1, "intermediate_activation": "elu", "fully_connected": True},
    ),
    (
        build_xception,
        32,
        {"alpha": 0.1, "middle_repeats": 1, "residual": False, "segments": 3, "order": "pointwise_first"},
    ),
    (build_inception_v3, 75, {"alpha": 0.1}),
]


def build(builder, size, options):
    """Return a network whose batch norm is not neutral, as after a training."""
    model = builder(input_shape=(size, size, 3), classes=4, **options)
    random = np.random.default_rng(0)
    for variable in model.weights:
        name = variable.path.split("/")[-1]
        if name in ("moving_variance", "gamma"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif name in ("moving_mean", "beta", "bias"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return model


@needs_node
@pytest.mark.usefixtures("_short_networks")
@pytest.mark.parametrize(("builder", "size", "options"), NETWORKS)
def test_a_page_computes_what_keras_computes(tmp_path, builder, size, options):
    model = build(builder, size, options)
    (tmp_path / "page.html").write_text(render_page(pack(*flatten(model)), about("abcd", size)))
    pictures = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    answers, _ = classify_in_node(tmp_path / "page.html", pictures, 4)
    np.testing.assert_allclose(answers, model.predict_on_batch(pictures.astype(np.float32)), atol=1e-3)


@needs_node
@pytest.mark.usefixtures("_short_networks")
def test_the_map_of_a_class_adds_up_to_its_logit():
    model = build(build_mobilenet, 64, {"alpha": 0.25})
    network = pack(*flatten(model))
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    maps, probabilities = run_scripts(
        """const network = Network.load(...given.network);
        const { map, probabilities } = network.run(Uint8Array.from(given.picture));
        return [[0, 1, 2, 3].map((label) => [...map(label).values]), [...probabilities]];""",
        {"network": network, "picture": picture.ravel().tolist()},
    )
    logits, bias = np.log(probabilities), model.get_layer("predictions").bias.numpy()
    above = np.mean(maps, axis=1) + bias - bias.mean()
    np.testing.assert_allclose(above, logits - logits.mean(), atol=1e-4)


CASES = [
    ((50, 70), 32, 1.0, "crop"),
    ((333, 500), 160, 0.875, "crop"),
    ((101, 37), 64, 0.875, "pad"),
    ((101, 37), 64, 1.0, "stretch"),
    ((350, 450), 48, 0.875, "crop"),  # antialiased, as the others below
    ((480, 641), 96, 0.9, "stretch"),
    ((321, 240), 48, 0.7, "pad"),
    ((1, 300), 32, 1.0, "pad"),
]


@needs_node
@pytest.mark.parametrize(("sides", "size", "fraction", "fit"), CASES)
def test_a_page_makes_the_same_pixels_as_the_training(sides, size, fraction, fit):
    picture = np.random.default_rng(0).integers(0, 256, (*sides, 3), dtype=np.uint8)
    rules = about("ab", size, cropFraction=fraction, fit=fit)["rules"]
    pixels = run_scripts(
        f"""const picture = {{ pixels: given.pixels, width: {sides[1]}, height: {sides[0]}, step: 3 }};
        return [...Pixels.prepare(picture, given.rules)];""",
        {"pixels": picture.ravel().tolist(), "rules": rules},
    )
    expected = prepare_picture(tf.constant(picture), size, fraction, fit).numpy()
    np.testing.assert_array_equal(np.reshape(pixels, expected.shape), expected)


def classifier(*inner):
    """Return a classifier with these layers inside."""
    inputs = x = keras.Input((8, 8, 3))
    for layer in inner:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(x)), name="own")


@pytest.mark.parametrize(
    ("inner", "named"),
    [
        (layers.UpSampling2D(), "UpSampling2D"),
        (layers.Conv2D(4, 3, dilation_rate=2), "dilation_rate"),
        (layers.Conv2D(4, 3, activation="gelu"), "gelu"),
        (layers.ReLU(negative_slope=0.1), "negative_slope"),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), "depth_multiplier"),
        (layers.ZeroPadding2D(), "padding before it"),
    ],
)
def test_what_a_page_cannot_compute_is_one_sentence(inner, named):
    with pytest.raises(SepnetsError, match=named):
        flatten(classifier(inner))


def test_a_network_without_classifier_is_refused():
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(SepnetsError, match="softmax"):
        flatten(keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(SepnetsError, match="fixed size"):
        flatten(keras.Model(*2 * [keras.Input((None, None, 3))]))


@needs_node
@pytest.mark.usefixtures("_short_networks")
def test_an_exported_run_answers_like_keras_on_every_test_picture(finished, tmp_path):
    seen = []
    result = export_html(finished.run, tmp_path / "digits.html", on_progress=lambda *given: seen.append(given))
    verification = result.verification
    assert verification.num_examples == 360
    assert verification.keras_top1 == evaluate_copy(finished, tmp_path).top1
    assert verification.agreement >= 0.99
    assert verification.largest_difference < 0.01
    assert result.bytes == (tmp_path / "digits.html").stat().st_size
    assert seen[-1] == (360, 360)
    page = (tmp_path / "digits.html").read_text()
    about_page = json.loads(page.split('<script id="about" type="application/json">')[1].split("</script>")[0])
    assert about_page["classes"] == list(finished.run.class_names)
    assert about_page["card"]["top1"] == verification.top1
    assert str(finished.run.path) not in page


def evaluate_copy(finished, folder):
    return evaluate(Run.open(shutil.copytree(finished.run.path, folder / "run")))


def test_without_node_the_page_says_that_it_is_not_verified(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "node_version", lambda: None)
    result = export_html(finished.run, tmp_path / "digits.html")
    assert result.verification is None
    assert "not verified here: node is missing" in (tmp_path / "digits.html").read_text()


@needs_node
def test_a_page_that_loses_accuracy_is_left_aside(finished, tmp_path, monkeypatch):
    labels = np.arange(360) % 10
    monkeypatch.setattr(export, "classify_split", lambda *_: (np.eye(10)[labels], labels))
    monkeypatch.setattr(export, "_classify", lambda *_: (np.eye(10)[np.zeros(360, int)], np.ones(360)))
    with pytest.raises(FailedRunError, match=r"90\.00 points less.*digits\.html\.rejected"):
        export_html(finished.run, tmp_path / "digits.html")
    assert [file.name for file in tmp_path.iterdir()] == ["digits.html.rejected"]


def test_mistakes_are_one_sentence_before_any_work(finished, tmp_path):
    (tmp_path / "taken.html").touch()
    run = str(finished.run.path)
    for arguments, words in (
        ((run, "--format", "html", "--output", str(tmp_path / "taken.html")), "exists already"),
        ((run, "--format", "html", "--output", str(tmp_path / "no" / "a.html")), "cannot be written"),
        ((str(tmp_path), "--format", "html"), "not a run folder"),
        ((run, "--format", "pdf"), "is not"),
    ):
        answer = CliRunner().invoke(main, ["export", *arguments])
        assert answer.exit_code == 2
        assert words in answer.stderr


def test_names_cannot_reorder_the_letters_around_them(finished, monkeypatch):
    names = ("\u202egnp.exe", *finished.run.class_names[1:])
    monkeypatch.setattr(Run, "class_names", names)
    assert describe_run(finished.run)["classes"] == ["\\u202egnp.exe", *names[1:]]
    assert "\u202e" not in describe_run(finished.run)["summary"]


def test_stretched_sixteen_bit_samples_are_refused(finished, tmp_path, monkeypatch):
    data = finished.run.config.data.model_copy(
        update={"sixteen_bit": "stretch", "sixteen_bit_black": 0.0, "sixteen_bit_white": 4095.0}
    )
    config = finished.run.config.model_copy(update={"data": data})
    monkeypatch.setattr(Run, "config", config)
    with pytest.raises(SepnetsError, match="16-bit"):
        export_html(finished.run, tmp_path / "x.html")
