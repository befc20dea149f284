"""What a result may depend on besides its settings."""

import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import psutil
import tensorflow as tf


def describe_machine(*packages: str) -> dict[str, Any]:
    """Return what a measured speed depends on: cores, and the versions of Python and of these packages."""
    versions = {name: metadata.version(name) for name in packages}
    return {"cpu_cores": psutil.cpu_count(), "python": platform.python_version(), **versions}


def describe_environment() -> dict[str, Any]:
    """Return what a result may depend on besides its settings: versions, machine, devices, command, time."""
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
