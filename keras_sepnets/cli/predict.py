"""`sepnets predict`."""

from pathlib import Path

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.evaluate import checkpoint_option
from keras_sepnets.cli.options import json_option


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, default=5, show_default=True, metavar="N", help="Classes to name a picture.")
@checkpoint_option
@json_option
def predict(run: Path, pictures: tuple[Path, ...], top: int, checkpoint: str | None, as_json: bool) -> None:
    """Name the most probable classes of pictures: files or folders of JPEG, PNG, BMP, GIF, WebP.

    \b
    sepnets predict runs/mobilenet-digits-1 seven.png
    sepnets predict runs/mobilenet-digits-1 inbox/ --top 1 --json
    """
    from keras_sepnets.runs.folder import Run

    opened = Run.open(run)
    with quiet_imports():
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.inference import prediction

    results = prediction.predict(opened, pictures, top=top, checkpoint=checkpoint)
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        display.show_predictions(results, make_console(as_json=False))
