"""Compare training steps with timm's networks in PyTorch (eager, channels_last), turn by turn.

Usage: python scripts/benchmark_against_torch.py [--model NAME] [--image-size N] [--batch-size N] [--rounds N]

Needs PyTorch and timm beside this package: python -m pip install torch timm. Both train with AdamW and
cross-entropy on pictures in memory, in float32 and with matrix products in bfloat16 (PyTorch's autocast).
"""

import argparse
import json
import statistics
import sys
import time

from rich.console import Console
from rich.table import Table

TIMM = {"mobilenet": "mobilenetv1_100", "mobilenet_v2": "mobilenetv2_100", "xception": "legacy_xception"}
OURS = {"ours": "accelerated", "ours, bfloat16": "accelerated, bfloat16"}
THEIRS = {"timm": False, "timm, bfloat16": True}  # side -> whether autocast is on


def serve() -> None:
    """Answer as `keras_sepnets.training.tuning.turns.measure_steps` asks."""
    import timm
    import torch

    task = json.loads(input())
    torch.manual_seed(0)
    size, count = task["image_size"], task["batch_size"]
    model = timm.create_model(TIMM[task["model"]["name"]], num_classes=task["classes"])
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters())
    pictures = torch.rand(count, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(task["classes"], (count,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=task["autocast"]):
            loss = torch.nn.functional.cross_entropy(model(pictures), labels)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    print("= 0", flush=True)
    for _ in sys.stdin:
        done, begin = 0, time.perf_counter()
        while done < 2 or time.perf_counter() - begin < task["seconds"]:
            step()
            done += 1
        print(f"= {done * count / (time.perf_counter() - begin)}", flush=True)


def main() -> None:
    """Measure and print."""
    # Here, as the processes that PyTorch runs in are not to load TensorFlow, with which it crashes.
    from keras_sepnets.base.intervals import compare_rounds
    from keras_sepnets.benchmarks.steps import CLASSES, FORMS
    from keras_sepnets.training.tuning.turns import measure_steps

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=TIMM, default="mobilenet")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    options = parser.parse_args()
    task = {
        "model": {"name": options.model},
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "classes": CLASSES,
        "seconds": options.seconds,
    }
    tasks = {side: task | {"training": FORMS[form]} for side, form in OURS.items()}
    tasks |= {side: task | {"autocast": autocast} for side, autocast in THEIRS.items()}
    program = [sys.executable, __file__, "--serve"]
    console = Console()
    with console.status("starting") as status:
        programs = dict.fromkeys(THEIRS, program)
        turns = measure_steps(tasks, rounds=options.rounds, programs=programs, on_progress=status.update)
    speeds = turns.images_per_second
    medians = {side: statistics.median(found) for side, found in speeds.items()}
    best = max(THEIRS, key=lambda side: medians[side])
    table = Table("images/s", "median", "lowest to highest", f"x {best}", box=None)
    for side, found in speeds.items():
        ratio = compare_rounds(found, speeds[best])
        spread = f"{min(found):.1f} to {max(found):.1f}"
        table.add_row(
            side, f"{medians[side]:.1f}", spread, f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        )
    console.print(f"{options.model}, {options.batch_size} pictures of {options.image_size} px a step")
    console.print(table)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
