"""The machine and the software that a result or a measured speed depends on."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from keras_sepnets.base.errors import SepnetsError

CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # cgroups 2 and 1


def describe_machine(*packages: str) -> dict[str, Any]:
    """Describe what a measured speed depends on: processor, GPUs, versions of Python and of these packages."""
    import tensorflow as tf

    versions = {name: metadata.version(name) for name in packages}
    return {
        "cpu": _processor_name(),
        "cpu_cores": psutil.cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        "python": platform.python_version(),
        **versions,
    }


def _processor_name() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor()


def describe_environment() -> dict[str, Any]:
    """Describe what a result may depend on besides its settings: versions, machine, devices, command, time."""
    import tensorflow as tf

    packages = ("keras-sepnets", "keras", "tensorflow", "tensorflow-datasets", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "cpu_cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


def check_backend() -> None:
    """Raise SepnetsError if Keras is set to run on something else than TensorFlow; Keras is not imported."""
    backend, file = _keras_backend()
    if backend != "tensorflow":
        advice = "unset KERAS_BACKEND or set it to" if file is None else f'change "backend" in {file} to'
        raise SepnetsError(
            f"Training, evaluation, prediction and the commands need Keras on TensorFlow; {advice} tensorflow. "
            f"Received: {backend!r}"
        )


def _keras_backend() -> tuple[Any, Path | None]:
    """Return the backend that Keras is set to run on, and the file that says so; Keras is not imported."""
    backend, file = os.environ.get("KERAS_BACKEND"), None
    if not backend:
        with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
            file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
            backend = json.loads(file.read_bytes()).get("backend")
    return backend or "tensorflow", file


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Let variables that are made within have shapes but no values; TensorFlow does not start for them.

    On other backends of Keras, they get values.
    """
    if _keras_backend()[0] != "tensorflow":
        yield
        return
    import tensorflow as tf

    with tf.Graph().as_default():
        yield


def memory_limit() -> int:
    """Return the memory of this machine in bytes, or the limit of its container if that is smaller."""
    most = [psutil.virtual_memory().total]
    for file in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or its content is "max"
            most.append(int(Path(file).read_text(encoding="utf-8")))
    return min(most)
