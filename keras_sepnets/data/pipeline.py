"""Batches for training and evaluation. Random numbers depend on (seed, position) alone, never on timing."""

import tensorflow as tf

from keras_sepnets.data.examples import Examples
from keras_sepnets.data.preprocessing import AUGMENTATIONS, augment_pictures, draw_augmentation


def training_batches(
    examples: Examples, *, batch_size: int, steps_per_epoch: int, augment: str, seed: int
) -> tf.data.Dataset:
    """Return endless shuffled, augmented batches; every epoch shows `steps_per_epoch * batch_size` examples once.

    Args:
        examples: The training examples.
        batch_size: Examples a batch.
        steps_per_epoch: Batches an epoch.
        augment: "none", "light" or "standard".
        seed: Decides the order and the augmentation: example k of epoch e is the same picture in every run.

    Returns:
        Batches of (float32 (batch_size, size, size, 3) in 0..255, int32 (batch_size,)).
    """
    augmentation = AUGMENTATIONS[augment]

    def draw(position: tf.Tensor, picture: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        numbers = tf.bitcast(position, tf.int32)  # low and high half
        return picture, draw_augmentation(tf.random.fold_in([seed, numbers[1]], numbers[0])), label

    def augment_batch(pictures: tf.Tensor, draws: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment_pictures(pictures, draws, augmentation), labels

    return (
        examples.shuffled(seed, steps_per_epoch * batch_size)
        .map(draw, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .map(augment_batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(examples: Examples, *, batch_size: int) -> tf.data.Dataset:
    """Return every example exactly once, in a fixed order; the last batch may be smaller.

    Returns:
        Batches of (float32 (batch, size, size, 3) in 0..255, int32 (batch,)).
    """
    return (
        examples.in_order()
        .batch(batch_size)
        .map(lambda pictures, labels: (tf.cast(pictures, tf.float32), labels))
        .prefetch(tf.data.AUTOTUNE)
    )
