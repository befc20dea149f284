"""No picture file causes a traceback, takes more than 5 s or 300 MB, or gets its escapes to the terminal."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hostile import encode, write_hostile_pictures
from PIL import Image

from keras_sepnets.cli import main

MOST_SECONDS, MOST_BYTES = 5.0, 300e6
READ_ALL = """
import json, sys, threading, time, psutil
from pathlib import Path
from keras_sepnets.data.pictures.decoding import read_picture
from keras_sepnets.data.pictures.files import UnreadablePictureError
from keras_sepnets.data.pictures.rules import PixelRules
from PIL import Image
import tensorflow as tf

rules = PixelRules(224)
folder, warm = map(Path, sys.argv[1:])
for file in sorted(warm.iterdir()):
    read_picture(file, rules)
process, peak = psutil.Process(), [0]
def watch():
    while True:
        this = peak  # the current file's
        this[0] = max(this[0], process.memory_info().rss)
        time.sleep(0.001)
threading.Thread(target=watch, daemon=True).start()
for file in sorted(folder.iterdir()):
    idle = process.memory_info().rss
    peak = [idle]
    begin = time.perf_counter()
    try:
        pixels = read_picture(file, rules)
        outcome = "read" if pixels.dtype == "uint8" and pixels.ndim == 3 and pixels.shape[2] == 3 else "wrong"
        del pixels
    except UnreadablePictureError as error:
        outcome = "refused" if str(error).isprintable() else f"unprintable {error!r}"
    print(json.dumps([file.name, outcome, time.perf_counter() - begin, peak[0] - idle]), flush=True)
"""


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_hostile_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def outcomes(hostile_folder, tmp_path_factory):
    """Outcome, seconds and memory growth of every file, read one after the other in a fresh process."""
    warm = tmp_path_factory.mktemp("warm")
    for suffix, name in ((".jpg", "JPEG"), (".png", "PNG"), (".webp", "WEBP")):
        (warm / f"a{suffix}").write_bytes(encode(Image.new("RGB", (9, 9)), name))
    command = [sys.executable, "-c", READ_ALL, str(hostile_folder), str(warm)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (outcome, seconds, growth) for name, outcome, seconds, growth in lines}


def test_every_file_is_read_or_refused_in_a_printable_sentence(outcomes, hostile_folder):
    assert len(outcomes) == len(list(hostile_folder.iterdir())) >= 300
    assert {outcome for outcome, _, _ in outcomes.values()} == {"read", "refused"}


def test_no_file_takes_long_or_much_memory(outcomes):
    slow = {name: seconds for name, (_, seconds, _) in outcomes.items() if seconds > MOST_SECONDS}
    large = {name: growth for name, (_, _, growth) in outcomes.items() if growth > MOST_BYTES}
    assert (slow, large) == ({}, {})


@pytest.mark.parametrize(
    "name",
    ["declared.png", "black22000.png", "declared.jpg", "declared.gif", "declared.bmp", "negative.bmp", "pipe.jpg",
     "zero.jpg", "dangling.jpg", "loop.jpg", "folder.jpg", "empty.jpg", "postscript.jpg", "drawing.png",
     "two-frames-larger-first.jpg", "scans.jpg", "chunks.png", "comments.gif", "plain.ppm",
     "truncated-15.jpg", "truncated-15.png", "too-little-data.png"],
)  # fmt: skip
def test_what_must_not_be_decoded_is_refused(outcomes, name):
    assert outcomes[name][0] == "refused"


@pytest.mark.parametrize(
    "name",
    ["limit.jpg", "limit-thin-cmyk.jpg", "limit-thin-turned.jpg", "limit-thin.png", "limit-thin-deep.png",
     "limit-thin.tif", "limit.avif", "text.png", "iccp.png",
     "limit-rgba.png", "jpeg.png", "cmyk.jpg", "deep.png", "palette.png", "frames.gif", "archive.jpg",
     "tiff.jpg", "long.png", "dot.png", "orientation-9.jpg", "exif-loop.jpg", "-rf.png"],
)  # fmt: skip
def test_what_is_merely_rare_is_read(outcomes, name):
    assert outcomes[name][0] == "read"


def test_a_run_that_skips_goes_through_them_all(hostile_folder, picture_folder, tmp_path, outcomes):
    from keras_sepnets.data.batches.splits import Splits
    from keras_sepnets.data.sources.opening import open_source
    from keras_sepnets.settings.schema import DataConfig

    root = tmp_path / "set"
    root.mkdir()
    (root / "hostile").symlink_to(hostile_folder)
    (root / "red").symlink_to(picture_folder / "red")
    source = open_source(f"folder:{root}", skip_bad=True)
    splits = Splits(source, DataConfig(image_size=16), memory=0)
    seen = sum(len(labels) for role in splits.parts for _, labels in splits.evaluation_batches(role, 16))
    listed = sum(source.num_examples(split) for split in source.splits)
    assert seen + len(splits.bad_pictures) == listed
    readable = sum(outcome == "read" for outcome, _, _ in outcomes.values())
    assert seen == readable + 20


def test_predict_names_the_file_in_one_line_without_its_escapes(hostile_folder, finished):
    (file,) = (file for file in hostile_folder.iterdir() if file.name.startswith("bad\x1b"))
    result = CliRunner().invoke(main, ["predict", str(finished.run.path), str(file)])
    assert result.exit_code == 2
    assert result.stderr.removesuffix("\n").isprintable()
    assert "[red]x" in result.stderr
    (file,) = (file for file in hostile_folder.iterdir() if file.name.startswith("\x1b"))
    result = CliRunner().invoke(main, ["predict", str(finished.run.path), str(file)])
    assert result.exit_code == 0
    assert result.stdout.removesuffix("\n").isprintable()
