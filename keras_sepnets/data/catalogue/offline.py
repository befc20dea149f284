"""TFDS data sets from files on this machine: recognised by the checksums that TFDS registers, under any name.

The stock builder runs as it is, but what it asks to download is taken from a folder; nothing reaches a network.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums, download_manager, downloader, extractor
from tensorflow_datasets.core.utils.lazy_imports_utils import promise

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line, printable
from keras_sepnets.data.catalogue import builders
from keras_sepnets.data.catalogue.originals import Match, OriginalFiles, Report

LISTED = 20  # missing files that an error names


def prepare_from_folder(name: str, folder: str | Path, *, report: Report | None = None) -> bool:
    """Prepare a TFDS data set from files in a folder, without a network, unless it is prepared.

    The files may have any name and lie in sub-folders: they are recognised by size and SHA-256. Files that an
    earlier download left in TFDS' cache are used too. Nothing is left of an attempt that fails or is interrupted.

    Args:
        name: The name of the data set.
        folder: Where the files are; for a set that TFDS wants downloaded by hand, named as TFDS asks.
        report: Is told what is being done.

    Returns:
        Whether there was anything to do.

    Raises:
        SepnetsError: The name is unknown, the folder cannot be read, or files are missing or damaged.
        FailedRunError: The preparation failed, as when the disk is full.
    """
    builders.refuse_own_pictures(name)
    builder = builders.find_builder(name)
    builders.labelled_picture(builder)
    root = Path(folder).expanduser().resolve()
    if builder.is_prepared():
        return False
    report = report or (lambda *_: None)
    report(f"looking through {printable(root)}", 0, None)
    files = OriginalFiles(root, Path(builder.data_dir_root, "downloads", builder.name))
    registered = {**checksums.get_all_url_infos(), **(builder.url_infos or {})}
    source = _FolderDownloader(files, registered, report)
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    tfds.disable_progress_bar()
    with builders.preparation(builder), _staging_folder(builder) as staging, _in_place_of_downloads(source):
        try:
            builder.download_and_prepare(
                download_dir=staging,
                download_config=tfds.download.DownloadConfig(
                    manual_dir=root if by_hand else None, try_download_gcs=False
                ),
            )
        except Exception as error:
            if source.unknown:
                raise SepnetsError(_describe_unknown(name, source.unknown)) from error
            if source.missing:
                raise SepnetsError(_describe_missing(name, source.missing, files)) from error
            if by_hand and isinstance(error, AssertionError | FileNotFoundError | tf.errors.NotFoundError):
                raise SepnetsError(
                    f'"{name}" is prepared from files that are downloaded by hand, and they are not all there: '
                    f"{one_line(error)} TFDS says: {one_line(by_hand, 600)} Received: {printable(root)}"
                ) from error
            raise
    return True


def original_name(url: str, info: Any) -> str:
    """Return the file name of what TFDS registers for a URL."""
    return info.filename or downloader._basename_from_url(url)


class _Missing(NamedTuple):
    url: str
    file_name: str
    size: int


class _MissingFileError(Exception):
    """A file that a builder asks for is not in the folder."""


class _FolderDownloader:
    """Stands where TFDS has its downloader, and takes from a folder what would come from a URL."""

    def __init__(self, files: OriginalFiles, registered: dict[str, Any], report: Report) -> None:
        self.missing: list[_Missing] = []
        self.unknown: list[str] = []  # addresses without a checksum
        self._files = files
        self._registered = registered
        self._report = report

    def tqdm(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def increase_tqdm(self, url_info: Any) -> None:
        pass

    def download(self, url: str, destination_path: os.PathLike, verify: bool = True) -> Any:
        """Stage the file of a URL; give a promise, so that TFDS asks on and all that is missing can be told."""
        expected = self._registered.get(url)
        if expected is None:
            self.unknown.append(url)
            return promise.Promise.reject(_MissingFileError(url))
        file_name = original_name(url, expected)
        match = self._files.find(file_name, expected, self._report)
        if match is None:
            self.missing.append(_Missing(url, file_name, int(expected.size)))
            return promise.Promise.reject(_MissingFileError(url))
        staged = Path(destination_path) / file_name
        _stage(match, staged)
        self._report("preparing the examples", 0, None)
        return promise.Promise.resolve(downloader.DownloadResult(path=tfds.core.Path(staged), url_info=expected))


def _stage(match: Match, staged: Path) -> None:
    if not match.header:
        with contextlib.suppress(OSError):  # no links on this disk, or not for this user
            staged.symlink_to(match.path)
            return
    with match.open() as source, staged.open("wb") as copy:
        copy.write(match.header)
        shutil.copyfileobj(source, copy)


@contextlib.contextmanager
def _staging_folder(builder: Any) -> Iterator[str]:
    """Give TFDS a download cache of its own for this once, on the disk that the data set goes to."""
    prefix = f".{builder.name}.staging-"
    for left in Path(builder.data_dir_root).glob(f"{prefix}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=builder.data_dir_root) as folder:
        yield folder


@contextlib.contextmanager
def _in_place_of_downloads(source: _FolderDownloader) -> Iterator[None]:
    """Let TFDS' download managers take files from `source`; unpacking has ended when this ends, even by Ctrl-C."""
    unpacking = extractor._Extractor()
    assign = tfds.core.utils.temporary_assignment
    with (
        assign(download_manager, "get_downloader", lambda **_: source),
        assign(extractor, "get_extractor", lambda: unpacking),
    ):
        try:
            yield
        finally:
            unpacking._executor.shutdown()  # what is not begun ends with an error; waits for the rest


def _describe_unknown(name: str, urls: list[str]) -> str:
    return (
        f'"{name}" cannot be prepared without a network: TFDS registers no checksum to recognise its files by. '
        f"Prepare it with a network: sepnets data prepare {name}. Received: {', '.join(urls[:LISTED])}"
    )


def _describe_missing(name: str, missing: list[_Missing], files: OriginalFiles) -> str:
    described = []
    for url, file_name, size in missing[:LISTED]:
        found = files.sizes_of(file_name)
        there = f"; there is one of {found[0]:,} bytes, damaged or of another version" if found else ""
        described.append(f"{file_name} ({size:,} bytes, {url}{there})")
    more = f", and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    unreadable = ""
    if files.unreadable:
        unreadable = f" Could not be read: {', '.join(map(printable, files.unreadable[:LISTED]))}."
    count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
    return (
        f'"{name}" cannot be prepared: {count} missing: {", ".join(described)}{more}. Put them there, under any '
        f"name, or prepare with a network: sepnets data prepare {name}.{unreadable} "
        f"Received: {printable(files.root)}"
    )
