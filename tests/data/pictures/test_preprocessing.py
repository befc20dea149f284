import numpy as np
import pytest
import tensorflow as tf

from keras_sepnets.data.pictures.preprocessing import needed_side, prepare_picture


def picture(size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_prepare_keeps_a_square_rgb_picture_of_the_right_size():
    assert np.array_equal(prepare_picture(tf.constant(picture()), 8), picture())


def test_prepare_takes_the_central_square():
    pixels = np.zeros((4, 10, 3), np.uint8)
    pixels[:, 3:7] = 200
    assert (prepare_picture(tf.constant(pixels), 4).numpy() == 200).all()


def test_prepare_takes_a_share_of_the_shorter_side():
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[2:30, 6:34] = 200  # .875 of 32 is 28
    assert (prepare_picture(tf.constant(pixels), 28, 0.875).numpy() == 200).all()
    assert (prepare_picture(tf.constant(pixels), 28, 1.0).numpy() != 200).any()


def test_prepare_averages_when_it_shrinks_much():
    checkerboard = np.indices((16, 16)).sum(axis=0)[..., None] % 2 * 255
    small = prepare_picture(tf.constant(np.repeat(checkerboard, 3, -1), tf.uint8), 4).numpy()
    assert np.abs(small.astype(int) - 128).max() < 10


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (7, 3)])
def test_prepare_takes_any_size(height, width):
    pixels = tf.constant(np.full((height, width, 3), 9, np.uint8))
    assert (prepare_picture(pixels, 4, 0.875).numpy() == 9).all()


def test_needed_side_spares_the_central_square_from_growing():
    assert needed_side(224, 0.875) == 256
    assert needed_side(224, None) == 224
