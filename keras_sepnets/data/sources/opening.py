"""From the name of a data set to its source."""

from typing import Unpack

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.sources.columns import Columns, columns_of
from keras_sepnets.data.sources.folder import open_folder
from keras_sepnets.data.sources.listing import Faults, Opening
from keras_sepnets.data.sources.manifest import open_manifest
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.source import Source
from keras_sepnets.data.sources.tfds import TfdsSource
from keras_sepnets.settings.schema import DataConfig


def open_data(config: DataConfig, *, download: bool = False, **opening: Unpack[Opening]) -> Source:
    """Open the data set of a run as its settings say, except where `opening` says otherwise; see `open_source`."""
    merged: Opening = {
        "skip_bad": config.on_bad_picture == "skip",
        "pooled": config.folds > 0,
        "as_written": config.class_names == "as_written",
    }
    merged.update(opening)
    return open_source(config.dataset, columns=columns_of(config), download=download, **merged)


def open_to_check(config: DataConfig) -> Source:
    """Open as much as possible of a data set; picture files that could not be used are named in its `faults`."""
    return open_data(config, skip_bad=True, faults=Faults(collect=True))


def open_source(
    dataset: str,
    *,
    columns: Columns = Columns(),  # noqa: B008  immutable
    download: bool = False,
    **opening: Unpack[Opening],
) -> Source:
    """Open a data set by name.

    Args:
        dataset: `folder:PATH`, `manifest:FILE` or a TFDS name.
        columns: The columns of a manifest that the user names.
        download: Whether a TFDS data set may be downloaded.
        opening: See `Opening`; TFDS data sets keep their splits and names.

    Raises:
        SepnetsError: The data set does not exist or cannot be used.
    """
    name = DatasetName.parse(dataset)
    if columns != Columns() and name.kind != "manifest":
        raise SepnetsError(
            "data.path_column and data.label_column name the columns of a manifest; leave them out. "
            f"Received: {printable(dataset)}"
        )
    if name.kind == "folder":
        return open_folder(name.place, **opening)
    if name.kind == "manifest":
        return open_manifest(name.place, columns=columns, **opening)
    source = TfdsSource(name.place, download=download)
    if opening.get("pooled"):
        source.notes.append("the folds are cut from the train split alone; a test split is not used")
    return source
