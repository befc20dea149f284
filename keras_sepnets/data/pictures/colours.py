"""The rule for colours: grey becomes RGB, deep samples become bytes, transparency is laid over white.

It is written twice, and a test holds both to the same pixels. Files go through Pillow, which knows palettes, CMYK
and transparent colours, must reduce a picture before it blends it, and does so band by band within 300 MB;
TensorFlow would need floats for that. Records of TFDS are decoded inside the tf.data graph, where calling Pillow
costs half a millisecond per picture.
"""

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sepnets.data.pictures.formats import is_deep
from keras_sepnets.data.pictures.rules import PixelRules

BAND = 250_000  # pixels that are converted at once


def picture_to_rgb(
    picture: Image.Image | np.ndarray, reduction: int, orientation: int, rules: PixelRules
) -> np.ndarray:
    """Return a picture as RGB, reduced and upright, converted band by band.

    Args:
        picture: A Pillow image of any mode, or the uint16 samples (height, width, channels) of a PNG.
        reduction: 1, 2, 4 or 8.
        orientation: EXIF, 1 to 8.
        rules: Turn deep samples into bytes.

    Returns:
        uint8 array (height, width, 3).
    """
    width, height = picture.size if isinstance(picture, Image.Image) else picture.shape[1::-1]
    upright, stored = upright_canvas(-(-height // reduction), -(-width // reduction), orientation)
    step = reduction * max(1, BAND // (reduction * width))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        if isinstance(picture, Image.Image):
            band = picture.crop((0, top, width, bottom))
        else:
            band = _image_of(picture[top:bottom], rules)
        rows = np.asarray(image_to_rgb(band, reduction, rules))
        stored[top // reduction :][: len(rows)] = as_units(rows)
    return upright


def upright_canvas(height: int, width: int, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an empty picture, and its pixels in the order in which they are stored (EXIF 2.3, tag 274).

    Assign to these what `as_units` returns.
    """
    upright = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored = as_units(upright)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return upright, stored.T if orientation >= 5 else stored


def as_units(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (height, width, 3) as elements of three bytes (height, width), which copy faster."""
    return pixels.view("V3")[..., 0]


def image_to_rgb(picture: Image.Image, reduction: int = 1, rules: PixelRules | None = None) -> Image.Image:
    """Return a Pillow image of any mode as RGB, reduced by the factor 1, 2, 4 or 8."""
    if is_deep(picture.mode):
        picture = Image.fromarray(_to_bytes(np.asarray(picture), rules))
    transparent = picture.has_transparency_data
    if picture.mode not in ("L", "RGB", "RGBA") or (transparent and picture.mode != "RGBA"):
        picture = picture.convert("RGBA" if transparent else "RGB")
    if reduction > 1:
        picture = picture.reduce(reduction)
    if transparent:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def tensor_to_rgb(picture: tf.Tensor, rules: PixelRules | None = None) -> tf.Tensor:
    """Return the pixels of a TFDS record as RGB.

    Args:
        picture: uint8 or uint16 (height, width, channels) with 1 (grey), 3 or 4 (RGBA) channels.
        rules: Turn uint16 samples into bytes; None for the high byte.

    Returns:
        uint8 tensor (height, width, 3).
    """
    channels = picture.shape[-1]
    if picture.dtype == tf.uint16:
        high = tf.cast(tf.bitwise.right_shift(picture, tf.constant(8, tf.uint16)), tf.uint8)
        if rules is not None and rules.black is not None:
            stretched = to_pixels((tf.cast(picture, tf.float32) - rules.black) * rules.scale)
            high = tf.concat([stretched[..., :3], high[..., 3:]], axis=-1)  # opacity has no range of its own
        picture = high
    if channels == 1:
        return tf.repeat(picture, 3, axis=-1)
    if channels == 4:
        alpha = tf.cast(picture[..., 3:], tf.float32) / 255
        return to_pixels(tf.cast(picture[..., :3], tf.float32) * alpha + 255 * (1 - alpha))
    return picture


def to_pixels(values: tf.Tensor) -> tf.Tensor:
    """Round float values to uint8 and clip them to 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def _to_bytes(values: np.ndarray, rules: PixelRules | None) -> np.ndarray:
    """Return deep samples as uint8: their range stretched, or else the high byte of integers."""
    if rules is not None and rules.black is not None:
        values = (values.astype(np.float32) - np.float32(rules.black)) * np.float32(rules.scale)
    elif values.dtype.kind in "iu":
        return np.clip(values >> 8, 0, 255).astype(np.uint8)
    else:
        values = np.floor(values / 256)
    return np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)


def _image_of(samples: np.ndarray, rules: PixelRules) -> Image.Image:
    """Return the uint16 samples (height, width, channels) of a PNG as an image of bytes."""
    if samples.shape[-1] == 1:
        return Image.fromarray(_to_bytes(samples[..., 0], rules))
    colours = samples.shape[-1] - (samples.shape[-1] in (2, 4))
    alpha = (samples[..., colours:] >> 8).astype(np.uint8)  # opacity has no range of its own
    return Image.fromarray(np.concatenate([_to_bytes(samples[..., :colours], rules), alpha], axis=-1))
