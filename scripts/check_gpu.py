"""Check the networks on a GPU or TPU: outputs next to the CPU's, training with plain `fit`, images per second.

Usage: KERAS_BACKEND=jax python scripts/check_gpu.py results.json [--networks NAME ...] [--limit SECONDS] [...]

Runs on whichever backend Keras is set to. Each network has a process and a time limit of its own in each precision
(measure_on_device.py), and the results are written after each: one that fails or takes too long to compile loses
only its own numbers. The trained weights then go to a process without GPU, which compares the outputs. The exit
code is 1 if something failed or the outputs differ.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_sepnets.base.files import to_json_bytes, write_file

NETWORKS = {"mobilenet": 128, "mobilenet_v2": 128, "xception": 64, "inception_v3": 64}  # pictures per batch
PRECISIONS = ("float32", "mixed_bfloat16")
TOLERANCE = 1e-4  # of the largest logit, for products in full float32
# Environments of the processes that measure.
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
SHARING = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
XLA_FLAGS = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
DETERMINISTIC = {"TF_DETERMINISTIC_OPS": "1", "XLA_FLAGS": XLA_FLAGS}


def rows_of(networks: dict[str, Any]) -> list[list[str]]:
    """Return the table's rows: network, precision, images/s in training and inference, first round, outputs."""
    rows = []
    for network, precisions in networks.items():
        for precision, found in precisions.items():
            if "failed" in found:
                rows.append([network, precision, found["failed"], "", "", ""])
                continue
            speeds = [
                f"{side['images_per_second']:,.0f} ({side['lowest']:,.0f} to {side['highest']:,.0f})"
                for side in (found["training"], found["inference"])
            ]
            first = f"{found['training']['first_round_seconds']:.0f} s"
            values = found.get("off_the_cpu", {}).values()
            off = " / ".join(value if isinstance(value, str) else f"{value:.0e}" for value in values)
            rows.append([network, precision, *speeds, first, off])
    return rows


def faults_of(networks: dict[str, Any]) -> list[str]:
    """Return a sentence for each measurement that failed and for outputs beyond the tolerance."""
    faults = []
    for network, precisions in networks.items():
        for precision, found in precisions.items():
            off = found.get("off_the_cpu", {})
            if failed := found.get("failed") or off.get("failed"):
                faults.append(f"{network} in {precision}: {failed}")
            elif off.get("full_float32", 0.0) > TOLERANCE:
                faults.append(f"{network}: the outputs are {off['full_float32']:.0e} off the CPU's")
    return faults


def run_apart(task: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Return what a task found in a process of its own, or how that failed."""
    command = [sys.executable, str(Path(__file__).with_name("measure_on_device.py")), json.dumps(task)]
    environment = os.environ | environment
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=task["limit"], env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {task['limit']:g} s"}
    if done.returncode:
        return {"failed": f"the process ended with code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    packages = ("keras", "jax", "tensorflow", "torch", "numpy")
    found = {name: metadata.version(name) for name in packages if importlib.util.find_spec(name)}
    return {"python": platform.python_version()} | found


def main() -> None:
    """Run all measurements, write the results and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("check_gpu.json"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=[*PRECISIONS])
    parser.add_argument("--depthwise", choices=("stock", "shifted"), default="stock", help="see docs/gpus.md")
    parser.add_argument("--image-size", type=int, help="by default the network's own")
    parser.add_argument("--batch-size", type=int, help="by default 128 for MobileNets, otherwise 64")
    parser.add_argument("--jit-compile", choices=("auto", "on", "off"), default="auto", help="XLA")
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--together", action="store_true", help="compile all at the same time, then take turns")
    parser.add_argument("--seconds", type=float, default=5.0, help="per speed")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds per process")
    options = parser.parse_args()
    given = {name: value for name, value in vars(options).items() if name != "results"}
    started = datetime.now(UTC).isoformat(timespec="seconds")
    flags = (DETERMINISTIC if options.deterministic else {}) | (SHARING if options.together else {})
    networks: dict[str, Any] = {name: {} for name in options.networks}
    results = {"started": started, "versions": versions(), "options": dict(given)}
    results |= run_apart(given | {"kind": "device"}, flags) | {"networks": networks}
    with tempfile.TemporaryDirectory() as folder:
        given |= {"folder": folder, "together": options.together * len(networks) * len(options.precisions)}
        tasks = [
            given | {"network": name, "batch_size": options.batch_size or NETWORKS[name]} for name in networks
        ]
        measured = [
            task | {"kind": "measure", "precision": precision}
            for task in tasks
            for precision in options.precisions
        ]
        with ThreadPoolExecutor(given["together"] or 1) as pool:
            for task, found in zip(measured, pool.map(lambda task: run_apart(task, flags), measured), strict=True):
                networks[task["network"]][task["precision"]] = found
                write_file(options.results, to_json_bytes(results))
                print(f"{task['network']}, {task['precision']}: {json.dumps(found)}", flush=True)
        with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 4)) as pool:
            compared = pool.map(lambda task: run_apart(task | {"kind": "compare"}, WITHOUT_GPU), tasks)
            for task, found in zip(tasks, compared, strict=True):
                for precision, side in networks[task["network"]].items():
                    side["off_the_cpu"] = found.get(precision, found)
    write_file(options.results, to_json_bytes(results))
    table = Table(
        "network", "precision", "training, images/s", "inference", "first round", "off the CPU", box=None
    )
    for row in rows_of(networks):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    sys.exit("\n".join(faults_of(networks)) or None)


if __name__ == "__main__":
    main()
