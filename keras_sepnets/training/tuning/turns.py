"""Sides that take turns, so that a busy machine slows them all alike; forms of a network as such sides."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from keras_sepnets.acceleration.huge_pages import huge_page_settings
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.settings.files import make_config
from keras_sepnets.training.tuning.workers import Worker, WorkerError, give, questions, read_task, start_worker

PROGRAM = (sys.executable, "-m", "keras_sepnets.training.tuning.turns")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
MATRIX = 2048  # rows of the square matrices whose product measures the machine


def take_turns(
    sides: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    on_round: Callable[[int], None] = lambda _number: None,
) -> dict[str, list[float]]:
    """Measure each side once a round; return one number a round for each.

    Args:
        sides: Name -> function that measures once.
        rounds: Number of rounds.
        on_round: Called before each round with its number, from 1.
    """
    measured: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(1, rounds + 1):
        on_round(number)
        for side, measure in sides.items():
            measured[side].append(measure())
    return measured


class StepSpeeds(NamedTuple):
    """How fast training steps are, in numbers a round."""

    images_per_second: dict[str, list[float]]  # of each side
    peak_gflops: list[float]  # of float32 matrix products
    multiply_adds: int  # of a picture


def measure_steps(
    tasks: Mapping[str, dict[str, Any]],
    *,
    rounds: int,
    programs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    on_progress: Callable[[str], None] = lambda _text: None,
) -> StepSpeeds:
    """Measure training steps of each side in a process of its own.

    Args:
        tasks: Side -> the settings "model" and "training", "image_size" (px), "batch_size", "classes", and the
            "seconds" of a turn.
        rounds: Turns of each side.
        programs: Side -> the command that measures it, where that is not this module; it calls `serve_turns`.
        on_progress: Called with what is being done.

    Raises:
        FailedRunError: A side could not be measured.
    """
    peaks: list[float] = []

    def begin_round(number: int) -> None:
        on_progress(f"measuring, round {number} of {rounds}")
        peaks.append(_peak_gflops())

    with contextlib.ExitStack() as stack:
        on_progress(f"building and tracing: {', '.join(tasks)}")
        workers = {}
        for side, task in tasks.items():
            # Ours have huge pages, as `sepnets train` has; other programs run as `python` starts them.
            settings = QUIET if side in programs else QUIET | huge_page_settings()
            workers[side] = stack.enter_context(start_worker(programs.get(side, PROGRAM), task, settings))
        answers = [_checked(side, worker.answer) for side, worker in workers.items()]
        sides = {side: partial(_measure_once, side, worker) for side, worker in workers.items()}
        return StepSpeeds(take_turns(sides, rounds=rounds, on_round=begin_round), peaks, int(answers[0]))


def _measure_once(side: str, worker: Worker) -> float:
    return float(_checked(side, lambda: worker.ask("go")))


def _checked(side: str, ask: Callable[[], str]) -> str:
    try:
        return ask()
    except WorkerError as error:
        raise FailedRunError(f"{side} could not be measured: {error}") from error


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


def serve_turns(make_steps: Callable[[dict[str, Any]], tuple[Callable[[int], Any], int]]) -> None:
    """In a worker: answer a picture's multiply-adds, then every line with the images per second of a turn.

    Args:
        make_steps: From the task, a function that does a number of training steps, and the multiply-adds.
    """
    task = read_task()
    steps, multiply_adds = make_steps(task)
    steps(2)
    give(multiply_adds)
    for _ in questions():
        done, begin = 0, time.perf_counter()
        while done < 2 or time.perf_counter() - begin < task["seconds"]:
            steps(2)
            done += 2
        give(done * task["batch_size"] / (time.perf_counter() - begin))


def random_batches(task: dict[str, Any]) -> Any:
    """In a worker: return endless batches of one random batch, with class numbers as labels."""
    import keras
    import tensorflow as tf

    size, batch_size = task["image_size"], task["batch_size"]
    keras.utils.set_random_seed(0)
    pictures = tf.random.uniform([batch_size, size, size, 3], maxval=255.0)
    labels = tf.random.uniform([batch_size], maxval=task["classes"], dtype=tf.int32)
    return tf.data.Dataset.from_tensors((pictures, labels)).repeat()


def _make_steps(task: dict[str, Any]) -> tuple[Callable[[int], Any], int]:
    from keras_sepnets.acceleration.threads import use_threads
    from keras_sepnets.cost.counting import count_cost
    from keras_sepnets.training.build import build_for_measuring

    config = make_config({"model": task["model"], "training": task["training"]})
    use_threads(config.training)  # before TensorFlow begins
    iterator = iter(random_batches(task))
    built = build_for_measuring(
        config.model, config.training, image_size=task["image_size"], classes=task["classes"]
    )
    built.model.make_train_function()

    def steps(count: int) -> None:
        for _ in range(count):
            loss = built.model.train_function(iterator)["loss"]
        float(loss)  # which waits for it

    return steps, count_cost(built.network).multiply_adds


if __name__ == "__main__":
    serve_turns(_make_steps)
