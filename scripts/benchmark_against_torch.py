"""Compare training steps with those of timm's networks in PyTorch (eager, channels_last), in alternation.

Usage: python scripts/benchmark_against_torch.py [--model NAME] [--image-size N] [--batch-size N] [--rounds N]

Needs PyTorch and timm besides this package: python -m pip install torch timm. Both sides train with AdamW and
cross-entropy on pictures in memory, in float32 and with matrix products in bfloat16 (autocast in PyTorch).
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_sepnets.base.intervals import compare_rounds
from keras_sepnets.training.tuning.turns import measure_steps, serve_turns  # without TensorFlow, see `make_steps`

TIMM = {"mobilenet": "mobilenetv1_100", "mobilenet_v2": "mobilenetv2_100", "xception": "legacy_xception"}
OURS = {  # side -> settings of the training
    "ours": {"accelerate": "on"},
    "ours, bfloat16": {"accelerate": "on", "precision": "bfloat16"},
}
THEIRS = {"timm": False, "timm, bfloat16": True}  # side -> whether autocast is on
CLASSES = 100


def make_steps(task: dict[str, Any]) -> tuple[Callable[[int], None], int]:
    """In a worker: return a function that trains in PyTorch, which crashes in a process with TensorFlow."""
    import timm
    import torch

    torch.manual_seed(0)
    size, count = task["image_size"], task["batch_size"]
    model = timm.create_model(TIMM[task["model"]["name"]], num_classes=task["classes"])
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters())
    pictures = torch.rand(count, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(task["classes"], (count,))

    def steps(number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=task["autocast"]):
                loss = torch.nn.functional.cross_entropy(model(pictures), labels)
            loss.backward()
            optimizer.step()

    return steps, 0  # multiply-adds, which nobody asks for


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=TIMM, default="mobilenet")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="per turn")
    options = parser.parse_args()
    task = {
        "model": {"name": options.model},
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "classes": CLASSES,
        "seconds": options.seconds,
    }
    tasks = {side: task | {"training": settings} for side, settings in OURS.items()}
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
    console.print(f"{options.model}, {options.batch_size} pictures of {options.image_size} px per step")
    console.print(table)


if __name__ == "__main__":
    serve_turns(make_steps) if sys.argv[1:] == ["--serve"] else main()
