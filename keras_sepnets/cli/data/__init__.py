"""`sepnets data`: one file per command."""

import click

from keras_sepnets.cli.data.check import check
from keras_sepnets.cli.data.forecast import forecast
from keras_sepnets.cli.data.info import info
from keras_sepnets.cli.data.list import list_command
from keras_sepnets.cli.data.prepare import prepare
from keras_sepnets.cli.data.show import show


@click.group()
def data() -> None:
    """List, describe, prepare, check and show data sets; forecast what more pictures would bring.

    \b
    sepnets data list                                 data sets: ready, or to be prepared
    sepnets data info cifar10                         classes, splits, sizes, original files
    sepnets data prepare cifar10                      download and prepare with TFDS
    sepnets data prepare cifar10 --from ~/Downloads   prepare from files on this machine, offline
    sepnets data check folder:pictures                look for faults before training
    sepnets data show folder:pictures                 draw training pictures as the network sees them
    sepnets data forecast folder:photos --weights W   say how many more pictures an accuracy needs
    """


for command in (list_command, info, prepare, check, show, forecast):
    data.add_command(command)
