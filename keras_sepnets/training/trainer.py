"""A training run: plan it, train it, test it; resume or extend it."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.machine import describe_environment
from keras_sepnets.base.text import counted
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.runs.folder import Run, check_output
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.checkpoints import Checkpoints, UnusableCheckpointError
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.interruption import Interruption, StopNow, handled_signals
from keras_sepnets.training.loop import Position, build_metrics, run_epochs, training_state
from keras_sepnets.training.outcome import TrainingResult as TrainingResult
from keras_sepnets.training.outcome import fail_run, stop_run
from keras_sepnets.training.pictures import write_train_batch, write_validation_predictions
from keras_sepnets.training.plan import Plan, make_plan
from keras_sepnets.training.recorder import Recorder, tensorboard_callbacks
from keras_sepnets.training.saver import Saver
from keras_sepnets.training.start import start_with_fitted_classifier


def train(
    config: RunConfig,
    *,
    output: str | Path | None = None,
    download: bool = False,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingResult:
    """Train a network, evaluate it on the test split, and keep everything in a run folder.

    Args:
        config: The settings; see `RunConfig`.
        output: The run folder, new or empty; None for the next number under $SEPNETS_RUNS or runs/.
        download: Whether a TFDS data set may be downloaded.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        checkpoint_every: Steps or time between checkpoints, besides those after epochs; None for as often as
            possible at a cost of at most 1 % of the time.
        max_seconds: Time limit in seconds; the run gets as many epochs as fit, and stops resumable.
        callbacks: Additional Keras callbacks.
        on_plan: Called with the plan before anything is written.
        on_progress: Called with a description before each measurement that the plan needs.

    Returns:
        The run, its speed, its cost and its test result.

    Raises:
        SepnetsError: The settings, the data or the output folder cannot be used; nothing was written.
        FailedRunError: The training failed; the run can be resumed from its newest checkpoint.
        InterruptedRunError: SIGINT (Ctrl-C), SIGTERM or the time limit stopped the run; it can be resumed from the
            step at which it stopped.
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
        return _carry_out(run, plan, callbacks, checkpoint_every, deadline, on_progress)


def resume(
    run: Run,
    *,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
) -> TrainingResult:
    """Resume a run that was interrupted or killed, with the same result as if it had not been.

    Args:
        run: The unfinished run; if it was killed before its first checkpoint, it starts again.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        checkpoint_every: Steps or time between checkpoints, besides those after epochs; None for as often as
            possible at a cost of at most 1 % of the time.
        max_seconds: Time limit in seconds, after which the run stops again.
        callbacks: Additional Keras callbacks; they do not see what happened before.
        on_plan: Called with the plan before training resumes.

    Returns:
        The same as for the uninterrupted run: weights, batch norm's statistics, history and test are bit-identical
        on the same machine and versions.

    Raises:
        SepnetsError: The run is finished or has no checkpoint, its data have changed, or another process is
            training it.
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
    """Continue a finished run to a total of `epochs`, on the schedule of a run of that length.

    The learning rate continues where such a run would be, so it rises again. The run's config.json gets the new
    number of epochs; batch norm's momentum stays unchanged, and patience no longer applies. See `resume` for the
    other arguments.

    Raises:
        SepnetsError: The run is not finished, or already has that many epochs.
    """
    deadline = _deadline(max_seconds)
    with run.locked():
        if not run.is_finished:
            raise SepnetsError(f"The run is not finished; resume it: sepnets train --resume {run.path}")
        config, trained = run.config, len(run.read_history())
        if epochs <= trained:
            raise SepnetsError(
                f"The run already has {counted(trained, 'epoch')}; ask for a larger total. "
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
    """Write the files that describe a run before it trains."""
    run.write_json("environment.json", environment)
    run.write_json("labels.json", list(plan.splits.class_names))
    run.write_json("data.json", plan.splits.to_json())
    run.write_json("cost.json", plan.cost.to_json())
    if plan.load_report:
        run.write_json("weights.json", plan.load_report.to_json())


def _plan_again(run: Run, config: RunConfig, cache_folder: Path | None) -> Plan:
    """Return the plan of a run that continues; raise SepnetsError if it cannot continue exactly."""
    if not run.has_checkpoints:
        raise SepnetsError(
            f"The run has no checkpoint to resume from; train it again. Received: {str(run.path)!r}"
        )
    plan = make_plan(config, cache_folder=cache_folder, load_weights=False)
    recorded = run.read_json("data.json")
    for name, described in plan.splits.to_json().items():
        if described != recorded.get(name):
            raise SepnetsError(
                f"The data have changed since the run began, so it cannot continue exactly: {name} was "
                f"{recorded.get(name)!r} and is {described!r}. Restore the data, or start a new run."
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
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingResult:
    """Train a locked run to its end, from its newest checkpoint if there is one, and test it."""
    clock = Clock()
    recorder = Recorder(run, plan, clock)
    checkpoints = Checkpoints(run.checkpoints_folder)
    saver = Saver(
        checkpoints,
        plan.trained,
        position=Position(),
        clock=clock,
        steps_per_epoch=plan.steps_per_epoch,
        every=checkpoint_every,
        others={"recorder": recorder},
    )
    try:
        checkpoints.remove_unfinished()
        with handled_signals(deadline) as interruption, plan.splits.translated_failures():
            try:
                if not run.has_checkpoints:
                    write_train_batch(run, plan)
                _run(plan, recorder, saver, interruption, [*tensorboard_callbacks(run), *callbacks], on_progress)
                saver.save()  # so that the finished run can be extended
            except StopNow:
                raise stop_run(run, saver, interruption, plan.epochs) from None
        recorder.save("final")
        with plan.evaluated():
            write_validation_predictions(run, plan, recorder.network)
        speed = recorder.speed() | {"checkpoint_seconds": round(saver.seconds, 3)}
        run.write_json("training.json", speed)
        checkpoints.keep_newest()
        evaluation = evaluate(run, plan.config.data.evaluated_role, splits=plan.splits)
    except (InterruptedRunError, UnusableCheckpointError):
        raise
    except (KeyboardInterrupt, Exception) as error:
        raise fail_run(run, error) from error
    finally:
        if run.path.exists():
            run.write_bad_pictures(plan.splits.bad_pictures)
    test = None if plan.config.data.trains_on_all else evaluation
    return TrainingResult(run=run, **speed, cost=plan.cost, test=test)


def _run(
    plan: Plan,
    recorder: Recorder,
    saver: Saver,
    interruption: Interruption,
    callbacks: Sequence[keras.callbacks.Callback],
    on_progress: Callable[[str], None],
) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    model, position, validation = plan.trained, saver.position, plan.validation_batches()
    keras.utils.set_random_seed(plan.config.training.seed)
    if plan.config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    checkpoint = saver.load_newest()
    phase = plan.phase_at(position)
    plan.compile(phase)
    build_metrics(model, validation)
    if checkpoint:
        checkpoint.read(training_state(model))
    elif plan.config.transfer.classifier == "fitted":
        recorder.start_clock()
        recorder.begin_with(start_with_fitted_classifier(plan, validation, on_progress))
        saver.save()

    def begin_epoch(epoch: int) -> None:
        nonlocal phase
        if plan.phase_of(epoch) != phase:
            phase = plan.phase_of(epoch)
            plan.compile(phase)
            build_metrics(model, validation)

    def after_step() -> None:
        interruption.stop_if_asked()
        saver.save_if_due()

    interruption.stops_between_steps = True
    run_epochs(
        model,
        position,
        plan.training_batches(start=saver.step),
        validation,
        epochs=plan.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=[recorder, *callbacks],
        evaluated=plan.evaluated,
        on_new_epoch=begin_epoch,
        on_step=after_step,
        on_pause=interruption.stop_if_asked,
    )
