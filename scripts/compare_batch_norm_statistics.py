"""Compare ways to give batch norm its statistics for inference, after trainings of several lengths.

Usage: python scripts/compare_batch_norm_statistics.py DATASET FOLDER [--seeds N] [--steps 50,200,1000,5000]

Training normalizes by the statistics of its batches, so the way in which those for inference are kept does not
change the weights: one training serves every way, and the ways of a seed are paired to the bit. FOLDER keeps what
was measured; a second call measures only what is missing. Prints JSON.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sepnets.base.intervals import compare_pairs
from keras_sepnets.settings.files import load_config
from keras_sepnets.training.loop import Position, build_metrics, run_epochs
from keras_sepnets.training.optimization import compile_model
from keras_sepnets.training.plan import Plan, make_plan

MOMENTUMS = (0.9, 0.99, 0.999)
PRECISE = (1, 4, 16, 64)  # batches
REFERENCE = "precise, 16 batches"
SETTINGS = {
    "model.name": "mobilenet",
    "model.alpha": 0.25,
    "model.bn_momentum": 0.0,  # the moving statistics are then those of the last batch
    "data.image_size": 32,
    "data.crop_fraction": 1.0,
    "training.batch_size": 32,
    "training.accelerate": "on",
    "training.intra_op_threads": 1,
}


def old_momentum(steps: int) -> float:
    """Return the momentum that leaves 5 % of the start after a tenth of the steps, at most 0.99."""
    return min(0.99, 0.05 ** (1 / (0.1 * steps)))


class MovingStatistics(keras.callbacks.Callback):
    """Moving averages of the batches' means and variances, with several momentums at once."""

    def __init__(self, variables: list, momentums: dict[str, float]) -> None:
        super().__init__()
        self.variables, self.momentums = variables, momentums
        start = flat(variables)
        self.averages = {name: start.copy() for name in momentums}

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        found = flat(self.variables)
        for name, momentum in self.momentums.items():
            self.averages[name] = momentum * self.averages[name] + (1 - momentum) * found


def flat(variables: list) -> np.ndarray:
    return np.concatenate([np.asarray(variable.value, np.float64) for variable in variables])


def assign(variables: list, values: np.ndarray) -> None:
    for variable in variables:
        size = variable.shape[0]
        variable.assign(values[:size])
        values = values[size:]


def precise_statistics(plan: Plan, variables: list, augmented: bool) -> dict[str, np.ndarray]:
    """Return the pooled statistics of the first 1, 2, 4, ... training batches, as they are in training or not."""
    model, rows = plan.trained, []
    forward = tf.function(lambda pictures: model(pictures, training=True))
    if augmented:
        batches = plan.splits.training_batches(plan.batch_size, plan.steps_per_epoch, seed=2**30)
    else:
        examples = plan.splits.evaluation_batches("train", 1).unbatch()
        batches = examples.cache().shuffle(2000, seed=0).repeat().batch(plan.batch_size)
    for pictures, _labels in batches.take(max(PRECISE)):
        forward(pictures)
        rows.append(flat(variables))
    is_mean = np.concatenate([np.full(v.shape[0], "mean" in v.path) for v in variables])
    found = {}
    for count in PRECISE:
        values = np.mean(rows[:count], axis=0)
        means = np.stack(rows[:count])[:, is_mean]
        values[~is_mean] += means.var(axis=0)  # the variance between batches
        found[f"precise{'' if augmented else ', plain'}, {count} batches"] = values
    return found


def measure(dataset: str, steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Train once; return the test accuracy and loss with each kind of statistics."""
    keras.backend.clear_session()
    settings = SETTINGS | {"data.dataset": dataset, "training.seed": seed, "training.epochs": 1}
    config = load_config(options=settings)
    plan = make_plan(config)
    model = plan.trained
    # One epoch of `steps` steps: the batches go on through the data set's epochs.
    warmup = {"warmup_epochs": 0.1, "epochs": 1}
    training = config.training.model_copy(update=warmup | {"batch_size": plan.batch_size, "ema_momentum": 0.0})
    per_epoch = plan.steps_per_epoch
    keras.utils.set_random_seed(seed)
    compile_model(model, training, steps, epochs=1, one_hot=plan.one_hot)
    variables = [
        v
        for layer in model.layers
        if hasattr(layer, "moving_mean")
        for v in (layer.moving_mean, layer.moving_variance)
    ]
    momentums = {"old rule": old_momentum(steps), "new rule": max(0.9, old_momentum(steps))}
    moving = MovingStatistics(variables, momentums | {f"momentum {m:g}": m for m in MOMENTUMS})
    build_metrics(model, plan.validation_batches())
    batches = plan.splits.training_batches(plan.batch_size, per_epoch, seed)
    run_epochs(
        model,
        Position(),
        batches,
        plan.validation_batches().take(1),
        epochs=1,
        steps_per_epoch=steps,
        callbacks=[moving],
        on_step=lambda: None,
        on_pause=lambda: None,
    )
    ways = moving.averages | precise_statistics(plan, variables, True) | precise_statistics(plan, variables, False)
    test = plan.splits.evaluation_batches("test", 64).cache()
    results = {}
    for name, values in ways.items():
        assign(variables, values)
        loss, right, count = 0.0, 0, 0
        for pictures, labels in test:
            probabilities = model.predict_on_batch(pictures)
            labels = labels.numpy()
            loss -= float(np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).sum())
            right += int((probabilities.argmax(1) == labels).sum())
            count += len(labels)
        results[name] = {"top1": right / count, "loss": loss / count}
    return results


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", default="50,200,1000,5000")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    report = {}
    for steps in map(int, options.steps.split(",")):
        found = []
        for seed in range(options.seeds):
            file = options.folder / f"{steps}-{seed}.json"
            if not file.is_file():
                file.write_text(json.dumps(measure(options.dataset, steps, seed)))
            found.append(json.loads(file.read_text()))
        report[steps] = {}
        for way in found[0]:
            top1 = [result[way]["top1"] for result in found]
            reference = [result[REFERENCE]["top1"] for result in found]
            report[steps][way] = {
                "top1": top1,
                "mean": float(np.mean(top1)),
                "loss": float(np.mean([result[way]["loss"] for result in found])),
                "against_precise": compare_pairs(reference, top1, higher_is_better=True)._asdict(),
            }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
