"""Checkpoints that survive a kill at any moment, and whose damage is noticed.

A checkpoint is a folder of its own, `step-00001234`: TensorFlow's checkpoint of the variables, state.json, and
manifest.json with their sizes and SHA-256. It is written under another name, synced to the disk, and renamed as a
whole; the newest whose manifest agrees is the one that counts.
"""

import contextlib
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.files import sync_file, sync_folder, to_json_bytes
from keras_sepnets.base.text import one_line, printable

KEPT = 2  # checkpoints; the older one is for the day the newer is damaged
UNFINISHED = "tmp-"
VARIABLES, STATE, MANIFEST = "variables", "state.json", "manifest.json"
# TensorFlow's words for a full disk and other failures of writing.
WRITE_ERRORS = (OSError, tf.errors.ResourceExhaustedError, tf.errors.UnknownError, tf.errors.DataLossError)

Variables = Mapping[str, Sequence[tf.Variable]]


class NoWholeCheckpointError(FailedRunError):
    """Every checkpoint of a run is damaged."""


class Checkpoints:
    """The checkpoints of a run, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when it is needed."""
        self.folder = Path(folder)

    def save(self, step: int, variables: Variables, state: dict[str, Any]) -> None:
        """Keep variables and state as they are after so many steps, and the checkpoint before; remove older ones.

        Args:
            step: All optimizer steps so far: names the checkpoint.
            variables: By group; the same groups and shapes are given to `restore`.
            state: What else is needed to go on, as plain values.

        Raises:
            FailedRunError: It cannot be written, as when the disk is full; the checkpoint before is as it was.
        """
        final = self._free_name(f"step-{step:08d}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix=UNFINISHED, dir=self.folder, ignore_cleanup_errors=True
            ) as unfinished:
                aside = Path(unfinished) / final.name
                aside.mkdir()
                tf.train.Checkpoint(**_groups(variables)).write(str(aside / VARIABLES))
                (aside / STATE).write_bytes(to_json_bytes(state))
                manifest = {file.name: _fingerprint(file) for file in sorted(aside.iterdir())}
                (aside / MANIFEST).write_bytes(to_json_bytes(manifest))
                for file in aside.iterdir():
                    sync_file(file)
                sync_folder(aside)
                aside.replace(final)
                sync_folder(self.folder)
        except WRITE_ERRORS as error:
            raise FailedRunError(self._explain(error, variables)) from error
        for older in self._found()[KEPT:]:
            self._remove(older)

    def restore(self, variables: Variables | Callable[[dict[str, Any]], Variables]) -> dict[str, Any] | None:
        """Give variables the values of the newest checkpoint that is whole, and return its state.

        Checkpoints that are damaged are named in a warning and set aside.

        Args:
            variables: As they were given to `save`, or what returns them for a checkpoint's state.

        Returns:
            The state, or None if there is no checkpoint yet.

        Raises:
            NoWholeCheckpointError: There are checkpoints, and each is damaged.
        """
        faults, damaged = [], []
        for found in self._found():
            try:
                state = _verify(found)
                wanted = variables(state) if callable(variables) else variables
                reader = tf.train.Checkpoint(**_groups(wanted)).read(str(found / VARIABLES))
                reader.assert_consumed()
            except (OSError, ValueError, AssertionError, KeyError, tf.errors.OpError) as error:
                faults.append(f"{printable(found)}: {one_line(error)}")
                damaged.append(found)
                continue
            if faults:
                warnings.warn(f"Damaged, so the checkpoint before it is used: {'; '.join(faults)}", stacklevel=2)
                for checkpoint in damaged:  # or it would count as one of those that are kept
                    checkpoint.replace(checkpoint.with_name(f"damaged-{checkpoint.name}"))
            return state
        if faults:
            raise NoWholeCheckpointError(f"No checkpoint is whole; train anew: {'; '.join(faults)}")
        return None

    def keep_newest(self) -> None:
        """Remove all but the newest checkpoint."""
        for older in self._found()[1:]:
            self._remove(older)

    def remove_unfinished(self) -> None:
        """Remove what a killed process left of a checkpoint."""
        for left in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _found(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True)

    def _free_name(self, name: str) -> Path:
        """Return a path that sorts after all of this name: a step may be saved before and after its validation."""
        same = sorted(self.folder.glob(f"{name}*"))
        number = int(same[-1].name.removeprefix(name).lstrip("-") or 0) + 1 if same else 0
        return self.folder / (f"{name}-{number:02d}" if number else name)

    def _remove(self, checkpoint: Path) -> None:
        """Remove a checkpoint so that it is never seen in part."""
        with contextlib.suppress(OSError):
            aside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
            checkpoint.replace(aside / checkpoint.name)
            shutil.rmtree(aside)

    def _explain(self, error: BaseException, variables: Variables) -> str:
        needed = sum(variable.shape.num_elements() * variable.dtype.size for variable in _flat(variables))
        free = shutil.disk_usage(self.folder).free if self.folder.exists() else 0
        kept = self._found()[:1]
        before = f"The one before is whole: {printable(kept[0])}" if kept else "There is none before it"
        return (
            f"The checkpoint could not be written ({one_line(error, 100)}): about {needed:,} bytes are needed and "
            f"{free:,} are free. {before}"
        )


def _groups(variables: Variables) -> dict[str, list[tf.Variable]]:
    return {name: list(group) for name, group in variables.items()}


def _flat(variables: Variables) -> Iterator[tf.Variable]:
    for group in variables.values():
        yield from group


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _verify(checkpoint: Path) -> dict[str, Any]:
    """Return the state of a checkpoint whose files are those of its manifest; raise ValueError if they are not."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{MANIFEST} is missing") from None
    except ValueError:
        raise ValueError(f"{MANIFEST} is damaged") from None
    if not isinstance(manifest, dict) or not {STATE, f"{VARIABLES}.index"} <= manifest.keys():
        raise ValueError(f"{MANIFEST} is damaged")
    for name, expected in manifest.items():
        file = checkpoint / Path(name).name
        if not file.is_file():
            raise ValueError(f"{name} is missing")
        if _fingerprint(file) != expected:
            raise ValueError(f"{name} is damaged: it has not the size and SHA-256 that it was written with")
    return json.loads((checkpoint / STATE).read_bytes())
