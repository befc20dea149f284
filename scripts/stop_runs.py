"""Stop trainings 1, 3 and 10 times with SIGTERM, resume them each time, and compare them with undisturbed ones.

Usage: python scripts/stop_runs.py [--stops 1 3 10] [--networks mobilenet mobilenet_v2 xception] [--seed 0]

For each network, plain and with MixUp, dropout, label smoothing and averaged weights. The stops come at random
steps, in the middle of an epoch, at its end and during validation. Weights, batch norm statistics, optimizer,
averages, history, best network and test result must be equal bit for bit.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import keras
from run_outcome import differences, outcome

from keras_sepnets import Run, load_config, train
from keras_sepnets.base.errors import TerminatedRunError
from keras_sepnets.training.trainer import resume

EPOCHS, STEPS = 4, 5  # of 256 digits
COMMON = {"model.alpha": 0.0625, "training.epochs": EPOCHS, "training.batch_size": 256}
NETWORKS = {
    "mobilenet": {"data.image_size": 32},
    "mobilenet_v2": {"data.image_size": 16},
    "xception": {"data.image_size": 16, "model.middle_repeats": 0},
}
VARIED = {
    "plain": {"model.dropout": 0.0, "data.augment": "none"},
    "varied": {
        "model.dropout": 0.4,
        "training.ema_momentum": 0.9,
        "data.augmentation.mixup": 0.4,
        "data.augment": "strong",
        "training.label_smoothing": 0.1,
    },
}


class Stop(keras.callbacks.Callback):
    """Sends SIGTERM after a step of the training (counted from 0), or during the validation that follows it."""

    def __init__(self, step: int, *, in_validation: bool) -> None:
        super().__init__()
        self.step, self.in_validation, self.epoch = step, in_validation, 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self.in_validation and self.epoch * STEPS + batch == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if self.in_validation and batch == 1 and self.epoch == self.step // STEPS:
            os.kill(os.getpid(), signal.SIGTERM)


def stop_and_resume(config: object, folder: Path, stops: int, chance: random.Random) -> tuple[Run, int]:
    """Train, stop and resume until the end; return the run, and how many stops took effect."""
    run, done = Run(folder), 0
    steps = sorted(chance.sample(range(EPOCHS * STEPS), min(stops, EPOCHS * STEPS)))
    for number, step in enumerate(steps):
        # Validation follows the last step of an epoch.
        callbacks = [Stop(step, in_validation=step % STEPS == STEPS - 1 and number % 2 == 0)]
        keras.backend.clear_session()
        try:
            if run.path.exists():
                resume(run, callbacks=callbacks)
            else:
                train(config, output=folder, callbacks=callbacks)
        except TerminatedRunError:
            done += 1
    if not run.is_finished:
        resume(run)
    return run, done


def main() -> None:
    """Stop, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, failed = random.Random(options.seed), 0
    for network in options.networks:
        for kind, varied in VARIED.items():
            config = load_config(options={**COMMON, "model.name": network, **NETWORKS[network], **varied})
            with tempfile.TemporaryDirectory(prefix="sepnets-stop-") as root:
                undisturbed = outcome(train(config, output=Path(root) / "undisturbed").run)
                for stops in options.stops:
                    run, done = stop_and_resume(config, Path(root) / f"stopped-{stops}", stops, chance)
                    different = differences(undisturbed, outcome(run))
                    failed += bool(different)
                    verdict = f"DIFFERENT: {', '.join(different)}" if different else "bit-identical"
                    print(f"{network}, {kind}: {done} of {stops} stops: {verdict}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
