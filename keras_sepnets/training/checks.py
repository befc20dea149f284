"""Mistakes in the settings of a run that show before its data are read and before anything is timed."""

from collections.abc import Iterable
from typing import Any

import keras

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, printable
from keras_sepnets.data.batches.roles import check_overfit
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.models.registry import NETWORKS, build_shapes
from keras_sepnets.models.stages import BACKBONE, frozen_stages
from keras_sepnets.models.weights import check_weights_exist, check_weights_fit
from keras_sepnets.settings.schema import DataConfig, RunConfig, TrainingConfig


def check_settings(config: RunConfig, *, download: bool, has_limit: bool) -> None:
    """Refuse settings that contradict each other.

    Args:
        config: The settings.
        download: Whether a TFDS data set may be downloaded.
        has_limit: Whether the run has a time limit.

    Raises:
        SepnetsError: A setting cannot be used, or not together with another one.
    """
    if keras.backend.backend() != "tensorflow":
        raise SepnetsError(
            "Training needs Keras on TensorFlow; unset KERAS_BACKEND or set it to tensorflow. "
            f"Received: {keras.backend.backend()}"
        )
    _check_options_of_data(config.data, download=download)
    _check_folds(config.data)
    if config.training.epochs == "auto" and not has_limit:
        raise SepnetsError(
            "To choose the number of epochs, training needs a time limit: --max-time 2h. "
            "Received: training.epochs='auto'"
        )
    _check_precision(config.training)
    check_phases(config)


def check_callbacks(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list, also a single one or None; raise SepnetsError for what is no callback."""
    if callbacks is None:
        return []
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            hint = f"; did you mean {callback.__name__}()?" if isinstance(callback, type) else "."
            raise SepnetsError(
                f"callbacks is a Keras callback or a list of them{hint} Received: {type(callback).__name__}"
            )
    return given


def check_phases(config: RunConfig) -> None:
    """Refuse frozen or fitted random weights, to unfreeze what is not frozen, and phases that never begin."""
    transfer, epochs = config.transfer, config.training.epochs
    if transfer.freeze and not transfer.weights:
        raise SepnetsError(
            "Frozen random weights would learn nothing; name the weights to start from: --weights RUN. "
            f"Received: transfer.freeze={transfer.freeze!r}"
        )
    if transfer.unfreeze_after and not transfer.freeze:
        raise SepnetsError(
            f"Nothing is frozen, so there is nothing to unfreeze; add --freeze {BACKBONE}, or drop "
            f"--unfreeze-after. Received: transfer.unfreeze_after={transfer.unfreeze_after}"
        )
    if transfer.classifier in ("fitted", "given") and not transfer.weights:
        raise SepnetsError(
            "Only the classifier of given weights can be given or fitted; name the weights (--weights), or drop "
            f"transfer.classifier. Received: transfer.classifier={transfer.classifier!r}"
        )
    if epochs != "auto" and transfer.unfreeze_after and transfer.unfreeze_after >= epochs:
        raise SepnetsError(
            f"The run ends after {counted(epochs, 'epoch')}, so it would never unfreeze; unfreeze "
            "earlier, or add epochs. "
            f"Received: transfer.unfreeze_after={transfer.unfreeze_after}"
        )


def check_network(config: RunConfig) -> None:
    """Refuse a network that cannot be built, a stage that it does not have, and weights that do not fit.

    Where the picture size follows from the data set, the network is tried at its default size.

    Raises:
        SepnetsError: The run's network, stage or weights cannot be used.
    """
    published = NETWORKS[config.model.name].published
    network = build_shapes(config.model, config.data.image_size)
    frozen_stages(network, config.transfer.freeze)
    if weights := config.transfer.with_whole_path().weights:
        check_weights_exist(weights, config.model.name, published, alpha=config.model.alpha)
        if weights != "imagenet":
            check_weights_fit(network, weights, published)


def check_examples(data: DataConfig, num_examples: int) -> None:
    """Refuse to overfit on more pictures than the train split has.

    How many of them are held out is known only when they have been read.

    Args:
        data: The settings.
        num_examples: Number of examples of the train split.
    """
    if data.overfit:
        check_overfit(data.overfit, num_examples)


def _check_options_of_data(data: DataConfig, *, download: bool) -> None:
    own = DatasetName.parse(data.dataset).is_own_pictures
    if download and own:
        raise SepnetsError(
            f"--download is for data sets of TFDS; leave it out. Received: --dataset {printable(data.dataset)}"
        )
    if data.on_bad_picture == "skip" and not own:
        raise SepnetsError(
            "--on-bad-picture skip is for picture files; TFDS has already checked its own. "
            f"Received: --dataset {printable(data.dataset)}"
        )


def _check_folds(data: DataConfig) -> None:
    if data.folds == 1:
        raise SepnetsError("A cross-validation needs at least 2 folds; 0 turns it off. Received: data.folds=1")
    exists = data.folds > 0 if data.fold == "none" else data.fold < max(1, data.folds)
    if not exists:
        raise SepnetsError(
            "There is no such fold; set data.folds, and data.fold to a number below it. Received: "
            f"data.folds={data.folds}, data.fold={data.fold!r}"
        )
    if data.folds and data.overfit:
        raise SepnetsError(
            "A run that overfits on purpose has no folds; leave data.overfit or data.folds out. "
            f"Received: data.overfit={data.overfit}, data.folds={data.folds}"
        )


def _check_precision(training: TrainingConfig) -> None:
    if training.precision == "bfloat16" and training.accelerate == "off":
        raise SepnetsError(
            "Only an accelerated network multiplies in bfloat16; drop --accelerate off. "
            "Received: training.precision='bfloat16'"
        )
    if training.accelerate == "on" and training.precision.startswith("mixed"):
        raise SepnetsError(
            "An accelerated network trains in float32 or bfloat16; choose one of them, or --accelerate off. "
            f"Received: training.precision={training.precision!r}"
        )
