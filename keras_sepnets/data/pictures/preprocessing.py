"""From the pixels of a picture to the input of a network: a rectangle of it, fitted into a square."""

import tensorflow as tf

from keras_sepnets.data.pictures.colours import to_pixels

SMALL_PICTURE = 64  # px; pictures up to this size are evaluated uncropped, and augmented by padding and cropping
HIDES_MUCH = 0.34  # share of a picture; a third is what the central square of a photo, 3:2, leaves out
SHOW_WHOLE = "--set data.fit=pad or data.fit=stretch shows pictures whole"
PADDING = 128.0  # grey, which becomes about 0 where the network scales its input, like its own zero padding


def prepare_picture(
    picture: tf.Tensor, image_size: int, crop_fraction: float | None = None, fit: str = "crop"
) -> tf.Tensor:
    """Return a picture as evaluation and prediction see it.

    Args:
        picture: uint8 (height, width, 3).
        image_size: Height and width of the result in pixels.
        crop_fraction: Share of each side that is seen, in the centre; None for 1. With "crop", of the shorter one.
        fit: "crop": the central square; "pad": the whole picture, with grey beside it; "stretch": the whole
            picture, as a square.

    Returns:
        uint8 tensor (image_size, image_size, 3).
    """
    shape = tf.shape(picture)
    sides = shape[:2] if fit != "crop" else tf.repeat(tf.reduce_min(shape[:2]), 2)
    sides = tf.round(tf.cast(sides, tf.float32) * (crop_fraction or 1.0))
    size = tf.concat([tf.maximum(1, tf.cast(sides, tf.int32)), shape[2:]], axis=0)
    return to_pixels(crop_and_resize(picture, (shape - size) // 2, size, image_size, fit))


def crop_and_resize(
    picture: tf.Tensor, corner: tf.Tensor, size: tf.Tensor, image_size: int, fit: str = "crop"
) -> tf.Tensor:
    """Return a rectangle of a picture, resized to a square with bilinear interpolation.

    A side that shrinks to less than half is antialiased. That takes five times as long; picture files are decoded
    at a size that avoids it.

    Args:
        picture: uint8 (height, width, 3).
        corner: Top left corner of the rectangle, int32: row, column, channel.
        size: Its size, int32: height, width, channels.
        image_size: Height and width of the result in pixels.
        fit: "pad" keeps the ratio of its sides and pads with grey; otherwise it becomes a square.

    Returns:
        float32 tensor (image_size, image_size, 3), values 0..255.
    """
    picture = tf.slice(picture, corner, size)
    if fit == "pad":
        share = tf.cast(size[:2], tf.float32) / tf.cast(tf.reduce_max(size[:2]), tf.float32)
        fitted = tf.maximum(1, tf.cast(tf.round(share * image_size), tf.int32))
    else:
        fitted = tf.constant((image_size, image_size))
    resized = tf.cond(
        tf.reduce_max(size) > 2 * image_size,
        lambda: tf.image.resize(picture, fitted, antialias=True),
        lambda: tf.image.resize(picture, fitted),
    )
    if fit == "pad":
        before = (image_size - fitted) // 2
        margins = tf.stack([before, image_size - fitted - before], axis=1)
        resized = tf.pad(resized, tf.pad(margins, [[0, 1], [0, 0]]), constant_values=PADDING)
    return tf.ensure_shape(resized, (image_size, image_size, 3))


def hidden_share(width: int, height: int) -> float:
    """Return the share of a picture that lies outside its central square."""
    return 1 - min(width, height) / max(width, height)
