"""Speed of the input pipeline beside a naive one; the sides take turns, so that a busy machine slows them all."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tensorflow as tf
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.intervals import Ratio, compare_rounds
from keras_sepnets.base.machine import describe_machine
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.tuning.turns import take_turns

BATCH_SIZE = 32
WARM_UP = 0.5  # share of a turn that is not counted: batches that were ready, threads that wake up
GENERATED_SIZE = (500, 375)  # px, about ImageNet's mean
DISTINCT = 100  # pictures of a generated folder; its other files are links to them
STEPS_PER_EPOCH = 10**6  # the epoch's end plays no part


@dataclass(frozen=True)
class InputBenchmark:
    """What was measured."""

    source: str
    num_examples: int
    image_size: int
    augmentation: str
    first_batch_seconds: float  # from the name of the data set to its first batch, nothing kept decoded
    images_per_second: dict[str, list[float]]  # of each side, a number a round
    memory_growth_bytes: int | None  # of the peak over the resident memory after the first batch

    def ratio(self, side: str, reference: str) -> Ratio:
        """Return how many times as fast a side is as the reference."""
        return compare_rounds(self.images_per_second[side], self.images_per_second[reference])

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as `sepnets benchmark input --json` prints them."""
        sides = self.images_per_second
        references = [side for side in sides if side.startswith("naive")]
        return {
            "source": self.source,
            "num_examples": self.num_examples,
            "image_size": self.image_size,
            "augmentation": self.augmentation,
            "first_batch_seconds": self.first_batch_seconds,
            "memory_growth_bytes": self.memory_growth_bytes,
            "images_per_second": sides,
            "ratios": {
                f"{side} / {reference}": self.ratio(side, reference)._asdict()
                for reference in references
                for side in sides
                if side not in references
            },
            "date": datetime.now(UTC).date().isoformat(),
            **describe_machine("tensorflow"),
        }


def benchmark_input(
    dataset: str,
    *,
    image_size: int = 224,
    augment: str | None = None,
    against_naive: bool = False,
    rounds: int = 5,
    seconds: float = 3.0,
    read_all: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> InputBenchmark:
    """Measure how fast training batches come.

    Args:
        dataset: `folder:PATH`, `manifest:FILE` or a TFDS name.
        image_size: Height and width of the batches in pixels.
        augment: A preset; None for what fits the data set.
        against_naive: Whether to measure a naive pipeline over the same files too: list, read and decode, resize,
            flip and batch, one map each; as TensorFlow runs it, and one step after the other.
        rounds: Turns of each side.
        seconds: Length of a turn; its first half is not counted.
        read_all: Whether to read every picture once, streamed, and tell how memory grows.
        on_progress: Called with a few words about what is measured.

    Returns:
        Images per second of every side. "streamed" reads and decodes every picture anew; "cached" has them decoded
        in memory and is left out where they do not fit.

    Raises:
        SepnetsError: The data set cannot be used, or has no files that a naive pipeline could read.
    """
    on_progress("first batch")
    begin = time.perf_counter()
    source = open_source(dataset)
    settings = load_config(options={"data.image_size": image_size, "data.augment": augment})
    config = resolve_data(settings.data, source, default_size=image_size)
    splits = Splits(source, config, memory=0)
    streamed = splits.training_batches(BATCH_SIZE, STEPS_PER_EPOCH, seed=0)
    first = iter(streamed)
    with splits.translated_failures():
        next(first)
    first_batch_seconds = time.perf_counter() - begin
    growth = None
    if read_all:
        on_progress("reading every picture once")
        growth = _memory_growth(first, splits.num_examples("train") // BATCH_SIZE)
    del first
    sides = {"streamed": streamed}
    kept = Splits(source, config)
    if "in memory" in kept.place:
        on_progress("decoding all pictures")
        sides["cached"] = kept.training_batches(BATCH_SIZE, STEPS_PER_EPOCH, seed=0)
        with kept.translated_failures():  # of more than 5,000 files each is kept when it first comes up
            for _ in sides["cached"].take(1 + kept.num_examples("train") // BATCH_SIZE):
                pass
    if against_naive:
        paths = source.paths("train")
        if paths is None:
            raise SepnetsError(
                "A naive pipeline reads picture files; name a folder:PATH or manifest:FILE to compare with it. "
                f"Received: {dataset}"
            )
        sides["naive"] = _naive_batches(paths, image_size, parallel=True)
        sides["naive, sequential"] = _naive_batches(paths, image_size, parallel=False)
    return InputBenchmark(
        source=source.name,
        num_examples=splits.num_examples("train"),
        image_size=image_size,
        augmentation=f"{config.augment} ({config.augmentation.describe() if config.augmentation else ''})",
        first_batch_seconds=first_batch_seconds,
        images_per_second=take_turns(
            {name: partial(_measure_once, iter(batches), seconds) for name, batches in sides.items()},
            rounds=rounds,
            on_round=lambda number: on_progress(f"round {number} of {rounds}"),
        ),
        memory_growth_bytes=growth,
    )


@contextlib.contextmanager
def generated_folder(count: int) -> Iterator[str]:
    """Give the name of a data set of `count` JPEG files of 500x375 px in 10 classes, for as long as it is used."""
    with tempfile.TemporaryDirectory(prefix="sepnets-benchmark-") as root:
        originals = Path(root) / ".originals"
        originals.mkdir()
        files = [originals / f"{number}.jpg" for number in range(min(DISTINCT, count))]
        random = np.random.default_rng(0)
        for file in files:
            _draw_photo(random).save(file, quality=90)
        for number in range(count):
            folder = Path(root) / f"class-{number % 10}"
            folder.mkdir(exist_ok=True)
            os.link(files[number % len(files)], folder / f"{number:06d}.jpg")
        yield f"folder:{root}"


def _draw_photo(random: np.random.Generator) -> Image.Image:
    """Return smooth colours with some noise, which make a JPEG of about 94 kB, as a photo does."""
    width, height = GENERATED_SIZE
    colours = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(colours.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((smooth + random.normal(0, 12, (height, width, 1))).clip(0, 255).astype(np.uint8))


def _naive_batches(paths: np.ndarray, image_size: int, *, parallel: bool) -> tf.data.Dataset:
    """Return what a tutorial's pipeline gives."""
    options = tf.data.Options()
    options.experimental_optimization.map_parallelization = parallel  # TensorFlow's default is to do it
    return (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(lambda path: tf.io.decode_jpeg(tf.io.read_file(path), channels=3))
        .map(lambda picture: tf.image.resize(picture, (image_size, image_size)))
        .map(tf.image.random_flip_left_right)
        .repeat()
        .batch(BATCH_SIZE)
        .with_options(options)
    )


def _measure_once(batches: Iterator, seconds: float) -> float:
    """Return images per second of the second half of a turn."""
    _read_for(batches, seconds * WARM_UP)
    return _read_for(batches, seconds * (1 - WARM_UP))


def _read_for(iterator: Iterator, seconds: float) -> float:
    """Return images per second."""
    begin, images = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds or not images:
        next(iterator)
        images += BATCH_SIZE
    return images / passed


def _memory_growth(iterator: Iterator, batches: int) -> int:
    """Return by how many bytes the resident memory grows at most over its start while batches are read."""
    process = psutil.Process()
    start = peak = process.memory_info().rss
    for _ in range(batches):
        next(iterator)
        peak = max(peak, process.memory_info().rss)
    return peak - start
