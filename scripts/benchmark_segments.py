"""Time a training step of segmented convolutions: separate convolutions (ours) against Keras' grouped ones.

Usage: python scripts/benchmark_segments.py [--rounds N] [--segments K ...]

Four 3x3 convolutions of 64 channels on 24x24 px, batch 32. Both forms alternate in one process. Prints the medians
over the rounds and the ratio of the medians, with the range of the rounds' ratios.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

from keras_sepnets.models.blocks import segmented_convolution

CHANNELS, SIZE, BATCH = 64, 24, 32


def build(segments: int, *, grouped: bool) -> keras.Model:
    """Return a compiled stack of four convolutions, grouped or separate."""
    x = inputs = keras.Input((SIZE, SIZE, CHANNELS))
    for number in range(4):
        if grouped:
            x = layers.Conv2D(CHANNELS, 3, padding="same", groups=segments, use_bias=False)(x)
        else:
            x = segmented_convolution(x, segments, name=f"conv{number}")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    model.compile("sgd", "mse")
    return model


def seconds(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Return the duration of one training step."""
    begin = time.perf_counter()
    model.train_on_batch(x, y)
    return time.perf_counter() - begin


def main() -> None:
    """Time both forms in alternation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, nargs="+", default=[2, 4, 16])
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    x = random.random((BATCH, SIZE, SIZE, CHANNELS), dtype=np.float32)
    y = random.random((BATCH, CHANNELS), dtype=np.float32)
    print(f"Keras {keras.version()}, backend {keras.backend.backend()}")
    for segments in arguments.segments:
        models = [build(segments, grouped=grouped) for grouped in (False, True)]
        for model in models:
            seconds(model, x, y)  # traces
        rounds = np.array([[seconds(model, x, y) for model in models] for _ in range(arguments.rounds)])
        separate, grouped = np.median(rounds, axis=0)
        ratios = rounds[:, 1] / rounds[:, 0]
        print(
            f"{segments} segments: separate {separate:.3f} s, grouped {grouped:.3f} s a step, "
            f"ratio {grouped / separate:.1f} ({ratios.min():.1f} to {ratios.max():.1f})"
        )


if __name__ == "__main__":
    main()
