"""From the name of a data set to its source."""

from keras_sepnets.data.sources.folder import open_folder
from keras_sepnets.data.sources.manifest import open_manifest
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.source import Source
from keras_sepnets.data.sources.tfds import TfdsSource


def open_source(dataset: str, *, download: bool = False, skip_bad: bool = False, pooled: bool = False) -> Source:
    """Open a data set by name.

    Args:
        dataset: `folder:PATH`, `manifest:FILE` or a TFDS name.
        download: Whether a TFDS data set may be downloaded.
        skip_bad: Whether to leave out picture files that cannot be read.
        pooled: Whether to pool picture files of all splits in train, for a cross-validation; TFDS data sets keep
            their splits.

    Raises:
        SepnetsError: The data set does not exist or cannot be used.
    """
    name = DatasetName.parse(dataset)
    if name.kind == "folder":
        return open_folder(name.place, skip_bad=skip_bad, pooled=pooled)
    if name.kind == "manifest":
        return open_manifest(name.place, skip_bad=skip_bad, pooled=pooled)
    source = TfdsSource(name.place, download=download)
    if pooled:
        source.notes.append("the folds are cut from the train split alone; a test split is not used")
    return source
