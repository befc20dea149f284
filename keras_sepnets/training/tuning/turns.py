"""Measurements that alternate, so that a busy machine slows all sides alike; training steps as such sides."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from keras_sepnets.acceleration.huge_pages import huge_page_settings
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.settings.files import make_config
from keras_sepnets.training.tuning.workers import (
    Worker,
    WorkerError,
    WorkerTimeoutError,
    give,
    questions,
    read_task,
    start_worker,
)

PROGRAM = (sys.executable, "-m", "keras_sepnets.training.tuning.turns")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def take_turns(
    sides: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    on_round: Callable[[int], None] = lambda _number: None,
) -> dict[str, list[float]]:
    """Measure each side once per round.

    Args:
        sides: Name -> function that takes one measurement.
        rounds: Number of rounds.
        on_round: Called with the number of each round, from 1, before it starts.

    Returns:
        Name -> one measurement per round.
    """
    measured: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(1, rounds + 1):
        on_round(number)
        for side, measure in sides.items():
            measured[side].append(measure())
    return measured


class StepSpeeds(NamedTuple):
    """Speed of training steps."""

    images_per_second: dict[str, list[float]]  # side -> one number per round
    multiply_adds: int  # per picture, at inference


def measure_steps(
    tasks: Mapping[str, dict[str, Any]],
    *,
    rounds: int,
    max_seconds: float = threading.TIMEOUT_MAX,
    programs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    on_progress: Callable[[str], None] = lambda _text: None,
    on_round: Callable[[int], None] = lambda _number: None,
) -> StepSpeeds:
    """Measure training steps, each side in its own process.

    Args:
        tasks: Side -> the settings "model" and "training", "image_size" in pixels, "batch_size", "classes", and
            "seconds" per turn.
        rounds: Turns per side.
        max_seconds: Time after which the measurement is given up, whatever it is doing.
        programs: Side -> the command that measures it instead of this module; it calls `serve_turns`.
        on_progress: Called with a description of each stage.
        on_round: Called with the number of each round, from 1, while all sides are idle.

    Raises:
        FailedRunError: A side could not be measured.
    """

    def begin_round(number: int) -> None:
        on_progress(f"measuring, round {number} of {rounds}")
        on_round(number)

    with contextlib.ExitStack() as stack:
        on_progress(f"building and tracing: {', '.join(tasks)}")
        workers = {}
        for side, task in tasks.items():
            # Ours get huge pages, as in `sepnets train`; other programs run as `python` starts them.
            settings = QUIET if side in programs else QUIET | huge_page_settings()
            program = programs.get(side, PROGRAM)
            started = start_worker(program, task, settings, max_seconds=max_seconds)
            workers[side] = stack.enter_context(started)
        multiply_adds = [int(_checked(side, worker.answer)) for side, worker in workers.items()]
        sides = {side: partial(_measure_once, side, worker) for side, worker in workers.items()}
        return StepSpeeds(take_turns(sides, rounds=rounds, on_round=begin_round), multiply_adds[0])


def _measure_once(side: str, worker: Worker) -> float:
    return float(_checked(side, lambda: worker.ask("go")))


def _checked(side: str, ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (WorkerError, WorkerTimeoutError) as error:
        raise FailedRunError(f"{side} could not be measured: {error}") from error


def least_seconds(work: Callable[[], Any], *, times: int = 5) -> float:
    """Return the duration of the fastest of several calls, the one least disturbed by other processes."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def serve_turns(make_steps: Callable[[dict[str, Any]], tuple[Callable[[int], Any], int]]) -> None:
    """In a worker: answer the task with the multiply-adds per picture, and each line with images per second.

    Args:
        make_steps: Takes the task; returns a function that runs a number of training steps, and the multiply-adds.
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
    """In a worker: return endless copies of one random batch, labelled with class numbers."""
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
    use_threads(config.training)  # before TensorFlow's first operation
    iterator = iter(random_batches(task))
    built = build_for_measuring(
        config.model, config.training, image_size=task["image_size"], classes=task["classes"]
    )
    built.model.make_train_function()

    def steps(count: int) -> None:
        for _ in range(count):
            loss = built.model.train_function(iterator)["loss"]
        float(loss)  # waits for the device

    return steps, count_cost(built.network).multiply_adds


if __name__ == "__main__":
    serve_turns(_make_steps)
