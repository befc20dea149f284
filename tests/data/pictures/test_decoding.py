import io
import time
import zlib

import numpy as np
import pytest
from hostile import png, png_chunk
from PIL import Image, ImageOps

from keras_sepnets.data.pictures import decoding as pictures
from keras_sepnets.data.pictures.files import UnreadablePictureError, check_signatures, list_faults
from keras_sepnets.data.pictures.formats import KINDS, is_picture
from keras_sepnets.data.pictures.headers import read_header
from keras_sepnets.data.pictures.rules import PixelRules


def read_picture(path, shortest=1000):
    return pictures.read_picture(path, PixelRules(shortest))


def gradient(height=20, width=30):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 8, columns * 6, 255 - rows * 8], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".gif", ".jpg"])
def test_reads_every_format_as_rgb(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(gradient()).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    pixels = read_picture(path)
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    difference = np.abs(pixels.astype(int) - gradient()).mean()
    assert difference == 0 if suffix in (".png", ".bmp", ".webp") else difference < 10


def test_grey_becomes_rgb(tmp_path):
    grey = gradient()[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.stack([grey] * 3, axis=-1))


def test_of_16_bit_grey_the_high_byte_counts(tmp_path):
    grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png")[..., 0], grey >> 8)


def test_transparency_is_laid_over_white(tmp_path):
    pixels = np.dstack([gradient(), np.zeros((20, 30), np.uint8)])
    pixels[:10, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert np.array_equal(read[:10], gradient()[:10])
    assert (read[10:] == 255).all()


def test_palette_is_resolved(tmp_path):
    picture = Image.fromarray(gradient()).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.asarray(picture.convert("RGB")))


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to view
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.rot90(gradient(), -1))


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_picture(tmp_path / "a.gif") == (255, 0, 0)).all()


def truncated(fraction):
    file = io.BytesIO()
    Image.fromarray(gradient(200, 300)).save(file, "JPEG")
    return file.getvalue()[: int(len(file.getvalue()) * fraction)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a JPEG, PNG"),
        (b"these are words", "is not a JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a JPEG, PNG"),
        (truncated(0.5), "truncated"),
        (truncated(0.02), "a.jpg"),
        (None, "does not exist"),
    ],
)
def test_what_is_not_a_picture_is_named(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadablePictureError, match=reason):
        read_picture(path)


def test_folders_and_huge_pictures_are_refused_before_decoding(tmp_path):
    with pytest.raises(UnreadablePictureError):
        read_picture(tmp_path)
    bomb = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(bomb)
    with pytest.raises(UnreadablePictureError, match="at most 50,000,000 pixels.* Received: 9000x9000"):
        read_picture(bomb)


def test_checking_many_names_those_that_do_not_start_like_a_picture(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths[:3]:
        Image.fromarray(gradient()).save(path)
    paths[3].write_text("no picture")
    paths[4].write_bytes(b"")
    faults = list(check_signatures(map(str, [*paths, tmp_path / "none.png", tmp_path])))
    assert [(fault.path, fault.reason) for fault in faults] == [
        (str(paths[3]), f"is not a {KINDS} picture"),
        (str(paths[4]), f"is not a {KINDS} picture"),
        (str(tmp_path / "none.png"), "does not exist"),
        (str(tmp_path), "is not a regular file"),
    ]
    assert list_faults(faults[:1]) == str(faults[0])
    assert list_faults(faults * 4).startswith("16 files cannot be used")
    assert list_faults(faults * 4).endswith("; and 6 more.")


def encode(picture, file_format="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}]
)
def test_tensorflow_decodes_to_the_same_pixels_as_pillow(tmp_path, mode, options):
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode(Image.fromarray(noise).convert(mode), **options))
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))
    assert np.array_equal(read_picture(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_is_that_of_pillow(tmp_path, file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(encode(Image.fromarray(gradient()), file_format, exif=exif))
    with Image.open(tmp_path / "a") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert np.array_equal(read_picture(tmp_path / "a"), expected)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("shortest", "reduction"), [(400, 1), (201, 1), (200, 2), (100, 4), (51, 4), (50, 8), (3, 8)]
)
def test_large_pictures_are_reduced_as_far_as_the_shorter_side_allows(tmp_path, file_format, shortest, reduction):
    picture = Image.fromarray(np.roll(gradient(), 5, 0)).resize((500, 401), Image.Resampling.BICUBIC)
    (tmp_path / "a").write_bytes(encode(picture, file_format))
    pixels = read_picture(tmp_path / "a", shortest)
    assert pixels.shape == (-(-401 // reduction), -(-500 // reduction), 3)
    with (tmp_path / "a").open("rb") as file:
        assert read_header("a", file, PixelRules(8)).reduction(shortest) == reduction
    expected = np.asarray(picture.resize(pixels.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels - expected).mean() < 2.5


def test_cmyk_is_converted_as_pillow_does(tmp_path):
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "a.jpg")
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))
    assert np.array_equal(read_picture(tmp_path / "a.jpg"), expected)


def test_a_reduced_transparent_palette_is_laid_over_white(tmp_path):
    pixels = np.zeros((80, 80), np.uint8)
    pixels[:, 40:] = 1
    picture = Image.fromarray(pixels, "P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png", transparency=1)
    read = read_picture(tmp_path / "a.png", 10)
    assert read.shape == (10, 10, 3)
    assert (read[:, :5] == (255, 0, 0)).all()
    assert (read[:, 5:] == 255).all()


def test_a_jpeg_with_several_pictures_is_an_ordinary_jpeg(tmp_path):
    """Phones store a second picture; Pillow calls the format MPO then."""
    first, second = Image.fromarray(gradient()), Image.fromarray(gradient()[::-1])
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    first.save(tmp_path / "b.jpg", quality=95)
    assert Image.open(tmp_path / "a.jpg").format == "MPO"
    with (tmp_path / "a.jpg").open("rb") as file:
        assert read_header("a", file, PixelRules(8)).format == "JPEG"
    assert np.array_equal(read_picture(tmp_path / "a.jpg", 8), read_picture(tmp_path / "b.jpg", 8))


def test_the_header_of_a_png_is_read_without_decoding_it(tmp_path, monkeypatch):
    Image.fromarray(gradient()).save(tmp_path / "a.png")

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", refuse)
    with (tmp_path / "a.png").open("rb") as file:
        assert read_header("a", file, PixelRules(8)).format == "PNG"


DEEP = {"grey": (0, 1), "grey with opacity": (4, 2), "RGB": (2, 3), "RGBA": (6, 4)}


def deep_png(values, colour):
    """Return a 16-bit PNG of any colour type; Pillow writes only grey ones."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], depth=16, colour=colour, data=rows)


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("reduction", [1, 2])
def test_16_bit_pngs_of_every_colour_type_keep_their_high_byte_or_are_stretched(tmp_path, kind, reduction):
    colour, channels = DEEP[kind]
    values = np.random.default_rng(0).integers(0, 256, (40, 60, channels)).astype(np.uint16)
    values[..., channels - (channels in (2, 4)) :] = 65_535
    (tmp_path / "a.png").write_bytes(deep_png(values, colour))
    shortest = 40 // reduction
    assert read_picture(tmp_path / "a.png", shortest).max() == 0
    read = pictures.read_picture(tmp_path / "a.png", PixelRules(shortest, black=0.0, white=255.0))
    bytes_ = Image.fromarray(values[..., 0 if channels < 3 else slice(3)].astype(np.uint8)).convert("RGB")
    assert np.array_equal(read, np.asarray(bytes_.reduce(reduction)))
    found = pictures.read_deep_values(tmp_path / "a.png", PixelRules(1))
    assert np.array_equal(found, values[..., : channels - (channels in (2, 4))])


@pytest.mark.parametrize(
    ("name", "file_format"),
    [("a.tif", "TIFF"), ("a.tiff", "TIFF"), ("a.ppm", "PPM"), ("a.dib", "BMP"), ("a", "PNG"), ("a.avif", "AVIF")],
)
def test_other_formats_are_read_by_their_content(tmp_path, name, file_format):
    options = {"quality": 100, "subsampling": "4:4:4"} if file_format == "AVIF" else {}
    (tmp_path / name).write_bytes(encode(Image.fromarray(gradient()), file_format, **options))
    assert is_picture(tmp_path / name)
    assert not list(check_signatures([str(tmp_path / name)]))
    assert np.abs(read_picture(tmp_path / name).astype(int) - gradient()).max() <= (3 if options else 0)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("L", "PPM"), ("1", "PPM"), ("1", "TIFF"), ("CMYK", "TIFF"), ("LA", "TIFF")]
)
def test_grey_bilevel_and_cmyk_pictures_of_other_formats_become_rgb(tmp_path, mode, file_format):
    picture = Image.fromarray(gradient()).convert(mode)
    (tmp_path / "a").write_bytes(encode(picture, file_format))
    assert np.array_equal(read_picture(tmp_path / "a"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_tiff_of_any_compression_and_orientation_is_that_of_pillow(tmp_path, compression, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.tif").write_bytes(
        encode(Image.fromarray(gradient()), "TIFF", compression=compression, exif=exif)
    )
    with Image.open(tmp_path / "a.tif") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert np.array_equal(read_picture(tmp_path / "a.tif"), expected)


def test_which_files_are_pictures_follows_from_the_suffix_or_the_first_bytes(tmp_path):
    for name in ("a.JFIF", "a.jpe", "a.pnm", "a.heic", "none", "words", "a.txt", ".hidden.jpg", "a.jpg.bak"):
        (tmp_path / name).write_bytes(b"words" if name == "words" else encode(Image.fromarray(gradient())))
    found = {file.name for file in tmp_path.iterdir() if is_picture(file)}
    assert found == {"a.JFIF", "a.jpe", "a.pnm", "a.heic", "none"}


def test_heic_is_called_so_where_it_cannot_be_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
    (fault,) = check_signatures([str(tmp_path / "a.jpg")])
    assert fault.reason == "is a HEIC picture, which is read only where pillow-heif is installed"
    with pytest.raises(UnreadablePictureError, match="is a HEIC picture"):
        read_picture(tmp_path / "a.jpg")


BROKEN_EXIF = (
    b"Exif\0\0",
    b"Exif\0\0MM\0*\0\0\xff\xff",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
    b"no EXIF at all",
)


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_costs_no_pixels(tmp_path, file_format, exif):
    options = {"lossless": True} if file_format == "WEBP" else {}
    plain = encode(Image.fromarray(gradient()), file_format, **options)
    (tmp_path / "a").write_bytes(encode(Image.fromarray(gradient()), file_format, exif=exif, **options))
    assert np.array_equal(read_picture(tmp_path / "a"), np.asarray(Image.open(io.BytesIO(plain)).convert("RGB")))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"tEXt", b"iTXt"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_no_amount_of_text_or_colour_profile_in_a_png_costs_its_pixels(tmp_path, kind, place):
    text = b"key\0" + (zlib.compress(b"x" * 5_000_000) if kind in (b"zTXt", b"iCCP") else b"x" * 2_000_000)
    chunk = png_chunk(kind, text[:4] + b"\0" + text[4:])
    content = encode(Image.fromarray(gradient()), "PNG")
    at = content.index(b"IDAT" if place == "before" else b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:at] + chunk + content[at:])
    assert np.array_equal(read_picture(tmp_path / "a.png"), gradient())


def test_imagemagicks_exif_in_the_text_of_a_png_turns_the_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = exif.tobytes()
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    content = encode(Image.fromarray(gradient()), "PNG")
    chunk = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert np.array_equal(read_picture(tmp_path / "a.png"), gradient()[::-1, ::-1])


def test_a_png_of_very_many_chunks_is_refused_before_it_is_decoded(tmp_path):
    content = encode(Image.fromarray(gradient()), "PNG")
    (tmp_path / "a.png").write_bytes(content[:-12] + png_chunk(b"tEXt", b"") * 400_000 + content[-12:])
    begin = time.perf_counter()
    with pytest.raises(UnreadablePictureError, match="at most 50,000 chunks"):
        read_picture(tmp_path / "a.png")
    assert time.perf_counter() - begin < 1


def with_scans(count):
    """Return a progressive JPEG whose last scan is repeated."""
    content = encode(Image.fromarray(gradient(200, 300)), progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + content[-2:]


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "a.jpg").write_bytes(with_scans(1_000))
    with pytest.raises(UnreadablePictureError, match="at most 50 scans"), (tmp_path / "a.jpg").open("rb") as file:
        read_header(tmp_path / "a.jpg", file, PixelRules(8))
    content = with_scans(1)
    (tmp_path / "a.jpg").write_bytes(content[:2] + b"\xff\xfe\0\2" * 100_000 + content[2:])
    with pytest.raises(UnreadablePictureError, match="at most 10,000 segments"):
        read_picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(with_scans(20))
    assert read_picture(tmp_path / "b.jpg").shape == (200, 300, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 20}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_last_marker_is_read_and_one_that_lacks_more_is_not(tmp_path, mode, options):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise).convert(mode), **options)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    for lacking in (1, 2):
        (tmp_path / "a.jpg").write_bytes(content[:-lacking])
        assert np.array_equal(read_picture(tmp_path / "a.jpg"), expected)
    for length in (len(content) - 12, len(content) * 9 // 10, len(content) // 2):
        (tmp_path / "a.jpg").write_bytes(content[:length])
        with pytest.raises(UnreadablePictureError, match="truncated"):
            read_picture(tmp_path / "a.jpg")


def test_what_follows_a_jpeg_is_ignored_even_where_it_looks_like_scans(tmp_path):
    content = encode(Image.fromarray(gradient()), progressive=True)
    (tmp_path / "a.jpg").write_bytes(content + b"\xff\xda\0\2" * 5_000)
    assert np.array_equal(
        read_picture(tmp_path / "a.jpg"), np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    )


def test_a_large_cmyk_jpeg_is_decoded_at_a_reduced_size(tmp_path):
    picture = Image.fromarray(np.roll(gradient(), 5, 0)).resize((500, 401), Image.Resampling.BICUBIC)
    (tmp_path / "a.jpg").write_bytes(encode(picture.convert("CMYK"), quality=95))
    read = read_picture(tmp_path / "a.jpg", 50)
    assert read.shape == (51, 63, 3)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB").resize((63, 51), Image.Resampling.BOX))
    assert np.abs(read.astype(int) - expected).mean() < 3


def declared(width, height, **options):
    """Return the start of a JPEG that declares this size."""
    content = bytearray(encode(Image.fromarray(gradient()), **options))
    place = content.index(b"\xff\xc2" if options else b"\xff\xc0") + 5
    content[place : place + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(content)


@pytest.mark.parametrize(
    ("width", "height", "options", "rules", "fault"),
    [
        (12_000, 9_000, {}, PixelRules(256), ""),  # a phone's 108 megapixels
        (16_320, 12_240, {}, PixelRules(256), ""),  # 200 megapixels
        (12_000, 9_000, {}, PixelRules(9_000), "would take 324.* MB to decode"),
        (12_000, 9_000, {"progressive": True}, PixelRules(256), "MB to decode"),
        (12_000, 9_000, {"progressive": True}, PixelRules(256, max_megapixels=108.0), ""),
        (12_000, 9_000, {}, PixelRules(256, max_megapixels=100.0), "at most 100,000,000 pixels"),
        (20_000, 20_000, {}, PixelRules(256), "at most 250,000,000 pixels"),
    ],
)
def test_the_limit_of_a_jpeg_is_that_of_its_decoding(width, height, options, rules, fault):
    file = io.BytesIO(declared(width, height, **options))
    if not fault:
        assert read_header("a", file, rules).width == width
        return
    with pytest.raises(UnreadablePictureError, match=fault):
        read_header("a", file, rules)
