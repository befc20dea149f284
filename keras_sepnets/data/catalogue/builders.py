"""TFDS builders: found by name, checked, and prepared by one process at a time."""

import contextlib
import errno
import io
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.files import user_folder
from keras_sepnets.base.text import did_you_mean, one_line, printable
from keras_sepnets.data.catalogue import digits  # registers the builder
from keras_sepnets.data.sources.name import DatasetName, kind_of_path

ABANDONED_AFTER = 3600  # seconds without a change to an unfinished folder
MAX_RETRIES = (
    5  # of a download, a few seconds; TFDS' default of 10 takes minutes to notice that there is no connection
)


def find_builder(name: str) -> Any:
    """Return the TFDS builder of a name: `cifar10`, `imagenet_resized/32x32`, `mnist:3.0.1`.

    Raises:
        SepnetsError: The data set, its configuration or its version is unknown.
    """
    # TFDS writes name/config:version; we also accept name:config.
    path = re.sub(r"^(\w+):(?!\d+\.|\*)(.+)$", r"\1/\2", name)
    try:
        with without_bucket():
            return tfds.builder(path, data_dir=data_folder())
    except Exception as error:  # an unknown name, config or version, or a missing package
        received = printable(name)
        if kind := kind_of_path(name):
            raise SepnetsError(
                f'"{received}" is not a data set of TFDS, but there is a {kind[1]} of this name; did you mean '
                f'"{kind[0]}:{received}"? Received: {received}'
            ) from None
        if not isinstance(error, tfds.core.DatasetNotFoundError):
            raise SepnetsError(f'The data set "{received}" cannot be opened: {one_line(error)}') from error
        known = [*tfds.list_builders(with_community_datasets=False), "folder:PATH", "manifest:FILE"]
        bare = re.split("[/:]", path)[0]
        raise SepnetsError(
            f'Unknown data set "{received}".{did_you_mean(bare, known)} A data set is a TFDS name, such as '
            "digits or cifar10, or folder:PATH or manifest:FILE for your own pictures."
        ) from None


def data_folder() -> Path:
    """Return TFDS' folder, which is in the temporary one for users without a home folder to write to."""
    return Path(os.environ.get("TFDS_DATA_DIR") or user_folder("tensorflow_datasets"))


@contextlib.contextmanager
def without_bucket() -> Iterator[None]:
    """Keep builders from TFDS' bucket: it is switched off, but each look at it leaves a temporary folder."""
    with tfds.core.utils.temporary_assignment(tfds.core.DatasetInfo, "initialize_from_bucket", lambda _info: None):
        yield


def full_name(builder: Any) -> str:
    """Return the name with configuration and version: `emnist/balanced:3.1.0`."""
    config = f"/{builder.builder_config.name}" if builder.builder_config else ""
    return f"{builder.name}{config}:{builder.version}"


def find_labelled_picture(builder: Any) -> tuple[str, str] | None:
    """Return the feature names of a builder's picture and class label; None if it lacks either."""
    features = builder.info.features
    keys = tuple(builder.info.supervised_keys or ())[:2]
    if not isinstance(features, tfds.features.FeaturesDict) or [type(key) for key in keys] != [str, str]:
        return None
    image_key, label_key = keys
    if not isinstance(features[image_key], tfds.features.Image):
        return None
    return (image_key, label_key) if isinstance(features[label_key], tfds.features.ClassLabel) else None


def labelled_picture(builder: Any) -> tuple[str, str]:
    """Return the feature names of a builder's picture and class label.

    Raises:
        SepnetsError: It lacks either.
    """
    keys = find_labelled_picture(builder)
    if keys is None:
        features = builder.info.features
        names = features if isinstance(features, tfds.features.FeaturesDict) else [type(features).__name__]
        raise SepnetsError(
            f'The data set "{full_name(builder)}" has no picture with one class label; sepnets needs both. '
            f"Received features: {', '.join(names)}"
        )
    return keys


def class_names(builder: Any) -> tuple[str, ...]:
    """Return the class names of a builder of labelled pictures; numbers if they have no names."""
    label = builder.info.features[labelled_picture(builder)[1]]
    return tuple(label.names or map(str, range(label.num_classes or 0)))


def needs_no_files(builder: Any) -> bool:
    """Return whether a data set comes with this package and its dependencies."""
    return builder.name == digits.Digits.name


def prepare(name: str, *, show_output: bool = False) -> bool:
    """Download and prepare a TFDS data set with its stock builder, unless it is already prepared.

    Args:
        name: Name of the data set.
        show_output: Whether TFDS shows its progress, on stderr.

    Returns:
        True if it was prepared now, False if it had been before.

    Raises:
        SepnetsError: The name is unknown, or the set has no labelled pictures.
        FailedRunError: The download or the preparation failed.
    """
    refuse_own_pictures(name)
    builder = find_builder(name)
    labelled_picture(builder)
    if not show_output:
        tfds.disable_progress_bar()
    if builder.is_prepared():
        return False
    retries = tfds.core.utils.temporary_assignment(downloader, "MAX_RETRIES", MAX_RETRIES)
    advice = f" If you have its files in DIR: sepnets data prepare {printable(name)} --from DIR"
    with preparation(builder, show_output=show_output, advice=advice), retries:
        builder.download_and_prepare()
    return True


def refuse_own_pictures(name: str) -> None:
    """Raise SepnetsError for a folder or manifest, which need no preparation."""
    if DatasetName.parse(name).is_own_pictures:
        raise SepnetsError(
            "Your own pictures need no preparation; use them as they are: sepnets train --dataset "
            f'"{printable(name)}". Received: {printable(name)}'
        )


@contextlib.contextmanager
def preparation(builder: Any, *, show_output: bool = False, advice: str = "") -> Iterator[None]:
    """Let one process at a time prepare a data set, and remove an unfinished preparation if the block fails.

    Args:
        builder: The TFDS builder.
        show_output: Whether TFDS' output goes to stderr (stdout is for results) or nowhere.
        advice: Sentence to append to an error message.

    Raises:
        FailedRunError: The block failed, or the data folder cannot be written.
    """
    root, common = Path(builder.data_dir_root), Path(builder.data_dir_root) / builder.name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (
            filelock.FileLock(root / f".{builder.name}.lock"),
            contextlib.redirect_stdout(sys.stderr if show_output else io.StringIO()),
        ):
            existed = common.exists()
            _remove_abandoned(Path(builder.data_dir).parent)
            try:
                yield
            except BaseException:
                if not existed:  # TFDS writes down the default configuration before it starts
                    shutil.rmtree(common / ".config", ignore_errors=True)
                _remove_empty_folders(Path(builder.data_dir).parent, root)
                raise
    except SepnetsError:
        raise
    except Exception as error:
        raise _explain(builder, error, advice) from error


def _remove_abandoned(folder: Path) -> None:
    """Remove unfinished folders of killed processes: those that did not change within the last hour."""
    for left in folder.glob("incomplete.*"):
        newest = max((path.stat().st_mtime for path in (left, *left.rglob("*"))), default=0)
        if newest < time.time() - ABANDONED_AFTER:
            shutil.rmtree(left, ignore_errors=True)


def _remove_empty_folders(folder: Path, root: Path) -> None:
    with contextlib.suppress(OSError):  # not empty, or not there
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _explain(builder: Any, error: Exception, advice: str) -> FailedRunError:
    name, root = full_name(builder), builder.data_dir_root
    if _is_disk_full(error):
        needed = int(builder.info.dataset_size + builder.info.download_size)
        files = sum(info.size for info in (builder.url_infos or {}).values())
        needs = f"{needed:,} bytes are needed and " if needed else ""
        made_from = f"; the files that TFDS registers for it take {files:,} bytes" if files and not needed else ""
        return FailedRunError(
            f'The disk is full: "{name}" was not prepared, and its partial files were removed; free some space or '
            f"set TFDS_DATA_DIR to a folder on a larger disk. Received: {printable(root)}, where {needs}"
            f"{shutil.disk_usage(root).free:,} bytes are free{made_from}"
        )
    return FailedRunError(
        f'The data set "{name}" could not be prepared in {printable(root)}: '
        f"{type(error).__name__}: {one_line(error)}{advice}"
    )


def _is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error of Python, TensorFlow or TFDS, or one of its causes, means a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if re.search("No space left on device|Not enough disk space", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
