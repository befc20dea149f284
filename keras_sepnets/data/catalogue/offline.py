"""TFDS data sets from files on this machine, recognised under any name by the checksums that TFDS registers.

The stock builder runs unchanged, but gets its downloads from a folder; nothing is downloaded.
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
from keras_sepnets.base.files import whole_path
from keras_sepnets.base.text import one_line, printable
from keras_sepnets.data.catalogue import builders
from keras_sepnets.data.catalogue.originals import Match, OriginalFiles, Report

LISTED = 20  # missing files that an error lists


def prepare_from_folder(name: str, folder: str | Path, *, report: Report | None = None) -> bool:
    """Prepare a TFDS data set from files in a folder, without internet access, unless it is already prepared.

    The files may have any name and lie in sub-folders: they are recognised by size and SHA-256. Files of earlier
    downloads in TFDS' cache are used too. An attempt that fails or is interrupted leaves nothing behind.

    Args:
        name: Name of the data set.
        folder: Where the files are. Files that TFDS wants downloaded by hand need the names that TFDS asks for.
        report: Called with the progress.

    Returns:
        True if it was prepared now, False if it had been before.

    Raises:
        SepnetsError: The name is unknown, the folder cannot be read, or files are missing or damaged.
        FailedRunError: The preparation failed, for example because the disk is full.
    """
    builders.refuse_own_pictures(name)
    builder = builders.find_builder(name)
    builders.labelled_picture(builder)
    root = whole_path(folder)
    if builder.is_prepared():
        return False
    report = report or (lambda *_: None)
    report(f"searching {printable(root)}", 0, None)
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
                    f'"{name}" is prepared from files that are downloaded by hand, and some are missing: '
                    f"{one_line(error)} TFDS says: {one_line(by_hand, 600)} Received: {printable(root)}"
                ) from error
            raise
    return True


def original_name(url: str, info: Any) -> str:
    """Return the name of the file that TFDS registers for a URL."""
    return info.filename or downloader._basename_from_url(url)


class _Missing(NamedTuple):
    url: str
    file_name: str
    size: int


class _MissingFileError(Exception):
    """The folder lacks a file that a builder asks for."""


class _FolderDownloader:
    """Stands in for TFDS' downloader and takes files from a folder instead of from URLs."""

    def __init__(self, files: OriginalFiles, registered: dict[str, Any], report: Report) -> None:
        self.missing: list[_Missing] = []
        self.unknown: list[str] = []  # URLs without a checksum
        self._files = files
        self._registered = registered
        self._report = report

    def tqdm(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def increase_tqdm(self, url_info: Any) -> None:
        pass

    def download(self, url: str, destination_path: os.PathLike, verify: bool = True) -> Any:
        """Stage the file of a URL. A missing one rejects its promise, so that TFDS asks for all others too."""
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
        with contextlib.suppress(OSError):  # no links on this disk or for this user
            staged.symlink_to(match.path)
            return
    with match.open() as source, staged.open("wb") as copy:
        copy.write(match.header)
        shutil.copyfileobj(source, copy)


@contextlib.contextmanager
def _staging_folder(builder: Any) -> Iterator[str]:
    """Make a temporary download cache on the disk that the data set goes to."""
    prefix = f".{builder.name}.staging-"
    for left in Path(builder.data_dir_root).glob(f"{prefix}*"):  # by killed processes
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=builder.data_dir_root) as folder:
        yield folder


@contextlib.contextmanager
def _in_place_of_downloads(source: _FolderDownloader) -> Iterator[None]:
    """Make TFDS' download managers use `source`; wait for unpacking to end, also after Ctrl-C."""
    unpacking = extractor._Extractor()
    assign = tfds.core.utils.temporary_assignment
    with (
        assign(download_manager, "get_downloader", lambda **_: source),
        assign(extractor, "get_extractor", lambda: unpacking),
    ):
        try:
            yield
        finally:
            unpacking._executor.shutdown()  # waits for running jobs; later ones fail


def _describe_unknown(name: str, urls: list[str]) -> str:
    return (
        f'"{name}" cannot be prepared offline: TFDS registers no checksum by which its files could be '
        f"recognised. Prepare it online: sepnets data prepare {name}. Received: {', '.join(urls[:LISTED])}"
    )


def _describe_missing(name: str, missing: list[_Missing], files: OriginalFiles) -> str:
    described = []
    for url, file_name, size in missing[:LISTED]:
        found = files.sizes_of(file_name)
        there = f"; the one found has {found[0]:,} bytes: damaged or another version" if found else ""
        described.append(f"{file_name} ({size:,} bytes, {url}{there})")
    more = f", and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
    unreadable = ""
    if files.unreadable:
        unreadable = f" Could not be read: {', '.join(map(printable, files.unreadable[:LISTED]))}."
    count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
    return (
        f'"{name}" cannot be prepared: {count} missing: {", ".join(described)}{more}. Add them under any name, or '
        f"download it: sepnets data prepare {name}.{unreadable} "
        f"Received: {printable(files.root)}"
    )
