"""From a decoded picture to what the network sees: RGB, square, `image_size`; and random variation in training."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


def prepare_picture(picture: tf.Tensor, image_size: int) -> tf.Tensor:
    """Return `picture` as RGB, cut to its central square and resized: the rule of every part of the package.

    Args:
        picture: uint8 or uint16 (height, width, channels) with 1 (grey), 3 or 4 (RGBA) channels.
        image_size: Height and width of the result in pixels.

    Returns:
        uint8 tensor (image_size, image_size, 3).
    """
    if picture.dtype == tf.uint16:
        picture = tf.bitwise.right_shift(picture, tf.constant(8, tf.uint16))
    channels = picture.shape[-1]
    picture = tf.cast(picture, tf.float32)
    if channels == 1:
        picture = tf.image.grayscale_to_rgb(picture)
    elif channels == 4:
        alpha = picture[..., 3:] / 255
        picture = picture[..., :3] * alpha + 255 * (1 - alpha)
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    side = tf.minimum(height, width)
    picture = tf.image.crop_to_bounding_box(picture, (height - side) // 2, (width - side) // 2, side, side)
    size = (image_size, image_size)
    picture = tf.cond(  # antialiasing takes three times as long and does nothing where a picture grows
        side > image_size,
        lambda: tf.image.resize(picture, size, antialias=True),
        lambda: tf.image.resize(picture, size),
    )
    picture.set_shape((*size, 3))
    return tf.cast(tf.clip_by_value(tf.round(picture), 0, 255), tf.uint8)


class Augmentation(NamedTuple):
    """Ranges of the random variation of training pictures, each drawn uniformly around no change."""

    rotation: float = 0.0  # degrees
    zoom: float = 0.0  # share of the size
    shift: float = 0.0  # share of the size, in each direction
    flip: bool = False  # left-right, half of the pictures
    brightness: float = 0.0  # share of the full range
    contrast: float = 0.0  # share of the distance to the picture's mean


AUGMENTATIONS = {
    "none": Augmentation(),
    "light": Augmentation(rotation=10, zoom=0.1, shift=0.1),  # keeps handedness: for symbols
    "standard": Augmentation(rotation=15, zoom=0.2, shift=0.1, flip=True, brightness=0.2, contrast=0.2),
}
DRAWS = 7


def draw_augmentation(seed: tf.Tensor) -> tf.Tensor:
    """Return the random numbers of one example, uniform in [-1, 1): a function of its int32 seed pair alone."""
    return tf.random.stateless_uniform([DRAWS], seed, -1, 1)


def augment_pictures(pictures: tf.Tensor, draws: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Vary a batch of pictures.

    Args:
        pictures: uint8 (batch, size, size, 3).
        draws: float32 (batch, 7) from `draw_augmentation`, one row a picture.
        augmentation: The ranges.

    Returns:
        float32 (batch, size, size, 3), values 0..255.
    """
    pictures = tf.cast(pictures, tf.float32)
    if augmentation == Augmentation():
        return pictures
    angle, zoom, right, down, mirror, brightness, contrast = tf.unstack(draws, num=DRAWS, axis=1)
    transform = _affine(
        size=pictures.shape[1],
        angle=angle * (augmentation.rotation * np.pi / 180),
        scale=1 + zoom * augmentation.zoom,
        right=right * augmentation.shift,
        down=down * augmentation.shift,
        mirror=tf.where(mirror < 0, -1.0, 1.0) if augmentation.flip else tf.ones_like(mirror),
    )
    pictures = keras.ops.image.affine_transform(
        pictures, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
    )
    if augmentation.contrast or augmentation.brightness:
        factor = (1 + contrast * augmentation.contrast)[:, None, None, None]
        offset = (255 * brightness * augmentation.brightness)[:, None, None, None]
        mean = tf.reduce_mean(pictures, axis=(1, 2, 3), keepdims=True)
        pictures = tf.clip_by_value((pictures - mean) * factor + mean + offset, 0, 255)
    return pictures


def _affine(
    *, size: int, angle: tf.Tensor, scale: tf.Tensor, right: tf.Tensor, down: tf.Tensor, mirror: tf.Tensor
) -> tf.Tensor:
    """Return (batch, 8) projective transforms, output to input: about the centre, then shifted."""
    centre = (size - 1) / 2
    cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
    a, b, c, d = mirror * cos, -sin, mirror * sin, cos  # columns: output x (mirrored), output y
    x0 = centre - a * centre - b * centre + right * size
    y0 = centre - c * centre - d * centre + down * size
    zero = tf.zeros_like(angle)
    return tf.stack([a, b, x0, c, d, y0, zero, zero], axis=1)
