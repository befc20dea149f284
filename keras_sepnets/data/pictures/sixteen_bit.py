"""The range of values that the 16-bit pictures of a data set use, and the rule for them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_sepnets.data.pictures.decoding import read_deep_values
from keras_sepnets.data.pictures.files import UnreadablePictureError
from keras_sepnets.data.pictures.formats import has_suffix
from keras_sepnets.data.pictures.rules import PixelRules

SAMPLED = 64  # pictures whose values are measured
LOOKED_AT = 1024  # files among which they are looked for
MOST_PIXELS = 100_000_000  # that are decoded for it
VALUES = 10_000  # of each picture
OUTLIERS = 0.1  # percent of all values at either end, such as those of hot pixels
FULL_RANGE = 65_535
SMALL_RANGE = FULL_RANGE / 4  # a high byte would make fewer than 64 levels of it
SHALLOW = ("JPEG", "GIF", "WEBP", "BMP")  # formats without 16-bit pictures


class Range(NamedTuple):
    """What the 16-bit pictures of a data set use, without outliers."""

    black: float
    white: float

    @property
    def suits_high_byte(self) -> bool:
        """Whether the high bytes of these values show most of what is in them."""
        return self.black >= 0 and self.white <= FULL_RANGE and self.white - self.black >= SMALL_RANGE


def measure_range(values: np.ndarray) -> Range:
    """Return the range of values, float32 (n,), without the outermost thousandth at either end."""
    black, white = np.percentile(values, [OUTLIERS, 100 - OUTLIERS]).tolist()
    return Range(black, white if white > black else black + 1)


def sample_values(paths: Sequence[str], rules: PixelRules) -> np.ndarray | None:
    """Return values of some 16-bit pictures among files, equally many of each; None if there are none.

    Args:
        paths: The files.
        rules: Have the limit of their size.
    """
    candidates = [path for path in paths if not has_suffix(path, *SHALLOW)]
    order = np.random.default_rng(0).permutation(len(candidates))[:LOOKED_AT]
    return pool_values(_deep_pictures((candidates[place] for place in order), rules))


def pool_values(pictures: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return as many values of each picture, float32 (n,), or None if there is no picture."""
    pools, pixels = [], 0
    random = np.random.default_rng(0)
    for picture in pictures:
        values = picture.reshape(-1).astype(np.float32)
        values = values[np.isfinite(values)]
        if len(values):
            pools.append(random.choice(values, VALUES))
        pixels += picture.size
        if len(pools) == SAMPLED or pixels > MOST_PIXELS:
            break
    return np.concatenate(pools) if pools else None


def _deep_pictures(paths: Iterable[str], rules: PixelRules) -> Iterator[np.ndarray]:
    for path in paths:
        try:
            values = read_deep_values(os.fspath(path), rules)
        except UnreadablePictureError:
            continue  # reported when it is read
        if values is not None:
            yield values
