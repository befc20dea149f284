"""The network that a run saves, together with the model that trains its variables."""

from typing import NamedTuple

import keras

from keras_sepnets.acceleration.twin import accelerate
from keras_sepnets.models.registry import build_network
from keras_sepnets.settings.schema import ModelConfig, TrainingConfig
from keras_sepnets.training.optimization import compile_model


class TrainedNetwork(NamedTuple):
    """A network of stock layers, and the model that trains its variables: the network itself or a faster twin."""

    network: keras.Model
    model: keras.Model


def build_trained_network(
    config: ModelConfig,
    training: TrainingConfig,
    *,
    image_size: int,
    classes: int,
    seed: int | None,
    dropout_seed: int | None = None,
    weights: str | None = None,
) -> TrainedNetwork:
    """Build a network in the form and precision that the training settings name.

    Args:
        config: The network's name and settings.
        training: Precision and acceleration, neither of them "auto".
        image_size: Height and width of pictures in pixels.
        classes: Number of classes.
        seed: See `build_network`.
        dropout_seed: See `build_network`.
        weights: See `build_network`.
    """
    network = build_network(
        config,
        image_size=image_size,
        classes=classes,
        seed=seed,
        dropout_seed=dropout_seed,
        weights=weights,
        dtype_policy=training.dtype_policy,
    )
    if training.accelerate == "on":
        return TrainedNetwork(network, accelerate(network, training.precision))
    return TrainedNetwork(network, network)


def build_for_measuring(
    config: ModelConfig, training: TrainingConfig, *, image_size: int, classes: int
) -> TrainedNetwork:
    """Build and compile a network with arbitrary weights, to measure the time or memory of its steps."""
    built = build_trained_network(config, training, image_size=image_size, classes=classes, seed=None)
    compile_model(built.model, training, steps_per_epoch=1000)
    return built
