"""Pictures in a run folder: a training batch, and predictions on the validation split."""

import keras
import numpy as np

from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.labels import describe_label
from keras_sepnets.runs.folder import Run
from keras_sepnets.runs.plots import draw_pictures
from keras_sepnets.training.plan import Plan

SHOWN = 24  # pictures


def write_train_batch(run: Run, plan: Plan) -> None:
    """Draw train_batch.png: the first training pictures as the network sees them, with their labels."""

    def draw() -> bytes:
        seeds = plan.config.training.seeds_of_batches
        # Not the plan's batches: label smoothing and weights would hide the labels.
        batches = plan.splits.training_batches(plan.batch_size, plan.steps_per_epoch, **seeds)
        pictures, labels = next(batches.as_numpy_iterator())
        titles = [describe_label(label, plan.splits.class_names) for label in labels[:SHOWN]]
        policy = plan.splits.policy.describe() or "no change"
        return draw_pictures(pictures[:SHOWN], titles, f"training pictures: {policy}")

    run.write_picture("train_batch.png", draw)


def write_validation_predictions(run: Run, plan: Plan, network: keras.Model) -> None:
    """Draw validation_predictions.png: pictures from across the validation split, with their predictions.

    There are none if the network was trained on every picture.
    """
    if plan.config.data.trains_on_all:
        return

    def draw() -> bytes:
        pictures, labels = plan.splits.sample("validation", SHOWN)
        titles, colours = [], []
        for probabilities, label in zip(network.predict_on_batch(pictures), labels, strict=True):
            predicted, truth = (printable(plan.splits.class_names[k]) for k in (np.argmax(probabilities), label))
            is_right = predicted == truth
            titles.append(f"{predicted} {probabilities.max():.0%}" + ("" if is_right else f"\nis {truth}"))
            colours.append("black" if is_right else "red")
        return draw_pictures(pictures, titles, "validation pictures, with the prediction", colours)

    run.write_picture("validation_predictions.png", draw)
