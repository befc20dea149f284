"""The blocks of a GIF file before its first picture: comments and the like, which take time to read."""

from typing import BinaryIO

from keras_sepnets.data.pictures.files import CostlyPictureError

MOST_BLOCKS = 50_000  # of up to 255 bytes; Pillow reads them one by one in Python
_EXTENSION, _HEADER = b"!", 13


def check_blocks(file: BinaryIO) -> None:
    """Raise CostlyPictureError if more blocks precede the first picture of a GIF than any encoder writes."""
    header = file.read(_HEADER)
    if len(header) == _HEADER and header[10] & 0x80:
        file.read(3 << ((header[10] & 7) + 1))  # the palette
    blocks = 0
    while blocks <= MOST_BLOCKS and file.read(1) == _EXTENSION:
        file.read(1)  # its kind
        blocks += 1
        while blocks <= MOST_BLOCKS and (length := file.read(1)) not in (b"", b"\0"):
            file.read(length[0])
            blocks += 1
    if blocks > MOST_BLOCKS:
        raise CostlyPictureError(f"a GIF has at most {MOST_BLOCKS:,} blocks before its picture")
