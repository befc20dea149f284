"""The settings that depend on the data set: picture size, crop, 16-bit samples and augmentation."""

import re
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.pictures.preprocessing import SMALL_PICTURE
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.data.pictures.sixteen_bit import measure_range
from keras_sepnets.data.sources.source import Source
from keras_sepnets.settings.schema import AUGMENTATIONS, AugmentationConfig, DataConfig

# Data sets of symbols: their mirror images are other symbols, or none.
SYMBOLS = ("digits", "emnist", "kmnist", "mnist", "mnist_corrupted", "omniglot", "svhn_cropped")
PHOTO_CROP = 0.875  # of the shorter side: the central square that the literature on ImageNet evaluates
SMALL_SHIFT = 0.125  # by which small pictures are padded and cropped, instead of a random crop
SMALLEST_SIZE = 64  # px; small pictures are enlarged at least to this


def resolve_data(config: DataConfig, source: Source, *, default_size: int, minimum_size: int = 1) -> DataConfig:
    """Fill in the settings that the user left open, to suit the data set.

    Args:
        config: The settings; those that are set stay.
        source: The data set.
        default_size: The network's default picture size in pixels.
        minimum_size: The smallest picture size that the network accepts.

    Returns:
        The settings with the full name of the data set; `image_size` (twice the size of small pictures, at least
        64 and `minimum_size`, at most `default_size`); `crop_fraction` (1 for pictures of at most 64 px and those
        that are not cropped to a square, otherwise .875); `sixteen_bit` and its range; `augment` ("none" with
        `overfit`, "light" for symbols, which must not be mirrored, otherwise "standard") and its amounts.
    """
    image_size = config.image_size
    if image_size is None and source.picture_size:
        image_size = min(default_size, max(SMALLEST_SIZE, minimum_size, 2 * source.picture_size))
    small = source.picture_size is not None and source.picture_size <= SMALL_PICTURE
    symbols = re.split("[/:]", source.name)[0] in SYMBOLS  # a TFDS name without its config and version
    augment = config.augment or ("none" if config.overfit else "light" if symbols else "standard")
    preset = AUGMENTATIONS[augment]
    if small and preset.smallest_crop < 1:
        preset = preset.model_copy(update={"smallest_crop": 1.0, "shift": SMALL_SHIFT})
    chosen = config.augmentation.model_dump(exclude_unset=True) if config.augmentation else {}
    return config.model_copy(
        update={
            "dataset": source.name,
            "image_size": image_size or default_size,
            "crop_fraction": config.crop_fraction or (1.0 if small or config.fit != "crop" else PHOTO_CROP),
            "augment": augment,
            # Complete, so that a run keeps its policy when a preset changes.
            "augmentation": AugmentationConfig(**{**preset.model_dump(), **chosen}),
            **choose_sixteen_bit(config, source)[0],
        }
    )


def choose_sixteen_bit(config: DataConfig, source: Source) -> tuple[dict[str, Any], str]:
    """Return the settings for 16-bit samples, and what was measured for them, in words.

    Raises:
        SepnetsError: There is nothing to measure, or black is not below white.
    """
    black, white = config.sixteen_bit_black, config.sixteen_bit_white
    received = f"Received: data.sixteen_bit={config.sixteen_bit!r}, black={black}, white={white}"
    is_given = black is not None or white is not None
    if config.sixteen_bit == "high_byte":
        if is_given:
            raise SepnetsError(
                f"data.sixteen_bit_black and data.sixteen_bit_white need data.sixteen_bit=stretch. {received}"
            )
        return {}, ""
    measured = ""
    if black is None or white is None:
        values = source.deep_values(PixelRules(shortest=1, max_megapixels=config.max_megapixels))
        if values is None:
            if is_given or config.sixteen_bit == "stretch":
                raise SepnetsError(
                    f"{printable(source.name)} has no 16-bit training pictures to measure a range of; leave "
                    "data.sixteen_bit out, or give both data.sixteen_bit_black and data.sixteen_bit_white. "
                    f"{received}"
                )
            return {"sixteen_bit": "high_byte"}, ""
        found = measure_range(values)
        measured = f"the pictures use {found.black:g} to {found.white:g}"
        if not is_given and config.sixteen_bit == "auto" and found.suits_high_byte:
            return {"sixteen_bit": "high_byte"}, measured
        black = found.black if black is None else black
        white = found.white if white is None else white
    if black >= white:
        raise SepnetsError(f"data.sixteen_bit_black must be below data.sixteen_bit_white. {received}")
    return {"sixteen_bit": "stretch", "sixteen_bit_black": black, "sixteen_bit_white": white}, measured
