"""From the pixels of a picture to the input of a network: the central square, resized."""

import math

import tensorflow as tf

from keras_sepnets.data.pictures.colours import to_pixels

SMALL_PICTURE = 64  # px; pictures up to this size are evaluated uncropped, and augmented by padding and cropping


def prepare_picture(picture: tf.Tensor, image_size: int, crop_fraction: float | None = None) -> tf.Tensor:
    """Return the resized central square of a picture, as evaluation and prediction see it.

    Args:
        picture: uint8 (height, width, 3).
        image_size: Height and width of the result in pixels.
        crop_fraction: Side of the square as a fraction of the picture's shorter side; None for 1.

    Returns:
        uint8 tensor (image_size, image_size, 3).
    """
    shape = tf.shape(picture)
    side = tf.round(tf.cast(tf.reduce_min(shape[:2]), tf.float32) * (crop_fraction or 1.0))
    side = tf.maximum(1, tf.cast(side, tf.int32))
    size = tf.stack([side, side, shape[2]])
    return to_pixels(crop_and_resize(picture, (shape - size) // 2, size, image_size))


def crop_and_resize(picture: tf.Tensor, corner: tf.Tensor, size: tf.Tensor, image_size: int) -> tf.Tensor:
    """Return a rectangle of a picture, resized with bilinear interpolation.

    A side that shrinks to less than half is antialiased. That takes five times as long; picture files are decoded
    at a size that avoids it.

    Args:
        picture: uint8 (height, width, 3).
        corner: Top left corner of the rectangle, int32: row, column, channel.
        size: Its size, int32: height, width, channels.
        image_size: Height and width of the result in pixels.

    Returns:
        float32 tensor (image_size, image_size, 3), values 0..255.
    """
    picture = tf.slice(picture, corner, size)
    square = (image_size, image_size)
    resized = tf.cond(
        tf.reduce_max(size) > 2 * image_size,
        lambda: tf.image.resize(picture, square, antialias=True),
        lambda: tf.image.resize(picture, square),
    )
    return tf.ensure_shape(resized, (*square, 3))


def needed_side(image_size: int, crop_fraction: float | None) -> int:
    """Return the length in px that a picture's shorter side needs so that the central square is not enlarged."""
    return math.ceil(image_size / (crop_fraction or 1.0))
