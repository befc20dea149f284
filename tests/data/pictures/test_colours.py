import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sepnets.data.pictures.colours import image_to_rgb, picture_to_rgb, tensor_to_rgb
from keras_sepnets.data.pictures.rules import PixelRules


def picture(size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_records_of_grey_16_bit_and_rgba_become_rgb():
    grey = picture()[..., :1]
    assert np.array_equal(tensor_to_rgb(tf.constant(grey)), np.repeat(grey, 3, axis=-1))
    deep = grey.astype(np.uint16) * 256 + 255
    assert np.array_equal(tensor_to_rgb(tf.constant(deep)), np.repeat(grey, 3, axis=-1))
    clear = np.concatenate([picture(), np.zeros((8, 8, 1), np.uint8)], axis=-1)
    assert (tensor_to_rgb(tf.constant(clear)).numpy() == 255).all()
    half = np.concatenate([picture(), np.full((8, 8, 1), 128, np.uint8)], axis=-1)
    np.testing.assert_allclose(tensor_to_rgb(tf.constant(half)), 255 + (picture() - 255.0) * 128 / 255, atol=0.51)


def every_grey_and_alpha():
    """RGBA pixels with every pair of a value and an opacity."""
    grey, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    return np.stack([grey, grey[::-1], 255 - grey, alpha], axis=-1)


@pytest.mark.parametrize(
    "pixels",
    [
        every_grey_and_alpha(),
        picture(),
        picture()[..., :1],
        np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1),
    ],
    ids=["transparent", "RGB", "grey", "16-bit"],
)
def test_records_and_files_follow_the_same_rule_to_the_bit(pixels):
    file = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    assert np.array_equal(tensor_to_rgb(tf.constant(pixels)), np.asarray(image_to_rgb(file)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_stretched_range_becomes_black_to_white_in_records_and_files(channels):
    values = np.random.default_rng(0).integers(0, 5000, (40, 50, channels)).astype(np.uint16)
    rules = PixelRules(1, black=1000.0, white=4000.0)
    colours = (np.clip(values[..., :3], 1000, 4000) - 1000.0) * 255 / 3000
    if channels == 4:
        alpha = (values[..., 3:] >> 8) / 255
        colours = np.rint(colours) * alpha + 255 * (1 - alpha)
    read = picture_to_rgb(values, 1, 1, rules)
    np.testing.assert_allclose(read, np.broadcast_to(colours, read.shape), atol=0.51)
    assert np.array_equal(tensor_to_rgb(tf.constant(values), rules), read)


@pytest.mark.parametrize("values", [np.float32, np.int32])
def test_pictures_of_32_bits_are_stretched_too(values):
    pixels = np.linspace(-1000, 3000, 600).reshape(20, 30).astype(values)
    read = picture_to_rgb(Image.fromarray(pixels), 1, 1, PixelRules(1, black=-1000.0, white=3000.0))
    np.testing.assert_allclose(read[..., 0], (pixels + 1000.0) * 255 / 4000, atol=0.51)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("reduction", [1, 4])
def test_a_picture_is_the_same_converted_in_bands_or_at_once(mode, reduction, monkeypatch):
    whole = Image.fromarray(picture(67)).convert(mode).resize((67, 45))
    at_once = np.asarray(image_to_rgb(whole, reduction))
    monkeypatch.setattr("keras_sepnets.data.pictures.colours.BAND", 300)
    assert np.array_equal(picture_to_rgb(whole, reduction, 1, PixelRules(1)), at_once)
