import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sepnets.data.pictures.colours import image_to_rgb, tensor_to_rgb


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
