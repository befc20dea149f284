"""`python -m keras_sepnets` is `sepnets`."""

from keras_sepnets.cli import main

main(prog_name="sepnets")
