"""A training run: first the plan, then the training, then the test."""

import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

from keras_sepnets.averaging import averaged_weights
from keras_sepnets.checkpoints import Checkpoints, NoWholeCheckpointError
from keras_sepnets.config import RunConfig, TrainingConfig
from keras_sepnets.cost import Cost, count_cost
from keras_sepnets.data.builders import is_own_pictures
from keras_sepnets.data.splits import ROLES, Splits, open_source, resolve_data
from keras_sepnets.errors import (
    DivergedError,
    FailedRunError,
    InterruptedRunError,
    SepnetsError,
    TerminatedRunError,
    one_line,
    printable,
)
from keras_sepnets.evaluation import BATCH_SIZE, Evaluation, evaluate
from keras_sepnets.interruption import Interruption, StopNow, noted_signals
from keras_sepnets.models.registry import NETWORKS, build_network
from keras_sepnets.recording import Recorder
from keras_sepnets.runs import Run, check_output
from keras_sepnets.saving import Saver
from keras_sepnets.training_loop import (
    Position,
    build_metrics,
    checked_when_trained,
    run_epochs,
    update_after_all_gradients,
)

LARGEST_BN_MOMENTUM = 0.99  # Keras' default
INITIAL_STATISTICS_LEFT = 0.05  # share of batch norm's initial statistics that may be left ...
STATISTICS_WARMUP = 0.1  # ... after this share of all steps


@dataclass(frozen=True)
class Plan:
    """What a run will do, before anything is written."""

    config: RunConfig  # complete: nothing is left open
    splits: Splits
    model: keras.Model  # freshly initialized
    cost: Cost
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """All optimizer steps of the run."""
        return self.steps_per_epoch * self.config.training.epochs

    def to_json(self) -> dict[str, Any]:
        """Return the plan as `sepnets train --dry-run --json` prints it."""
        return {
            "config": self.config.model_dump(mode="json"),
            **self.cost.summary(),
            "num_examples": {role: self.splits.num_examples(role) for role in ROLES},
            "steps_per_epoch": self.steps_per_epoch,
            "steps": self.steps,
        }


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to."""

    run: Run
    train_seconds: float
    images_per_second: float
    cost: Cost
    test: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return the result as `sepnets train --json` prints it; parameters are the total."""
        return {
            "run": str(self.run.path),
            "train_seconds": self.train_seconds,
            "images_per_second": self.images_per_second,
            "parameters": self.cost.total,
            "multiply_adds": self.cost.multiply_adds,
            "test": self.test.to_json(),
        }


def make_plan(config: RunConfig, *, download: bool = False, cache_folder: Path | None = None) -> Plan:
    """Open the data, settle every open setting and build the network; write nothing.

    Args:
        config: The settings; None values are chosen here, from the data set and the number of steps.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.

    Raises:
        SepnetsError: The data cannot be had, or the network does not exist for these settings.
    """
    if keras.backend.backend() != "tensorflow":
        raise SepnetsError(
            "Training needs Keras on TensorFlow; unset KERAS_BACKEND or set it to tensorflow. "
            f"Received: {keras.backend.backend()}"
        )
    network = NETWORKS[config.model.name]
    if download:  # a network that cannot be built shows itself before hours of download
        build_network(
            config.model, image_size=config.data.image_size or network.default_size, classes=2, seed=None
        )
    skip_bad = config.data.on_bad_picture == "skip"
    if download and is_own_pictures(config.data.dataset):
        raise SepnetsError(
            "--download is for data sets of TFDS; leave it out. "
            f"Received: --dataset {printable(config.data.dataset)}"
        )
    if skip_bad and not is_own_pictures(config.data.dataset):
        raise SepnetsError(
            "--on-bad-picture skip is for picture files; TFDS has verified those of its sets. "
            f"Received: --dataset {printable(config.data.dataset)}"
        )
    source = open_source(config.data.dataset, download=download, skip_bad=skip_bad)
    data = resolve_data(config.data, source, default_size=network.default_size, minimum_size=network.minimum_size)
    splits = Splits(source, data, cache_folder=cache_folder)
    num_train = splits.num_examples("train")
    batch_size = min(config.training.batch_size, num_train)
    steps_per_epoch = num_train // batch_size
    training = config.training.model_copy(update={"batch_size": batch_size})
    momentum = config.model.bn_momentum
    if momentum is None:
        momentum = choose_bn_momentum(steps_per_epoch * training.epochs)
    model_config = config.model.model_copy(update={"bn_momentum": momentum})
    model = build_network(
        model_config, image_size=data.image_size or 0, classes=len(splits.class_names), seed=training.seed
    )
    return Plan(
        config=RunConfig(model=model_config, data=data, training=training),
        splits=splits,
        model=model,
        cost=count_cost(model),
        steps_per_epoch=steps_per_epoch,
    )


def choose_bn_momentum(steps: int) -> float:
    """Return the momentum that leaves at most 5 % of batch norm's initial statistics after a tenth of `steps`.

    A moving average of momentum m keeps m^n of its start after n steps; with Keras' .99 that is 37 % after 100
    steps, which ruins the evaluation of short runs. Never more than .99.
    """
    return round(min(LARGEST_BN_MOMENTUM, INITIAL_STATISTICS_LEFT ** (1 / (STATISTICS_WARMUP * steps))), 6)


def train(
    config: RunConfig,
    *,
    output: Path | None = None,
    download: bool = False,
    cache_folder: Path | None = None,
    checkpoint_every: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
) -> TrainingResult:
    """Train a network, evaluate it on the test split and keep everything in a run folder.

    Args:
        config: The settings; see `RunConfig`.
        output: The run folder, new or empty; None for the next number under $SEPNETS_RUNS or runs/.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        checkpoint_every: Steps between checkpoints; None for what costs at most 1 % of the time.
        callbacks: Keras callbacks of the caller's own.
        on_plan: Called with the plan before anything is written.

    Returns:
        The run, its speed, its cost and its test result.

    Raises:
        SepnetsError: The settings, the data or the output folder cannot be used; nothing was written.
        FailedRunError: The training failed; the run can be resumed from its newest checkpoint.
        InterruptedRunError: SIGINT (Ctrl-C) or SIGTERM; the run can be resumed from the step at which it stopped.
    """
    if output is not None:
        check_output(output)
    plan = make_plan(config, download=download, cache_folder=cache_folder)
    if on_plan:
        on_plan(plan)
    environment = describe_environment()
    run = Run.create(output, plan.config)
    try:
        run.write_json("environment.json", environment)
        run.write_json("labels.json", list(plan.splits.class_names))
        run.write_json("data.json", plan.splits.to_json())
        run.write_json("cost.json", plan.cost.to_json())
    except (KeyboardInterrupt, Exception):
        run.remove()
        raise
    with run.locked():
        return _carry_out(run, plan, callbacks, checkpoint_every)


def resume(
    run: Run,
    *,
    cache_folder: Path | None = None,
    checkpoint_every: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
) -> TrainingResult:
    """Go on with a run that was interrupted or killed, exactly as if it had not been.

    Args:
        run: The unfinished run.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        checkpoint_every: Steps between checkpoints; None for what costs at most 1 % of the time.
        callbacks: Keras callbacks of the caller's own; they do not learn what happened before.
        on_plan: Called with the plan before the training goes on.

    Returns:
        The same as the uninterrupted run: its weights, batch norm's statistics, history and test are equal to the
        bit on the same machine and versions.

    Raises:
        SepnetsError: The run is finished or has no checkpoint, its data have changed, or another process has it.
        FailedRunError, InterruptedRunError: See `train`.
    """
    with run.locked():
        if run.is_finished:
            raise SepnetsError(
                f"The run is finished; evaluate it: sepnets evaluate {run.path}. Received: {str(run.path)!r}"
            )
        plan = _plan_again(run, run.config, cache_folder)
        if on_plan:
            on_plan(plan)
        return _carry_out(run, plan, callbacks, checkpoint_every)


def extend(
    run: Run,
    epochs: int,
    *,
    cache_folder: Path | None = None,
    checkpoint_every: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
) -> TrainingResult:
    """Go on with a finished run until it has so many epochs in all, on the schedule of a run of that length.

    The learning rate is the one that such a run has at that epoch, so it rises again. The run's config.json gets
    the new number of epochs; batch norm's momentum stays as it was, and patience does not end it. See `resume` for
    the rest.

    Raises:
        SepnetsError: The run is not finished, or has as many epochs already.
    """
    with run.locked():
        if not run.is_finished:
            raise SepnetsError(f"The run is not finished; go on with it: sepnets train --resume {run.path}")
        config, trained = run.config, len(run.read_history())
        if epochs <= trained:
            raise SepnetsError(
                f"The run has {trained} epochs already; say how many it is to have in all. "
                f"Received: epochs={epochs}"
            )
        training = config.training.model_copy(update={"epochs": epochs, "patience": 0})
        longer = config.model_copy(update={"training": training})
        plan = _plan_again(run, longer, cache_folder)
        if on_plan:
            on_plan(plan)
        run.reopen(longer)
        return _carry_out(run, plan, callbacks, checkpoint_every)


def _plan_again(run: Run, config: RunConfig, cache_folder: Path | None) -> Plan:
    """Return the plan of a run that goes on; raise SepnetsError if it cannot go on exactly."""
    if not run.has_checkpoints:
        raise SepnetsError(f"The run has no checkpoint to go on from; train it anew. Received: {str(run.path)!r}")
    plan = make_plan(config, cache_folder=cache_folder)
    recorded = run.read_json("data.json")
    for name, described in plan.splits.to_json().items():
        if described != recorded.get(name):
            raise SepnetsError(
                f"The data have changed since the run began, so it cannot go on exactly: {name} was "
                f"{recorded.get(name)!r} and is {described!r}. Restore the data, or train anew."
            )
    return plan


def _carry_out(
    run: Run, plan: Plan, callbacks: Sequence[keras.callbacks.Callback], checkpoint_every: int | None
) -> TrainingResult:
    """Train a run from its newest checkpoint, or from the beginning, to the end, and test it; it is locked."""
    recorder = Recorder(run, plan.config)
    checkpoints = Checkpoints(run.checkpoints_folder)
    saver = Saver(checkpoints, plan.model, Position(), recorder, plan.steps_per_epoch, checkpoint_every)
    try:
        checkpoints.remove_unfinished()
        with noted_signals() as interruption, plan.splits.translated_failures():
            try:
                _run(plan, recorder, saver, interruption, callbacks)
                saver.save()  # from which the finished run can be extended
            except StopNow:
                raise _stopped(run, saver, interruption, plan.config.training.epochs) from None
        with averaged_weights(plan.model):
            run.save_model(recorder.network, "final")
        run.write_json("training.json", recorder.speed() | {"checkpoint_seconds": round(saver.seconds, 3)})
        checkpoints.keep_newest()
        test = evaluate(run, "test", splits=plan.splits)
    except (InterruptedRunError, NoWholeCheckpointError):
        raise
    except (KeyboardInterrupt, Exception) as error:
        raise _kept(error, run) from error
    finally:
        if run.path.exists():
            run.write_bad_pictures(plan.splits.bad_pictures)
    return TrainingResult(run=run, **recorder.speed(), cost=plan.cost, test=test)


def _run(
    plan: Plan,
    recorder: Recorder,
    saver: Saver,
    interruption: Interruption,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Train from the newest checkpoint, or from the beginning, to the end."""
    training, splits, model = plan.config.training, plan.splits, plan.model
    keras.utils.set_random_seed(training.seed)
    compile_model(model, training, plan.steps_per_epoch, one_hot=splits.policy.mixes)
    validation = splits.evaluation_batches("validation", BATCH_SIZE, one_hot=splits.policy.mixes)
    build_metrics(model, validation)
    saver.restore()
    batches = splits.training_batches(training.batch_size, plan.steps_per_epoch, training.seed, start=saver.step)
    if training.class_weights == "balanced":
        batches = weigh(batches, balanced_weights(splits.class_counts("train")))

    def after_step() -> None:
        interruption.stop_if_asked()
        saver.save_if_due()

    interruption.waits = True
    run_epochs(
        model,
        saver.position,
        batches,
        validation,
        epochs=training.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=[recorder, *callbacks],
        on_step=after_step,
        on_pause=interruption.stop_if_asked,
    )


def compile_model(
    model: keras.Model, config: TrainingConfig, steps_per_epoch: int, *, one_hot: bool = False
) -> None:
    """Give a model its optimizer, schedule and loss: linear warm-up to the learning rate, then a cosine to 0.

    Labels are class numbers or, with `one_hot`, probabilities.
    """
    steps = steps_per_epoch * config.epochs
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.learning_rate,
        decay_steps=steps - warmup_steps,
        warmup_target=config.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    common = {"weight_decay": config.weight_decay, "use_ema": config.ema_momentum > 0}
    common |= {"ema_momentum": config.ema_momentum} if config.ema_momentum else {}
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(schedule, **common)
    elif config.optimizer == "rmsprop":  # both papers' optimizer, with MobileNetV2's decay and momentum
        optimizer = keras.optimizers.RMSprop(schedule, rho=0.9, momentum=0.9, epsilon=1e-3, **common)
    else:
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, **common)
    optimizer.exclude_from_weight_decay(var_list=undecayed_variables(model))
    update_after_all_gradients(optimizer)
    optimizer.build(model.trainable_variables)  # or TensorFlow traces the first training step twice
    losses, metrics = keras.losses, keras.metrics
    crossentropy = losses.categorical_crossentropy if one_hot else losses.sparse_categorical_crossentropy
    model.compile(
        optimizer=optimizer,
        loss=lambda labels, probabilities: checked_when_trained(crossentropy(labels, probabilities)),
        metrics=[(metrics.CategoricalAccuracy if one_hot else metrics.SparseCategoricalAccuracy)(name="top1")],
    )


def undecayed_variables(model: keras.Model) -> list[keras.Variable]:
    """Return what weight decay leaves alone: depthwise kernels (MobileNets, section 3.2), batch norm, biases."""
    decayed = {
        id(layer.kernel) for layer in model.layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)
    }
    return [variable for variable in model.trainable_variables if id(variable) not in decayed]


def describe_environment() -> dict[str, Any]:
    """Return what a result may depend on besides its settings: versions, machine, devices, command, time."""
    packages = ("keras-sepnets", "keras", "tensorflow", "tensorflow-datasets", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "cpu_cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """Return the weight of each class in the loss: all classes weigh the same, and the mean over examples is 1.

    A class without examples, of which no weight would be of use, gets 1.
    """
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


def weigh(batches: tf.data.Dataset, weights: np.ndarray) -> tf.data.Dataset:
    """Give every example the weight of its class; a mixed one the mean of its classes', by their shares.

    Keras' own `class_weight` takes the weight of a mixed example's largest share for the whole.
    """

    def add_weights(pictures: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mixed = labels.dtype.is_floating
        return pictures, labels, tf.linalg.matvec(labels, weights) if mixed else tf.gather(weights, labels)

    return batches.map(add_weights)


def _stopped(run: Run, saver: Saver, interruption: Interruption, epochs: int) -> InterruptedRunError:
    """Keep a run that was asked to stop where it is, and return the error that says how it goes on."""
    position = saver.position
    where = (
        f"in epoch {position.epoch + 1}, step {position.step}"
        if position.epoch < epochs
        else "after its last epoch"
    )
    if interruption.waits and saver.step:
        saver.save()
    if run.has_checkpoints:
        kept = f"All is kept; go on with: sepnets train --resume {run.path}"
    else:
        run.remove()
        kept = "No step was finished, so nothing is kept."
    if interruption.signal == signal.SIGTERM:
        return TerminatedRunError(f"Terminated {where}. {kept}")
    return InterruptedRunError(f"Interrupted {where}. {kept}")


def _kept(error: BaseException, run: Run) -> FailedRunError:
    """Return the error that says what a failed run leaves; a run that came to nothing leaves nothing."""
    if run.is_finished:
        kept = f"The training is finished and kept: sepnets evaluate {run.path}"
    elif isinstance(error, DivergedError) and run.has("history.csv"):
        kept = f"What it was before is kept: sepnets evaluate {run.path}"
    elif run.is_resumable and not isinstance(error, DivergedError):
        kept = f"Its newest checkpoint is kept; go on with: sepnets train --resume {run.path}"
    elif run.has("history.csv"):
        kept = f"There is no checkpoint to go on from; its finished epochs are kept: sepnets evaluate {run.path}"
    else:
        run.remove()
        kept = "No epoch was finished, so nothing is kept."
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError(f"Interrupted in the test. {kept}")
    name = "" if isinstance(error, SepnetsError) else f"{type(error).__name__}: "
    return FailedRunError(f"{name}{one_line(error).rstrip('.')}. {kept}")
