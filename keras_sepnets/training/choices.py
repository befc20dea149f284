"""The settings that a plan chooses, step by step: each step returns settings with its choices, and the reasons."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras_sepnets.acceleration.threads import settle_threads, use_threads
from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted
from keras_sepnets.data.batches.resolution import SMALLEST_SIZE, choose_sixteen_bit, resolve_data
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.models.registry import NETWORKS
from keras_sepnets.models.weights import LoadReport
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.classifier import CLASSIFIER
from keras_sepnets.training.optimization import LARGEST_MOMENTUM, SMALLEST_MOMENTUM, choose_momentum
from keras_sepnets.training.tuning.batch_size import choose_batch_size
from keras_sepnets.training.tuning.form import choose_form, warn_of_slow_products

# Moving averages lag behind in runs of 50 steps and no longer in runs of 200 (experiments/batch_norm_statistics).
MOST_STEPS_PRECISE = 300
FEWEST_BATCHES, MOST_BATCHES = 4, 16  # for batch norm's statistics; in between, a quarter of an epoch


class Chosen(NamedTuple):
    """Settings with the choices of a step."""

    config: RunConfig
    reasons: dict[str, str]  # setting, as in training.batch_size -> reason


def choose_data(config: RunConfig, source: Any) -> Chosen:
    """Choose the settings that depend on the data set, and make the path of the weights absolute."""
    sizes = NETWORKS[config.model.name]
    data = resolve_data(config.data, source, default_size=sizes.default_size, minimum_size=sizes.minimum_size)
    side, least = source.picture_size, max(SMALLEST_SIZE, sizes.minimum_size)
    small = side is not None and 2 * side < sizes.default_size
    why = {
        "image_size": f"twice the {side} px of the pictures, at least {least}" if small else "the network",
        "crop_fraction": "the size of the data set's pictures",
        "augment": "pictures that are learned by heart" if config.data.overfit else "the data set",
    }
    reasons = {f"data.{key}": reason for key, reason in why.items() if getattr(config.data, key) is None}
    if measured := choose_sixteen_bit(config.data, source)[1]:
        reasons["data.sixteen_bit"] = measured
    return Chosen(config.model_copy(update={"data": data, "transfer": config.transfer.with_whole_path()}), reasons)


def accept_threads(config: RunConfig) -> Chosen:
    """Take the number of threads that TensorFlow already runs with, if it does; nothing can be chosen then."""
    threads = settle_threads(config.training).intra_op_threads
    if threads == config.training.intra_op_threads:
        return Chosen(config, {})
    reason = "what TensorFlow has started with in this process"
    return Chosen(with_training(config, intra_op_threads=threads), {"training.intra_op_threads": reason})


def choose_fastest_form(
    config: RunConfig,
    *,
    classes: int,
    num_examples: int,
    max_seconds: float | None,
    measure: bool,
    on_progress: Callable[[str], None],
) -> Chosen:
    """Choose acceleration, precision, compilation and threads where they are "auto"; set TensorFlow's threads."""
    form = choose_form(
        config,
        classes=classes,
        num_examples=config.data.overfit or num_examples,
        max_seconds=max_seconds,
        measure=measure,
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
        reasons["training.ema_momentum"] = (
            f"forgets 95 % of the start in a tenth of {steps:,} steps, but at least {SMALLEST_MOMENTUM:g}"
        )
    if config.model.bn_momentum is None:
        if config.transfer.weights:
            momentum, why = LARGEST_MOMENTUM["batch norm"], "the given statistics are worth keeping"
        else:
            momentum = choose_momentum(steps, of="batch norm")
            why = f"forgets 95 % of the start in a tenth of {steps:,} steps, but at least {SMALLEST_MOMENTUM:g}"
        config = config.model_copy(update={"model": config.model.model_copy(update={"bn_momentum": momentum})})
        reasons["model.bn_momentum"] = why
    return Chosen(config, reasons)


def choose_epochs_by_steps(config: RunConfig, steps_per_epoch: int) -> Chosen:
    """Choose more epochs where those of the settings would be too few steps: for data sets of a few pictures."""
    epochs, fewest = config.training.epochs, config.training.min_steps
    if epochs == "auto" or epochs * steps_per_epoch >= fewest or not epochs:
        return Chosen(config, {})
    reason = f"{epochs} would be only {epochs * steps_per_epoch:,} steps; at least {fewest:,} steps"
    return Chosen(with_training(config, epochs=-(-fewest // steps_per_epoch)), {"training.epochs": reason})


def choose_warmup(config: RunConfig) -> Chosen:
    """Shorten a warm-up that lasts as long as the run or longer than a phase; its rate would never fall again."""
    frozen, warmup = config.transfer.unfreeze_after, config.training.warmup_epochs
    epochs = int(config.training.epochs)
    last = epochs - frozen  # epochs of the last phase
    if not epochs or not (warmup >= last or warmup > frozen > 0):
        return Chosen(config, {})
    shortest = min(last, frozen or last)
    schedule = "shorter phase" if frozen else "run"
    reason = f"half of the {schedule}; {counted(warmup, 'epoch')} would be all of it"
    return Chosen(with_training(config, warmup_epochs=shortest / 2), {"training.warmup_epochs": reason})


def batches_for_precise(config: RunConfig, steps: int, steps_per_epoch: int) -> int:
    """Return from how many batches batch norm's statistics are computed anew before each evaluation of a run.

    In long runs from none: their moving averages do not lag behind.
    """
    batches = config.training.precise_batch_norm
    if config.transfer.batch_norm == "frozen":
        return 0
    if batches != "auto":
        return batches
    return 0 if steps > MOST_STEPS_PRECISE else max(FEWEST_BATCHES, min(MOST_BATCHES, steps_per_epoch // 4))


def choose_precise_batch_norm(config: RunConfig, steps_per_epoch: int) -> Chosen:
    """Choose from how many batches batch norm's statistics are computed anew before evaluations."""
    if config.training.precise_batch_norm != "auto":
        return Chosen(config, {})
    steps = steps_per_epoch * int(config.training.epochs)
    batches = batches_for_precise(config, steps, steps_per_epoch)
    reason = f"a moving average may lag behind in a run of {steps:,} steps"
    reasons = {"training.precise_batch_norm": reason} if batches else {}
    return Chosen(with_training(config, precise_batch_norm=batches), reasons)


def choose_which_to_keep(config: RunConfig, num_validation: int) -> Chosen:
    """Choose whether the best or the final network is tested and used."""
    if config.training.keep != "auto" and not config.data.trains_on_all:
        return Chosen(config, {})
    if config.data.trains_on_all:
        keep, why = "final", "no picture is left to choose by"
    elif config.transfer.weights:
        keep, why = "best", "fine-tuning soon overfits, and validation shows when"
    elif config.training.patience:
        keep, why = "best", "the training stops when validation no longer improves"
    else:
        keep, why = "final", "the learning rate falls to its end, and a choice by few validation pictures is noise"
    return Chosen(with_training(config, keep=keep), {"training.keep": why})


def choose_batch_norm(config: RunConfig) -> Chosen:
    """Choose whether batch norm keeps the statistics of given weights."""
    if config.transfer.batch_norm != "auto":
        return Chosen(config, {})
    if config.transfer.weights:
        return Chosen(
            with_transfer(config, batch_norm="frozen"),
            {"transfer.batch_norm": "the statistics of the weights are better than those of a few batches"},
        )
    return Chosen(with_transfer(config, batch_norm="moving"), {})


def choose_start(config: RunConfig, report: LoadReport | None) -> Chosen:
    """Choose the start of the classifier: given by the weights if it fits, otherwise fitted to features of theirs.

    Args:
        config: The settings.
        report: Of the loaded weights; None if there are none, or if a checkpoint follows.
    """
    if config.transfer.classifier == "given" and report and report.fresh:
        raise SepnetsError(
            "The weights have no classifier for these classes; choose transfer.classifier=fitted. "
            f"Received: transfer.classifier='given' and weights without {', '.join(report.fresh)}"
        )
    if config.transfer.classifier != "auto":
        return Chosen(config, {})
    if not config.transfer.weights:
        return Chosen(with_transfer(config, classifier="random"), {})
    if report is None or not report.fresh:
        return Chosen(
            with_transfer(config, classifier="given"),
            {"transfer.classifier": "the weights have it for these classes"},
        )
    if any(name != CLASSIFIER for name in report.fresh):  # fully connected layers before it
        return Chosen(with_transfer(config, classifier="random"), {})
    return Chosen(
        with_transfer(config, classifier="fitted"),
        {"transfer.classifier": "the weights have none for these classes"},
    )


def with_transfer(config: RunConfig, **settings: Any) -> RunConfig:
    """Return a run's settings with some settings of its transfer changed."""
    return config.model_copy(update={"transfer": config.transfer.model_copy(update=settings)})


def with_training(config: RunConfig, **settings: Any) -> RunConfig:
    """Return a run's settings with some settings of its training changed."""
    return config.model_copy(update={"training": config.training.model_copy(update=settings)})
