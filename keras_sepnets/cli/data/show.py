"""`sepnets data show`."""

from pathlib import Path

import click

from keras_sepnets.base.files import check_writable, write_file
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted
from keras_sepnets.cli.command import Command, print_json, quiet_imports
from keras_sepnets.cli.data.settings import read_data_settings, set_data_option
from keras_sepnets.cli.options import augment_option, json_option
from keras_sepnets.data.sources.name import DatasetName

SHOWN_AT = 224  # px, unless the data set or the user determines the size


class Drawing(Result):
    """Follows the settings of the data."""

    seed: int
    """Seed of the order and the augmentation."""
    file: str
    """File with the pictures."""


@click.command(cls=Command)
@click.argument("source")
@augment_option
@click.option("--image-size", type=click.IntRange(min=1), metavar="N", help="Height and width in pixels.")
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Number of pictures.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Seed of the run."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="augmented.png",
    show_default=True,
    metavar="FILE",
    help="File to draw into.",
)
@set_data_option
@json_option
def show(
    source: str,
    augment: str | None,
    image_size: int | None,
    pictures: int,
    seed: int,
    output: Path,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw the first training pictures of a run, as the network will see them.

    \b
    sepnets data show digits
    sepnets data show folder:pictures --augment strong --output augmented.png
    """
    check_writable(output)
    options = {"data.augment": augment, "data.image_size": image_size}
    settings = read_data_settings(source, assignments, options)
    with quiet_imports():
        from keras_sepnets.cli.console import make_console
        from keras_sepnets.data.batches.labels import describe_label
        from keras_sepnets.data.batches.resolution import resolve_data
        from keras_sepnets.data.batches.splits import Splits
        from keras_sepnets.data.sources.opening import open_data
        from keras_sepnets.runs.plots import draw_pictures

    opened = open_data(settings.model_copy(update={"on_bad_picture": "skip"}))
    config = resolve_data(settings, opened, default_size=SHOWN_AT)
    # Without memory, files are decoded one by one in the order of a run; records cannot be read that way.
    splits = Splits(opened, config, memory=0 if DatasetName.parse(source).is_own_pictures else None)
    pictures = min(pictures, splits.num_examples("train"))
    with splits.translated_failures():
        batch, labels = next(splits.training_batches(pictures, 1, seed).as_numpy_iterator())
    policy = f"{config.augment} {config.image_size} px: {splits.policy.describe() or 'no change'}"
    titles = [describe_label(label, splits.class_names) for label in labels]
    write_file(output, draw_pictures(batch, titles, policy))
    if as_json:
        print_json({**config.model_dump(mode="json"), **Drawing(seed=seed, file=str(output)).to_json()})
        return
    console = make_console(as_json=False)
    console.print(f"{policy}\n{counted(pictures, 'picture')}: {output}", markup=False)
    if splits.bad_pictures:
        console.print(
            f"left out: {counted(len(splits.bad_pictures), 'unreadable file')}; sepnets data check names them"
        )
