"""All runs of a matrix, one after the other or in parallel processes; a failure ends one run, not the others."""

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import psutil

from keras_sepnets.acceleration.huge_pages import huge_page_settings
from keras_sepnets.base.errors import DivergedError, InterruptedRunError, SepnetsError
from keras_sepnets.base.text import one_line
from keras_sepnets.lab.experiment import PlannedRun, train_once
from keras_sepnets.lab.progress import Event, RunEvents
from keras_sepnets.runs.folder import Run
from keras_sepnets.training.choices import with_training
from keras_sepnets.training.interruption import StopNow, handled_signals
from keras_sepnets.training.outcome import stopped_by
from keras_sepnets.training.tuning.turns import QUIET
from keras_sepnets.training.tuning.workers import Worker, WorkerError, start_worker

PROGRAM = (sys.executable, "-m", "keras_sepnets.lab.worker")
STOPPING = 60.0  # seconds in which the other processes save their runs after Ctrl-C
OnEvent: TypeAlias = Callable[[Event], None]
Numbered: TypeAlias = tuple[int, PlannedRun]  # a run with its place among all runs


class Running(NamedTuple):
    """How runs are trained."""

    jobs: int = 1
    """number of processes; 1: in this one"""
    cache_folder: Path | None = None
    """see `train`"""
    checkpoint_every: int | timedelta | None = None
    """see `train`"""
    on_event: OnEvent = lambda _event: None
    """called with what happens to each run"""
    on_runs: Callable[[Sequence[PlannedRun], Sequence[int]], None] = lambda _runs, _missing: None
    """called with all runs, and the numbers of those that are missing, before they are trained"""


class Failure(NamedTuple):
    """A run that could not be finished."""

    run: PlannedRun
    message: str
    diverged: bool


def run_all(planned: Sequence[PlannedRun], running: Running) -> list[Failure]:
    """Train the runs that are missing and resume those that were interrupted; a failure does not end the others.

    Raises:
        InterruptedRunError: Ctrl-C, SIGTERM or a closed terminal; what was being trained can be resumed.
    """
    missing = [(number, run) for number, run in enumerate(planned) if not is_complete(run)]
    finished = len(planned) - len(missing)
    running.on_runs(planned, [number for number, _ in missing])
    train = _in_turn if running.jobs == 1 else _in_parallel
    return train(missing, running, finished, len(planned)) if missing else []


def is_complete(planned: PlannedRun) -> bool:
    """Whether a run is trained and tested."""
    run = Run(planned.folder)
    return run.is_finished and run.has(f"evaluation-{planned.config.data.evaluated_role}.json")


def _in_turn(missing: Sequence[Numbered], running: Running, finished: int, total: int) -> list[Failure]:
    failures = []
    for number, run in missing:
        keras.backend.clear_session()
        running.on_event(Event("start", number))
        callbacks = [RunEvents(partial(_pass_on, running, number))]
        try:
            train_once(run, callbacks, running.cache_folder, running.checkpoint_every)
        except InterruptedRunError as error:
            raise interrupted(type(error), f"in {run.title}", finished, total) from error
        except Exception as error:
            event = failed(number, error)
            failures.append(Failure(run, event.text, event.diverged))
            running.on_event(event)
        else:
            finished += 1
            running.on_event(Event("finished", number))
    return failures


def _pass_on(running: Running, number: int, event: Event) -> None:
    running.on_event(event._replace(run=number))


def failed(number: int, error: Exception) -> Event:
    """Return the event of a run that could not be finished."""
    name = "" if isinstance(error, SepnetsError) else f"{type(error).__name__}: "
    return Event(
        "failed", number, text=f"{name}{one_line(error)}", diverged=isinstance(error.__cause__, DivergedError)
    )


def interrupted(kind: type[InterruptedRunError], where: str, finished: int, total: int) -> InterruptedRunError:
    """Return the error that says how far an experiment has come and how to continue."""
    return kind(
        f"Interrupted {where}, with {finished} of {total} runs finished. Run the same command again to continue."
    )


def _in_parallel(missing: Sequence[Numbered], running: Running, finished: int, total: int) -> list[Failure]:
    """Share the runs out among processes; events arrive in this thread, which only waits."""
    waiting: queue.SimpleQueue[Numbered] = queue.SimpleQueue()
    for one in missing:
        waiting.put(one)
    pool = _Pool(waiting, running)
    runs, failures, left = dict(missing), [], len(missing)
    try:
        with handled_signals() as interruption:
            try:
                pool.start(min(running.jobs, len(missing)))
                while left:
                    event = pool.events.get()
                    if event.kind == "failed":
                        failures.append(Failure(runs[event.run], event.text, event.diverged))
                    finished += event.kind == "finished"
                    left -= event.kind in ("failed", "finished")
                    running.on_event(event)
            except StopNow:
                pool.stop()
                kind = stopped_by(interruption.signal)[1]
                raise interrupted(kind, "while runs were being trained", finished, total) from None
    finally:
        pool.close()
    return failures


class _Pool:
    """Threads that each keep a process at work."""

    def __init__(self, waiting: "queue.SimpleQueue[Numbered]", running: Running) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.workers: dict[int, Worker] = {}
        self._waiting, self._running = waiting, running
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        for place in range(count):
            self._threads.append(threading.Thread(target=self._work, args=(place,), daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Let every process save its run, and wait for them."""
        self._stopped.set()
        for worker in list(self.workers.values()):
            worker.terminate()
        for thread in self._threads:
            thread.join(STOPPING)

    def close(self) -> None:
        self._stopped.set()
        for worker in list(self.workers.values()):
            worker.kill()

    def _work(self, place: int) -> None:
        """Train one run after the other."""
        following = self._next()
        while following:
            number = following[0]
            try:
                following = self._keep_at_work(place, following)
            except Exception as error:  # otherwise nobody would hear of it, and the others would wait
                self.events.put(failed(number, error))
                following = self._next()
            self.workers.pop(place, None)

    def _keep_at_work(self, place: int, following: Numbered) -> Numbered | None:
        """Give a process one run after the other; return the first that needs another, or other threads."""
        threads = threads_of(following[1], self._running.jobs)
        with start_worker(PROGRAM, _task(self._running), _environment(threads)) as worker:
            self.workers[place] = worker
            goes_on, after = True, following
            while goes_on and threads_of(after[1], self._running.jobs) == threads:
                goes_on = self._train(worker, *after, threads)
                if (found := self._next()) is None:
                    return None
                after = found
        return after

    def _next(self) -> Numbered | None:
        if self._stopped.is_set():
            return None
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            return None

    def _train(self, worker: Worker, number: int, run: PlannedRun, threads: int) -> bool:
        """Have a run trained; return whether the process goes on."""
        if self._stopped.is_set():
            return False
        config = with_training(run.config, intra_op_threads=threads)
        self.events.put(Event("start", number))
        worker.send(json.dumps(_as_json(run._replace(config=config))))
        try:
            for event in _answers(worker, number):
                if not self._stopped.is_set():
                    self.events.put(event)
                if event.kind == "failed":
                    return False
        except Exception as error:
            if not self._stopped.is_set():
                is_end = isinstance(error, WorkerError)
                event = (
                    Event("failed", number, text=f"its process ended: {error}")
                    if is_end
                    else failed(number, error)
                )
                self.events.put(event)
            return False
        return True


def _answers(worker: Worker, number: int) -> Iterator[Event]:
    """Yield what a process says about its run, up to the end of the run."""
    while True:
        event = Event(**json.loads(worker.answer()))._replace(run=number)
        yield event
        if event.kind in ("failed", "finished"):
            return


def threads_of(run: PlannedRun, jobs: int) -> int:
    """Return the threads per operation of a run: those that it began with, or its share of the cores."""
    config = run.config
    if Run(run.folder).has("config.json"):
        with contextlib.suppress(SepnetsError):  # a damaged run says so when it is trained
            config = Run(run.folder).config
    threads = config.training.intra_op_threads
    return max(1, (psutil.cpu_count() or 1) // jobs) if threads == "auto" else threads


def _task(running: Running) -> dict[str, Any]:
    every = running.checkpoint_every
    return {
        "cache_folder": None if running.cache_folder is None else str(running.cache_folder),
        "seconds_between": every.total_seconds() if isinstance(every, timedelta) else None,
        "steps_between": every if isinstance(every, int) else None,
    }


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a process: as many operations at once as it has threads for each."""
    share = str(threads or psutil.cpu_count() or 1)
    return QUIET | {"TF_NUM_INTEROP_THREADS": share} | huge_page_settings()


def _as_json(run: PlannedRun) -> dict[str, Any]:
    tree = run.config.model_dump(mode="json", exclude_unset=True)
    return {"folder": str(run.folder), "config": tree, "title": run.title}


def describe_failures(failures: Sequence[Failure], total: int) -> str:
    """Return one sentence about runs that failed."""
    named = "; ".join(f"{failure.run.title}: {one_line(failure.message)}" for failure in failures[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return (
        f"{len(failures)} of {total} runs failed, and the others are finished: {named}{more}. Run the same "
        "command again to try them again."
    )
