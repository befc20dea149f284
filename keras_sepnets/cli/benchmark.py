"""`sepnets benchmark input` and `train`."""

import contextlib

import click

from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.options import json_option


@click.group()
def benchmark() -> None:
    """Measure speed on this machine: ratios of sides that take turns, with their spread.

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
    help="Without SOURCE: so many JPEG files of 500x375 px are made, and deleted afterwards.",
)
@click.option("--image-size", type=click.IntRange(min=1), default=224, show_default=True, metavar="N")
@click.option("--augment", metavar="NAME", help="none, light, standard or strong.  [default: by the data set]")
@click.option("--against", type=click.Choice(["naive"]), help="Compare with one map each: decode, resize, flip.")
@click.option("--memory", is_flag=True, help="Read every picture once and tell how memory grows.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, metavar="N")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=3.0, show_default=True, metavar="S")
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
    """Measure how fast a data set's training batches come.

    \b
    sepnets benchmark input --against naive
    sepnets benchmark input folder:pictures --image-size 128 --augment strong
    sepnets benchmark input --pictures 100000 --memory --rounds 1 --json
    """
    with quiet_imports():
        from keras_sepnets.benchmarks import input as benchmark
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status("making pictures"))
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
    display.show_input_benchmark(result, console)


@benchmark.command("train", cls=Command)
@click.option("--model", default="mobilenet", show_default=True, metavar="NAME")
@click.option("--alpha", type=float, default=1.0, show_default=True, metavar="A")
@click.option("--image-size", type=click.IntRange(min=1), default=128, show_default=True, metavar="N")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, metavar="N")
@click.option("--against", type=click.Choice(["keras"]), help="Compare with keras.applications and fit.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, metavar="N")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True, metavar="S")
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
    """Measure training steps of a network: accelerated, in bfloat16, with one thread an operation, and as it is.

    \b
    sepnets benchmark train --model mobilenet --against keras
    sepnets benchmark train --model xception --image-size 128 --rounds 7 --json
    """
    with quiet_imports():
        from keras_sepnets.benchmarks import steps as training_benchmark
        from keras_sepnets.cli import display
        from keras_sepnets.cli.console import make_console

    console = make_console(as_json=as_json)
    with console.status("starting") as status:
        result = training_benchmark.benchmark_training(
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
    display.show_training_benchmark(result, console)
