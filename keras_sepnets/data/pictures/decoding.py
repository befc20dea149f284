"""Picture files to pixels: the same pixels in training, evaluation and prediction.

Grey becomes RGB; transparency is laid over white; 16-bit samples keep their high byte, or a range of them is
stretched; an animation is its first frame; CMYK is converted as Pillow converts it; the EXIF orientation is
applied. A picture much larger than needed is decoded at a half, a quarter or an eighth of its size, which is
faster and takes less memory.
"""

import io
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_sepnets.base.text import one_line
from keras_sepnets.data.pictures.colours import as_units, picture_to_rgb, upright_canvas
from keras_sepnets.data.pictures.files import CostlyPictureError, UnreadablePictureError, open_picture, read_file
from keras_sepnets.data.pictures.formats import open_as
from keras_sepnets.data.pictures.headers import (
    REDUCTIONS,
    Header,
    header_of,
    orientation_in,
    orientation_of,
    read_header,
)
from keras_sepnets.data.pictures.jpeg import END
from keras_sepnets.data.pictures.png import without_metadata
from keras_sepnets.data.pictures.rules import PixelRules

OTHER = len(REDUCTIONS)  # the first way of `decode_in_graph` that is not a plain JPEG at some reduction
FILLER = b"\x55" * 256  # decodes to other pixels than nothing where a JPEG still expects some


def read_picture(path: os.PathLike | str, rules: PixelRules) -> np.ndarray:
    """Return a picture file as RGB pixels.

    Args:
        path: A file in one of `formats.FORMATS`.
        rules: What decides about the pixels besides the file.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        UnreadablePictureError: The file is missing, damaged, too large or not a picture; see `read_header`.
    """
    content = read_file(path)
    return decode_picture(path, content, header_of(path, content, rules), rules)


def decode_picture(path: os.PathLike | str, content: bytes, header: Header, rules: PixelRules) -> np.ndarray:
    """Return the content of a picture file as RGB pixels: uint8 (height, width, 3); see `read_picture`."""
    reduction = header.reduction(rules.shortest)
    try:
        if header.format == "PNG":
            return _decode_png(content, header, reduction, rules)
        if header.format == "JPEG" and not header.is_whole and END not in content[header.begin :]:
            return _mend_jpeg(content, header, reduction, rules)
        if header.is_rgb_jpeg:
            with tf.device("CPU"):
                decoded = np.asarray(decode_jpeg(content, reduction))
            return _turn(decoded, header.orientation)
        return _decode_by_pillow(content, header, reduction, rules)
    except tf.errors.OpError:
        reason = "is damaged or truncated"
    except CostlyPictureError as error:
        reason = f"would take very long to decode: {error}; it has more"
    except Exception as error:  # Pillow's decoders raise almost any exception on damaged files
        reason = f"is damaged or truncated ({one_line(error)})"
    raise UnreadablePictureError(path, reason)


def read_deep_values(path: os.PathLike | str, rules: PixelRules) -> np.ndarray | None:
    """Return the samples of a picture of more than 8 bits, without its opacity; None for other pictures.

    Raises:
        UnreadablePictureError: As for `read_picture`.
    """
    with open_picture(path) as file:
        header = read_header(path, file, rules)
    if header.bits <= 8:
        return None
    content = read_file(path)
    try:
        if header.format == "PNG":
            samples = _deep_samples(without_metadata(content)[0])
            return samples[..., : samples.shape[-1] - (samples.shape[-1] in (2, 4))]
        with open_as(header.format, io.BytesIO(content)) as picture:
            return np.asarray(picture)
    except Exception as error:
        raise UnreadablePictureError(path, f"is damaged or truncated ({one_line(error)})") from None


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


def _decode_png(content: bytes, header: Header, reduction: int, rules: PixelRules) -> np.ndarray:
    pixels, exif = without_metadata(content)
    orientation = orientation_in(exif)
    if header.bits == 16:
        return picture_to_rgb(_deep_samples(pixels), reduction, orientation, rules)
    with open_as("PNG", io.BytesIO(pixels)) as picture:
        picture.load()
        return picture_to_rgb(picture, reduction, orientation, rules)


def _deep_samples(content: bytes) -> np.ndarray:
    """Return the samples of a 16-bit PNG, uint16 (height, width, channels); Pillow keeps only grey ones."""
    with tf.device("CPU"):
        return np.asarray(tf.io.decode_png(content, dtype=tf.uint16))


def _decode_by_pillow(content: bytes, header: Header, reduction: int, rules: PixelRules) -> np.ndarray:
    with open_as(header.format, io.BytesIO(content)) as picture:
        orientation = header.orientation
        if header.format == "JPEG" and reduction > 1:
            picture.draft(None, (header.width // reduction, header.height // reduction))
            reduction = 1
        picture.load()
        if header.format != "JPEG":
            orientation = orientation_of(picture)
        return picture_to_rgb(picture, reduction, orientation, rules)


def _mend_jpeg(content: bytes, header: Header, reduction: int, rules: PixelRules) -> np.ndarray:
    """Decode a JPEG that lacks its last marker, if it lacks nothing else.

    With the marker, a decoder makes up the pixels that are missing: others from other bytes in their place.
    """
    content = content.rstrip(b"\xff")
    pixels = _decode_by_pillow(content + END, header, reduction, rules)
    if not np.array_equal(pixels, _decode_by_pillow(content + FILLER + END, header, reduction, rules)):
        raise ValueError("its end is missing")
    return pixels


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation."""
    if orientation == 1:
        return pixels
    upright, stored = upright_canvas(pixels.shape[0], pixels.shape[1], orientation)
    stored[:] = as_units(pixels)
    return upright
