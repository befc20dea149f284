import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_sepnets.data.pictures import decoding as pictures
from keras_sepnets.data.pictures.files import UnreadablePictureError, check_signatures, list_faults, read_header


def read_picture(path, shortest=1000):
    return pictures.read_picture(path, shortest)


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
    with pytest.raises(UnreadablePictureError, match="at most 25,000,000 pixels. Received: 9000x9000"):
        read_picture(bomb)


def test_checking_many_names_those_that_do_not_start_like_a_picture(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths[:3]:
        Image.fromarray(gradient()).save(path)
    paths[3].write_text("no picture")
    paths[4].write_bytes(b"")
    faults = list(check_signatures(map(str, [*paths, tmp_path / "none.png", tmp_path])))
    assert [(fault.path, fault.reason) for fault in faults] == [
        (str(paths[3]), "is not a JPEG, PNG, BMP, GIF or WebP picture"),
        (str(paths[4]), "is not a JPEG, PNG, BMP, GIF or WebP picture"),
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
        assert read_header("a", file).reduction(shortest) == reduction
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
        assert read_header("a", file).format == "JPEG"
    assert np.array_equal(read_picture(tmp_path / "a.jpg", 8), read_picture(tmp_path / "b.jpg", 8))


def test_the_header_of_a_png_is_read_without_decoding_it(tmp_path, monkeypatch):
    Image.fromarray(gradient()).save(tmp_path / "a.png")

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", refuse)
    with (tmp_path / "a.png").open("rb") as file:
        assert read_header("a", file).format == "PNG"
