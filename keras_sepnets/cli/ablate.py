"""`sepnets ablate`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.console import drop_unread_output
from keras_sepnets.cli.options import json_option, network_options, read_settings, training_options
from keras_sepnets.cli.parameter_types import Duration, Values, Words
from keras_sepnets.lab.definition import SOURCES

if TYPE_CHECKING:
    from keras_sepnets.lab.definition import Experiment

# A small network on small pictures: ten trainings in minutes on two cores.
DEFAULTS = {"model.name": "xception", "model.alpha": 0.25, "data.image_size": 48, "training.epochs": 8}
NETWORK_DEFAULTS = {"xception": {"model.middle_repeats": 2}, "inception_v3": {"data.image_size": 75}}
SEEDS = 5  # of the options' experiments; a file has 8 unless it says otherwise
MOST_SEEDS = 30  # with --until-decided
FLAGS = (  # options without a value, each the question of a paper
    ("no_residual", "Test leaving out the shortcuts (Xception, MobileNetV2)."),
    ("standard_convolution", "Test standard convolutions in place of separable ones (MobileNet, Xception)."),
    ("shallow", "Test leaving out the five inner blocks of 512 filters (MobileNet)."),
    ("nonlinear_bottleneck", "Test a ReLU6 after each bottleneck (MobileNetV2)."),
    ("order", "Test the pointwise step before the spatial one (Xception)."),
)


def change_options(function: Any) -> Any:
    """Add the options that name a change."""
    for name, words in reversed(FLAGS):
        function = click.option(f"--{name.replace('_', '-')}", is_flag=True, help=words)(function)
    return function


@click.command(cls=Command)
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option(
    "--intermediate-relu/--no-intermediate-relu",
    default=None,
    help="Test adding a ReLU between the depthwise and the pointwise step, or (default) removing it.",
)
@change_options
@click.option(
    "--segments", type=Values(int, "all"), metavar="N,N,...", help="Test numbers of channel groups; all: one each."
)
@click.option("--alphas", type=Values(), metavar="A,A,...", help="Test width multipliers.")
@click.option("--image-sizes", type=Values(int), metavar="N,N,...", help="Test picture sizes, in pixels.")
@click.option(
    "--change",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Test this change of any setting instead, such as model.residual=false or training.label_smoothing=0.1. "
    "Can be repeated.",
)
@click.option(
    "--seeds", type=int, metavar="N", help=f"Number of paired runs.  [default: {SEEDS}; of a file: its own]"
)
@click.option("--until-decided", is_flag=True, help="Add seeds until an always-valid interval decides.")
@click.option("--max-seeds", type=int, metavar="N", help=f"Largest number of them.  [default: {MOST_SEEDS}]")
@click.option(
    "--margin", type=float, metavar="M", help="Accuracies within M count as the same; 0.005: half a point."
)
@click.option(
    "--fixed", type=Words(SOURCES), metavar="WORD,...", help=f"Same for all seeds: some of {', '.join(SOURCES)}."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Runs at a time."
)
@click.option(
    "--budget", type=Duration(), metavar="TIME", help="Train as many seeds, or epochs, as fit into 2h or 45m."
)
@network_options
@training_options
@click.option("--middle-repeats", type=int, metavar="N", help="Number of Xception's middle-flow modules.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the experiment.  [default: runs/EXPERIMENT, or runs/ablate-NETWORK-DATASET-CHANGE]",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the report of a folder again; no training.",
)
@json_option
def ablate(
    experiment: Path | None,
    config: Path | None,
    assignments: tuple[str, ...],
    output: Path | None,
    download: bool,
    cache_folder: Path | None,
    recipe: str | None,
    jobs: int,
    budget: float | None,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network with and without one part or setting, over paired seeds, and compare the two.

    EXPERIMENT is a folder with experiment.toml, or such a file; without it, options say what is tested, and the
    file is written first. Apart from the change, the runs of a seed start from the same weights and see the same
    pictures in the same order. Finished runs are kept: repeat the command to continue, or give more seeds to add
    pairs. Defaults: Xception, alpha 0.25, 2 middle-flow modules, digits at 48 px, 8 epochs.

    \b
    sepnets ablate --no-intermediate-relu
    sepnets ablate --intermediate-relu --dataset cifar10 --image-size 64 --epochs 20 --seeds 8
    sepnets ablate --no-residual --alphas 0.25,0.5 --jobs 2
    sepnets ablate --change training.label_smoothing=0.1 --margin 0.005
    sepnets ablate --model mobilenet_v2 --change model.bottleneck_activation=relu6
    sepnets ablate experiments/xception_intermediate_relu --seeds 2 --set training.epochs=1
    sepnets ablate --report runs/ablate-xception-digits-no_intermediate_relu
    """
    drop_unread_output()
    with quiet_imports():
        from keras_sepnets.cli.matrix import print_result, run_experiment, show_reports
        from keras_sepnets.lab import change
        from keras_sepnets.lab.results import read_results

    if report is not None:
        result = read_results(report)
        show_reports(result, report, as_json=as_json)
        return
    asked = _take_changes(options)
    reading = {"config": config, "assignments": assignments, "recipe": recipe}
    if experiment is not None:
        if given := [name for name, value in asked.items() if value]:
            raise SepnetsError(
                "The experiment's file says what is compared; leave the file out, or "
                f"--{given[0].replace('_', '-')}. Received: {str(experiment)!r}"
            )
        definition = _from_file(experiment, options, reading)
        output = output or change.output_of_file(experiment)
    else:
        definition, usual = _from_options(asked, options, reading)
        output = output or usual
    result = run_experiment(
        definition,
        output=output,
        jobs=jobs,
        budget=budget,
        download=download,
        cache_folder=cache_folder,
        as_json=as_json,
        show=print_result,
    )
    if as_json:
        print_json(result.to_json())


def _take_changes(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that name a change out of all options."""
    relu = options.pop("intermediate_relu")
    asked = {} if relu is None else {"intermediate_relu" if relu else "no_intermediate_relu": True}
    asked |= {name: options.pop(name) for name, _ in FLAGS}
    return asked | {name: options.pop(name) for name in ("segments", "alphas", "image_sizes", "changes")}


def _take_words(options: dict[str, Any], usual: int | None) -> dict[str, Any]:
    """Take the keys of an experiment out of all options; `usual`: the number of seeds, unless it is given."""
    seeds, most, until = (options.pop(name) for name in ("seeds", "max_seeds", "until_decided"))
    if most is not None and not until:
        raise SepnetsError(
            f"--max-seeds ends --until-decided; add that, or write --seeds. Received: --max-seeds {most}"
        )
    if until and seeds is not None:
        raise SepnetsError(
            f"--until-decided adds seeds itself; limit them with --max-seeds. Received: --seeds {seeds}"
        )
    words: dict[str, Any] = {"until_decided": True} if until else {}
    seeds = (most or MOST_SEEDS) if until else usual if seeds is None else seeds
    if seeds is not None and seeds < 1:
        raise SepnetsError(f"An ablation needs at least one seed. Received: seeds={seeds}")
    words |= {"seeds": seeds} if seeds is not None else {}
    words |= {key: value for key in ("margin", "fixed") if (value := options.pop(key)) is not None}
    return words | {"command": shlex.join(["sepnets", *sys.argv[1:]])}


def _from_file(path: Path, options: dict[str, Any], reading: dict[str, Any]) -> "Experiment":
    """Return the experiment of a file, with what the options override."""
    from keras_sepnets.lab.change import given_settings
    from keras_sepnets.lab.definition import make_experiment, read_definition
    from keras_sepnets.lab.opening import find_experiment

    definition = (find_experiment(path) if path.is_dir() else None) or read_definition(path)
    words = _take_words(options, None)
    settings = read_settings(options, **reading, defaults=definition.base)
    content = definition.model_dump() | {"base": given_settings(settings.config)} | words
    return make_experiment(content, str(path))


def _from_options(
    asked: dict[str, Any], options: dict[str, Any], reading: dict[str, Any]
) -> "tuple[Experiment, Path]":
    """Return the experiment that options ask for, and its usual folder."""
    from keras_sepnets.lab.change import LISTS, default_output, experiment_of_options, usual_network
    from keras_sepnets.lab.definition import make_experiment

    changes = asked.pop("changes")
    lists = {name: asked.pop(name) for name in LISTS}
    named = [name for name, value in asked.items() if value]
    if len(named) > 1:
        one, other = (f"--{name.replace('_', '-')}" for name in named[:2])
        raise SepnetsError(f"Test one change at a time: {one} or {other}, not both.")
    option = named[0] if named else None
    if not (option or changes or any(lists.values())):
        option = "no_intermediate_relu"
    words = _take_words(options, SEEDS)
    defaults = DEFAULTS | {"model.name": usual_network(option)}
    settings = read_settings(options, **reading, defaults=defaults, defaults_of=NETWORK_DEFAULTS)
    definition = experiment_of_options(
        settings.config, given=settings.given, option=option, changes=changes, lists=lists, **words
    )
    return make_experiment(definition.model_dump(), "the options"), default_output(
        definition, settings.config, lists
    )
