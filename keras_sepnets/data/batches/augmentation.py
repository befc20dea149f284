"""Random variation of training pictures: a function of the policy and of one row of random numbers per picture.

The numbers depend on (seed, position) alone, so that example k of an epoch is the same picture in every run. Where
Keras has a layer for an operation, that layer does the work, with our random numbers instead of its own.
"""

import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_sepnets.data.pictures.preprocessing import crop_and_resize, prepare_picture
from keras_sepnets.settings.schema import AugmentationConfig

DRAWS = 26  # random numbers per picture; the code below shows which is which
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
ERASED = 128.0  # grey value
ERASED_AREA = (0.02, 0.33)  # fraction of the picture
LARGEST_SHEAR, LARGEST_SHIFT, LARGEST_TURN = 0.3, 0.45, math.pi / 6  # at magnitude 10, as in AutoAugment's code
LARGEST_ENHANCEMENT = 0.9  # of colour, contrast, brightness and sharpness at magnitude 10


def draw_augmentation(seed: tf.Tensor, count: int) -> tf.Tensor:
    """Return random numbers for `count` pictures: float32 (count, 26) in [-1, 1), from an int32 seed pair."""
    return tf.random.stateless_uniform([count, DRAWS], seed, -1, 1)


def choose_amounts(draws: tf.Tensor, policy: AugmentationConfig, image_size: int) -> dict[str, tf.Tensor]:
    """Choose how each picture varies, for many at once, because operations cost more than their arithmetic.

    Args:
        draws: float32 (count, 26) from `draw_augmentation`.
        policy: What varies.
        image_size: Height and width of the pictures in pixels.

    Returns:
        Name -> tensor (count, ...), only those that the policy needs.
    """
    amounts: dict[str, tf.Tensor] = {}
    if policy.smallest_crop < 1:
        middle = (1 + policy.smallest_crop) / 2
        area = middle + draws[:, 8:9] * (1 - middle)
        half_log = math.log(policy.crop_aspect) / 2
        shares = tf.sqrt(area) * tf.exp(draws[:, 9:10] * tf.constant([-half_log, half_log]))
        amounts["crop_size"] = tf.pad(shares, [[0, 0], [0, 1]], constant_values=math.inf)  # all channels
        amounts["crop_place"] = tf.pad((draws[:, 10:12] + 1) / 2, [[0, 0], [0, 1]])
    mirrored = (draws[:, 4] < 0) & policy.flip
    if policy.rotation or policy.zoom or policy.shift:
        amounts["transform"] = _transform_matrix(
            image_size,
            angle=draws[:, 0] * (policy.rotation * math.pi / 180),
            scale=1 + draws[:, 1] * policy.zoom,
            right=draws[:, 2] * policy.shift,
            down=draws[:, 3] * policy.shift,
            mirror=tf.where(mirrored, -1.0, 1.0),
        )
    elif policy.flip:
        no = tf.zeros_like(mirrored)
        amounts["reversed_axes"] = tf.stack([no, mirrored, no], axis=1)
    if policy.brightness or policy.contrast or policy.saturation:
        amounts["brightness"] = 255 * policy.brightness * draws[:, 5]
        amounts["contrast"] = 1 + policy.contrast * draws[:, 6]
    if policy.saturation:
        amounts["saturation"] = 1 + policy.saturation * draws[:, 7]
    if policy.randaugment:
        amounts["randaugment"] = draws[:, 12 : 12 + 2 * policy.randaugment]
    if policy.erasing:
        amounts["erasing"] = (draws[:, 20:26] + 1) / 2
    return amounts


def augment_picture(
    picture: tf.Tensor,
    amounts: dict[str, tf.Tensor],
    policy: AugmentationConfig,
    image_size: int,
    crop_fraction: float | None = None,
    fit: str = "crop",
) -> tf.Tensor:
    """Vary one picture.

    Args:
        picture: uint8 (height, width, 3).
        amounts: Its row of each tensor from `choose_amounts`.
        policy: What varies, except for mixing, which `mix_pictures` does.
        image_size: Height and width of the result in pixels.
        crop_fraction: Share of the sides that is seen, if there is no random crop; see `prepare_picture`.
        fit: How the picture becomes a square; see `prepare_picture`.

    Returns:
        float32 (image_size, image_size, 3), values 0..255.
    """
    if policy.smallest_crop < 1:
        varied = _random_crop(picture, amounts["crop_size"], amounts["crop_place"], image_size, fit)
    else:
        varied = tf.cast(prepare_picture(picture, image_size, crop_fraction, fit), tf.float32)
    if "transform" in amounts:
        varied = _transform(varied, amounts["transform"])
    elif "reversed_axes" in amounts:  # takes the axes as a tensor, so no branch is needed
        varied = tf.raw_ops.Reverse(tensor=varied, dims=amounts["reversed_axes"])
    if "contrast" in amounts:
        varied = _adjust_colours(varied, amounts["brightness"], amounts["contrast"], amounts.get("saturation"))
    for operation in range(policy.randaugment):
        choice, strength = tf.unstack(amounts["randaugment"][2 * operation : 2 * operation + 2], num=2)
        varied = _randaugment(varied, choice, strength, policy.randaugment_magnitude / 10)
    if policy.erasing:
        varied = _erase(varied, amounts["erasing"], policy.erasing)
    return varied


def mix_pictures(
    pictures: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, policy: AugmentationConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix the pictures of a batch with each other by MixUp or CutMix; with both in the policy, one at random.

    Args:
        pictures: float32 (batch, size, size, 3).
        labels: float32 (batch, classes), one-hot.
        seed: int32 pair that determines the result.
        policy: Has the alphas of both.

    Returns:
        Pictures and labels of the same shapes; the labels are probabilities.
    """
    seeds = tf.unstack(tf.random.split(seed, 5))
    count, size = tf.shape(pictures)[0], pictures.shape[1]
    partners = tf.random.experimental.stateless_shuffle(tf.range(count), seeds[0])

    def mixup() -> tuple[tf.Tensor, tf.Tensor]:
        layer = _layer("MixUp")
        chosen = {"mix_weight": _beta(policy.mixup, count, seeds[1]), "permutation_order": partners}
        return layer.transform_images(pictures, chosen), layer.transform_labels(labels, chosen)

    def cutmix() -> tuple[tf.Tensor, tf.Tensor]:
        layer = _layer("CutMix")
        side = tf.sqrt(1 - _beta(policy.cutmix, count, seeds[2])) * size
        corner = tf.random.stateless_uniform([2, count], seeds[3]) * (size - side)
        masks = _rectangles(corner[0], corner[1], side, side, size)
        kept = 1 - tf.reduce_mean(tf.cast(masks, tf.float32), axis=(1, 2, 3))
        chosen = {"batch_masks": masks, "mix_weight": kept, "permutation_order": partners}
        return layer.transform_images(pictures, chosen), layer.transform_labels(labels, chosen)

    if policy.mixup and policy.cutmix:
        return tf.cond(tf.random.stateless_uniform([], seeds[4]) < 0.5, mixup, cutmix)
    return mixup() if policy.mixup else cutmix()


def _random_crop(picture: tf.Tensor, size: tf.Tensor, place: tf.Tensor, image_size: int, fit: str) -> tf.Tensor:
    """Crop a rectangle and resize it (Inception's random crop, arXiv:1409.4842, section 6).

    Args:
        picture: uint8 (height, width, 3).
        size: (height, width, channels) of the rectangle, relative to the picture's; with "crop", to the side of a
            square of its area.
        place: (down, right, channel) position of the rectangle, each in [0, 1).
        image_size: Height and width of the result in pixels.
        fit: How the rectangle becomes a square.
    """
    shape = tf.cast(tf.shape(picture), tf.float32)
    whole = tf.sqrt(tf.reduce_prod(shape) / 3) if fit == "crop" else shape
    size = tf.minimum(tf.math.ceil(size * whole), shape)
    corner = place * (shape - size + 1)
    return crop_and_resize(picture, tf.cast(corner, tf.int32), tf.cast(size, tf.int32), image_size, fit)


def _transform_matrix(
    image_size: int,
    *,
    angle: tf.Tensor | float = 0.0,
    scale: tf.Tensor | float = 1.0,
    right: tf.Tensor | float = 0.0,
    down: tf.Tensor | float = 0.0,
    mirror: tf.Tensor | float = 1.0,
    shear_x: tf.Tensor | float = 0.0,
    shear_y: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    """Return transforms that rotate, scale, mirror and shear about the centre, then shift.

    Returns:
        float32 (..., 8), from output to input coordinates.
    """
    centre = (image_size - 1) / 2
    cos, sin = scale * tf.cos(angle), scale * tf.sin(angle)
    # Columns: output x (mirrored), output y.
    a, b, c, d = mirror * cos, shear_x - sin, shear_y + mirror * sin, cos
    x0 = centre - a * centre - b * centre + right * image_size
    y0 = centre - c * centre - d * centre + down * image_size
    zero = tf.zeros_like(a)
    return tf.stack([a, b, x0, c, d, y0, zero, zero], axis=-1)


def _transform(picture: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    return keras.ops.image.affine_transform(
        picture, matrix, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
    )


def _adjust_colours(
    picture: tf.Tensor,
    brightness: tf.Tensor | float = 0.0,
    contrast: tf.Tensor | float = 1.0,
    saturation: tf.Tensor | float | None = None,
) -> tf.Tensor:
    """Scale the distance of pixels to grey (saturation) and to the mean (contrast), then add the brightness."""
    if saturation is not None:
        to_grey = tf.constant([GREY] * 3)  # a row per output channel
        mix = saturation * tf.eye(3) + (1 - saturation) * to_grey
        picture = tf.tensordot(picture, tf.transpose(mix), 1)
    offset = tf.reduce_mean(picture) * (1 - contrast) + brightness
    # One pass over the picture; tf.clip_by_value makes two.
    return tf.raw_ops.ClipByValue(t=picture * contrast + offset, clip_value_min=0.0, clip_value_max=255.0)


def _randaugment(picture: tf.Tensor, choice: tf.Tensor, strength: tf.Tensor, magnitude: float) -> tf.Tensor:
    """Apply one of RandAugment's 14 operations, in the direction of the sign of `strength`."""
    signed = tf.sign(strength) * magnitude
    enhancement = 1 + signed * LARGEST_ENHANCEMENT
    batch = picture[None]
    one = tf.ones(1)

    def move(**amounts: tf.Tensor) -> tf.Tensor:
        return _transform(picture, _transform_matrix(picture.shape[1], **amounts))

    operations: list[Callable[[], tf.Tensor]] = [
        lambda: picture,
        lambda: _layer("AutoContrast").transform_images(batch)[0],
        lambda: _layer("Equalization").transform_images(batch, None)[0],
        lambda: move(angle=signed * LARGEST_TURN),
        lambda: _layer("Solarization").transform_images(
            batch, {"additions": 0.0, "thresholds": 255.0 * (1 - magnitude)}
        )[0],
        lambda: _layer("RandomPosterization", 8).transform_images(
            batch, {"shift_factor": tf.cast([round(4 * magnitude)], tf.uint8)}
        )[0],
        lambda: _adjust_colours(picture, saturation=enhancement),
        lambda: _adjust_colours(picture, contrast=enhancement),
        lambda: tf.clip_by_value(picture * enhancement, 0, 255),
        lambda: _layer("RandomSharpness", 1.0).transform_images(batch, {"factor": one * enhancement / 2})[0],
        lambda: move(shear_x=signed * LARGEST_SHEAR),
        lambda: move(shear_y=signed * LARGEST_SHEAR),
        lambda: move(right=signed * LARGEST_SHIFT),
        lambda: move(down=signed * LARGEST_SHIFT),
    ]
    number = tf.cast((choice + 1) / 2 * len(operations), tf.int32)
    return tf.ensure_shape(tf.switch_case(number, operations), picture.shape)


def _erase(picture: tf.Tensor, draws: tf.Tensor, probability: float) -> tf.Tensor:
    """Paint a grey rectangle into the picture with the given probability."""
    chance, area, aspect, down, right, _ = tf.unstack(draws, num=6)
    size = picture.shape[1]
    area = ERASED_AREA[0] + area * (ERASED_AREA[1] - ERASED_AREA[0])
    aspect = tf.exp((2 * aspect - 1) * math.log(10 / 3))
    height, width = (tf.minimum(1.0, tf.sqrt(area * share)) * size for share in (aspect, 1 / aspect))
    mask = _rectangles(right[None] * (size - width), down[None] * (size - height), width, height, size)
    layer = _layer("RandomErasing")
    chosen = {"apply_erasing": chance[None] < probability, "batch_masks": mask, "fill_value": tf.constant(ERASED)}
    return layer.transform_images(picture[None], chosen)[0]


def _rectangles(left: tf.Tensor, top: tf.Tensor, width: tf.Tensor, height: tf.Tensor, size: int) -> tf.Tensor:
    """Return masks, bool (batch, size, size, 3), true inside the rectangle of each picture."""
    pixel = tf.range(size, dtype=tf.float32)
    across = (pixel >= left[:, None]) & (pixel < (left + width)[:, None])
    along = (pixel >= top[:, None]) & (pixel < (top + height)[:, None])
    return tf.repeat((along[:, :, None] & across[:, None, :])[..., None], 3, axis=-1)


def _beta(alpha: float, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draw from the distribution Beta(alpha, alpha)."""
    first, second = (
        tf.random.stateless_gamma([count], part, alpha) for part in tf.unstack(tf.random.split(seed, 2))
    )
    return first / tf.maximum(first + second, 1e-30)


@functools.cache
def _layer(name: str, *arguments: float) -> keras.layers.Layer:
    """Return a Keras layer, built outside the pipeline's graph, which cannot hold its seed's variable."""
    with tf.init_scope():
        return getattr(keras.layers, name)(*arguments)
