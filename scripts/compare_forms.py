"""Train a small MobileNet on Fashion-MNIST in each form with paired seeds, and compare the test accuracies.

Usage: python scripts/compare_forms.py FOLDER [--seeds N]

FOLDER keeps the runs; finished ones are not trained again. Prints JSON, the content of results.json in
experiments/accelerated_training. To prepare the data: sepnets data prepare fashion_mnist.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from keras_sepnets.base.intervals import compare_pairs
from keras_sepnets.runs.folder import Run

FORMS = {"off": ("off", "float32"), "float32": ("on", "float32"), "bfloat16": ("on", "bfloat16")}
COMMON = (
    "--model mobilenet --alpha 0.25 --dataset fashion_mnist --image-size 32 --batch-size 256 --epochs 10 "
    "--augment none --set data.holdout_fraction=0.4 --set training.ema_momentum=auto"
)


def top1(folder: Path, form: str, seed: int) -> float:
    """Return the test accuracy of a run; train it first if necessary."""
    run = Run(folder / f"{form}-{seed}")
    if not run.has("evaluation-test.json"):
        accelerate, precision = FORMS[form]
        chosen = f"--accelerate {accelerate} --precision {precision} --seed {seed}".split()
        program = [sys.executable, "-c", "from keras_sepnets.cli import main; main()", "train"]
        subprocess.run(
            [*program, *COMMON.split(), *chosen, "--output", str(run.path)], check=True, stdout=sys.stderr
        )
    return run.read_json("evaluation-test.json")["top1"]


def main() -> None:
    """Train the missing runs and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=12)
    options = parser.parse_args()
    seeds = range(options.seeds)
    found = {form: [] for form in FORMS}
    for seed in seeds:
        for form in FORMS:
            found[form].append(top1(options.folder, form, seed))
    comparisons = {
        form: compare_pairs(found["off"], found[form], higher_is_better=True)._asdict() for form in list(FORMS)[1:]
    }
    print(json.dumps({"seeds": list(seeds), "top1": found, "against_off": comparisons}, indent=2))


if __name__ == "__main__":
    main()
