"""The settings that a plan chooses, step by step: each step returns settings with its choices, and the reasons."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras_sepnets.acceleration.threads import settle_threads, use_threads
from keras_sepnets.data.batches.resolution import resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.models.registry import NETWORKS
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.optimization import choose_momentum
from keras_sepnets.training.tuning.batch_size import choose_batch_size
from keras_sepnets.training.tuning.form import choose_form, warn_of_slow_products


class Chosen(NamedTuple):
    """Settings with the choices of a step."""

    config: RunConfig
    reasons: dict[str, str]  # setting, as in training.batch_size -> reason


def choose_data(config: RunConfig, source: Any) -> Chosen:
    """Choose picture size, crop and augmentation by the data set, and make the path of the weights absolute."""
    sizes = NETWORKS[config.model.name]
    data = resolve_data(config.data, source, default_size=sizes.default_size, minimum_size=sizes.minimum_size)
    why = {
        "image_size": "the data set's pictures and the network",
        "crop_fraction": "the size of the data set's pictures",
        "augment": "pictures that are learned by heart" if config.data.overfit else "the data set",
    }
    return Chosen(
        config.model_copy(update={"data": data, "transfer": config.transfer.with_whole_path()}),
        {f"data.{key}": reason for key, reason in why.items() if getattr(config.data, key) is None},
    )


def accept_threads(config: RunConfig) -> Chosen:
    """Take the number of threads that TensorFlow already runs with, if it does; nothing can be chosen then."""
    threads = settle_threads(config.training).intra_op_threads
    if threads == config.training.intra_op_threads:
        return Chosen(config, {})
    reason = "what TensorFlow has started with in this process"
    return Chosen(with_training(config, intra_op_threads=threads), {"training.intra_op_threads": reason})


def choose_fastest_form(
    config: RunConfig, *, classes: int, num_examples: int, on_progress: Callable[[str], None]
) -> Chosen:
    """Choose acceleration, precision, compilation and threads where they are "auto"; set TensorFlow's threads."""
    form = choose_form(
        config,
        classes=classes,
        num_examples=config.data.overfit or num_examples,
        on_progress=on_progress,
    )
    chosen = with_training(config, **form.settings)
    use_threads(chosen.training)
    warn_of_slow_products(config.training)  # not of what a trial chose, which is fast
    return Chosen(chosen, {f"training.{key}": form.why for key in form.settings})


def choose_batch(config: RunConfig, splits: Splits) -> Chosen:
    """Choose the batch size: what fits in memory if it is "auto", at most all training pictures."""
    num_examples = splits.num_examples("train")
    size = config.training.batch_size
    if size == "auto":
        size, why = choose_batch_size(config, classes=len(splits.class_names), num_examples=num_examples)
    elif size > num_examples:
        size, why = num_examples, "all training pictures, which are fewer than the batch size asked for"
    else:
        return Chosen(config, {})
    return Chosen(with_training(config, batch_size=size), {"training.batch_size": why})


def choose_momentums(config: RunConfig, steps_per_epoch: int) -> Chosen:
    """Choose the momentums of batch norm and of averaged weights by the number of steps of the shortest phase."""
    epochs, frozen_epochs = int(config.training.epochs), config.transfer.unfreeze_after
    shortest = min(epochs - frozen_epochs, frozen_epochs or epochs)
    steps = steps_per_epoch * max(1, shortest)
    reasons = {}
    if config.training.ema_momentum == "auto":
        config = with_training(config, ema_momentum=choose_momentum(steps, of="weights"))
        reasons["training.ema_momentum"] = f"forgets 95 % of the initial weights in a tenth of {steps:,} steps"
    if config.model.bn_momentum is None:
        momentum = choose_momentum(steps, of="batch norm")
        config = config.model_copy(update={"model": config.model.model_copy(update={"bn_momentum": momentum})})
        reasons["model.bn_momentum"] = (
            f"forgets at least 95 % of the initial statistics in a tenth of {steps:,} steps"
        )
    return Chosen(config, reasons)


def with_training(config: RunConfig, **settings: Any) -> RunConfig:
    """Return a run's settings with some settings of its training changed."""
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})
