import numpy as np
import pytest
from hostile import png
from PIL import Image

from keras_sepnets import SepnetsError
from keras_sepnets.data.batches.resolution import choose_sixteen_bit, resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig


class Deep:
    """A source whose 16-bit pictures have these values."""

    name = "deep"

    def __init__(self, *values):
        self.values = None if not values else np.array(values, np.float32)

    def deep_values(self, _rules):
        return self.values


def choose(source, **settings):
    return choose_sixteen_bit(DataConfig(**settings), source)


@pytest.mark.parametrize("values", [(0, 255), (60, 200), (300, 4095), (30_000, 46_000), (-1000, 3000), (0.0, 1.0)])
def test_a_small_or_strange_range_is_stretched(values):
    chosen, reason = choose(Deep(*values))
    assert chosen["sixteen_bit"] == "stretch"
    assert chosen["sixteen_bit_black"] == pytest.approx(values[0], abs=0.002 * (values[1] - values[0]))
    assert chosen["sixteen_bit_white"] == pytest.approx(values[1], abs=0.002 * (values[1] - values[0]))
    assert reason.startswith("the pictures use ")


@pytest.mark.parametrize("values", [(0, 65_535), (20_000, 40_000)])
def test_a_large_range_keeps_its_high_byte(values):
    chosen, reason = choose(Deep(*values))
    assert chosen == {"sixteen_bit": "high_byte"}
    assert reason


def test_a_few_hot_pixels_do_not_decide():
    values = [*range(1000, 3000), 65_535]
    assert choose(Deep(*values))[0]["sixteen_bit_white"] == pytest.approx(3000, abs=10)


def test_what_is_set_stays():
    assert choose(Deep(0, 100), sixteen_bit="high_byte") == ({}, "")
    assert choose(Deep(0, 65_535), sixteen_bit="stretch")[0]["sixteen_bit"] == "stretch"
    chosen, _ = choose(Deep(10, 100), sixteen_bit_white=4095.0)
    assert chosen == {
        "sixteen_bit": "stretch", "sixteen_bit_black": pytest.approx(10, abs=1), "sixteen_bit_white": 4095.0
    }  # fmt: skip
    given, reason = choose(Deep(), sixteen_bit_black=0.0, sixteen_bit_white=255.0)
    assert (given["sixteen_bit"], reason) == ("stretch", "")


def test_a_set_without_16_bit_pictures_needs_no_range():
    assert choose(Deep()) == ({"sixteen_bit": "high_byte"}, "")


@pytest.mark.parametrize(
    "settings",
    [
        {"sixteen_bit": "stretch"},
        {"sixteen_bit_black": 5.0},
        {"sixteen_bit_black": 5.0, "sixteen_bit_white": 5.0},
        {"sixteen_bit": "high_byte", "sixteen_bit_white": 5.0},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(SepnetsError, match="sixteen_bit.*Received: data.sixteen_bit="):
        choose(Deep(), **settings)


def test_the_rule_is_measured_once_on_the_files_and_holds_for_all_of_them(tmp_path):
    """Two classes, one of which uses the upper half of the values of 12 bits; grey and RGB files."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("low", "high")):
        (tmp_path / name).mkdir()
        for k in range(12):
            values = random.integers(2048 * number, 2048 * (number + 1), (20, 30, 3)).astype(np.uint16)
            rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
            (tmp_path / name / f"{k}.png").write_bytes(png(30, 20, depth=16, colour=2, data=rows))
            Image.fromarray(values[..., 0]).save(tmp_path / name / f"{k}-grey.png")
        Image.fromarray(values[..., 0].astype(np.uint8)).save(tmp_path / name / "8-bit.png")
    source = open_source(f"folder:{tmp_path}")
    data = resolve_data(DataConfig(dataset=source.name, image_size=20, fit="stretch"), source, default_size=20)
    assert data.sixteen_bit == "stretch"
    assert data.sixteen_bit_black == pytest.approx(4, abs=8)
    assert data.sixteen_bit_white == pytest.approx(4091, abs=8)
    assert data.crop_fraction == 1.0
    pixels = {"high": [], "low": []}
    for picture, label in Splits(source, data).examples("train").in_order().as_numpy_iterator():
        pixels[source.class_names[label]].append(picture.mean())
    assert np.mean(pixels["high"]) == pytest.approx(191, abs=8)
    assert np.mean(pixels["low"]) == pytest.approx(64, abs=8)
    assert resolve_data(data, source, default_size=20) == data


def test_pictures_above_the_usual_limit_are_measured_where_a_higher_one_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_sepnets.data.pictures.headers.MAXIMUM_PIXELS", 100)
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            values = np.random.default_rng(number).integers(300, 4096, (20, 20)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / name / f"{number}.png")
    source = open_source(f"folder:{tmp_path}")
    higher = resolve_data(DataConfig(max_megapixels=1.0), source, default_size=20)
    assert higher.sixteen_bit == "stretch"
    assert higher.sixteen_bit_black == pytest.approx(300, abs=50)
    assert resolve_data(DataConfig(), source, default_size=20).sixteen_bit == "high_byte"  # none may be read
