"""Speed of training steps, of our forms of a network and of Keras' own; processes of their own that take turns."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from keras_sepnets.config_files import make_config
from keras_sepnets.environment import describe_machine
from keras_sepnets.errors import FailedRunError, SepnetsError, last_line
from keras_sepnets.huge_pages import huge_page_settings
from keras_sepnets.statistics import Ratio, compare_rounds

FORMS: dict[str, dict[str, Any]] = {  # side -> settings of the training
    "accelerated": {"accelerate": "on"},
    "accelerated, bfloat16": {"accelerate": "on", "precision": "bfloat16"},
    "accelerated, one thread an operation": {"accelerate": "on", "intra_op_threads": 1},
    "not accelerated": {"accelerate": "off"},
}
KERAS = "keras.applications"  # the side of Keras' own network and fit
PROGRAM = (sys.executable, "-m", "keras_sepnets.training_benchmark")
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
    task = {
        "model": config.model.model_dump(),
        "training": {},
        "image_size": image_size,
        "batch_size": batch_size,
        "classes": CLASSES,
        "seconds": seconds,
    }
    tasks = {side: task | {"training": settings} for side, settings in FORMS.items()}
    if against_keras:
        tasks[KERAS] = task | {"training": None}
    turns = take_turns(tasks, rounds=rounds, on_progress=on_progress)
    return TrainingBenchmark(
        model, alpha, image_size, batch_size, turns.multiply_adds, turns.images_per_second, turns.peak_gflops
    )


class Turns(NamedTuple):
    """What sides came to that took turns."""

    images_per_second: dict[str, list[float]]  # of each side, a number a round
    peak_gflops: list[float]  # of float32 matrix products, a number a round
    multiply_adds: int  # of a picture


def take_turns(
    tasks: dict[str, dict[str, Any]],
    *,
    rounds: int,
    programs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Turns:
    """Measure training steps of each side in a process of its own, one after the other, round by round.

    Args:
        tasks: Side -> the settings "model" and "training" (None: Keras' own network), "image_size", "batch_size",
            "classes", and the "seconds" of a turn.
        rounds: Turns of each side.
        programs: Side -> the command that measures it, where that is not this module: it reads the task as a line
            of JSON, prints "= " and a picture's multiply-adds when it is ready, then for every line that it reads
            "= " and the images per second of a turn.
        on_progress: Called with what is being done.

    Raises:
        FailedRunError: A side could not be measured.
    """
    measured: dict[str, list[float]] = {side: [] for side in tasks}
    peaks = []
    with contextlib.ExitStack() as stack:
        on_progress(f"building and tracing: {', '.join(tasks)}")
        workers = {
            side: stack.enter_context(_worker(task, programs.get(side, PROGRAM))) for side, task in tasks.items()
        }
        answers = [_answer(worker, side) for side, worker in workers.items()]
        for number in range(rounds):
            on_progress(f"measuring, round {number + 1} of {rounds}")
            peaks.append(_peak_gflops())
            for side, worker in workers.items():
                measured[side].append(float(_ask(worker, "go", side)))
    return Turns(measured, peaks, int(answers[0]))


@contextlib.contextmanager
def _worker(task: dict[str, Any], program: Sequence[str]) -> Iterator[subprocess.Popen]:
    """Start a process that has built and traced a side and waits for its turns."""
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if task.get("training") is not None:
        settings |= huge_page_settings()  # as the command line trains
    process = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
    )
    try:
        _send(process, json.dumps(task))
        yield process
    finally:
        process.kill()
        process.communicate()


def _ask(process: subprocess.Popen, question: str, side: str) -> str:
    _send(process, question)
    return _answer(process, side)


def _send(process: subprocess.Popen, line: str) -> None:
    if process.stdin is None:
        raise RuntimeError("the process has no pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _answer(process: subprocess.Popen, side: str) -> str:
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the process has no pipes")
    answer = process.stdout.readline()
    if not answer.startswith("= "):
        raise FailedRunError(f"{side} could not be measured: {last_line(process.stderr.read())}")
    return answer[2:].strip()


def _peak_gflops() -> float:
    random = np.random.default_rng(0)
    one, other = (random.random((MATRIX, MATRIX), np.float32) for _ in range(2))
    return 2 * MATRIX**3 / least_seconds(lambda: one @ other) / 1e9


def least_seconds(work: Callable[[], Any], *, times: int = 5) -> float:
    """Return how long work takes when nothing disturbs it."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _serve() -> None:
    """Build and trace a side, answer its multiply-adds, then each line with the images per second of a turn."""
    task = json.loads(input())
    steps, multiply_adds = _make_steps(task)
    steps(2)
    print(f"= {multiply_adds}", flush=True)  # noqa: T201  for the process that asks
    for _ in sys.stdin:
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

    from keras_sepnets.acceleration import trained_form
    from keras_sepnets.cost import count_cost
    from keras_sepnets.models.registry import build_network
    from keras_sepnets.optimization import compile_model
    from keras_sepnets.threads import use_threads

    size, batch_size, classes = task["image_size"], task["batch_size"], task["classes"]
    config = make_config({"model": task["model"], "training": task["training"] or {}})
    use_threads(config.training)
    keras.utils.set_random_seed(0)
    pictures = tf.random.uniform([batch_size, size, size, 3], maxval=255.0)
    labels = tf.random.uniform([batch_size], maxval=classes, dtype=tf.int32)
    batches = tf.data.Dataset.from_tensors((pictures, labels)).repeat()
    network = build_network(
        config.model, image_size=size, classes=classes, seed=0, dtype_policy=config.training.dtype_policy
    )
    multiply_adds = count_cost(network).multiply_adds
    if task["training"] is None:
        model = _keras_model(config.model.name, config.model.alpha, size)
        model.compile(keras.optimizers.AdamW(), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return lambda count: model.fit(batches, steps_per_epoch=count, verbose=0), multiply_adds
    network = trained_form(network, config.training)
    compile_model(network, config.training, steps_per_epoch=1000)
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
