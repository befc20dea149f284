"""`sepnets evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import counted, printable
from keras_sepnets.cli.accuracy import describe_evaluation, list_limits
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.settings import set_data_option
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


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=SplitName(), default="test", show_default=True, help="Part of the data set.")
@click.option(
    "--dataset",
    metavar="NAME",
    help="Where the run's pictures are now, or other pictures with labels.  [default: those of the run]",
)
@set_data_option
@checkpoint_option
@cache_option
@json_option
def evaluate(
    run: Path,
    split: str,
    dataset: str | None,
    assignments: tuple[str, ...],
    checkpoint: str | None,
    cache_folder: Path | None,
    as_json: bool,
) -> None:
    """Evaluate a run on a split, every example exactly once, and draw its confusion matrix.

    RUN is a run folder, or that of a cross-validation, whose folds are pooled. Another data set needs some of the
    run's classes; it is evaluated as a whole if it has only one split.

    \b
    sepnets evaluate runs/mobilenet-digits-1
    sepnets evaluate runs/mobilenet-digits-1 --split validation --checkpoint best --json
    sepnets evaluate runs/mobilenet-pictures-1 --dataset folder:more-pictures
    sepnets evaluate runs/mobilenet-pictures-1 --dataset manifest:more.csv --set data.label_column=kind
    sepnets evaluate runs/mobilenet-pictures-5-folds
    """
    from keras_sepnets.runs.folder import Run

    if (run / "experiment.json").is_file():
        if split != "test" or checkpoint or dataset or assignments:
            raise SepnetsError(
                "A cross-validation is evaluated by the tests of its folds; leave out --split, --checkpoint, "
                f"--dataset and --set, or name one of its runs. Received: {str(run)!r}"
            )
        evaluate_folds(run, cache_folder=cache_folder, as_json=as_json)
        return
    opened = Run.open(run)
    with quiet_imports():
        from keras_sepnets.inference import evaluation

    result = evaluation.evaluate(
        opened, split, checkpoint=checkpoint, dataset=dataset, settings=assignments, cache_folder=cache_folder
    )
    if as_json:
        about = result.about.to_json() if result.about else {}
        print_json({**about, **result.to_json()})
        return
    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    show_evaluation(result, console)
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    _show_mistakes(result, console)
    if dataset is None:
        warn_of_bad_pictures(opened, console)
    if result.about and result.about.predictions:
        file = Path(result.about.predictions)
        matrix = file.name.replace("predictions-", "confusion-")
        console.print(f"every prediction: {file}", markup=False)
        console.print(f"confusion matrix: {file.with_name(matrix).with_suffix('.png')} and .csv", markup=False)


def show_evaluation(evaluation: "Evaluation", console: "Console", *, with_limits: bool = True) -> None:
    """Print an evaluation in one line, and what it does not tell."""
    console.print(describe_evaluation(evaluation))
    for limit in list_limits(evaluation) if with_limits else ():
        console.print(f"note: {limit}")


def _show_mistakes(evaluation: "Evaluation", console: "Console") -> None:
    """Print how many pictures were wrong, and where the network was surest."""
    wrong = evaluation.num_examples - round(evaluation.top1 * evaluation.num_examples)
    shown = len(evaluation.mistakes)
    if wrong:
        console.print(
            f"wrong: {counted(wrong, 'picture')}" + (f"; the {shown} most confident:" if wrong > shown else ":")
        )
    for mistake in evaluation.mistakes:
        words = f"{mistake.name}: {mistake.predicted} {mistake.probability:.1%}, is {mistake.label}"
        console.print(f"  {printable(words)}", markup=False)


def warn_of_bad_pictures(run: "Run", console: "Console") -> None:
    """Print how many picture files were left out because they could not be read."""
    count = run.count_bad_pictures()
    if count:
        console.print(
            f"left out: {counted(count, 'unreadable file')}, see {run.path}/bad_pictures.csv", markup=False
        )
