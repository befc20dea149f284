"""What decides how the files of a run become pixels, besides what the files say."""

import math
from typing import NamedTuple

from keras_sepnets.settings.schema import DataConfig

LARGEST_DECODING = 300_000_000  # bytes that a picture takes while it is decoded, with its file
BYTES_PER_PIXEL = 20  # of the most expensive format; bounds a picture whose limit the user sets


class PixelRules(NamedTuple):
    """The same for all pictures of a run."""

    shortest: int  # px; much larger pictures are reduced, but their shorter side keeps at least this many
    black: float | None = None  # the 16-bit value that becomes 0; None: samples keep their high byte
    white: float = 65_535.0  # the 16-bit value that becomes 255
    max_megapixels: float | None = None  # larger pictures are refused; None: by format and memory

    @classmethod
    def of(cls, data: DataConfig, shortest: int | None = None) -> "PixelRules":
        """Return the rules by a run's settings, `image_size` among them unless `shortest` is given."""
        if shortest is None:
            shortest = needed_side(data.image_size or 0, data.crop_fraction)
        if data.sixteen_bit != "stretch" or data.sixteen_bit_black is None or data.sixteen_bit_white is None:
            return cls(shortest, max_megapixels=data.max_megapixels)
        return cls(shortest, data.sixteen_bit_black, data.sixteen_bit_white, data.max_megapixels)

    @property
    def key(self) -> str:
        """What tells pixels by these rules from pixels by others."""
        return str(self.shortest) if self.black is None else f"{self.shortest} {self.black!r} {self.white!r}"

    @property
    def scale(self) -> float:
        """The factor from 16-bit values to bytes where a range is stretched."""
        return 255 / (self.white - float(self.black or 0))

    @property
    def largest_decoding(self) -> int:
        """Bytes that the largest picture may take while it is decoded."""
        chosen = BYTES_PER_PIXEL * 1e6 * (self.max_megapixels or 0)
        return max(LARGEST_DECODING, round(chosen))


def needed_side(image_size: int, crop_fraction: float | None) -> int:
    """Return the length in px that a picture's shorter side needs so that what is seen of it is not enlarged."""
    return math.ceil(image_size / (crop_fraction or 1.0))
