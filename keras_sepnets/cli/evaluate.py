"""`sepnets evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.folds import evaluate_folds
from keras_sepnets.cli.options import cache_option, json_option
from keras_sepnets.cli.parameter_types import SplitName

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.inference.evaluation import Evaluation
    from keras_sepnets.runs.folder import Run

checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(["final", "best"]),
    help="Network after the last epoch, or best on validation.  [default: the one that the run keeps]",
)


class EvaluatedRun(Result):
    """Precedes the numbers of an evaluation."""

    run: str
    """Run folder."""
    split: str
    """train, validation or test."""


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=SplitName(), default="test", show_default=True, help="Part of the data set.")
@checkpoint_option
@cache_option
@json_option
def evaluate(run: Path, split: str, checkpoint: str | None, cache_folder: Path | None, as_json: bool) -> None:
    """Evaluate a run on a split, every example exactly once, and draw its confusion matrix.

    RUN is a run folder, or that of a cross-validation, whose folds are pooled.

    \b
    sepnets evaluate runs/mobilenet-digits-1
    sepnets evaluate runs/mobilenet-digits-1 --split validation --checkpoint best --json
    sepnets evaluate runs/mobilenet-pictures-5-folds
    """
    from keras_sepnets.runs.folder import Run

    if (run / "experiment.json").is_file():
        if split != "test" or checkpoint:
            raise SepnetsError(
                "A cross-validation is evaluated by the tests of its folds; leave out --split and --checkpoint. "
                f"Received: {str(run)!r}"
            )
        evaluate_folds(run, cache_folder=cache_folder, as_json=as_json)
        return
    opened = Run.open(run)
    with quiet_imports():
        from keras_sepnets.inference import evaluation

    result = evaluation.evaluate(opened, split, checkpoint=checkpoint, cache_folder=cache_folder)
    if as_json:
        print_json({**EvaluatedRun(run=str(run), split=split).to_json(), **result.to_json()})
        return
    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    console.print(describe_evaluation(result))
    warn_of_bad_pictures(opened, console)
    console.print(f"confusion matrix: {run}/confusion-{split}.png and .csv", markup=False)


def describe_evaluation(evaluation: "Evaluation") -> str:
    """Describe an evaluation in one line."""
    low, high = evaluation.top1_interval
    return (
        f"{evaluation.split}: top-1 {evaluation.top1:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"top-5 {evaluation.top5:.2%}, loss {evaluation.loss:.4f}, {counted(evaluation.num_examples, 'picture')}"
    )


def warn_of_bad_pictures(run: "Run", console: "Console") -> None:
    """Print how many picture files were left out because they could not be read."""
    count = run.count_bad_pictures()
    if count:
        console.print(
            f"left out: {counted(count, 'unreadable file')}, see {run.path}/bad_pictures.csv", markup=False
        )
