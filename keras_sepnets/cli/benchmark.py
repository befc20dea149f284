"""`sepnets benchmark input` and `train`."""

import contextlib
import statistics
from typing import TYPE_CHECKING

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import augment_option, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from keras_sepnets.benchmarks.input import InputBenchmark
    from keras_sepnets.benchmarks.steps import TrainingBenchmark

SIZE_HELP = "Height and width in pixels."
SECONDS_HELP = "Duration of one turn, in seconds."
rounds_option = click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Rounds in which each competitor has a turn.",
)


@click.group()
def benchmark() -> None:
    """Measure speed on this machine; competitors take turns, and ratios come with their spread.

    \b
    sepnets benchmark input --against naive
    sepnets benchmark train --model mobilenet --against keras
    """


@benchmark.command("input", cls=Command)
@click.argument("source", required=False)
@click.option(
    "--pictures",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    metavar="N",
    help="Without SOURCE: generate this many JPEG files of 500x375 px, deleted afterwards.",
)
@click.option(
    "--image-size", type=click.IntRange(min=1), default=224, show_default=True, metavar="N", help=SIZE_HELP
)
@augment_option
@click.option(
    "--against",
    type=click.Choice(["naive"]),
    help="Compare with a naive pipeline: decode, resize, flip, one map each.",
)
@click.option("--memory", is_flag=True, help="Read every picture once and measure the growth of memory.")
@rounds_option
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=3.0, show_default=True, metavar="S", help=SECONDS_HELP
)
@json_option
def input_command(
    source: str | None,
    pictures: int,
    image_size: int,
    augment: str | None,
    against: str | None,
    memory: bool,
    rounds: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure how fast training batches are read and varied.

    \b
    sepnets benchmark input --against naive
    sepnets benchmark input folder:pictures --image-size 128 --augment strong
    sepnets benchmark input --pictures 100000 --memory --rounds 1 --json
    """
    with quiet_imports():
        from keras_sepnets.benchmarks import input as benchmark
        from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status("generating pictures"))
        dataset = source or stack.enter_context(benchmark.generated_folder(pictures))
        result = benchmark.benchmark_input(
            dataset,
            image_size=image_size,
            augment=augment,
            against_naive=against is not None,
            rounds=rounds,
            seconds=seconds,
            read_all=memory,
            on_progress=status.update,
        )
    if as_json:
        print_json(result.to_json())
        return
    _show_input(result, console)


@benchmark.command("train", cls=Command)
@click.option("--model", default="mobilenet", show_default=True, metavar="NAME", help="Network.")
@click.option("--alpha", type=float, default=1.0, show_default=True, metavar="A", help="Width multiplier.")
@click.option(
    "--image-size", type=click.IntRange(min=1), default=128, show_default=True, metavar="N", help=SIZE_HELP
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Pictures per step.",
)
@click.option("--against", type=click.Choice(["keras"]), help="Compare with keras.applications and Model.fit.")
@rounds_option
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True, metavar="S", help=SECONDS_HELP
)
@json_option
def train_command(
    model: str,
    alpha: float,
    image_size: int,
    batch_size: int,
    against: str | None,
    rounds: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure training steps of a network: plain, accelerated, in bfloat16, and with one thread per operation.

    \b
    sepnets benchmark train --model mobilenet --against keras
    sepnets benchmark train --model xception --image-size 128 --rounds 7 --json
    """
    with quiet_imports():
        from keras_sepnets.benchmarks import steps
        from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    with console.status("starting") as status:
        result = steps.benchmark_training(
            model,
            alpha=alpha,
            image_size=image_size,
            batch_size=batch_size,
            against_keras=against is not None,
            rounds=rounds,
            seconds=seconds,
            on_progress=status.update,
        )
    if as_json:
        print_json(result.to_json())
        return
    _show_training(result, console)


def _show_input(result: "InputBenchmark", console: "Console") -> None:
    """Print the speed of each side of an input benchmark, and its ratio to the naive one."""
    from rich.table import Table

    naive = [side for side in result.images_per_second if side.startswith("naive")]
    console.print(
        f"{result.source}: {result.num_examples:,} training pictures to {result.image_size} px, "
        f"augmentation {result.augmentation}",
        markup=False,
    )
    console.print(f"first batch after {result.first_batch_seconds:.1f} s")
    if result.memory_growth_bytes is not None:
        console.print(f"memory grew by at most {result.memory_growth_bytes / 1e6:.0f} MB over all pictures")
    table = Table("images/s", "median", "lowest to highest", *(f"x {side}" for side in naive), box=None)
    for side, speeds in result.images_per_second.items():
        ratios = []
        for reference in naive:
            median, low, high = result.ratio(side, reference)
            ratios.append("" if side in naive else f"{median:.2f} ({low:.2f} to {high:.2f})")
        spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
        table.add_row(side, f"{statistics.median(speeds):,.0f}", spread, *ratios)
    console.print(table)


def _show_training(result: "TrainingBenchmark", console: "Console") -> None:
    """Print the speed of each side of a training benchmark, and its ratio to the reference."""
    from rich.table import Table

    console.print(
        f"{result.model} {result.alpha:g}, {result.batch_size} pictures of {result.image_size} px per step; "
        f"float32 matrix products: {statistics.median(result.peak_gflops):,.0f} GFLOP/s"
    )
    table = Table("images/s", "median", "lowest to highest", f"x {result.reference}", "of the peak", box=None)
    for side, speeds in result.images_per_second.items():
        median, low, high = result.ratio(side, result.reference)
        table.add_row(
            side,
            f"{statistics.median(speeds):,.1f}",
            f"{min(speeds):,.1f} to {max(speeds):,.1f}",
            "" if side == result.reference else f"{median:.2f} ({low:.2f} to {high:.2f})",
            f"{result.peak_share[side]:.0%}",
        )
    console.print(table)
