"""`sepnets tune`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, is_ordinary, write_file
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted, printable
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import (
    json_option,
    network_options,
    read_settings,
    rho_option,
    start_options,
    training_options,
)
from keras_sepnets.data.sources.name import DatasetName

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.training.tuning.learning_rate import LearningRateRange

MOST_PASSES = 10  # over the training pictures, before they may be learned by heart


class Picture(Result):
    """Follows the curve."""

    file: str
    """File with the picture of the curve."""


@click.command(cls=Command)
@click.option("--learning-rate", is_flag=True, help="Find a learning rate, by a range test.")
@network_options
@partial(training_options, learning_rate=False)
@rho_option
@start_options
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    metavar="N",
    help="Steps in which the learning rate rises from 1e-6 to 10.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="learning_rate.png",
    show_default=True,
    metavar="FILE",
    help="Picture of the loss over the learning rate; an earlier one is replaced.",
)
@json_option
def tune(
    learning_rate: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    rho: float | None,
    recipe: str | None,
    download: bool,
    cache_folder: Path | None,
    steps: int,
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Try learning rates on a copy of a run's network, and suggest one; no run starts.

    Give the options of the run. A copy of its network is trained while the learning rate rises exponentially:
    a range test (arXiv:1506.01186). Nothing is written but the picture.

    \b
    sepnets tune --learning-rate --model mobilenet --alpha 0.5
    sepnets tune --learning-rate --dataset folder:pictures --image-size 128 --batch-size 64
    sepnets tune --learning-rate --recipe finetune --weights runs/mobilenet-digits-1 --dataset folder:pictures
    """
    if not learning_rate:
        raise SepnetsError("Say what to tune: sepnets tune --learning-rate")
    if output.suffix != ".png" and is_ordinary(output):
        raise SepnetsError(f"The picture is a PNG file; give a name that ends in .png. Received: {str(output)!r}")
    check_writable(output)
    settings = read_settings(options, config=config, assignments=assignments, rho=rho, recipe=recipe)
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.runs.plots import draw_range_test
        from keras_sepnets.training.plan import make_plan
        from keras_sepnets.training.tuning.learning_rate import find_learning_rate

    console = make_console(as_json=as_json)
    tell = partial(console.print, markup=False)
    plan = make_plan(settings.config, download=download, cache_folder=cache_folder, on_progress=tell)
    model, dataset = plan.config.model, DatasetName.parse(plan.splits.source.name).short
    title = f"{model.name} {model.alpha:g} on {dataset}"
    tell(f"{printable(title)}: up to {counted(steps, 'step')} of {counted(plan.batch_size, 'picture')}")
    with console.status("") as status:
        found = find_learning_rate(
            plan,
            steps=steps,
            on_step=lambda step, loss: status.update(f"step {step}/{steps}  loss {loss:.3g}"),
        )
    marks = {"suggested": found.learning_rate, "steepest": found.steepest, "lowest loss": found.lowest_loss_at}
    write_file(output, draw_range_test(found.rates, found.losses, found.smoothed, marks, title))
    _show_range(found, output, console)
    if as_json:
        print_json({**found.to_json(), **Picture(file=str(output)).to_json()})


def _show_range(found: "LearningRateRange", output: Path, console: "Console") -> None:
    from rich.table import Table

    table = Table("learning rate", "what it is", box=None)
    table.add_row(f"{found.learning_rate:g}", "suggested: a tenth of the rate at the lowest loss")
    table.add_row(f"{found.steepest:g}", "bolder: where the loss fell fastest")
    table.add_row(f"{found.lowest_loss_at:g}", "where the loss was lowest; higher rates are too high")
    console.print(table)
    console.print(
        f"{counted(len(found.rates), 'step')}, ended by {found.stopped_by}; each training picture seen "
        f"{counted(found.passes, 'time')}"
    )
    if found.passes > MOST_PASSES:
        console.print("note: the pictures may have been learned by heart, which favours low rates")
    console.print(f"picture: {output}", markup=False)
    console.print(f"continue: sepnets train ... --learning-rate {found.learning_rate:g}")
