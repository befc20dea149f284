"""`sepnets export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_sepnets.base.text import counted, in_bytes, printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.evaluate import checkpoint_option
from keras_sepnets.cli.options import json_option
from keras_sepnets.deploy.formats import FORMATS

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.deploy.html.export import HtmlExport


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="; ".join(f"{name}: runs in {format_.runs_on}" for name, format_ in FORMATS.items()) + ".",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file.  [default: export, with the suffix of the format, in the run folder]",
)
@click.option(
    "--quantize",
    type=click.Choice(["float16", "int8"]),
    default="float16",
    show_default=True,
    help="How kernels are stored; int8 takes half the space and is less exact.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0, max=1),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Fail if top-1 on the test pictures is lower than Keras' by more.",
)
@click.option("--dataset", metavar="NAME", help="Where the run's pictures are now, if they have moved.")
@checkpoint_option
@json_option
def export(
    run: Path,
    file_format: str,
    output: Path | None,
    quantize: str,
    max_drop: float,
    dataset: str | None,
    checkpoint: str | None,
    as_json: bool,
) -> None:
    """Write a run as a file that classifies pictures elsewhere, verified on every test picture.

    html is one page that opens by double click, offline, and sends nothing anywhere; node verifies it, if it is
    installed.

    \b
    sepnets export runs/mobilenet-digits-1 --format html
    sepnets export runs/mobilenet-pictures-1 --format html --output birds.html --quantize int8
    """
    from keras_sepnets.runs.folder import Run

    opened = Run.open(run)
    output = output or opened.path / f"export{FORMATS[file_format].suffix}"
    with quiet_imports():
        from keras_sepnets.deploy.html.export import export_html
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    columns = ("verifying", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        result = export_html(
            opened,
            output,
            checkpoint=checkpoint,
            quantize=quantize,
            max_drop=max_drop,
            dataset=dataset,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        print_json(result.to_json())
    else:
        _show(result, console)


def _show(result: "HtmlExport", console: "Console") -> None:
    """Print where the file is and how it compares with Keras."""
    console.print(
        f"{printable(result.file)}: {in_bytes(result.bytes)}, kernels in {result.quantize}", markup=False
    )
    verification = result.verification
    if verification is None:
        console.print("not verified: node is missing; install Node.js and export again")
        return
    pictures = counted(verification.num_examples, "picture")
    console.print(
        f"{verification.split}: top-1 {verification.top1:.2%}, {verification.keras_top1:.2%} by Keras; the same "
        f"class for {verification.agreement:.2%} of {pictures}, probabilities at most "
        f"{verification.largest_difference:.1e} apart"
    )
    console.print(f"{verification.milliseconds:.1f} ms per picture in {verification.runtime}")
