"""The rule for colours: grey becomes RGB, 16-bit samples keep their high byte, transparency is laid over white.

It is written twice, and a test holds both to the same pixels. Files go through Pillow, which knows palettes, CMYK
and transparent colours, must reduce a picture before it blends it, and blends 25 million pixels within 300 MB;
TensorFlow would need floats for that. Records of TFDS are decoded inside the tf.data graph, where calling Pillow
costs half a millisecond per picture.
"""

import numpy as np
import tensorflow as tf
from PIL import Image


def image_to_rgb(picture: Image.Image, reduction: int = 1) -> Image.Image:
    """Return a Pillow image of any mode as RGB, reduced by the factor 1, 2, 4 or 8."""
    if picture.mode.startswith("I"):  # 16-bit grey
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    transparent = picture.has_transparency_data
    if picture.mode not in ("L", "RGB", "RGBA") or (transparent and picture.mode != "RGBA"):
        picture = picture.convert("RGBA" if transparent else "RGB")
    if reduction > 1:
        picture = picture.reduce(reduction)
    if transparent:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def tensor_to_rgb(picture: tf.Tensor) -> tf.Tensor:
    """Return the pixels of a TFDS record as RGB.

    Args:
        picture: uint8 or uint16 (height, width, channels) with 1 (grey), 3 or 4 (RGBA) channels.

    Returns:
        uint8 tensor (height, width, 3).
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


def to_pixels(values: tf.Tensor) -> tf.Tensor:
    """Round float values to uint8 and clip them to 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)
