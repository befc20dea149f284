import numpy as np
import pytest
import tensorflow as tf

from keras_sepnets.data.batches.augmentation import (
    DRAWS,
    augment_picture,
    choose_amounts,
    draw_augmentation,
    mix_pictures,
)
from keras_sepnets.settings.schema import AUGMENTATIONS, AugmentationConfig

NAMES = ("angle", "zoom", "right", "down", "mirror", "brightness", "contrast", "saturation")
CROP = ("area", "aspect", "crop_down", "crop_right")
RANDAUGMENT = 14  # operations


def draws(operation=None, strength=1.0, **values):
    row = np.zeros(DRAWS, np.float32)
    for name, value in values.items():
        row[(*NAMES, *CROP).index(name)] = value
    if operation is not None:
        row[12] = 2 * (operation + 0.5) / RANDAUGMENT - 1
        row[13] = strength
    return tf.constant(row)


def picture(size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def vary(pixels, row, policy, size):
    amounts = {name: values[0] for name, values in choose_amounts(row[None], policy, size).items()}
    return augment_picture(tf.constant(pixels), amounts, policy, size).numpy()


def augment(pixels, row, size=None, **amounts):
    return vary(pixels, row, AugmentationConfig(**amounts), size or len(pixels))


def test_none_changes_nothing():
    assert np.array_equal(augment(picture(), draws(angle=1, mirror=-1)), picture())


@pytest.mark.parametrize("name", ["light", "standard"])
def test_draws_of_zero_change_nothing_but_the_crop(name):
    policy = AUGMENTATIONS[name].model_copy(update={"smallest_crop": 1.0})
    np.testing.assert_allclose(vary(picture(), draws(), policy, 8), picture(), atol=1e-3)


@pytest.mark.parametrize("rotation", [0.0, 1e-6])  # alone, and as part of the transform
def test_flip_mirrors_half_of_the_draws(rotation):
    flipped = augment(picture(), draws(mirror=-0.5), flip=True, rotation=rotation)
    np.testing.assert_allclose(flipped, picture()[:, ::-1], atol=1e-3)
    kept = augment(picture(), draws(mirror=0.5), flip=True, rotation=rotation)
    np.testing.assert_allclose(kept, picture(), atol=1e-3)


def test_shift_moves_by_its_share_of_the_size():
    shifted = augment(picture(), draws(right=1.0), shift=0.25)
    np.testing.assert_allclose(shifted[:, :-2], picture()[:, 2:], atol=1e-3)
    shifted = augment(picture(), draws(down=-1.0), shift=0.25)
    np.testing.assert_allclose(shifted[2:], picture()[:-2], atol=1e-3)


def test_rotation_turns_about_the_centre():
    np.testing.assert_allclose(augment(picture(), draws(angle=1.0), rotation=90.0), np.rot90(picture()), atol=0.05)


def test_zoom_scales_about_the_centre():
    ramp = np.tile(np.arange(9, dtype=np.uint8)[None, :, None] * 10, (9, 1, 3))
    zoomed = augment(ramp, draws(zoom=-1.0), zoom=0.5)
    np.testing.assert_allclose(zoomed[4, :, 0], 40 + (np.arange(9) - 4) * 5, atol=1e-3)


def test_brightness_contrast_and_saturation():
    flat = np.full((4, 4, 3), 100, np.uint8)
    flat[0] = 140
    np.testing.assert_allclose(augment(flat, draws(brightness=1.0), brightness=0.2), flat + 51.0, atol=1e-3)
    contrast = augment(flat, draws(contrast=-1.0), contrast=0.5)
    np.testing.assert_allclose(contrast, 110 + (flat - 110.0) / 2, atol=1e-3)
    coloured = np.zeros((4, 4, 3), np.uint8)
    coloured[..., 0] = 200
    grey = augment(coloured, draws(saturation=-1.0), saturation=0.999999)
    np.testing.assert_allclose(grey, np.full((4, 4, 3), 0.299 * 200), atol=0.01)


def test_a_random_crop_is_a_rectangle_of_the_picture_of_the_drawn_area_and_aspect():
    """Pixels whose values are their coordinates show which rectangle was cropped."""
    height, width = 120, 200
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    random = np.random.default_rng(0)
    for _ in range(40):
        area, aspect, down, right = random.uniform(-1, 1, 4)
        row = draws(area=area, aspect=aspect, crop_down=down, crop_right=right)
        seen = augment(places, row, size=32, smallest_crop=0.2, crop_aspect=1.5)
        extent = (seen[-1, 0, 0] - seen[0, 0, 0]) * 32 / 31, (seen[0, -1, 1] - seen[0, 0, 1]) * 32 / 31
        wanted_area = (0.6 + 0.4 * area) * height * width
        ratio = 1.5**aspect
        wanted = min((wanted_area / ratio) ** 0.5, height), min((wanted_area * ratio) ** 0.5, width)
        np.testing.assert_allclose(extent, wanted, atol=1.5)
        top, left = (draw / 2 + 0.5 for draw in (down, right))
        corner = top * (height - wanted[0]), left * (width - wanted[1])
        assert abs(seen[0, 0, 0] + 0.5 - extent[0] / 64 - corner[0]) < 1.5
        assert abs(seen[0, 0, 1] + 0.5 - extent[1] / 64 - corner[1]) < 1.5


@pytest.mark.parametrize("operation", range(RANDAUGMENT))
def test_every_randaugment_operation_changes_the_picture_and_stays_in_range(operation):
    pixels = (picture(16) // 2 + 40).astype(np.uint8)  # 40..167 leaves room for more contrast
    changed = augment(pixels, draws(operation), randaugment=1, randaugment_magnitude=9.0)
    assert changed.shape == (16, 16, 3)
    assert changed.min() >= -1e-3
    assert changed.max() <= 255.001
    assert np.array_equal(changed, pixels) == (operation == 0)  # identity is one of them


def test_randaugment_operations_differ_from_each_other():
    pixels = (picture(16) // 2 + 40).astype(np.uint8)
    results = {
        augment(pixels, draws(number), randaugment=1, randaugment_magnitude=9.0).tobytes()
        for number in range(RANDAUGMENT)
    }
    assert len(results) == RANDAUGMENT


def test_erasing_paints_a_rectangle_of_2_to_33_percent_with_the_given_probability():
    pixels = np.zeros((32, 32, 3), np.uint8)
    rows = draw_augmentation(tf.constant([0, 1]), 200)
    policy = AugmentationConfig(erasing=0.25)
    erased = np.stack([vary(pixels, row, policy, 32) for row in rows])
    shares = (erased == 128).mean(axis=(1, 2, 3))
    assert set(np.unique(erased)) == {0.0, 128.0}
    assert 30 <= np.count_nonzero(shares) <= 70  # of 200, binomial: 50 +- 3.3 standard deviations
    assert shares[shares > 0].min() > 0.01
    assert shares.max() < 0.37
    masks = erased[shares > 0][..., 0] == 128
    for mask in masks:  # a rectangle is the outer product of its rows and columns
        assert np.array_equal(mask, np.outer(mask.any(axis=1), mask.any(axis=0)))


def test_cutmix_pastes_a_rectangle_whose_area_is_the_label():
    pictures = tf.constant(
        np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones((1, 32, 32, 3), np.float32)
    )
    labels = tf.one_hot(range(8), 8)
    mixed, mixed_labels = mix_pictures(pictures, labels, tf.constant([3, 4]), AugmentationConfig(cutmix=1.0))
    for number in range(8):
        kept = np.mean(mixed[number] == number)
        np.testing.assert_allclose(mixed_labels[number, number], kept, atol=1e-6)
    assert not np.array_equal(mixed, pictures)


def test_mixup_alpha_decides_how_evenly_pictures_mix():
    labels = tf.one_hot(range(64), 64)
    pictures = tf.zeros((64, 2, 2, 3))

    def evenness(alpha):
        _, mixed = mix_pictures(pictures, labels, tf.constant([3, 4]), AugmentationConfig(mixup=alpha))
        return float(np.mean(1 - mixed.numpy().max(axis=1)))

    assert evenness(0.1) < 0.15 < evenness(10.0)


def test_with_both_each_batch_gets_one():
    policy = AugmentationConfig(mixup=1.0, cutmix=1.0)
    pictures = tf.constant(np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 8, 3), np.float32))
    uniform = 0
    for seed in range(30):
        mixed, _ = mix_pictures(pictures, tf.one_hot(range(8), 8), tf.constant([0, seed]), policy)
        uniform += all(np.ptp(one) < 1e-5 for one in mixed.numpy())  # MixUp leaves flat pictures flat
    assert 5 <= uniform <= 25


def test_draws_are_a_function_of_the_seed():
    values = [draw_augmentation(tf.constant(seed), 4).numpy() for seed in ([0, 1], [0, 2], [1, 1], [0, 1])]
    assert np.array_equal(values[0], values[3])
    assert len({value.tobytes() for value in values}) == 3
    assert all(((value >= -1) & (value < 1)).all() for value in values)
    assert len(np.unique(values[0])) == 4 * DRAWS
