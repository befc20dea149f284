"""Speed of the input pipeline and of a naive one, which take turns, so that a busy machine slows both alike."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import numpy as np
import psutil
import tensorflow as tf
from PIL import Image
from pydantic import Field, computed_field

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.temporary import temporary_folder
from keras_sepnets.benchmarks.speeds import Speeds
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.data.sources.source import Source
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.tuning.turns import take_turns

BATCH_SIZE = 32
WARM_UP = 0.5  # share of a turn that does not count: buffered batches, threads that wake up
GENERATED_SIZE = (500, 375)  # px, about ImageNet's mean
DISTINCT = 100  # pictures of a generated folder; its other files are hard links to them
STEPS_PER_EPOCH = 10**6  # so that no epoch ends


class InputBenchmark(Speeds):
    """Speed of the input pipeline."""

    source: str
    """Full name of the data set."""
    num_examples: int
    """Training examples."""
    image_size: int
    """Height and width of the batches in pixels."""
    augmentation: str
    """Preset, and what it varies."""
    first_batch_seconds: float
    """Time from the name of the data set to its first batch, with nothing cached."""
    memory_growth_bytes: int | None
    """Peak of the resident memory over that after the first batch; null if it was not measured."""
    date: str = Field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    """When it was measured, in UTC."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """Speed relative to each naive side, "SIDE / SIDE": median, lowest and highest of the rounds."""
        naive = [side for side in self.images_per_second if side.startswith("naive")]
        return {
            f"{side} / {reference}": self.ratio(side, reference)._asdict()
            for reference in naive
            for side in self.images_per_second
            if side not in naive
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
    on_progress: Callable[[str], None] = lambda _text: None,
) -> InputBenchmark:
    """Measure the speed of training batches.

    Args:
        dataset: `folder:PATH`, `manifest:FILE` or a TFDS name.
        image_size: Height and width of the batches in pixels.
        augment: Name of a preset; None for the one that suits the data set.
        against_naive: Whether to measure a naive pipeline over the same files too: list, read and decode, resize,
            flip and batch, one map each, both as TensorFlow runs it and strictly sequential.
        rounds: Turns per side.
        seconds: Length of a turn; its first half does not count.
        read_all: Whether to read every picture once, streamed, and measure how memory grows.
        on_progress: Called with a description of each stage.

    Returns:
        Images per second of every side. "streamed" reads and decodes every picture anew; "cached" keeps them
        decoded in memory, and is left out where they do not fit.

    Raises:
        SepnetsError: The data set cannot be used, or has no files for a naive pipeline to read.
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
    naive = _naive_sides(source, dataset, image_size) if against_naive else {}
    growth = None
    if read_all:
        on_progress("reading every picture once")
        growth = _memory_growth(first, splits.num_examples("train") // BATCH_SIZE)
    del first
    sides = {"streamed": streamed}
    kept = Splits(source, config)
    if "in memory" in kept.place:
        on_progress("decoding all pictures")
        sides["cached"] = _cached_batches(kept)
    sides |= naive
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


def _cached_batches(splits: Splits) -> tf.data.Dataset:
    """Return training batches of which every picture has been decoded once."""
    batches = splits.training_batches(BATCH_SIZE, STEPS_PER_EPOCH, seed=0)
    with splits.translated_failures():  # of more than 5,000 files, each is decoded when it first comes up
        for _ in batches.take(1 + splits.num_examples("train") // BATCH_SIZE):
            pass
    return batches


def _naive_sides(source: Source, dataset: str, image_size: int) -> dict[str, tf.data.Dataset]:
    paths = source.paths("train")
    if paths is None:
        raise SepnetsError(
            "A naive pipeline reads picture files; name a folder:PATH or manifest:FILE to compare with it. "
            f"Received: {dataset}"
        )
    return {
        "naive": _naive_batches(paths, image_size, parallel=True),
        "naive, sequential": _naive_batches(paths, image_size, parallel=False),
    }


@contextlib.contextmanager
def generated_folder(count: int) -> Iterator[str]:
    """Make a temporary folder of `count` JPEG files of 500x375 px in 10 classes; yield its data set's name."""
    with temporary_folder() as root:
        originals = root / ".originals"
        originals.mkdir()
        files = [originals / f"{number}.jpg" for number in range(min(DISTINCT, count))]
        random = np.random.default_rng(0)
        for file in files:
            _draw_photo(random).save(file, quality=90)
        for number in range(count):
            folder = root / f"class-{number % 10}"
            folder.mkdir(exist_ok=True)
            os.link(files[number % len(files)], folder / f"{number:06d}.jpg")
        yield f"folder:{root}"


def _draw_photo(random: np.random.Generator) -> Image.Image:
    """Return smooth colours with noise, which take about 94 kB as a JPEG, like a photo."""
    width, height = GENERATED_SIZE
    colours = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(colours.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((smooth + random.normal(0, 12, (height, width, 1))).clip(0, 255).astype(np.uint8))


def _naive_batches(paths: np.ndarray, image_size: int, *, parallel: bool) -> tf.data.Dataset:
    """Return the batches of a tutorial's pipeline."""
    options = tf.data.Options()
    options.experimental_optimization.map_parallelization = parallel  # on by default
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
    """Return the most bytes by which the resident memory exceeds that at the start while batches are read."""
    process = psutil.Process()
    start = peak = process.memory_info().rss
    for _ in range(batches):
        next(iterator)
        peak = max(peak, process.memory_info().rss)
    return peak - start
