"""The list of available data sets (ready on this machine, embedded, or known to TFDS), and facts about each."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds

from keras_sepnets.base.results import Result
from keras_sepnets.base.text import one_line
from keras_sepnets.data.catalogue import builders
from keras_sepnets.data.catalogue.offline import original_name
from keras_sepnets.data.sources.columns import Columns
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.name import DatasetName
from keras_sepnets.data.sources.opening import open_source

# Where TFDS keeps builders of labelled pictures; some others need internet access merely to be opened.
PICTURE_MODULES = ("tensorflow_datasets.image_classification.", "tensorflow_datasets.datasets.")


class ListedDataSet(Result):
    """A data set in the list of data sets."""

    name: str
    """Name that `--dataset` takes."""
    status: str
    """One of "ready", "embedded" (prepared on first use) and "preparable"."""
    configs: tuple[str, ...] = ()
    """Configurations, if it comes in several."""
    splits: dict[str, int] | None = None
    """Split -> examples; null until it is prepared."""
    path: str | None = None
    """Its folder; null until it is prepared."""
    bytes: int | None = None
    """Size on disk in bytes; null until it is prepared."""
    download_bytes: int | None = None
    """Size in bytes of all files that TFDS registers for it; null if unknown."""
    by_hand: bool = False
    """Whether some files have to be downloaded by hand."""


class OriginalFile(Result):
    """A file that a data set is prepared from."""

    file_name: str
    """Name under which it is published."""
    bytes: int
    """Size in bytes."""
    url: str
    """Where TFDS downloads it."""
    sha256: str
    """Checksum that TFDS registers."""


class DataSetDescription(Result):
    """Facts about a data set, gathered offline."""

    name: str
    """Full name: with the configuration and version, or with the absolute path."""
    status: str
    """One of "ready", "embedded", "preparable" and "files" (a folder or manifest)."""
    classes: tuple[str, ...]
    """Class names; numbers if it has none."""
    path: str
    """Its folder or manifest."""
    splits: dict[str, int] | None = None
    """Split -> examples; null until it is prepared."""
    class_counts: dict[str, dict[str, int]] | None = None
    """Split -> class -> pictures; folders and manifests only."""
    picture_shape: tuple[int | None, ...] | None = None
    """Height, width, channels; null where pictures differ."""
    version: str | None = None
    """Version of the TFDS data set."""
    config: str | None = None
    """Configuration of the TFDS data set."""
    configs: tuple[str, ...] = ()
    """All configurations, if it comes in several."""
    bytes: int | None = None
    """Size on disk in bytes; null until it is prepared."""
    files: tuple[OriginalFile, ...] = ()
    """Files that TFDS registers; one configuration may need only some of them."""
    instructions: str | None = None
    """How to download files by hand, if that is necessary."""
    notes: tuple[str, ...] = ()
    """Remarks for the user."""


def list_data_sets() -> list[ListedDataSet]:
    """Return the data sets that are ready, then the embedded one, then those that TFDS can prepare."""
    ready = sorted(_list_ready(), key=lambda entry: entry.name)
    known = {entry.name.rpartition(":")[0] for entry in ready}
    rest = [entry for entry in _list_known() if entry.name not in known]
    return ready + sorted(rest, key=lambda entry: (entry.status, entry.name))


def describe_data_set(name: str, *, columns: Columns = Columns()) -> DataSetDescription:  # noqa: B008  immutable
    """Describe a data set without internet access; the embedded one is prepared if necessary.

    Args:
        name: A TFDS name, `folder:PATH` or `manifest:FILE`.
        columns: The columns of a manifest that the user names.

    Raises:
        SepnetsError: The data set is unknown or cannot be used.
    """
    if DatasetName.parse(name).is_own_pictures:
        source = open_source(name, columns=columns, skip_bad=True)
        return _describe_files(cast("FileSource", source))
    builder = builders.find_builder(name)
    image_key, _ = builders.labelled_picture(builder)
    embedded = builders.needs_no_files(builder)
    if embedded and builders.prepare(name):
        builder = builders.find_builder(name)
    prepared = builder.is_prepared()
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    classes = builders.class_names(builder)
    named = prepared or classes != tuple(map(str, range(len(classes))))
    return DataSetDescription(
        name=builders.full_name(builder),
        status="embedded" if embedded else "ready" if prepared else "preparable",
        classes=classes,
        path=str(builder.data_path),
        splits=_count_examples(builder) if prepared else None,
        picture_shape=tuple(builder.info.features[image_key].shape),
        version=str(builder.version),
        config=builder.builder_config.name if builder.builder_config else None,
        configs=tuple(builder.builder_configs),
        bytes=_bytes_below(builder.data_path) if prepared else None,
        files=tuple(_original_files(builder)),
        instructions=one_line(instructions, 1000) if instructions else None,
        notes=() if named else ("class names, if there are any, are known once it is prepared",),
    )


def _describe_files(source: FileSource) -> DataSetDescription:
    counts = {}
    for split in source.splits:
        numbers = np.bincount(source.index(split).labels, minlength=len(source.class_names)).tolist()
        counts[split] = dict(zip(source.class_names, numbers, strict=True))
    paths = {os.fsdecode(path) for split in source.splits for path in source.paths(split)}
    return DataSetDescription(
        name=source.name,
        status="files",
        classes=source.class_names,
        splits={split: source.num_examples(split) for split in source.splits},
        class_counts=counts,
        path=DatasetName.parse(source.name).place,
        bytes=sum(Path(path).stat().st_size for path in paths if Path(path).is_file()),
        notes=tuple(source.notes),
    )


def _list_ready() -> Iterator[ListedDataSet]:
    folder = builders.data_folder()
    if not folder.is_dir():
        return
    for reference in tfds.core.utils.file_utils.list_datasets_in_data_dir(str(folder)):
        # Skips a folder that only looks like a data set.
        with contextlib.suppress(Exception):
            builder = tfds.builder_from_directory(reference.dataset_dir())
            if builders.find_labelled_picture(builder):
                yield ListedDataSet(
                    name=reference.tfds_name(),
                    status="embedded" if builders.needs_no_files(builder) else "ready",
                    splits=_count_examples(builder),
                    path=str(builder.data_path),
                    bytes=_bytes_below(builder.data_path),
                )


def _list_known() -> Iterator[ListedDataSet]:
    with builders.without_bucket():
        for name in tfds.list_builders(with_community_datasets=False):
            # Skips the few that need arguments or packages that are not installed.
            with contextlib.suppress(Exception):
                builder_class = tfds.builder_cls(name)
                embedded = builders.needs_no_files(builder_class)
                if not embedded and not builder_class.__module__.startswith(PICTURE_MODULES):
                    continue
                builder = builder_class()
                if builders.find_labelled_picture(builder):
                    yield ListedDataSet(
                        name=name,
                        status="embedded" if embedded else "preparable",
                        configs=tuple(builder.builder_configs),
                        download_bytes=sum(file.bytes for file in _original_files(builder)) or None,
                        by_hand=bool(builder.MANUAL_DOWNLOAD_INSTRUCTIONS),
                    )


def _original_files(builder: Any) -> Iterator[OriginalFile]:
    for url, info in (builder.url_infos or {}).items():
        yield OriginalFile(file_name=original_name(url, info), bytes=int(info.size), url=url, sha256=info.checksum)


def _count_examples(builder: Any) -> dict[str, int]:
    return {name: split.num_examples for name, split in builder.info.splits.items()}


def _bytes_below(folder: Any) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
