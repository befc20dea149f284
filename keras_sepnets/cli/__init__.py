"""The command `sepnets`: each command parses, builds a config, calls the library once, and prints."""

import click

from keras_sepnets import __version__
from keras_sepnets.cli.ablate import ablate
from keras_sepnets.cli.benchmark import benchmark
from keras_sepnets.cli.cost import cost
from keras_sepnets.cli.data import data
from keras_sepnets.cli.evaluate import evaluate
from keras_sepnets.cli.export import export
from keras_sepnets.cli.models import models
from keras_sepnets.cli.predict import predict
from keras_sepnets.cli.recipes import recipes
from keras_sepnets.cli.runs import runs
from keras_sepnets.cli.sweep import sweep
from keras_sepnets.cli.train import train
from keras_sepnets.cli.tune import tune


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sepnets")
def main() -> None:
    """Train, evaluate, ablate and count separable-convolution networks (MobileNets, Xception) in Keras 3.

    \b
    sepnets train --model mobilenet --alpha 0.5      train on the built-in digits
    sepnets evaluate runs/mobilenet-digits-1         accuracy and confusion matrix
    sepnets predict runs/mobilenet-digits-1 a.png    classes of pictures
    sepnets export RUN --format html                 a classifier in one file for any browser
    sepnets tune --learning-rate                     a learning rate that fits network and data
    sepnets runs                                     runs so far: state, accuracy, cost
    sepnets recipes                                  sets of settings, with their sources
    sepnets ablate --no-intermediate-relu            compare a network with and without a part
    sepnets sweep --dataset folder:pictures          accuracy against cost over widths and picture sizes
    sepnets cost --model mobilenet                   parameters, multiply-adds, memory
    sepnets models                                   networks and their options
    sepnets data check folder:pictures               find faults in pictures before training on them
    sepnets data list                                data sets: ready, or to be prepared
    sepnets benchmark input                          speed of reading pictures

    With --json, the result, and nothing else, goes to stdout. Exit codes: 0 success, 1 failure, 2 invalid
    input, 124 time limit reached, 129 terminal closed, 130 interrupted, 143 terminated.
    """


for command in (
    train, tune, evaluate, predict, export, runs, recipes, ablate, sweep, cost, models, data, benchmark,
):  # fmt: skip
    main.add_command(command)
