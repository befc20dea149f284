import numpy as np
import pytest
import tensorflow as tf

from keras_sepnets.data.batches.augmentation import augment_picture, choose_amounts, draw_augmentation
from keras_sepnets.data.pictures.preprocessing import prepare_picture
from keras_sepnets.data.pictures.rules import needed_side
from keras_sepnets.settings.schema import AugmentationConfig


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


def test_stretching_shows_the_whole_picture_as_a_square():
    halves = np.zeros((10, 60, 3), np.uint8)
    halves[:, 30:] = 200
    seen = prepare_picture(tf.constant(halves), 20, fit="stretch").numpy()
    assert (seen[:, :9] == 0).all()
    assert (seen[:, 11:] == 200).all()


@pytest.mark.parametrize(("height", "width"), [(10, 60), (60, 10), (7, 7), (1, 500), (300, 2)])
def test_padding_keeps_the_whole_picture_and_its_ratio_with_grey_beside_it(height, width):
    seen = prepare_picture(tf.constant(np.full((height, width, 3), 9, np.uint8)), 24, fit="pad").numpy()
    longer = max(height, width)
    rows, columns = (max(1, round(24 * side / longer)) for side in (height, width))
    top, left = (24 - rows) // 2, (24 - columns) // 2
    expected = np.full((24, 24, 3), 128, np.uint8)
    expected[top : top + rows, left : left + columns] = 9
    assert np.array_equal(seen, expected)


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_share_of_the_whole_picture_is_taken_from_its_centre(fit):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[4:28, 8:56] = 200  # .75 of both sides
    seen = prepare_picture(tf.constant(pixels), 48, 0.75, fit).numpy()
    assert set(np.unique(seen)) == ({200, 128} if fit == "pad" else {200})


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_random_crops_of_a_wide_picture_reach_its_ends_only_where_it_is_shown_whole(fit):
    """With "crop" a rectangle of about a square, otherwise one of the picture's own ratio."""
    policy = AugmentationConfig(smallest_crop=0.99, crop_aspect=1.0)
    pixels = np.zeros((40, 400, 3), np.uint8)
    pixels[:, :20] = pixels[:, -20:] = 250
    amounts = choose_amounts(draw_augmentation(tf.constant([1, 2]), 1), policy, 40)
    seen = augment_picture(
        tf.constant(pixels), {name: row[0] for name, row in amounts.items()}, policy, 40, fit=fit
    ).numpy()
    both_ends = seen[20, 0, 0] > 100 and seen[20, -1, 0] > 100
    assert both_ends == (fit != "crop")
    assert (seen[0] == 128).all() == (fit == "pad")
