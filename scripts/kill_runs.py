"""Kill a training with SIGKILL many times, resume it each time, and compare it with an undisturbed one.

Usage: python scripts/kill_runs.py [--kills 200] [--seed 0]

Every other kill comes while a checkpoint is being written, the others at a random moment. Weights, optimizer,
history and test result of the resumed run must equal those of the undisturbed one bit for bit.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run_outcome import differences, outcome
from scans import write_scans

from keras_sepnets.runs.folder import Run

SETTINGS = ["--alpha", "0.0625", "--image-size", "32", "--batch-size", "16", "--augment", "light"]
EVERY_STEP = ["--checkpoint-every", "1"]
PICTURES = 220  # 11 steps an epoch
SETTINGS += ["--set", "model.shallow=true", "--set", "model.dropout=0.3", "--set", "training.ema_momentum=0.9"]


def start_train(*arguments: str) -> subprocess.Popen:
    """Start `sepnets train`, with its output discarded."""
    command = [sys.executable, "-m", "keras_sepnets", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(process: Any) -> None:
    """Wait until a training ends; raise RuntimeError if it fails."""
    with process:
        if process.wait():
            raise RuntimeError(f"A training failed. Received: exit code {process.returncode}")


def kill_once(process: Any, folder: Path, *, inside: bool, wait: float) -> bool:
    """Kill a training unless it ends first; return whether a save was interrupted."""
    with process:
        before = set(folder.glob("step-*"))
        while process.poll() is None and set(folder.glob("step-*")) <= before:
            time.sleep(0.01)  # until it has trained at least one step
        time.sleep(wait)
        while inside and process.poll() is None and not list(folder.glob("tmp-*")):
            time.sleep(0.001)  # shorter than a save
        process.kill()
        process.wait()
    return bool(list(folder.glob("tmp-*")))


def kill_and_compare(
    kills: int, seed: int, start: Callable[..., Any], on_kill: Callable[[int, int], None] = lambda _k, _w: None
) -> tuple[int, int, list[str]]:
    """Kill and resume a training, then compare it with an undisturbed one.

    Args:
        kills: Number of kills.
        seed: Decides when they come.
        start: Starts `sepnets train` with the given arguments; returns an object like `subprocess.Popen`.
        on_kill: Called after each kill with the kills so far, and how many of them came during a save.

    Returns:
        The number of kills, of those during a save, and the names of the parts that differ.
    """
    chance = random.Random(seed)
    epochs = str(max(2, kills // 2))  # enough for all kills
    with tempfile.TemporaryDirectory(prefix="sepnets-kill-") as root:
        undisturbed, killed = Run(Path(root) / "undisturbed"), Run(Path(root) / "killed")
        scans = write_scans(Path(root) / "scans", PICTURES)
        settings = [*SETTINGS, "--dataset", f"folder:{scans}", "--epochs", epochs]
        finish(start(*settings, "--output", str(undisturbed.path)))
        arguments = [*settings, *EVERY_STEP, "--output", str(killed.path)]
        done = within = 0
        while done < kills and not killed.is_finished:
            inside, wait = done % 2 == 0, chance.uniform(0, 0.5)
            within += kill_once(start(*arguments), killed.checkpoints_folder, inside=inside, wait=wait)
            done += 1
            arguments = ["--resume", str(killed.path), *EVERY_STEP]
            on_kill(done, within)
        if not killed.is_finished:
            finish(start(*arguments))
        return done, within, differences(outcome(undisturbed), outcome(killed))


def main() -> None:
    """Kill, resume, compare, print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    done, within, different = kill_and_compare(
        options.kills,
        options.seed,
        start_train,
        lambda kill, within: print(f"kill {kill} of {options.kills}, {within} during a save", flush=True),
    )
    verdict = f"DIFFERENT: {', '.join(different)}" if different else "bit-identical"
    print(f"{done} kills, {within} during a save: {verdict}")
    sys.exit(1 if different or done < options.kills else 0)


if __name__ == "__main__":
    main()
