"""Nothing here needs TensorFlow."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from deploy_page import about, needs_node, run_scripts, tiny_operations, tiny_page
from PIL import Image

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.deploy.html.node import classify_in_node
from keras_sepnets.deploy.html.operations import Operation, merge
from keras_sepnets.deploy.html.packing import pack
from keras_sepnets.deploy.html.page import render_page
from keras_sepnets.deploy.verification import check_drop, compare, count_sure

HOSTILE = ("</script><script>alert(1)</script>", "<!--<script>", '"><img src=http://example.com onerror=alert(1)>')


class Page(HTMLParser):
    """The elements of a page, and the texts of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in ("script", "style"):
            tag, attributes = self.elements[-1]
            self.texts.setdefault(attributes.get("id", tag), data)


def policy_of(page):
    (content,) = (
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    return dict(part.strip().split(" ", 1) for part in content.split(";"))


def test_a_page_refers_to_nothing_outside_itself():
    page = Page(tiny_page())
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "formaction", "data", "poster"} & attributes.keys(), tag
        assert attributes.get("href", "data:,") == "data:,"
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert "@import" not in page.texts["style"]
    assert "url(" not in page.texts["style"]


def test_the_policy_forbids_every_request_and_every_other_script():
    page = Page(tiny_page())
    policy = policy_of(page)
    assert policy["default-src"] == "'none'"
    assert not any(
        re.search(r"https?:|\*|unsafe-(inline|eval)", allowed.replace("wasm-unsafe-eval", ""))
        for allowed in policy.values()
    )
    for name, kind in (("interpreter", "script-src"), ("page", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(page.texts[name].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[kind]


def test_hostile_names_stay_text():
    hostile = about(HOSTILE, 4) | {"title": HOSTILE[0], "summary": HOSTILE[2]}
    page = Page(render_page(pack(*tiny_operations()), hostile))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(tiny_page()).elements]


@needs_node
@pytest.mark.parametrize(("weights", "close"), [("float16", 1e-4), ("int8", 1e-2)])
@pytest.mark.parametrize("vectors", [True, False], ids=["WebAssembly", "JavaScript"])
def test_a_page_computes_a_network(tmp_path, weights, close, vectors):
    text = tiny_page(weights=weights)
    (tmp_path / "page.html").write_text(
        text if vectors else text.replace("WebAssembly.Memory", "WebAssembly.None")
    )
    picture = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    (conv, _, dense, _), _ = tiny_operations()
    padded = np.pad(picture.astype(float), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # height, width, channel, y, x
    features = np.einsum("hwcyx,yxco->hwo", windows, conv.kernel) + conv.bias
    powers = np.exp(features.mean(axis=(0, 1)) @ dense.kernel + dense.bias)
    answers, milliseconds = classify_in_node(tmp_path / "page.html", [picture, picture], 3)
    np.testing.assert_allclose(answers, np.stack(2 * [powers / powers.sum()]), atol=close)
    assert (milliseconds > 0).all()


@needs_node
def test_a_page_that_fails_in_node_is_a_failed_run(tmp_path):
    (tmp_path / "page.html").write_text(tiny_page().replace('"kind": "mean"', '"kind": "median"'))
    with pytest.raises(FailedRunError, match="fails in node"):
        classify_in_node(tmp_path / "page.html", [np.zeros((4, 4, 3), np.uint8)], 3)


@needs_node
def test_products_of_any_size_are_the_same_with_vectors_and_without():
    random = np.random.default_rng(0)
    for count, inputs, outputs in ((1, 1, 1), (5, 3, 9), (4, 16, 8), (7, 130, 13), (3000, 7, 20)):
        rows, kernel, bias = (
            random.normal(size=shape) for shape in ((count, inputs), (inputs, outputs), (outputs,))
        )
        given = {"rows": rows.ravel().tolist(), "kernel": kernel.ravel().tolist(), "bias": bias.tolist()}
        products = run_scripts(
            f"""return [Vectors.inWebAssembly(), Vectors.inJavaScript()].map(({{ product }}) => {{
              const result = new Float32Array({count * outputs + 2}).fill(7);
              product(Float32Array.from(given.kernel), Float32Array.from(given.bias))(
                Float32Array.from(given.rows), {count}, result, 1);
              return [...result];
            }});""",
            given,
        )
        for product in products:
            assert product[0] == product[-1] == 7
            np.testing.assert_allclose(
                np.reshape(product[1:-1], (count, outputs)), rows @ kernel + bias, atol=1e-4
            )


@needs_node
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_large_jpeg_is_reduced_as_its_decoder_does_it(factor):
    waves = np.add.outer(np.arange(64) ** 2, 5 * np.arange(96))[..., None] * [1, 2, 3]
    file = io.BytesIO()
    Image.fromarray((127 + 90 * np.sin(waves / 90)).astype(np.uint8)).save(file, "JPEG", quality=95, subsampling=0)
    with Image.open(io.BytesIO(file.getvalue())) as reduced:
        reduced.draft(None, (96 // factor, 64 // factor))
        expected = np.asarray(reduced)
    assert expected.shape == (64 // factor, 96 // factor, 3)
    assert np.abs(reduce(Image.open(file), factor) - expected).max() <= 2


@needs_node
@pytest.mark.parametrize("size", [(96, 64), (93, 61)])
def test_other_large_pictures_are_reduced_to_the_same_means(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    np.testing.assert_array_equal(reduce(picture, 4), np.asarray(picture.reduce(4)))


def reduce(picture, factor):
    pixels = np.asarray(picture.convert("RGBA"))
    height, width = pixels.shape[:2]
    answer = run_scripts(
        f"""const {{ pixels, width, height }} = Pixels.reduce(given, {width}, {height}, {factor});
        return [[height, width, 3], [...pixels]];""",
        pixels.ravel().tolist(),
    )
    return np.reshape(answer[1], answer[0]).astype(int)


def test_batch_norm_and_activations_merge_into_convolutions_and_padding_too():
    picture = Operation("input", [], (5, 5, 2))
    padded = Operation("pad", [picture], (6, 6, 2), {"padding": (0, 0, 1, 1)})
    settings = {"window": (3, 3), "strides": (2, 2), "padding": (0, 0, 0, 0)}
    conv = Operation("depthwise", [padded], (2, 2, 2), settings, np.ones((3, 3, 2)), np.array([1.0, 2.0]))
    norm = Operation("affine", [conv], (2, 2, 2), {}, np.array([2.0, 3.0]), np.array([10.0, 20.0]))
    relu = Operation("activation", [norm], (2, 2, 2), activation="relu")
    both = Operation("add", [relu, Operation("activation", [relu], (2, 2, 2), activation="elu")], (2, 2, 2))
    first, second, last = merge(both)
    assert (first.kind, first.activation, first.settings["padding"]) == ("depthwise", "relu", (0, 0, 1, 1))
    assert first.inputs == [picture]
    np.testing.assert_array_equal(first.kernel[0, 0], [2, 3])
    np.testing.assert_array_equal(first.bias, [12, 26])
    assert (second.kind, second.inputs) == ("activation", [first])  # two operations read the ReLU: it stays
    assert last.inputs == [first, second]


def test_the_card_counts_sure_answers_and_those_that_are_right():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    counted = {
        threshold: (answered, right)
        for threshold, answered, right in count_sure(probabilities, np.array([0, 1, 1]))
    }
    assert counted[0.0] == counted[0.5] == (3, 2)
    assert counted[0.65] == (2, 2)
    assert counted[0.95] == (0, 0)


def test_a_comparison_counts_agreement_apart_from_accuracy():
    keras = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    exported = np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    times = np.array([1.0, 2.0, 3.0, 10.0])
    result = compare(exported, keras, np.array([0, 0, 1, 1]), split="test", runtime="node", milliseconds=times)
    assert (result.top1, result.keras_top1, result.agreement) == (0.5, 0.75, 0.75)
    assert (result.largest_difference, result.mean_difference) == pytest.approx((0.2, 0.075))
    assert result.milliseconds == 2.5
    check_drop(result, 0.25, rejected="x.rejected", advice="try float16")
    with pytest.raises(
        FailedRunError, match=r"top-1 50\.00% on 4 test pictures.*25\.00 points.*try float16.*x\.rejected"
    ):
        check_drop(result, 0.2, rejected="x.rejected", advice="try float16")
