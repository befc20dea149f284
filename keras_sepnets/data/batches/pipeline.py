"""Batches for training and evaluation. Their random numbers depend on (seed, position) alone, never on timing."""

import numpy as np
import tensorflow as tf

from keras_sepnets.data.batches.augmentation import (
    augment_picture,
    choose_amounts,
    draw_augmentation,
    mix_pictures,
)
from keras_sepnets.data.batches.examples import Examples
from keras_sepnets.data.pictures.preprocessing import prepare_picture
from keras_sepnets.settings.schema import AugmentationConfig

BLOCK = 256  # examples per draw of random numbers
MIXING = 0x6D697865  # keeps the random numbers of a batch apart from those of its pictures


def training_batches(
    examples: Examples,
    *,
    batch_size: int,
    steps_per_epoch: int,
    image_size: int,
    policy: AugmentationConfig,
    seed: int,
    order_seed: int | None = None,
    crop_fraction: float | None = None,
    fit: str = "crop",
    classes: int = 0,
    start: int = 0,
    worker: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return endless shuffled, augmented batches; an epoch has `steps_per_epoch * batch_size` examples.

    Args:
        examples: The training examples.
        batch_size: Examples per batch.
        steps_per_epoch: Batches per epoch, of all workers together.
        image_size: Height and width in pixels.
        policy: How pictures vary.
        seed: Determines order and augmentation: example k of epoch e is the same picture in every run.
        order_seed: Determines the order in its place.
        crop_fraction: Share of the sides that is seen, if there is no random crop; see `prepare_picture`.
        fit: How pictures become squares; see `prepare_picture`.
        classes: Number of classes; required if the policy mixes pictures.
        start: Number of batches that the run has already seen; they are skipped without being read.
        worker: The worker that reads here, if there are several.

    Returns:
        Batches of float32 (batch_size, image_size, image_size, 3) in 0..255, and int32 (batch_size,) or, if
        pictures are mixed, float32 (batch_size, classes).
    """

    def vary(
        amounts: dict[str, tf.Tensor], example: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, ...]:
        position, picture, label = example
        return position, augment_picture(picture, amounts, policy, image_size, crop_fraction, fit), label

    def mix(positions: tf.Tensor, pictures: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mixing = _fold_in([seed, MIXING], positions[0])
        return mix_pictures(pictures, tf.one_hot(labels, classes), mixing, policy)

    workers = worker.num_input_pipelines if worker else 1
    first = start * batch_size * workers
    order = seed if order_seed is None else order_seed
    amounts = _amounts_by_position(seed, policy, image_size, first)
    if worker:
        amounts = amounts.shard(workers, worker.input_pipeline_id)
    batches = (
        tf.data.Dataset.zip(amounts, examples.shuffled(order, steps_per_epoch * batch_size, worker, first))
        .map(vary, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
    )
    if policy.mixes:
        batches = batches.map(mix, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        batches = batches.map(lambda _, pictures, labels: (pictures, labels))
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    examples: Examples,
    *,
    batch_size: int,
    image_size: int,
    crop_fraction: float | None = None,
    fit: str = "crop",
    classes: int = 0,
) -> tf.data.Dataset:
    """Return every example exactly once, in a fixed order; the last batch may be smaller.

    Returns:
        Batches of float32 (batch, image_size, image_size, 3) in 0..255, and int32 (batch,) or, if `classes` is
        given, float32 (batch, classes).
    """
    return (
        examples.in_order()
        .map(
            lambda picture, label: (
                tf.cast(prepare_picture(picture, image_size, crop_fraction, fit), tf.float32),
                tf.one_hot(label, classes) if classes else label,
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def draw_sample(
    examples: Examples, count: int, image_size: int, crop_fraction: float | None = None, fit: str = "crop"
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random but fixed sample of at most `count` examples, as evaluation sees them.

    Returns:
        float32 (n, image_size, image_size, 3) in 0..255, and int32 (n,).
    """
    drawn = examples.shuffled(seed=0, per_epoch=examples.num_examples).take(min(count, examples.num_examples))
    pairs = [
        (tf.cast(prepare_picture(picture, image_size, crop_fraction, fit), tf.float32).numpy(), label.numpy())
        for _position, picture, label in drawn
    ]
    pictures, labels = zip(*pairs, strict=True)
    return np.stack(pictures), np.stack(labels)


def _amounts_by_position(
    seed: int, policy: AugmentationConfig, image_size: int, first: int = 0
) -> tf.data.Dataset:
    """Return how the picture at each position from `first` on varies; chosen in blocks, which is faster."""

    def choose(block: tf.Tensor) -> dict[str, tf.Tensor]:
        chosen = choose_amounts(draw_augmentation(_fold_in([seed, 0], block), BLOCK), policy, image_size)
        return chosen or {"none": tf.zeros(BLOCK)}

    return tf.data.Dataset.counter(first // BLOCK).map(choose).unbatch().skip(first % BLOCK)


def _fold_in(seed: list[int], position: tf.Tensor) -> tf.Tensor:
    low, high = tf.unstack(tf.bitcast(position, tf.int32), num=2)
    return tf.random.fold_in([seed[0], high + seed[1]], low)
