"""`sepnets train --folds`: what a cross-validation prints, also when it is evaluated."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted
from keras_sepnets.cli.accuracy import describe_majority, describe_top5
from keras_sepnets.cli.command import print_json, quiet_imports
from keras_sepnets.cli.options import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.lab.folds import CrossValidation
    from keras_sepnets.training.plan import Plan


def refuse_with_folds(*, folds: int | None, final: bool, others: Mapping[str, bool]) -> None:
    """Raise SepnetsError for options that do not go together.

    Args:
        folds: The number of `--folds`, if it is given.
        final: Whether `--final` is given.
        others: Which of the options are given that ask for something else than new, whole runs.
    """
    if final and folds is None:
        raise SepnetsError("--final follows a cross-validation; add --folds K.")
    for option, is_given in others.items():
        if folds is not None and is_given:
            raise SepnetsError(
                f"--folds trains several runs of its own, which the same command continues; leave out {option}. "
                f"Received: --folds {folds}"
            )


def train_folds(
    settings: Settings, *, final: bool, output: Path | None, as_json: bool, **planning_and_running: Any
) -> None:
    """Run a cross-validation with a progress bar for each of its runs, and print its result."""
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.cli.plan import show_plan
        from keras_sepnets.cli.progress import ProgressDisplay, make_progress
        from keras_sepnets.lab import folds as lab

    config, count = settings.config, settings.config.data.folds
    console = make_console(as_json=as_json)

    def on_plan(plan: "Plan") -> None:
        show_plan(plan, console)
        show_folds(plan, console, final=final)

    with make_progress(console) as progress:
        result = lab.cross_validate(
            config,
            count,
            output=output or lab.default_output(config, count),
            final=final,
            callbacks=lambda title, plan: [ProgressDisplay(progress, batch_size=plan.batch_size, title=title)],
            on_plan=on_plan,
            on_progress=partial(console.print, markup=False),
            **planning_and_running,
        )
    show_cross_validation(result, console)
    if as_json:
        print_json(result.to_json())


def evaluate_folds(folder: Path, *, cache_folder: Path | None, as_json: bool) -> None:
    """Print the result of a cross-validation."""
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.lab.pooling import pool_folds

    result = pool_folds(folder, cache_folder=cache_folder)
    if as_json:
        print_json(result.to_json())
    else:
        show_cross_validation(result, make_console(as_json=False))


def show_folds(plan: "Plan", console: "Console", *, final: bool) -> None:
    """Print how the runs of a cross-validation follow from the plan of the first."""
    pictures = sum(plan.splits.num_examples(role) for role in ("train", "validation", "test"))
    then = ", then one on all of them" if final else ""
    console.print(
        f"{'folds':<9} {plan.config.data.folds} runs like this one{then}; each of the "
        f"{counted(pictures, 'picture')} is tested once, by a network that has not seen it",
        markup=False,
    )


def show_cross_validation(result: "CrossValidation", console: "Console") -> None:
    """Print the folds, then all pictures together."""
    from rich.table import Table

    table = Table("fold", "test top-1", "loss", "pictures", box=None)
    for fold in result.folds:
        table.add_row(fold.run.path.name, f"{fold.top1:.2%}", f"{fold.loss:.4f}", f"{fold.num_examples:,}")
    console.print(table)
    low, high = result.top1_interval
    console.print(
        f"all folds: top-1 {result.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"{describe_majority(result.majority_top1)}, {describe_top5(result.top5, len(result.class_names))}"
        f"loss {result.loss:.4f}, {counted(result.num_examples, 'picture')}; "
        f"mean of the folds {result.mean:.2%} ± {result.std:.2%}"
    )
    if result.final:
        console.print(
            f"final network: {result.final.path}, trained on every picture. It has no test of its own; "
            f"its accuracy is that of the folds, {result.top1:.2%}",
            markup=False,
        )
    console.print(
        f"cross-validation: {result.output} (results.json, predictions.csv, confusion.png)", markup=False
    )
