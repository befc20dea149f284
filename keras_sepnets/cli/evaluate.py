"""`sepnets evaluate`."""

from pathlib import Path

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import cache_option, json_option

checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(["final", "best"]),
    help="Which network: after the last epoch (default), or of the best validation top-1.",
)


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, metavar="NAME", help="train, validation or test.")
@checkpoint_option
@cache_option
@json_option
def evaluate(run: Path, split: str, checkpoint: str | None, cache_folder: Path | None, as_json: bool) -> None:
    """Measure a run on a split, every example exactly once, and draw its confusion matrix.

    \b
    sepnets evaluate runs/mobilenet-digits-1
    sepnets evaluate runs/mobilenet-digits-1 --split validation --checkpoint best --json
    """
    from keras_sepnets.runs.folder import Run

    opened = Run.open(run)
    with quiet_imports():
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.inference import evaluation

    result = evaluation.evaluate(opened, split, checkpoint=checkpoint, cache_folder=cache_folder)
    if as_json:
        print_json({"run": str(run), "split": split, **result.to_json()})
        return
    console = make_console(as_json=False)
    console.print(display.describe_evaluation(result))
    display.warn_of_bad_pictures(opened, console)
    console.print(f"confusion matrix: {run}/confusion-{split}.png and .csv", markup=False)
