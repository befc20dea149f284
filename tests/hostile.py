"""Picture files that break careless programs, generated on the fly."""

import contextlib
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

ESCAPES = "\x1b[31m\n[red]x[/red]"


def write_hostile_pictures(folder: Path) -> list[Path]:
    """Write all of them below a folder and return their paths."""
    for name, content in {**_bombs(), **_truncated(), **_no_pictures(), **_strange(), **_mutated()}.items():
        (folder / name).write_bytes(content)
    _write_odd_files(folder)
    _write_odd_names(folder)
    return sorted(folder.iterdir())


def encode(picture: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the content of a picture file."""
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _photo(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b""
) -> bytes:
    """Return a PNG with any header and any compressed data."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bombs() -> dict[str, bytes]:
    """Small files that declare a huge picture, or decode to one."""
    jpeg = bytearray(encode(_photo(), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 65_535, 65_535)
    gif = bytearray(encode(_photo(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    bmp = bytearray(encode(_photo(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    negative = bytearray(encode(_photo(), "BMP"))
    negative[22:26] = struct.pack("<i", -(2**31))
    rows = zlib.compress(b"\0" * (22_000 * (22_000 // 8 + 1)), 9)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 22_000, 22_000, 1, 0, 0, 0, 0))
    inflating = b"k\0\0" + zlib.compress(b"x" * 50_000_000)
    frames = [Image.new("P", (32, 32), number % 256) for number in range(500)]
    solid = Image.new("RGB", (8_000, 6_120), (200, 30, 30))  # just below the limit of a JPEG
    smaller = solid.resize((5_000, 4_990))
    turned = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # EXIF: orientation 6
    scans = encode(smaller, "JPEG", progressive=True)
    return {
        "declared.png": png(2**31 - 1, 2**31 - 1),
        "black22000.png": b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b""),
        "declared.jpg": bytes(jpeg),
        "declared.gif": bytes(gif),
        "declared.bmp": bytes(bmp),
        "negative.bmp": bytes(negative),
        "declared.webp": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + b"\0" * 9,
        "frames.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "frames.webp": encode(frames[0].convert("RGB"), "WEBP", save_all=True, append_images=_photos(20)),
        "frames.png": encode(frames[0].convert("RGB"), "PNG", save_all=True, append_images=_photos(20)),
        "limit.jpg": encode(solid, "JPEG", quality=10),
        "limit-progressive444.jpg": encode(solid, "JPEG", quality=10, progressive=True, subsampling=0),
        "limit-rgba.png": encode(smaller.convert("RGBA"), "PNG", compress_level=1),
        "limit-palette.png": encode(smaller.quantize(4), "PNG", transparency=1, compress_level=1),
        "limit-deep.png": encode(Image.new("I;16", (5_000, 4_990), 900), "PNG", compress_level=1),
        "limit.webp": encode(solid.resize((4_000, 3_990)), "WEBP", quality=1, method=0),
        "limit-thin.png": encode(Image.new("LA", (400, 50_000), (9, 90)), "PNG", compress_level=1),
        "limit-thin-deep.png": png(400, 60_000, depth=16, colour=6, data=b"\0" * (3_201 * 60_000)),
        "limit-thin-cmyk.jpg": encode(Image.new("CMYK", (440, 60_000), 7), "JPEG", quality=10),
        "limit-thin-turned.jpg": encode(Image.new("RGB", (440, 65_000)), "JPEG", exif=turned),
        "limit-thin.tif": encode(Image.new("RGB", (400, 60_000)), "TIFF", compression="tiff_lzw"),
        "limit.avif": encode(smaller.resize((4_000, 4_500)), "AVIF", speed=10),
        "scans.jpg": scans[:-2] + scans[scans.rindex(b"\xff\xda") : -2] * 1_000 + scans[-2:],
        "chunks.png": png(8, 8, data=b"\0" * 200, extra=png_chunk(b"tEXt", b"") * 400_000),
        "comments.gif": encode(_photo(), "GIF")[:13] + b"!\xfe\0" * 3_000_000 + b";",
        "plain.ppm": b"P3 3000 3000 255\n" + b"1 " * 9_000,
        "limit.bmp": encode(Image.new("P", (5_000, 4_990)), "BMP"),
        "text.png": png(8, 8, data=b"\0" * 200, extra=png_chunk(b"zTXt", inflating)),
        "iccp.png": png(8, 8, data=b"\0" * 200, extra=png_chunk(b"iCCP", inflating)),
        "long.png": encode(Image.new("RGB", (1, 100_000)), "PNG"),
        "wide.jpg": encode(Image.new("RGB", (60_000, 1)), "JPEG"),
        "dot.png": encode(Image.new("RGB", (1, 1)), "PNG"),
        "nothing.png": png(0, 0),
    }


def _photos(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (32, 32), (number, 0, 0)) for number in range(count)]


def _wholes() -> dict[str, bytes]:
    return {
        "jpg": encode(_photo(), "JPEG"),
        "png": encode(_photo(), "PNG"),
        "gif": encode(_photo(), "GIF"),
        "bmp": encode(_photo(), "BMP"),
        "webp": encode(_photo(), "WEBP"),
    }


def _truncated() -> dict[str, bytes]:
    return {
        f"truncated-{part:02d}.{suffix}": content[: len(content) * part // 16]
        for suffix, content in _wholes().items()
        for part in range(16)
    }


def _no_pictures() -> dict[str, bytes]:
    """Files with the suffix of a picture that are something else."""
    tiff = encode(_photo(), "TIFF")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40
    archive = io.BytesIO(encode(_photo(), "JPEG"))
    with zipfile.ZipFile(archive, "a") as members:
        members.writestr("x.txt", "x")
    return {
        "empty.jpg": b"",
        "byte.jpg": b"\xff",
        "text.jpg": b"these are words",
        "page.jpg": b"<!DOCTYPE html><html><script>alert(1)</script>",
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "riff.webp": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        "tiff.jpg": tiff,
        "float.png": encode(Image.new("F", (9, 9), float("nan")), "TIFF"),
        "heic.jpg": heic,
        "avif.png": heic.replace(b"heic", b"avif"),
        "archive.jpg": archive.getvalue(),
        "zeros.bmp": b"BM" + b"\0" * 60,
    }


def _strange() -> dict[str, bytes]:
    """Rare kinds of pictures, valid and invalid."""
    jpeg = encode(_photo(), "JPEG")
    start = jpeg.index(b"\xff\xc0")
    length = struct.unpack(">H", jpeg[start + 2 : start + 4])[0] + 2
    frame = jpeg[start : start + length]
    larger = bytearray(frame)
    larger[5:9] = struct.pack(">HH", 60_000, 60_000)
    cmyk = encode(_photo(mode="CMYK"), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    broken = bytearray(encode(_photo(), "PNG"))
    broken[60] ^= 0xFF
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>", zip=True)
    found = {
        "jpeg.png": jpeg,
        "cmyk.jpg": cmyk,
        "ycck.jpg": cmyk.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
        "twelve-bit.jpg": jpeg[: start + 4] + b"\x0c" + jpeg[start + 5 :],
        "arithmetic.jpg": jpeg.replace(b"\xff\xc0", b"\xff\xc9", 1),
        "lossless.jpg": jpeg.replace(b"\xff\xc0", b"\xff\xc3", 1),
        "two-frames.jpg": jpeg[:start] + frame + bytes(larger) + jpeg[start + length :],
        "two-frames-larger-first.jpg": jpeg[:start] + bytes(larger) + frame + jpeg[start + length :],
        "no-scan.jpg": jpeg[: jpeg.index(b"\xff\xda")] + b"\xff\xd9",
        "exif-loop.jpg": jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop + jpeg[2:],
        "exif-cut.jpg": jpeg[:2] + b"\xff\xe1\xff\xff" + loop + jpeg[2:],
        "deep.png": encode(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 99), "PNG"),
        "palette.png": encode(_photo().quantize(9), "PNG", transparency=3),
        "crc.png": bytes(broken),
        "compressed-text.png": encode(_photo(), "PNG", pnginfo=info),
        "too-little-data.png": png(500, 500, data=b"\0" * 9),
        "bilevel.png": encode(_photo(mode="1"), "PNG"),
        "rle.bmp": encode(_photo().quantize(9), "BMP").replace(b"\x08\0\0\0\0\0", b"\x08\0\1\0\0\0", 1),
    }
    for orientation in range(10):
        exif[0x0112] = orientation
        found[f"orientation-{orientation}.jpg"] = encode(_photo(), "JPEG", exif=exif)
    return found


def _mutated() -> dict[str, bytes]:
    """Pictures with a few bytes changed."""
    random = np.random.default_rng(7)
    found = {}
    for suffix, content in _wholes().items():
        for number in range(30):
            changed = bytearray(content)
            for place in random.integers(0, len(content), random.integers(1, 9)):
                changed[place] = random.integers(0, 256)
            found[f"mutated-{number:02d}.{suffix}"] = bytes(changed)
    return found


def _write_odd_files(folder: Path) -> None:
    """Write what is not a regular file, or may not be read."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "secret.jpg").write_bytes(b"x")
    (folder / "secret.jpg").chmod(0)


def _write_odd_names(folder: Path) -> None:
    """Write files with names that mislead a careless terminal or shell; some are pictures, some are not."""
    picture = encode(_photo(), "PNG")
    for name in (ESCAPES.replace("/", "\\") + ".png", "-rf.png", "a" * 251 + ".png", "=cmd|' '!A1.png", " .png"):
        (folder / name).write_bytes(picture)
    (folder / ("bad" + ESCAPES.replace("/", "\\") + ".png")).write_bytes(b"x")
    with contextlib.suppress(OSError):  # not every file system takes these
        (folder / os.fsdecode(b"bad-\xff\xfe.png")).write_bytes(b"x")
