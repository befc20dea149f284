"""A training run: first the plan, then the training, then the test."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_sepnets.base.errors import (
    DivergedError,
    FailedRunError,
    InterruptedRunError,
    SepnetsError,
    TerminatedRunError,
    TimeUpError,
)
from keras_sepnets.base.machine import describe_environment
from keras_sepnets.base.text import one_line
from keras_sepnets.cost.counting import Cost
from keras_sepnets.inference.evaluation import Evaluation, evaluate
from keras_sepnets.runs.folder import Run, check_output
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.averaging import averaged_weights
from keras_sepnets.training.checkpoints import Checkpoints, NoWholeCheckpointError
from keras_sepnets.training.interruption import Interruption, StopNow, noted_signals
from keras_sepnets.training.loop import Position, build_metrics, run_epochs
from keras_sepnets.training.phases import Phase
from keras_sepnets.training.pictures import write_train_batch, write_validation_predictions
from keras_sepnets.training.plan import Plan, make_plan
from keras_sepnets.training.recorder import Recorder, tensorboard_callbacks
from keras_sepnets.training.saver import Saver


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run came to."""

    run: Run
    train_seconds: float
    images_per_second: float
    checkpoint_seconds: float  # of train_seconds
    cost: Cost
    test: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Return the result as `sepnets train --json` prints it; parameters are the total."""
        return {
            "run": str(self.run.path),
            "train_seconds": self.train_seconds,
            "images_per_second": self.images_per_second,
            "checkpoint_seconds": self.checkpoint_seconds,
            "parameters": self.cost.total,
            "multiply_adds": self.cost.multiply_adds,
            "test": self.test.to_json(),
        }


def train(
    config: RunConfig,
    *,
    output: Path | None = None,
    download: bool = False,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingResult:
    """Train a network, evaluate it on the test split and keep everything in a run folder.

    Args:
        config: The settings; see `RunConfig`.
        output: The run folder, new or empty; None for the next number under $SEPNETS_RUNS or runs/.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        checkpoint_every: Steps or time between checkpoints, besides those of epochs; None for what costs at most
            1 % of the time.
        max_seconds: After which the run stops, such that it can be resumed; it has as many epochs as fit.
        callbacks: Keras callbacks of the caller's own.
        on_plan: Called with the plan before anything is written.
        on_progress: Called with what is being measured for the plan.

    Returns:
        The run, its speed, its cost and its test result.

    Raises:
        SepnetsError: The settings, the data or the output folder cannot be used; nothing was written.
        FailedRunError: The training failed; the run can be resumed from its newest checkpoint.
        InterruptedRunError: SIGINT (Ctrl-C), SIGTERM, or the time is up; the run can be resumed from the step at
            which it stopped.
    """
    deadline = _deadline(max_seconds)
    if output is not None:
        check_output(output)
    plan = make_plan(
        config,
        download=download,
        cache_folder=cache_folder,
        max_seconds=max_seconds,
        on_progress=on_progress,
    )
    if on_plan:
        on_plan(plan)
    environment = describe_environment()
    run = Run.create(output, plan.config)
    try:
        _describe(run, plan, environment)
    except (KeyboardInterrupt, Exception):
        run.remove()
        raise
    with run.locked():
        return _carry_out(run, plan, callbacks, checkpoint_every, deadline)


def resume(
    run: Run,
    *,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
) -> TrainingResult:
    """Go on with a run that was interrupted or killed, exactly as if it had not been.

    Args:
        run: The unfinished run; one that was killed before its first checkpoint begins anew.
        cache_folder: Where decoded pictures are kept; None for memory, if they fit a quarter of it.
        checkpoint_every: Steps or time between checkpoints, besides those of epochs; None for what costs at most
            1 % of the time.
        max_seconds: After which the run stops again.
        callbacks: Keras callbacks of the caller's own; they do not learn what happened before.
        on_plan: Called with the plan before the training goes on.

    Returns:
        The same as the uninterrupted run: its weights, batch norm's statistics, history and test are equal to the
        bit on the same machine and versions.

    Raises:
        SepnetsError: The run is finished or has no checkpoint, its data have changed, or another process has it.
        FailedRunError, InterruptedRunError: See `train`.
    """
    deadline = _deadline(max_seconds)
    with run.locked():
        if run.is_finished:
            raise SepnetsError(
                f"The run is finished; evaluate it: sepnets evaluate {run.path}. Received: {str(run.path)!r}"
            )
        if run.is_untouched:
            plan = make_plan(run.config, cache_folder=cache_folder)
            _describe(run, plan, describe_environment())
        else:
            plan = _plan_again(run, run.config, cache_folder)
        if on_plan:
            on_plan(plan)
        return _carry_out(run, plan, callbacks, checkpoint_every, deadline)


def extend(
    run: Run,
    epochs: int,
    *,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | None = None,
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
    deadline = _deadline(max_seconds)
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
        return _carry_out(run, plan, callbacks, checkpoint_every, deadline)


def _describe(run: Run, plan: Plan, environment: dict[str, Any]) -> None:
    """Write what a run folder says of its run before the training."""
    run.write_json("environment.json", environment)
    run.write_json("labels.json", list(plan.splits.class_names))
    run.write_json("data.json", plan.splits.to_json())
    run.write_json("cost.json", plan.cost.to_json())
    if plan.load_report:
        run.write_json("weights.json", plan.load_report.to_json())


def _plan_again(run: Run, config: RunConfig, cache_folder: Path | None) -> Plan:
    """Return the plan of a run that goes on; raise SepnetsError if it cannot go on exactly."""
    if not run.has_checkpoints:
        raise SepnetsError(f"The run has no checkpoint to go on from; train it anew. Received: {str(run.path)!r}")
    plan = make_plan(config, cache_folder=cache_folder, load_weights=False)
    recorded = run.read_json("data.json")
    for name, described in plan.splits.to_json().items():
        if described != recorded.get(name):
            raise SepnetsError(
                f"The data have changed since the run began, so it cannot go on exactly: {name} was "
                f"{recorded.get(name)!r} and is {described!r}. Restore the data, or train anew."
            )
    return plan


def _deadline(max_seconds: float | None) -> float | None:
    return None if max_seconds is None else time.monotonic() + max_seconds


def _carry_out(
    run: Run,
    plan: Plan,
    callbacks: Sequence[keras.callbacks.Callback],
    checkpoint_every: int | timedelta | None,
    deadline: float | None,
) -> TrainingResult:
    """Train a run from its newest checkpoint, or from the beginning, to the end, and test it; it is locked."""
    recorder = Recorder(run, plan)
    checkpoints = Checkpoints(run.checkpoints_folder)
    saver = Saver(checkpoints, plan.trained, Position(), recorder, plan.steps_per_epoch, checkpoint_every)
    try:
        checkpoints.remove_unfinished()
        with noted_signals(deadline) as interruption, plan.splits.translated_failures():
            try:
                if not run.has_checkpoints:
                    write_train_batch(run, plan)
                _run(plan, recorder, saver, interruption, [*tensorboard_callbacks(run), *callbacks])
                saver.save()  # from which the finished run can be extended
            except StopNow:
                raise _stopped(run, saver, interruption, plan.epochs) from None
        recorder.save("final")
        with averaged_weights(plan.trained):
            write_validation_predictions(run, plan, recorder.network)
        speed = recorder.speed() | {"checkpoint_seconds": round(saver.seconds, 3)}
        run.write_json("training.json", speed)
        checkpoints.keep_newest()
        test = evaluate(run, "test", splits=plan.splits)
    except (InterruptedRunError, NoWholeCheckpointError):
        raise
    except (KeyboardInterrupt, Exception) as error:
        raise _kept(error, run) from error
    finally:
        if run.path.exists():
            run.write_bad_pictures(plan.splits.bad_pictures)
    return TrainingResult(run=run, **speed, cost=plan.cost, test=test)


def _run(
    plan: Plan,
    recorder: Recorder,
    saver: Saver,
    interruption: Interruption,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Train from the newest checkpoint, or from the beginning, to the end."""
    model, validation = plan.trained, plan.validation_batches()
    compiled: Phase | None = None

    def begin_phase(last_epoch_seen: int) -> None:
        nonlocal compiled
        phase = next(phase for phase in plan.phases if last_epoch_seen < phase.end)
        if phase != compiled:
            plan.compile(phase)
            build_metrics(model, validation)
            compiled = phase

    def prepare(position: Position) -> None:
        # What was saved after the last epoch of a phase was saved before the next one began.
        begin_phase(max(0, position.epoch - (position.step == 0)))

    def after_step() -> None:
        interruption.stop_if_asked()
        saver.save_if_due()

    keras.utils.set_random_seed(plan.config.training.seed)
    if plan.config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    saver.restore(prepare)
    interruption.waits = True
    run_epochs(
        model,
        saver.position,
        plan.training_batches(start=saver.step),
        validation,
        epochs=plan.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=[recorder, *callbacks],
        on_new_epoch=begin_phase,
        on_step=after_step,
        on_pause=interruption.stop_if_asked,
    )


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
    if interruption.signal is None:
        return TimeUpError(f"The time was up {where}. {kept}")
    if interruption.signal == signal.SIGTERM:
        return TerminatedRunError(f"Terminated {where}. {kept}")
    return InterruptedRunError(f"Interrupted {where}. {kept}")


def _kept(error: BaseException, run: Run) -> FailedRunError:
    """Return the error that says what a failed run leaves; a run that came to nothing leaves nothing."""
    if run.is_finished:
        kept = f"The training is finished and kept: sepnets evaluate {run.path}"
    elif isinstance(error, DivergedError) and run.has("history.csv"):
        kept = f"What it was before is kept: sepnets evaluate {run.path}"
    elif run.has_checkpoints and not isinstance(error, DivergedError):
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
