import io

import numpy as np
import pytest
from PIL import Image

from keras_sepnets.data.pictures import UnreadablePictureError, check_pictures, read_picture


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
def test_what_is_no_picture_is_named(tmp_path, content, reason):
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
    with pytest.raises(UnreadablePictureError, match="at most 64,000,000 pixels. Received: 9000x9000"):
        read_picture(bomb)


def test_checking_many_names_the_first_and_counts_the_rest(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths[:3]:
        Image.fromarray(gradient()).save(path)
    check_pictures(paths[:3])
    for path in paths[3:]:
        path.write_text("no picture")
    with pytest.raises(UnreadablePictureError, match=r"3\.png.*\(1 more files"):
        check_pictures(paths)
