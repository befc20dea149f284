"""Speed of training steps, of our forms of a network and of Keras' own; processes of their own that take turns."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from keras_sepnets.config_files import make_config
from keras_sepnets.environment import describe_machine
from keras_sepnets.errors import FailedRunError, SepnetsError, last_line
from keras_sepnets.statistics import Ratio, compare_rounds

SIDES = ("accelerated", "accelerated bfloat16", "not accelerated", "keras.applications")
KERAS_HAS_WIDTHS = ("mobilenet", "mobilenet_v2")
CLASSES = 100
MATRIX = 2048  # rows of the square matrices whose product measures the machine
TIMES = 3  # multiply-adds of a training step over those of inference: forward, and both gradients


@dataclass(frozen=True)
class TrainingBenchmark:
    """What was measured."""

    model: str
    alpha: float
    image_size: int
    batch_size: int
    multiply_adds: int  # of a picture
    images_per_second: dict[str, list[float]]  # of each side, a number a round
    peak_gflops: list[float]  # of float32 matrix products, a number a round

    def ratio(self, side: str, reference: str) -> Ratio:
        """Return how many times as fast a side is as the reference."""
        return compare_rounds(self.images_per_second[side], self.images_per_second[reference])

    def peak_share(self, side: str) -> float:
        """Return at which share of the speed of matrix products a side works; one multiply-add is two flops."""
        flops = 2 * TIMES * self.multiply_adds * statistics.median(self.images_per_second[side])
        return flops / (1e9 * statistics.median(self.peak_gflops))

    @property
    def reference(self) -> str:
        """The side that the others are compared with."""
        return list(self.images_per_second)[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as `sepnets benchmark train --json` prints them."""
        return {
            "model": self.model,
            "alpha": self.alpha,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "multiply_adds": self.multiply_adds,
            "images_per_second": self.images_per_second,
            "peak_gflops": self.peak_gflops,
            "peak_share": {side: self.peak_share(side) for side in self.images_per_second},
            "reference": self.reference,
            "ratios": {side: self.ratio(side, self.reference)._asdict() for side in self.images_per_second},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            **describe_machine("tensorflow", "keras"),
        }


def benchmark_training(
    model: str,
    *,
    alpha: float = 1.0,
    image_size: int = 128,
    batch_size: int = 32,
    against_keras: bool = False,
    rounds: int = 5,
    seconds: float = 5.0,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingBenchmark:
    """Measure training steps on pictures in memory: AdamW, cross-entropy, top-1, as `sepnets train` does them.

    Args:
        model: A network's name.
        alpha: Its width multiplier.
        image_size: Height and width in pixels.
        batch_size: Pictures a step.
        against_keras: Whether Keras' own model with `fit` takes turns too, as the reference; else that is the
            network that is not accelerated.
        rounds: Turns of each side.
        seconds: Of a turn, at least; a turn has at least two steps.
        on_progress: Called with what is being done.

    Raises:
        SepnetsError: There is no such network, or Keras has none of this width.
        FailedRunError: A side could not be measured.
    """
    config = make_config({"model": {"name": model, "alpha": alpha}})
    if against_keras and alpha != 1 and model not in KERAS_HAS_WIDTHS:
        raise SepnetsError(f"keras.applications has {model} of alpha 1 only. Received: alpha={alpha}")
    sides = SIDES if against_keras else SIDES[:-1]
    task = {
        "model": config.model.model_dump(),
        "image_size": image_size,
        "batch_size": batch_size,
        "seconds": seconds,
    }
    measured: dict[str, list[float]] = {side: [] for side in sides}
    peaks = []
    with contextlib.ExitStack() as stack:
        workers = {}
        for side in sides:
            on_progress(f"building and tracing: {side}")
            workers[side] = stack.enter_context(_worker(task | {"side": side}))
        for number in range(rounds):
            on_progress(f"round {number + 1} of {rounds}")
            peaks.append(_peak_gflops())
            for side in sides:
                measured[side].append(_take_turn(workers[side], side))
        multiply_adds = int(_ask(workers[sides[0]], "multiply_adds", sides[0]))
    return TrainingBenchmark(model, alpha, image_size, batch_size, multiply_adds, measured, peaks)


@contextlib.contextmanager
def _worker(task: dict[str, Any]) -> Iterator[subprocess.Popen]:
    """Start a process that has built and traced a side and waits for its turns."""
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_sepnets.training_benchmark"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    try:
        _ask(process, json.dumps(task), task["side"])
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask(process: subprocess.Popen, question: str, side: str) -> str:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("the process has no pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{question}\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    if not answer.startswith("= "):
        raise FailedRunError(f"{side} could not be measured: {last_line(process.stderr.read())}")
    return answer[2:].strip()


def _take_turn(process: subprocess.Popen, side: str) -> float:
    return float(_ask(process, "go", side))


def _peak_gflops() -> float:
    random = np.random.default_rng(0)
    one, other = (random.random((MATRIX, MATRIX), np.float32) for _ in range(2))
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - begin)
    return 2 * MATRIX**3 / min(seconds) / 1e9


def _serve() -> None:
    """Build and trace a side, then answer each "go" with the images per second of a turn."""
    task = json.loads(input())
    steps, multiply_adds = _make_steps(task)
    steps(2)
    print("= ready", flush=True)  # noqa: T201  for the process that asks
    for question in sys.stdin:
        if question.strip() == "multiply_adds":
            print(f"= {multiply_adds}", flush=True)  # noqa: T201
            continue
        done, begin = 0, time.perf_counter()
        while done < 2 or time.perf_counter() - begin < task["seconds"]:
            steps(2)
            done += 2
        speed = done * task["batch_size"] / (time.perf_counter() - begin)
        print(f"= {speed}", flush=True)  # noqa: T201


def _make_steps(task: dict[str, Any]) -> tuple[Callable[[int], Any], int]:
    """Return what does so many training steps of a side, and the network's multiply-adds."""
    import keras
    import tensorflow as tf

    from keras_sepnets.acceleration import accelerate
    from keras_sepnets.config import TrainingConfig
    from keras_sepnets.cost import count_cost
    from keras_sepnets.models.registry import build_network
    from keras_sepnets.optimization import compile_model

    size, batch_size, side = task["image_size"], task["batch_size"], task["side"]
    config = make_config({"model": task["model"]}).model
    keras.utils.set_random_seed(0)
    pictures = tf.random.uniform([batch_size, size, size, 3], maxval=255.0)
    labels = tf.random.uniform([batch_size], maxval=CLASSES, dtype=tf.int32)
    batches = tf.data.Dataset.from_tensors((pictures, labels)).repeat()
    network = build_network(config, image_size=size, classes=CLASSES, seed=0)
    multiply_adds = count_cost(network).multiply_adds
    if side == "keras.applications":
        model = _keras_model(config.name, config.alpha, size)
        model.compile(keras.optimizers.AdamW(), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return lambda count: model.fit(batches, steps_per_epoch=count, verbose=0), multiply_adds
    if side != "not accelerated":
        network = accelerate(network, "bfloat16" if side.endswith("bfloat16") else "float32")
    compile_model(network, TrainingConfig(), steps_per_epoch=1000)
    network.make_train_function()
    iterator = iter(batches)

    def steps(count: int) -> None:
        for _ in range(count):
            loss = network.train_function(iterator)["loss"]
        float(loss)  # which waits for it

    return steps, multiply_adds


def _keras_model(name: str, alpha: float, size: int) -> Any:
    import keras

    builders = {
        "mobilenet": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
        "xception": keras.applications.Xception,
        "inception_v3": keras.applications.InceptionV3,
    }
    width = {"alpha": alpha} if name in KERAS_HAS_WIDTHS else {}
    return builders[name](weights=None, input_shape=(size, size, 3), classes=CLASSES, **width)


if __name__ == "__main__":
    _serve()
