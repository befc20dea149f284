import numpy as np
import pytest
import tensorflow as tf

from keras_sepnets.data.preprocessing import (
    AUGMENTATIONS,
    DRAWS,
    Augmentation,
    augment_pictures,
    draw_augmentation,
    prepare_picture,
)

NO_CHANGE = np.zeros((1, DRAWS), np.float32)


def draws(**values):
    names = ("angle", "zoom", "right", "down", "mirror", "brightness", "contrast")
    return np.array([[values.get(name, 0.0) for name in names]], np.float32)


def picture(size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def test_prepare_keeps_a_square_rgb_picture_of_the_right_size():
    pixels = picture()[0]
    assert np.array_equal(prepare_picture(tf.constant(pixels), 8), pixels)


def test_prepare_takes_the_central_square():
    pixels = np.zeros((4, 10, 3), np.uint8)
    pixels[:, 3:7] = 200
    assert (prepare_picture(tf.constant(pixels), 4).numpy() == 200).all()


def test_prepare_turns_grey_16_bit_and_rgba_into_rgb():
    grey = picture()[0][..., :1]
    assert np.array_equal(prepare_picture(tf.constant(grey), 8), np.repeat(grey, 3, axis=-1))
    deep = grey.astype(np.uint16) * 256 + 255
    assert np.array_equal(prepare_picture(tf.constant(deep), 8), np.repeat(grey, 3, axis=-1))
    clear = np.concatenate([picture()[0], np.zeros((8, 8, 1), np.uint8)], axis=-1)
    assert (prepare_picture(tf.constant(clear), 8).numpy() == 255).all()


def test_prepare_averages_when_it_shrinks():
    checkerboard = np.indices((16, 16)).sum(axis=0)[..., None] % 2 * 255
    small = prepare_picture(tf.constant(np.repeat(checkerboard, 3, -1), tf.uint8), 4).numpy()
    assert np.abs(small.astype(int) - 128).max() < 10


def test_none_changes_nothing():
    assert np.array_equal(augment_pictures(picture(), draws(angle=1), AUGMENTATIONS["none"]), picture())


@pytest.mark.parametrize("name", ["light", "standard"])
def test_draws_of_zero_change_nothing(name):
    result = augment_pictures(picture(), NO_CHANGE, AUGMENTATIONS[name])
    np.testing.assert_allclose(result, picture(), atol=1e-3)


def test_flip_mirrors_half_of_the_draws():
    flip = Augmentation(flip=True)
    np.testing.assert_allclose(
        augment_pictures(picture(), draws(mirror=-0.5), flip), picture()[:, :, ::-1], atol=1e-3
    )
    np.testing.assert_allclose(augment_pictures(picture(), draws(mirror=0.5), flip), picture(), atol=1e-3)


def test_shift_moves_by_its_share_of_the_size():
    shifted = augment_pictures(picture(), draws(right=1.0), Augmentation(shift=0.25)).numpy()
    np.testing.assert_allclose(shifted[:, :, :-2], picture()[:, :, 2:], atol=1e-3)
    shifted = augment_pictures(picture(), draws(down=-1.0), Augmentation(shift=0.25)).numpy()
    np.testing.assert_allclose(shifted[:, 2:], picture()[:, :-2], atol=1e-3)


def test_rotation_turns_about_the_centre():
    turned = augment_pictures(picture(), draws(angle=1.0), Augmentation(rotation=90)).numpy()
    np.testing.assert_allclose(turned[0], np.rot90(picture()[0]), atol=0.05)


def test_zoom_scales_about_the_centre():
    ramp = np.tile(np.arange(9, dtype=np.uint8)[None, None, :, None] * 10, (1, 9, 1, 3))
    zoomed = augment_pictures(ramp, draws(zoom=-1.0), Augmentation(zoom=0.5)).numpy()
    np.testing.assert_allclose(zoomed[0, 4, :, 0], 40 + (np.arange(9) - 4) * 5, atol=1e-3)


def test_brightness_and_contrast():
    flat = np.full((1, 4, 4, 3), 100, np.uint8)
    flat[0, 0] = 140
    bright = augment_pictures(flat, draws(brightness=1.0), Augmentation(brightness=0.2)).numpy()
    np.testing.assert_allclose(bright, flat + 51.0, atol=1e-3)
    contrast = augment_pictures(flat, draws(contrast=-1.0), Augmentation(contrast=0.5)).numpy()
    np.testing.assert_allclose(contrast, 110 + (flat - 110.0) / 2, atol=1e-3)


def test_draws_are_a_function_of_the_seed():
    seeds = [[0, 1], [0, 2], [1, 1]]
    values = [tuple(draw_augmentation(tf.constant(seed)).numpy()) for seed in seeds]
    assert len(set(values)) == 3
    assert values[0] == tuple(draw_augmentation(tf.constant(seeds[0])).numpy())
    assert all(-1 <= value < 1 for row in values for value in row)
