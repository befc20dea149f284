"""`--set` of commands that look at a data set: settings of the data alone, as others would change nothing."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.settings.files import check_keys, load_config
from keras_sepnets.settings.schema import DataConfig

set_data_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the data, such as data.label_column=NAME. Can be repeated.",
)


def read_data_settings(
    source: str,
    assignments: tuple[str, ...],
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    allowed: Sequence[str] = ("data",),
) -> DataConfig:
    """Return the settings of a data set that is only looked at.

    Args:
        source: Its name.
        assignments: KEY=VALUE texts.
        options: Values of options by dotted key; None for those that are not given.
        allowed: Settings, or tables of settings, that change what is shown.

    Raises:
        SepnetsError: A text is of another setting, or a setting is invalid.
    """
    check_keys(assignments, allowed)
    given = {"data.dataset": source} | {key: value for key, value in options.items() if value is not None}
    settings = load_config(options=given, assignments=assignments).data
    if settings.dataset != source:
        raise SepnetsError(
            f"The data set is named without --set; leave data.dataset out. Received: {settings.dataset!r}"
        )
    return settings
