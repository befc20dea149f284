"""The largest batch that fits in memory, measured in processes of their own.

Steps of two sizes are measured, a line through their memory predicts the largest size, and that is tried.
"""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.machine import memory_limit
from keras_sepnets.settings.files import make_config
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.tuning.workers import WorkerError, give, read_task, start_worker

PROGRAM = (sys.executable, "-m", "keras_sepnets.training.tuning.batch_size")
MEASURED = (8, 32)
MEMORY_SHARE = 0.6  # of free memory
LARGEST = 512
FEWEST_STEPS = 20  # per epoch; with fewer a network hardly learns


def choose_batch_size(config: RunConfig, *, classes: int, num_examples: int) -> tuple[int, str]:
    """Return the largest power of two whose step fits in 60 % of the free memory, and the reason for it.

    It is at most 512, and leaves at least 20 steps per epoch.

    Args:
        config: The settings; the picture size is final.
        classes: Number of classes.
        num_examples: Number of training examples.

    Raises:
        FailedRunError: A step cannot be measured.
        SepnetsError: Not even one picture fits.
    """
    most = max(1, min(LARGEST, num_examples // FEWEST_STEPS))
    small, large = (_measure(config, size, classes) for size in MEASURED)
    fitting = 1
    if small is not None and large is not None:
        slope = max(large.needed - small.needed, 1) / (MEASURED[1] - MEASURED[0])
        fitting = max(1, math.floor((small.budget - small.needed) / slope) + MEASURED[0])
    elif small is not None:
        fitting = MEASURED[0]
    size = predicted = 1 << min(most, fitting).bit_length() - 1
    while size >= 1:
        found = _measure(config, size, classes)
        if found is not None and (found.needed <= found.budget or size == 1):
            is_memory = fitting < most or size < predicted
            bound = "memory" if is_memory else f"the limits of {LARGEST} and of {FEWEST_STEPS} steps per epoch"
            needed, budget = found.needed / 1e6, found.budget / 1e6
            return size, f"measured: a step takes {needed:,.0f} of {budget:,.0f} MB; limited by {bound}"
        size //= 2
    raise SepnetsError(
        "Not even a batch of one picture fits in memory; choose smaller pictures or a narrower network. "
        f"Received: data.image_size={config.data.image_size}, model.alpha={config.model.alpha}"
    )


class Memory(NamedTuple):
    """Memory of a training step."""

    needed: int  # bytes
    budget: int  # bytes that it may take


def _measure(config: RunConfig, size: int, classes: int) -> Memory | None:
    """Return the memory of a process that trains with this batch size; None if it ran out of memory."""
    task = {"config": config.model_dump(mode="json"), "size": size, "classes": classes}
    free = min(psutil.virtual_memory().available, memory_limit() - psutil.Process().memory_info().rss)
    try:
        with start_worker(PROGRAM, task, {}) as worker:
            answer = json.loads(worker.answer())
    except WorkerError as error:
        if error.ran_out_of_memory:
            return None
        raise FailedRunError(
            f"The memory of a step could not be measured: {str(error).rstrip('.')}. Set --batch-size N."
        ) from error
    return Memory(answer["needed"], int(MEMORY_SHARE * (answer["free"] or free)))


def _measured_step(task: dict[str, Any]) -> dict[str, int | None]:
    """In a worker: train on blank pictures; return the peak memory and a GPU's free memory before, in bytes."""
    free = _free_gpu_bytes()
    import tensorflow as tf

    from keras_sepnets.training.build import build_for_measuring

    config, size, classes = make_config(task["config"]), task["size"], task["classes"]
    training = config.training.model_copy(
        update={"epochs": 1, "batch_size": size, "ema_momentum": 0.9 if config.training.ema_momentum else 0.0}
    )
    side = config.data.image_size or 0
    model = build_for_measuring(config.model, training, image_size=side, classes=classes).model
    pictures, labels = tf.zeros([size, side, side, 3]), tf.zeros([size], tf.int32)
    for _ in range(2):
        model.train_on_batch(pictures, labels)
    if tf.config.list_physical_devices("GPU"):
        needed = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return {"needed": int(needed), "free": free}
    return {"needed": _peak_bytes(), "free": None}


def _peak_bytes() -> int:
    """Return the peak of this process's resident memory."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    import resource  # on Linux its number includes the process that this one was forked from

    in_kilobytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * in_kilobytes


def _free_gpu_bytes() -> int | None:
    """Return the free bytes of the first GPU before this process takes any; None without nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, ValueError):
        return int(subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()[0]) << 20
    return None


if __name__ == "__main__":
    give(json.dumps(_measured_step(read_task())))
