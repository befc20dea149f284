"""Every picture of a data set, read and decoded once: its size, colour and hash, or why it cannot be read."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sepnets.data.batches.reading import memory_budget
from keras_sepnets.data.pictures.decoding import UnreadablePictureError, decode_picture, read_file, read_header
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.records import TfdsSource

DECODED_SIDE = 224  # px; larger pictures are decoded at a half, a quarter or an eighth of their size
LARGEST_DECODING = 300_000_000  # bytes that one picture takes at most while it is decoded, see `pictures`
AT_ONCE = 256  # files in flight, which bounds the memory
THUMBNAIL_SIDE = 96  # px
SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",), "WEBP": (".webp",)}
COLOURS = {"L": "grey", "1": "grey", "LA": "grey", "P": "palette", "PA": "palette", "CMYK": "CMYK"}

# Role -> the split that it comes from, and which of that split's examples (boolean array; None for all).
Parts = Mapping[str, tuple[str, np.ndarray | None]]


class Finding(NamedTuple):
    """Facts about one picture."""

    name: str  # its path, or its TFDS id
    role: str
    label: int
    digest: bytes = b""  # SHA-256 of the encoded picture
    width: int = 0  # px, upright
    height: int = 0
    colour: str = ""
    fault: str = ""  # why it cannot be read
    wrong_name: bool = False  # its suffix is that of another format
    thumbnail: np.ndarray | None = None


def inspect_pictures(source: FileSource | TfdsSource, parts: Parts) -> Iterator[Finding]:
    """Yield a finding for every picture that plays a role."""
    return _inspect_files(source, parts) if isinstance(source, FileSource) else _inspect_records(source, parts)


def _inspect_files(source: FileSource, parts: Parts) -> Iterator[Finding]:
    def all_files() -> Iterator[tuple[str, str, int]]:
        for role, (split, chosen) in parts.items():
            keep = slice(None) if chosen is None else chosen
            labels = source.index(split).labels[keep]
            for path, label in zip(source.paths(split)[keep], labels, strict=True):
                yield role, os.fsdecode(path), int(label)

    files = all_files()
    # Reading and decoding release Python's lock, so threads help.
    threads = max(1, min(os.cpu_count() or 1, memory_budget() // LARGEST_DECODING))
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(files, AT_ONCE)):
            yield from pool.map(lambda file: _inspect_file(*file), chunk)


def _inspect_file(role: str, path: str, label: int) -> Finding:
    try:
        content = read_file(path)
        header = read_header(path, io.BytesIO(content))
        pixels = decode_picture(path, content, header, DECODED_SIDE)
    except UnreadablePictureError as error:
        return Finding(path, role, label, fault=error.reason)
    width, height = header.width, header.height
    if (width > height) != (pixels.shape[1] > pixels.shape[0]):  # turned by its EXIF orientation
        width, height = height, width
    return Finding(
        path,
        role,
        label,
        hashlib.sha256(content).digest(),
        width,
        height,
        _colour(header.mode),
        wrong_name=not path.lower().endswith(SUFFIXES[header.format]),
        thumbnail=_thumbnail(pixels),
    )


def _inspect_records(source: TfdsSource, parts: Parts) -> Iterator[Finding]:
    for split in dict.fromkeys(split for split, _ in parts.values()):  # a run does not use the others
        roles = np.empty(source.num_examples(split), object)
        for role, (its_split, chosen) in parts.items():
            if its_split == split:
                roles[slice(None) if chosen is None else chosen] = role
        records = source.read(split).map(
            lambda key, label, encoded: (key, label, encoded, source.decode(encoded)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        for role, (key, label, encoded, pixels) in zip(roles, records.as_numpy_iterator(), strict=True):
            height, width, _ = pixels.shape
            digest = hashlib.sha256(encoded).digest()
            name = key.decode()
            yield Finding(
                name, role, int(label), digest, width, height, source.colour, thumbnail=_thumbnail(pixels)
            )


def _colour(mode: str) -> str:
    if mode.startswith("I"):
        return "16-bit"
    return COLOURS.get(mode, "transparent" if mode in ("RGBA", "RGBa") else mode)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE)))
