"""A training run: plan it, train it, test it; resume or extend it."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras

from keras_sepnets.base.errors import InterruptedRunError, SepnetsError
from keras_sepnets.base.files import remove_unfinished
from keras_sepnets.base.machine import describe_environment
from keras_sepnets.base.text import counted
from keras_sepnets.inference.evaluation import evaluate
from keras_sepnets.runs.folder import Run, check_output
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.checkpoints import Checkpoints, UnusableCheckpointError
from keras_sepnets.training.checks import check_callbacks
from keras_sepnets.training.clock import Clock, TimeLimit
from keras_sepnets.training.continuing import check_same_data, plan_again, settings_of
from keras_sepnets.training.epochs import train_to_the_end
from keras_sepnets.training.interruption import StopNow, handled_signals
from keras_sepnets.training.loop import Position
from keras_sepnets.training.outcome import TrainingResult as TrainingResult
from keras_sepnets.training.outcome import fail_run, stop_run
from keras_sepnets.training.pictures import write_train_batch, write_validation_predictions
from keras_sepnets.training.plan import Plan, make_plan
from keras_sepnets.training.recorder import Recorder, tensorboard_callbacks
from keras_sepnets.training.saver import Saver

MINUTE = 60.0


def train(
    config: RunConfig,
    *,
    output: str | Path | None = None,
    download: bool = False,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | TimeLimit | None = None,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] = (),
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
        max_seconds: Time limit in seconds from now on, or one that has begun; the run gets as many epochs as fit,
            and stops resumable.
        callbacks: Additional Keras callbacks, or a single one.
        on_plan: Called with the plan before anything is written.
        on_progress: Called with a line about what takes a while besides the epochs.

    Returns:
        The run, its speed, its cost and its test result.

    Raises:
        SepnetsError: The settings, the data or the output folder cannot be used; nothing was written.
        FailedRunError: The training failed; the run can be resumed from its newest checkpoint.
        InterruptedRunError: SIGINT (Ctrl-C), SIGTERM, SIGHUP or the time limit stopped the run; it can be resumed
            from the step at which it stopped.
    """
    limit, callbacks = TimeLimit.of(max_seconds), check_callbacks(callbacks)
    if output is not None:
        check_output(output)
    plan = make_plan(
        config,
        download=download,
        cache_folder=cache_folder,
        max_seconds=limit,
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
        return _carry_out(run, plan, callbacks, checkpoint_every, limit, on_progress)


def resume(
    run: Run,
    *,
    dataset: str | None = None,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | TimeLimit | None = None,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingResult:
    """Resume a run that was interrupted or killed, with the same result as if it had not been.

    Args:
        run: The unfinished run; if it was killed before its first checkpoint, it starts again.
        dataset: Where the run's pictures are now, if they have moved; None for the place that config.json names.
        cache_folder: Folder for decoded pictures; None to keep them in memory if they fit in a quarter of it.
        checkpoint_every: Steps or time between checkpoints, besides those after epochs; None for as often as
            possible at a cost of at most 1 % of the time.
        max_seconds: Time limit in seconds, after which the run stops again.
        callbacks: Additional Keras callbacks, or a single one; they do not see what happened before.
        on_plan: Called with the plan before training resumes.
        on_progress: See `train`.

    Returns:
        The same as for the uninterrupted run: weights, batch norm's statistics, history and test are bit-identical
        on the same machine and versions.

    Raises:
        SepnetsError: The run is finished or has no checkpoint, its data have changed, or another process is
            training it.
        FailedRunError, InterruptedRunError: See `train`.
    """
    limit, callbacks = TimeLimit.of(max_seconds), check_callbacks(callbacks)
    with run.locked():
        if run.is_finished:
            raise SepnetsError(
                f"The run is finished; evaluate it: sepnets evaluate {run.path}. Received: {str(run.path)!r}"
            )
        config = settings_of(run, dataset)
        if run.is_untouched:
            plan = make_plan(config, cache_folder=cache_folder)
            if dataset is not None and run.has("data.json"):
                check_same_data(run, plan, moved=True)
            _describe(run, plan, describe_environment())
        else:
            plan = plan_again(run, config, cache_folder, moved=dataset is not None)
        if on_plan:
            on_plan(plan)
        if dataset is not None:
            run.write_json("data.json", plan.splits.to_json())  # first: after a kill, --dataset is taken again
            run.write_json("config.json", config.model_dump(mode="json"))
        return _carry_out(run, plan, callbacks, checkpoint_every, limit, on_progress)


def extend(
    run: Run,
    epochs: int,
    *,
    dataset: str | None = None,
    cache_folder: Path | None = None,
    checkpoint_every: int | timedelta | None = None,
    max_seconds: float | TimeLimit | None = None,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] = (),
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> TrainingResult:
    """Continue a finished run to a total of `epochs`, on the schedule of a run of that length.

    The learning rate continues where such a run would be, so it rises again. The run's config.json gets the new
    number of epochs; warm-up and batch norm's momentum stay as they are, and patience no longer applies. See
    `resume` for the other arguments.

    Raises:
        SepnetsError: The run is not finished, or already has that many epochs.
    """
    limit, callbacks = TimeLimit.of(max_seconds), check_callbacks(callbacks)
    with run.locked():
        if not run.is_finished:
            raise SepnetsError(f"The run is not finished; resume it: sepnets train --resume {run.path}")
        config, trained = settings_of(run, dataset), len(run.read_history())
        if epochs <= trained:
            raise SepnetsError(
                f"The run already has {counted(trained, 'epoch')}; ask for a larger total. "
                f"Received: epochs={epochs}"
            )
        training = config.training.model_copy(update={"epochs": epochs, "patience": 0, "stop_after": 1.0})
        longer = config.model_copy(update={"training": training})
        plan = plan_again(run, longer, cache_folder, moved=dataset is not None)
        if on_plan:
            on_plan(plan)
        if dataset is not None:
            run.write_json("data.json", plan.splits.to_json())
        run.reopen(longer)
        return _carry_out(run, plan, callbacks, checkpoint_every, limit, on_progress)


def _describe(run: Run, plan: Plan, environment: dict[str, Any]) -> None:
    """Write the files that describe a run before it trains."""
    run.write_json("environment.json", environment)
    run.write_json("labels.json", list(plan.splits.class_names))
    run.write_json("data.json", plan.splits.to_json())
    run.write_json("cost.json", plan.cost.to_json())
    if plan.load_report:
        run.write_json("weights.json", plan.load_report.to_json())


def _carry_out(
    run: Run,
    plan: Plan,
    callbacks: Sequence[keras.callbacks.Callback],
    checkpoint_every: int | timedelta | None,
    limit: TimeLimit | None,
    on_progress: Callable[[str], None],
) -> TrainingResult:
    """Train a locked run to its end, from its newest checkpoint if there is one, and test it."""
    clock = Clock()
    for part, seconds in plan.seconds.items():
        clock.add(part, seconds)
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
        remove_unfinished(run.path, older_than=MINUTE)  # `sepnets evaluate` may be writing
        checkpoints.remove_unfinished()
        with handled_signals(limit and limit.end) as interruption, plan.splits.translated_failures():
            try:
                if not run.has_checkpoints:
                    with clock.counting("reading"):
                        write_train_batch(run, plan)
                every = [*tensorboard_callbacks(run), *callbacks]
                train_to_the_end(plan, recorder, saver, interruption, clock, every, on_progress)
                saver.save()  # so that the finished run can be extended
            except StopNow:
                raise stop_run(run, saver, interruption, plan.last_epoch) from None
        recorder.save("final")
        role = plan.config.data.evaluated_role
        on_progress(f"testing the network on {counted(plan.splits.num_examples(role), f'{role} picture')}")
        with clock.counting("testing"), plan.evaluated():
            write_validation_predictions(run, plan, recorder.network)
        trained = recorder.summary() | {"checkpoint_seconds": round(saver.seconds, 3)}
        run.write_json("training.json", trained | {"seconds": clock.parts})
        checkpoints.keep_newest()
        with clock.counting("testing"):
            evaluation = evaluate(run, role, splits=plan.splits, must_keep=True)
        run.write_json("training.json", trained | {"seconds": clock.parts})
    except (InterruptedRunError, UnusableCheckpointError):
        raise
    except (KeyboardInterrupt, Exception) as error:
        raise fail_run(run, error) from error
    finally:
        with contextlib.suppress(OSError, SepnetsError):  # the reason why the run ends says more
            if run.path.exists():
                run.write_bad_pictures(plan.splits.bad_pictures)
    test = None if plan.config.data.trains_on_all else evaluation
    return TrainingResult(run=run, **trained, seconds=clock.parts, cost=plan.cost, test=test)
