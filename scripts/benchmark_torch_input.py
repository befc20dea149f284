"""Compare the input pipeline with a PyTorch DataLoader of 2 workers over the same JPEG files, in alternation.

Usage: python scripts/benchmark_torch_input.py [--pictures N] [--rounds N] [--seconds S]

Needs PyTorch besides this package: python -m pip install torch. The DataLoader's transforms do what those of
torchvision do with Pillow: random-resized crop (area 0.35 to 1, bilinear), mirror, brightness, contrast.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from keras_sepnets.benchmarks.input import BATCH_SIZE, generated_folder
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.settings.schema import DataConfig

SIZE = 224


class Pictures(Dataset):
    """JPEG files, varied like the preset "standard"."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return float32 (3, 224, 224) in 0..1."""
        picture = Image.open(self.paths[index]).convert("RGB")
        width, height = picture.size
        area, aspect = random.uniform(0.35, 1) * width * height, (4 / 3) ** random.uniform(-1, 1)
        wide, high = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
        left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
        box = (left, top, left + wide, top + high)
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.2))
        picture = ImageEnhance.Contrast(picture).enhance(random.uniform(0.8, 1.2))
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)


def endless(loader: DataLoader) -> Iterator[torch.Tensor]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def speed(batches: Iterator, seconds: float) -> float:
    """Return images per second of the second half of a turn."""
    for half in range(2):
        begin, images = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds / 2:
            next(batches)
            images += BATCH_SIZE
        if half:
            return images / (time.perf_counter() - begin)
    raise AssertionError


def measure(dataset: str, rounds: int, seconds: float) -> list[dict[str, float]]:
    """Return images per second of each side, round by round; when it returns, nothing reads the files any more."""
    source = open_source(dataset)
    loader = DataLoader(
        Pictures([path.decode() for path in source.paths("train")]),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    config = resolve_data(DataConfig(dataset=dataset, image_size=SIZE), source, default_size=SIZE)
    sides = {
        "torch": endless(loader),
        "streamed": iter(Splits(source, config, memory=0).training_batches(BATCH_SIZE, 10**6, seed=0)),
        "cached": iter(Splits(source, config).training_batches(BATCH_SIZE, 10**6, seed=0)),
    }
    return [{name: speed(side, seconds) for name, side in sides.items()} for _ in range(rounds)]


def main() -> None:
    """Measure all sides and print their speed relative to PyTorch's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    with generated_folder(options.pictures) as dataset:
        rounds = measure(dataset, options.rounds, options.seconds)
    for name in rounds[0]:
        speeds = [speeds[name] for speeds in rounds]
        ratios = [speeds[name] / speeds["torch"] for speeds in rounds]
        print(
            f"{name:<9} {statistics.median(speeds):6.0f} images/s, "
            f"{statistics.median(ratios):.2f} times PyTorch's ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
