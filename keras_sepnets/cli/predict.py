"""`sepnets predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.evaluate import checkpoint_option
from keras_sepnets.cli.options import json_option

if TYPE_CHECKING:
    from keras_sepnets.inference.prediction import Prediction


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, default=5, show_default=True, metavar="N", help="Classes per picture.")
@checkpoint_option
@json_option
@click.pass_context
def predict(
    context: click.Context,
    run: Path,
    pictures: tuple[Path, ...],
    top: int,
    checkpoint: str | None,
    as_json: bool,
) -> None:
    """Name the most probable classes of pictures: files, or folders that are searched for pictures.

    A file that cannot be read is named on stderr, and the exit code is 1; the others are classified.

    \b
    sepnets predict runs/mobilenet-digits-1 seven.png
    sepnets predict runs/mobilenet-digits-1 inbox/ --top 1 --json
    """
    from keras_sepnets.runs.folder import Run

    opened = Run.open(run)
    with quiet_imports():
        from keras_sepnets.inference import prediction

    faults: list[SepnetsError] = []
    results = prediction.predict(opened, pictures, top=top, checkpoint=checkpoint, on_bad_picture=faults.append)
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        _show_predictions(results)
    for fault in faults:
        click.echo(f"Error: {fault}", err=True)
    if faults:
        context.exit(FailedRunError.exit_code)


def _show_predictions(predictions: "Sequence[Prediction]") -> None:
    """Print a line per picture: its path and its most probable classes."""
    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=False)
    for prediction in predictions:
        pairs = zip(prediction.labels, prediction.probabilities, strict=True)
        classes = ", ".join(f"{label} {probability:.1%}" for label, probability in pairs)
        console.print(f"{printable(prediction.path)}: {printable(classes)}", markup=False)
