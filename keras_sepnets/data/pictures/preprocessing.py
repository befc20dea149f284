"""From a picture's pixels to what a network sees: RGB, the central square, `image_size`."""

import math
import os

import numpy as np
import tensorflow as tf

from keras_sepnets.data.pictures.decoding import read_picture

SMALL_PICTURE = 64  # px; up to here a set's pictures are seen whole and varied by pad and crop


def to_rgb(picture: tf.Tensor) -> tf.Tensor:
    """Return a decoded record as RGB; picture files are so already.

    Args:
        picture: uint8 or uint16 (height, width, channels) with 1 (grey), 3 or 4 (RGBA) channels.

    Returns:
        uint8 tensor (height, width, 3): of 16 bits the high byte, transparency over white.
    """
    if picture.dtype == tf.uint16:
        picture = tf.cast(tf.bitwise.right_shift(picture, tf.constant(8, tf.uint16)), tf.uint8)
    channels = picture.shape[-1]
    if channels == 1:
        return tf.repeat(picture, 3, axis=-1)
    if channels == 4:
        alpha = tf.cast(picture[..., 3:], tf.float32) / 255
        return to_pixels(tf.cast(picture[..., :3], tf.float32) * alpha + 255 * (1 - alpha))
    return picture


def prepare_picture(picture: tf.Tensor, image_size: int, crop_fraction: float | None = None) -> tf.Tensor:
    """Return the central square of a picture, resized: what evaluation and prediction see.

    Args:
        picture: uint8 (height, width, 3).
        image_size: Height and width of the result in pixels.
        crop_fraction: Side of the square as a share of the picture's shorter side; None for 1.

    Returns:
        uint8 tensor (image_size, image_size, 3).
    """
    shape = tf.shape(picture)
    side = tf.round(tf.cast(tf.reduce_min(shape[:2]), tf.float32) * (crop_fraction or 1.0))
    side = tf.maximum(1, tf.cast(side, tf.int32))
    size = tf.stack([side, side, shape[2]])
    return to_pixels(crop_and_resize(picture, (shape - size) // 2, size, image_size))


def load_picture(path: os.PathLike | str, image_size: int, crop_fraction: float | None = None) -> np.ndarray:
    """Return a picture file as evaluation sees it: uint8 (image_size, image_size, 3).

    Raises:
        UnreadablePictureError: See `read_picture`.
    """
    with tf.device("CPU"):  # where the pipelines of training and evaluation run: the very same pixels
        picture = read_picture(path, needed_side(image_size, crop_fraction))
        return prepare_picture(picture, image_size, crop_fraction).numpy()


def crop_and_resize(picture: tf.Tensor, corner: tf.Tensor, size: tf.Tensor, image_size: int) -> tf.Tensor:
    """Return a rectangle of a picture at image_size x image_size, bilinear: float32, 0..255.

    Corner and size are int32 (down, across, channels).

    It is antialiased where a side shrinks to less than half: that takes five times as long, and picture files are
    decoded at a size that spares it.
    """
    picture = tf.slice(picture, corner, size)
    square = (image_size, image_size)
    resized = tf.cond(
        tf.reduce_max(size) > 2 * image_size,
        lambda: tf.image.resize(picture, square, antialias=True),
        lambda: tf.image.resize(picture, square),
    )
    return tf.ensure_shape(resized, (*square, 3))


def to_pixels(values: tf.Tensor) -> tf.Tensor:
    """Return float values, 0..255, as uint8."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def needed_side(image_size: int, crop_fraction: float | None) -> int:
    """Return how many px the shorter side of a picture needs, so that the central square is not enlarged."""
    return math.ceil(image_size / (crop_fraction or 1.0))
