"""Compare ways to reuse given weights: scikit-learn, the Keras guide, and this package's recipes.

Usage: python scripts/compare_transfer.py WEIGHTS FOLDER DATASET... [--image-size N] [--seeds N]

WEIGHTS is a .keras file of a MobileNet of this package, DATASET a data set as for `sepnets train`, such as
manifest:split0.csv with train, validation and test. FOLDER keeps the runs and what was measured; a second call
measures only what is missing. Prints JSON: test top-1 by way and data set, and its mean.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.plan import Plan, make_plan

RECIPES = ("probe", "finetune")


def plan_of(options: argparse.Namespace, dataset: str, seed: int) -> Plan:
    """Return a plan, for its data and its network with the given weights."""
    settings = {
        "model.name": "mobilenet", "data.dataset": dataset, "data.image_size": options.image_size,
        "transfer.weights": options.weights, "training.seed": seed, "training.accelerate": "off",
        "training.intra_op_threads": 0,
    }  # fmt: skip
    return make_plan(load_config(options=settings))


def arrays(plan: Plan, role: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(plan.splits.evaluation_batches(role, 64))
    return np.concatenate([pictures for pictures, _ in pairs]), np.concatenate([labels for _, labels in pairs])


def logistic_regression(plan: Plan, seed: int) -> float:
    """Fit scikit-learn's defaults to standardized features of the frozen network."""
    backbone = keras.Model(plan.network.inputs, plan.network.get_layer("avg_pool").output)
    (train, labels), (test, truth) = arrays(plan, "train"), arrays(plan, "test")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(backbone.predict(train, verbose=0), labels)
    return float(model.score(backbone.predict(test, verbose=0), truth))


def keras_guide(plan: Plan, seed: int) -> float:
    """Follow Keras' guide "Transfer learning & fine-tuning": 20 frozen epochs, then 10 of everything at 1e-5."""
    keras.utils.set_random_seed(seed)
    backbone = keras.Model(plan.network.inputs, plan.network.get_layer("avg_pool").output)
    backbone.trainable = False
    inputs = keras.Input(plan.network.input_shape[1:])
    x = keras.layers.RandomRotation(0.1)(keras.layers.RandomFlip("horizontal")(inputs))
    x = keras.layers.Dropout(0.2)(backbone(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(len(plan.splits.class_names))(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train, validation = arrays(plan, "train"), arrays(plan, "validation")
    for trainable, rate, epochs in ((False, 1e-3, 20), (True, 1e-5, 10)):
        backbone.trainable = trainable
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        model.fit(*train, batch_size=32, epochs=epochs, validation_data=validation, verbose=0)
    pictures, labels = arrays(plan, "test")
    return float(np.mean(model.predict(pictures, verbose=0).argmax(axis=1) == labels))


def recipe(name: str, options: argparse.Namespace, dataset: str, seed: int, folder: Path) -> float:
    """Run one of this package's recipes with its defaults."""
    run = Run(folder)
    if not run.has("evaluation-test.json"):
        command = [sys.executable, "-m", "keras_sepnets", "train", "--recipe", name, "--weights", options.weights]
        command += ["--dataset", dataset, "--image-size", str(options.image_size), "--seed", str(seed)]
        subprocess.run([*command, "--output", str(folder)], check=True, stdout=sys.stderr)
    return float(run.read_json("evaluation-test.json")["top1"])


def measure(way: str, options: argparse.Namespace, dataset: str, seed: int, folder: Path) -> float:
    if way in RECIPES:
        return recipe(way, options, dataset, seed, folder)
    keras.backend.clear_session()
    own = {"logistic regression": logistic_regression, "Keras guide": keras_guide}
    return own[way](plan_of(options, dataset, seed), seed)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("folder", type=Path)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", default="logistic regression,Keras guide,probe,finetune")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, dict] = {}
    for way in options.ways.split(","):
        found, seconds = {}, []
        for number, dataset in enumerate(options.datasets):
            for seed in range(options.seeds):
                file = options.folder / f"{way.replace(' ', '-')}-{number}-{seed}.json"
                if not file.is_file():
                    begin = time.perf_counter()
                    top1 = measure(way, options, dataset, seed, file.with_suffix(""))
                    file.write_text(json.dumps({"top1": top1, "seconds": time.perf_counter() - begin}))
                result = json.loads(file.read_text())
                found.setdefault(dataset, []).append(result["top1"])
                seconds.append(result["seconds"])
        mean = float(np.mean([top1 for several in found.values() for top1 in several]))
        report[way] = {"top1": found, "mean": mean, "seconds": seconds}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
