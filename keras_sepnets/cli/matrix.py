"""What `sepnets ablate` and `sepnets sweep` print while a matrix of runs is trained, and about its result."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from keras_sepnets.base.intervals import TOO_FEW
from keras_sepnets.base.text import counted
from keras_sepnets.cli.accuracy import describe_majority
from keras_sepnets.cli.command import print_json
from keras_sepnets.cli.console import make_console
from keras_sepnets.cli.plan import show_plan
from keras_sepnets.lab.ablation import Planning, ablate, write_reports
from keras_sepnets.lab.definition import Experiment
from keras_sepnets.lab.experiment import PlannedRun
from keras_sepnets.lab.jobs import Running
from keras_sepnets.lab.matrix import arms_of
from keras_sepnets.lab.progress import Event, TimeLeft
from keras_sepnets.lab.results_models import ArmComparison, ExperimentResult
from keras_sepnets.training.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[[ExperimentResult, "Console"], None]


def run_experiment(
    experiment: Experiment,
    *,
    output: Path,
    jobs: int,
    budget: float | None,
    download: bool,
    cache_folder: Path | None,
    as_json: bool,
    show: Show,
) -> ExperimentResult:
    """Train the matrix of an experiment in one progress view, and print its result with `show`."""
    console = make_console(as_json=as_json)
    with make_view(console) as progress:
        view = MatrixView(progress, jobs)
        planning = Planning(
            download=download,
            budget=budget,
            on_plan=partial(_show_plan, console),
            on_progress=partial(console.print, markup=False),
        )
        running = Running(jobs=jobs, cache_folder=cache_folder, on_event=view.show, on_runs=view.expect)
        return ablate(
            experiment,
            output=output,
            planning=planning,
            running=running,
            on_result=lambda result: show(result, console),
        )


def make_view(console: "Console") -> Progress:
    """Return an empty display of bars; it draws nothing without a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class MatrixView:
    """A bar for the whole matrix with the time left, a bar for each run at work, and a line for each that ends."""

    def __init__(self, progress: Progress, jobs: int) -> None:
        """Draw on `progress`, for this many runs at a time."""
        self._progress, self._jobs = progress, jobs
        self._whole: TaskID | None = None
        self._bars: dict[int, TaskID] = {}
        self._said: dict[int, str] = {}

    def expect(self, planned: Sequence[PlannedRun], missing: Sequence[int]) -> None:
        """Begin with all runs, of which some are missing."""
        self._planned, self._total = planned, len(planned)
        self._left = TimeLeft([str(run.folder.parent) for run in planned], jobs=self._jobs)
        for number in set(range(len(planned))) - set(missing):
            self._left.skip(number)
        if self._whole is not None:
            self._progress.remove_task(self._whole)
        self._whole = self._progress.add_task("all runs", total=self._total, detail="")
        self._update()

    def show(self, event: Event) -> None:
        """Show what happens to a run."""
        self._left.note(event)
        title = self._planned[event.run].title
        if event.kind == "start":
            self._bars[event.run] = self._progress.add_task(title, total=1.0, detail="")
        elif event.kind == "step":
            self._said[event.run] = event.text
            self._progress.update(self._bars[event.run], completed=event.done, detail=event.text)
        else:
            self._progress.remove_task(self._bars.pop(event.run))
            said = event.text if event.kind == "failed" else self._said.get(event.run, "")
            word = "failed" if event.kind == "failed" else "finished"
            self._progress.console.print(
                f"{title} {word}{': ' if said else ''}{said} ({self._describe()})", markup=False
            )
        self._update()

    def _describe(self) -> str:
        seconds = self._left.seconds()
        left = "" if seconds is None else f", about {in_minutes(seconds)} left"
        return f"{len(self._left.ended)} of {counted(self._total, 'run')}{left}"

    def _update(self) -> None:
        if self._whole is not None:
            self._progress.update(self._whole, completed=len(self._left.ended), detail=self._describe())


def in_minutes(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_plan(console: "Console", plan: Plan, experiment: Experiment) -> None:
    """Print what an experiment will do, with the plan of its first arm."""
    arms = arms_of(experiment)
    others = ", ".join(arm.name for arm in arms[1:])
    against = f" (reference) against {others}" if others else ""
    seeds = len(experiment.seed_numbers)
    number = f"at most {counted(seeds, 'seed')}" if experiment.until_decided else counted(seeds, "paired seed")
    fixed = f"; the same for all seeds: {', '.join(experiment.fixed)}" if experiment.fixed else ""
    margin = f"; margin ±{100 * experiment.margin:g} points" if experiment.margin else ""
    runs = counted(seeds * len(arms), "run")
    console.print(f"{arms[0].name}{against}, {number}, {runs}{margin}{fixed}; plan of the first:", markup=False)
    show_plan(plan, console)


def print_result(result: ExperimentResult, console: "Console") -> None:
    """Print the arms, then the paired differences with their verdicts."""
    table = Table("arm", "test top-1", "mean training loss", "parameters", "multiply-adds", box=None)
    references = {comparison.reference for comparison in result.comparisons}
    for arm in result.arms:
        losses = [run.training_loss for run in arm.runs]
        loss = sum(losses) / len(losses)
        table.add_row(
            f"{arm.name} (reference)" if arm.name in references else arm.name,
            f"{arm.mean:.2%}" + (f" ± {arm.std:.2%}" if arm.std is not None else ""),
            f"{loss:.4f}",
            f"{arm.parameters:,}",
            f"{arm.multiply_adds:,}",
        )
    console.print(table)
    for arm in result.arms:
        if arm.tuned:
            end = ", an end of the grid: a rate beyond it may be better" if arm.tuned.at_end else ""
            console.print(f"{arm.name}: learning rate {arm.tuned.learning_rate:g}{end}", markup=False)
    for comparison in result.comparisons:
        console.print(describe_comparison(comparison), markup=False)
    if result.majority_top1 is not None:
        console.print(f"for comparison: {describe_majority(result.majority_top1)}")
    console.print(f"experiment: {result.experiment} (results.json, report.html, report.md)", markup=False)


def describe_comparison(comparison: ArmComparison) -> str:
    """Return a line about a paired difference."""
    scale, form = (100, "{:+z.2f} points") if comparison.metric == "top1" else (1, "{:+z.4f}")
    name = "test top-1" if comparison.metric == "top1" else "mean training loss"
    interval = ""
    if comparison.interval and comparison.verdict != TOO_FEW:
        low, high = (form.format(scale * end) for end in comparison.interval)
        kind = "always-valid 95 %" if comparison.sequence else "95 %"
        interval = f" ({kind} interval {low} to {high})"
    difference = form.format(scale * comparison.difference)
    return f"{name}, {comparison.arm} - {comparison.reference}: {difference}{interval}: {comparison.verdict}"


def show_reports(result: ExperimentResult, folder: Path, *, as_json: bool) -> None:
    """Write the report of a folder again, and print its result."""
    write_reports(result, folder)
    print_result(result, make_console(as_json=as_json))
    if as_json:
        print_json(result.to_json())
