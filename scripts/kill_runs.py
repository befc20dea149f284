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
from pathlib import Path

from run_outcome import differences, outcome

from keras_sepnets.runs.folder import Run

COMMAND = [sys.executable, "-m", "keras_sepnets", "train"]
SETTINGS = ["--alpha", "0.0625", "--image-size", "32", "--batch-size", "128", "--checkpoint-every", "1"]
SETTINGS += ["--set", "model.shallow=true", "--set", "model.dropout=0.3", "--set", "training.ema_momentum=0.9"]


def kill_once(command: list[str], folder: Path, *, inside: bool, wait: float) -> bool:
    """Start a command and kill it unless it ends first; return whether a save was interrupted."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        before = set(folder.glob("step-*"))
        while process.poll() is None and set(folder.glob("step-*")) <= before:
            time.sleep(0.01)  # until it has trained at least one step
        time.sleep(wait)
        while inside and process.poll() is None and not list(folder.glob("tmp-*")):
            time.sleep(0.001)  # shorter than a save
        process.kill()
        process.wait()
    return bool(list(folder.glob("tmp-*")))


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    epochs = str(max(2, options.kills // 2))  # enough for all kills
    with tempfile.TemporaryDirectory(prefix="sepnets-kill-") as root:
        undisturbed, killed = Path(root) / "undisturbed", Path(root) / "killed"
        subprocess.run(
            [*COMMAND, *SETTINGS, "--epochs", epochs, "--output", undisturbed], check=True, capture_output=True
        )
        run = Run(killed)
        command = [*COMMAND, *SETTINGS, "--epochs", epochs, "--output", str(killed)]
        kills = within = 0
        while kills < options.kills and not run.is_finished:
            within += kill_once(
                command, run.checkpoints_folder, inside=kills % 2 == 0, wait=chance.uniform(0, 0.5)
            )
            kills += 1
            command = [*COMMAND, "--resume", str(killed), "--checkpoint-every", "1"]
            print(f"kill {kills} of {options.kills}, {within} during a save", flush=True)
        if not run.is_finished:
            subprocess.run(command, check=True, capture_output=True)
        different = differences(outcome(Run(undisturbed)), outcome(run))
    verdict = f"DIFFERENT: {', '.join(different)}" if different else "bit-identical"
    print(f"{kills} kills, {within} during a save: {verdict}")
    sys.exit(1 if different or kills < options.kills else 0)


if __name__ == "__main__":
    main()
