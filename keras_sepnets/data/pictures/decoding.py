"""Picture files to pixels: the same pixels in training, evaluation and prediction.

Grey becomes RGB; transparency is laid over white; 16-bit samples keep their high byte; an animation is its first
frame; CMYK is converted as Pillow converts it; the EXIF orientation is applied. A picture much larger than needed
is decoded at a half, a quarter or an eighth of its size, which is faster and takes less memory.
"""

import io
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sepnets.base.text import one_line
from keras_sepnets.data.pictures.colours import image_to_rgb
from keras_sepnets.data.pictures.files import (
    FORMATS,
    REDUCTIONS,
    Header,
    UnreadablePictureError,
    exif_orientation,
    read_file,
    read_header,
)

OTHER = len(REDUCTIONS)  # the first way of `decode_in_graph` that is not a plain JPEG at some reduction


def read_picture(path: os.PathLike | str, shortest: int) -> np.ndarray:
    """Return a picture file as RGB pixels.

    Args:
        path: A JPEG, PNG, BMP, GIF or WebP file.
        shortest: A picture whose shorter side is at least 2, 4 or 8 times this number of px is reduced by that
            factor.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        UnreadablePictureError: The file is missing, damaged or not a picture, or has more than 49 million pixels
            (JPEG), 16 million (WebP) or 25 million (other formats).
    """
    content = read_file(path)
    return decode_picture(path, content, read_header(path, io.BytesIO(content)), shortest)


def decode_picture(path: os.PathLike | str, content: bytes, header: Header, shortest: int) -> np.ndarray:
    """Return the content of a picture file as RGB pixels: uint8 (height, width, 3); see `read_picture`."""
    reduction = header.reduction(shortest)
    try:
        if header.format == "JPEG" and header.mode in ("L", "RGB"):
            with tf.device("CPU"):
                pixels = decode_jpeg(content, reduction).numpy()
            return _upright(pixels, header.orientation)
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            picture.load()
            # The EXIF data of a PNG may follow its pixels, so they are known only once it is decoded.
            orientation = header.orientation if header.format == "JPEG" else exif_orientation(picture)
            return _upright(np.asarray(image_to_rgb(picture, reduction)), orientation)
    except tf.errors.OpError:
        reason = "is damaged or truncated"
    except Exception as error:  # Pillow's decoders raise almost any exception on damaged files
        reason = f"is damaged or truncated ({one_line(error)})"
    raise UnreadablePictureError(path, reason)


def decode_jpeg(content: bytes | tf.Tensor, reduction: int) -> tf.Tensor:
    """Return the pixels of a grey or RGB JPEG, equal to Pillow's: uint8 (height, width, 3)."""
    return tf.io.decode_jpeg(content, channels=3, ratio=reduction, dct_method="INTEGER_ACCURATE")


def decode_in_graph(
    way: tf.Tensor | int, content: Callable[[], tf.Tensor], *others: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Decode a picture inside a tf.data graph: the only place that dispatches to decoders.

    Args:
        way: int32 (). The place in REDUCTIONS for a plain JPEG; OTHER for the first of `others`, and so on.
        content: Returns the encoded picture, string (); called only where it is a plain JPEG.
        others: Decoders of whatever is not a plain JPEG.

    Returns:
        uint8 (height, width, 3).
    """
    plain = [lambda r=reduction: decode_jpeg(content(), r) for reduction in REDUCTIONS]
    return tf.ensure_shape(tf.switch_case(way, [*plain, *others]), (None, None, 3))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
