"""One measurement of check_gpu.py, in a process of its own: reads a task as JSON, prints what it found as JSON."""

import fcntl
import json
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_sepnets.base.text import one_line

CLASSES = 10
COMPARED = 8  # pictures


def build(task: dict[str, Any], precision: str) -> Any:
    """Return a network that ends in logits, with batch norm statistics that soon follow the pictures."""
    import keras

    from keras_sepnets.models.registry import NETWORKS

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    network = NETWORKS[task["network"]]
    size = task["image_size"] or network.default_size
    options = {"classes": CLASSES, "classifier_activation": None, "bn_momentum": 0.5}
    model = network.build(input_shape=(size, size, 3), **options)
    if task["depthwise"] == "shifted":
        from benchmark_depthwise import with_shifted

        model = with_shifted(model)
    return model


def draw(model: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of noise that are brighter for higher classes, and their classes."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(0).integers(0, 130, (count, *model.input_shape[1:]), dtype=np.uint8)
    return noise + (12 * labels[:, None, None, None]).astype(np.uint8), labels


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Train, predict and keep the outputs; from the end of compilation on, in this process's own turn."""
    with ExitStack() as turn:
        return measure_in_turn(task, turn)


def measure_in_turn(task: dict[str, Any], turn: ExitStack) -> dict[str, Any]:
    """Train with `fit` on pictures in memory, then `predict`; return speeds, losses and whether bits repeat."""
    import keras

    model = build(task, task["precision"])
    pictures, labels = draw(model, 8 * task["batch_size"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jit = {"auto": "auto", "on": True, "off": False}[task["jit_compile"]]
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=jit)
    arguments = {"batch_size": task["batch_size"], "verbose": 0}
    model.predict(pictures[: task["batch_size"]], **arguments)  # compiles
    losses, times = [], [time.perf_counter()]

    def note(epoch: int, logs: dict[str, Any]) -> None:
        losses.append(float(logs["loss"]))  # which waits for the device
        if len(losses) == 2 and task["together"]:
            turn.enter_context(own_turn(task))
        times.append(time.perf_counter())
        model.stop_training = enough(times, task["seconds"])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=note)]
    model.fit(pictures, labels, epochs=10**6, shuffle=False, callbacks=callbacks, **arguments)
    training = summarize(times, len(pictures)) | {"first_loss": losses[0], "last_loss": losses[-1]}
    times = [time.perf_counter()]
    while not enough(times, task["seconds"]):
        outputs = model.predict(pictures, **arguments)
        times.append(time.perf_counter())
    inference = summarize(times, len(pictures))
    file = Path(task["folder"], f"{task['network']}-{task['precision']}")
    np.savez(f"{file}.weights.npz", *model.get_weights())
    training["repeatable"] = trains_alike(model, pictures[: task["batch_size"]], labels[: task["batch_size"]])
    model.set_weights([*np.load(f"{file}.weights.npz").values()])
    kept = {"as_trained": outputs[:COMPARED]}
    if task["precision"] == "float32":
        use_full_float32()
        model.make_predict_function(force=True)
        kept["full_float32"] = model.predict_on_batch(pictures[:COMPARED])
    np.savez(f"{file}.outputs.npz", **kept)
    return {"batch_size": task["batch_size"], "training": training, "inference": inference}


@contextmanager
def own_turn(task: dict[str, Any]) -> Iterator[None]:
    """Wait until all processes have compiled, or half the limit has passed, and until no other one measures."""
    folder, waited_until = Path(task["folder"]), time.monotonic() + task["limit"] / 2
    Path(folder, f"{task['network']}-{task['precision']}.compiled").touch()
    while len([*folder.glob("*.compiled")]) < task["together"] and time.monotonic() < waited_until:
        time.sleep(0.1)
    with Path(folder, "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def use_full_float32() -> None:
    """Multiply float32 in full, which GPUs otherwise round to TF32, with 10 bits after the point."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    else:
        import torch

        torch.backends.cudnn.allow_tf32 = False


def trains_alike(model: Any, pictures: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether three steps, taken twice from the same state, end in the same bits."""
    import keras

    variables = [*model.variables, *model.optimizer.variables]
    start, ends = [keras.ops.convert_to_numpy(variable).copy() for variable in variables], []
    for _ in range(2):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        for _ in range(3):
            model.train_on_batch(pictures, labels)
        ends.append(model.get_weights())
    return all(map(np.array_equal, *ends))


def compare(task: dict[str, Any]) -> dict[str, Any]:
    """Without GPU: return how far the logits were off, as fractions of the largest, for each precision."""
    model, found = build(task | {"depthwise": "stock"}, "float32"), {}
    pictures, _ = draw(model, 8 * task["batch_size"])
    for precision in task["precisions"]:
        file = Path(task["folder"], f"{task['network']}-{precision}")
        if not Path(f"{file}.outputs.npz").exists():
            continue
        model.set_weights([*np.load(f"{file}.weights.npz").values()])
        reference = model.predict_on_batch(pictures[:COMPARED])
        outputs = np.load(f"{file}.outputs.npz")
        found[precision] = {name: difference(values, reference) for name, values in outputs.items()}
    return found


def describe_device(task: dict[str, Any]) -> dict[str, Any]:
    """Return the name of the device that Keras computes on."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return {"device": jax.devices()[0].device_kind}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return {"device": tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "cpu"}
    import torch

    return {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}


KINDS = {"device": describe_device, "measure": measure, "compare": compare}


def attempt(task: dict[str, Any]) -> dict[str, Any]:
    """Return what a task found, or how it failed."""
    try:
        return KINDS[task["kind"]](task)
    except Exception as error:  # the other networks go on
        traceback.print_exc()
        return {"failed": one_line(f"{type(error).__name__}: {error}")}


def difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference as a fraction of the largest reference value."""
    return float(np.abs(values - reference).max() / np.abs(reference).max())


def enough(times: list[float], seconds: float) -> bool:
    """Return whether at least three rounds, and `seconds`, have passed since the two that may compile."""
    return len(times) >= 6 and times[-1] - times[2] >= seconds


def summarize(times: list[float], pictures: int) -> dict[str, float]:
    """Return images per second over all rounds but two, which may compile, and how long the first took."""
    rates = pictures / np.diff(times)[2:]
    found = {"images_per_second": statistics.median(rates), "lowest": rates.min(), "highest": rates.max()}
    return {name: float(value) for name, value in found.items()} | {
        "rounds": len(rates),
        "first_round_seconds": times[1] - times[0],
    }


if __name__ == "__main__":
    print(json.dumps(attempt(json.loads(sys.argv[1]))))
