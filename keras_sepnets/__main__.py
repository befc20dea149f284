"""The entry point of `sepnets` and `python -m keras_sepnets`."""

import sys

from keras_sepnets.acceleration.huge_pages import restart_with_huge_pages

TRAIN = ("train", "ablate", "sweep")  # commands that train for long


def run() -> None:
    """Run the command line."""
    if sys.argv[1:2] and sys.argv[1] in TRAIN:
        restart_with_huge_pages()
    from keras_sepnets.cli import main

    main(prog_name="sepnets")


if __name__ == "__main__":
    run()
