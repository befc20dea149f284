"""Checkpoints that survive a kill at any moment, and that notice when they are damaged.

A checkpoint is a folder `step-00001234`: TensorFlow's checkpoint of the variables, state.json, and manifest.json
with the sizes and SHA-256 of these files. It is written under another name, synced to the disk, and renamed; the
newest one that agrees with its manifest counts.
"""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.files import sync_file, sync_folder, to_json_bytes
from keras_sepnets.base.text import in_bytes, one_line, printable
from keras_sepnets.runs.checkpoints import checkpoint_folders

KEPT = 2  # checkpoints; the older one is used if the newer one is damaged
UNFINISHED = "tmp-"
VARIABLES, STATE, MANIFEST = "variables", "state.json", "manifest.json"
WRITE_ERRORS = (OSError, tf.errors.OpError)  # which of the latter depends on what failed: disk, permission, ...
FULL = ("No space left", "quota exceeded")  # in messages of the system
TENSORFLOW_NAMES = re.compile(r"\{\{.*?\}\}\s*|\s*\[Op:\w*\].*", re.DOTALL)  # around such a message

Variables = Mapping[str, Sequence[tf.Variable]]


class UnusableCheckpointError(FailedRunError):
    """No checkpoint of a run can be used: each is damaged, cannot be read, or belongs to another network."""


class Checkpoint(NamedTuple):
    """A checkpoint that agrees with its manifest, and its state as plain values."""

    path: Path
    state: dict[str, Any]

    def read(self, variables: Variables) -> None:
        """Give variables the values that they were saved with.

        Args:
            variables: The groups and shapes that were saved.

        Raises:
            UnusableCheckpointError: The checkpoint cannot be read, or holds other variables.
        """
        try:
            reader = tf.train.Checkpoint(**_groups(variables)).read(str(self.path / VARIABLES))
            reader.assert_consumed()
        except (OSError, ValueError, AssertionError, KeyError, tf.errors.OpError) as error:
            raise UnusableCheckpointError(
                "The checkpoint cannot be read, or holds other variables than this run; start a new run: "
                f"{printable(self.path)}: {one_line(error)}"
            ) from error


class Checkpoints:
    """The checkpoints of a run, in a folder that is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, step: int, variables: Variables, state: dict[str, Any]) -> None:
        """Save variables and state; keep the checkpoint before this one and remove older ones.

        Args:
            step: Number of optimizer steps so far; names the checkpoint.
            variables: Variables by group, as they are to be read again.
            state: Everything else that is needed to resume, as plain values.

        Raises:
            FailedRunError: The checkpoint cannot be written (a full disk); the one before is unchanged.
        """
        final = self._free_name(f"step-{step:08d}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix=UNFINISHED, dir=self.folder, ignore_cleanup_errors=True
            ) as unfinished:
                aside = Path(unfinished) / final.name
                aside.mkdir()
                _write(aside, variables, state)
                aside.replace(final)
                sync_folder(self.folder)
        except WRITE_ERRORS as error:
            raise FailedRunError(self._explain(error, variables)) from error
        for older in self._found()[KEPT:]:
            self._remove(older)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is not damaged, or None if there is no checkpoint yet.

        A warning names the damaged ones, which are set aside.

        Raises:
            UnusableCheckpointError: There are checkpoints, and all are damaged.
        """
        faults: dict[Path, str] = {}
        for path in self._found():
            try:
                checkpoint = Checkpoint(path, _verify(path))
            except (OSError, ValueError) as error:
                faults[path] = f"{printable(path)}: {one_line(error)}"
                continue
            if faults:
                damages = "; ".join(faults.values())
                warnings.warn(f"A checkpoint is damaged, so the one before it is used: {damages}", stacklevel=2)
                for damaged in faults:  # otherwise it would count as one of those that are kept
                    damaged.replace(damaged.with_name(f"damaged-{damaged.name}"))
            return checkpoint
        if faults:
            raise UnusableCheckpointError(
                f"Every checkpoint is damaged; start a new run: {'; '.join(faults.values())}"
            )
        return None

    def restore(self, variables: Variables) -> dict[str, Any] | None:
        """Read the newest undamaged checkpoint into variables and return its state; None without a checkpoint."""
        checkpoint = self.newest()
        if checkpoint is None:
            return None
        checkpoint.read(variables)
        return checkpoint.state

    def keep_newest(self) -> None:
        """Remove all but the newest checkpoint."""
        for older in self._found()[1:]:
            self._remove(older)

    def remove_unfinished(self) -> None:
        """Remove partial checkpoints of a process that was killed."""
        for left in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _found(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted(checkpoint_folders(self.folder), reverse=True)

    def _free_name(self, name: str) -> Path:
        """Return a path that sorts after others of this step, which may be saved before and after validation."""
        same = [path.name for path in self._found() if path.name.startswith(name)]
        number = int(same[0].removeprefix(name).lstrip("-") or 0) + 1 if same else 0
        return self.folder / (f"{name}-{number:02d}" if number else name)

    def _remove(self, checkpoint: Path) -> None:
        """Remove a checkpoint at once: it is never seen in part."""
        with contextlib.suppress(OSError):
            aside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
            checkpoint.replace(aside / checkpoint.name)
            shutil.rmtree(aside)

    def _explain(self, error: BaseException, variables: Variables) -> str:
        reason = one_line(TENSORFLOW_NAMES.sub("", str(error)))
        if any(word in reason for word in FULL):
            needed = sum(variable.shape.num_elements() * variable.dtype.size for variable in _flat(variables))
            free = shutil.disk_usage(self.folder).free if self.folder.exists() else 0
            reason += f": about {in_bytes(needed)} are needed and {in_bytes(free)} are free"
        kept = self._found()[:1]
        before = f"The previous one is intact: {printable(kept[0])}" if kept else "There is no previous one"
        return f"The checkpoint could not be written: {printable(reason)}. {before}"


def _write(folder: Path, variables: Variables, state: dict[str, Any]) -> None:
    """Write a checkpoint's files, with the manifest last, and sync them to the disk."""
    tf.train.Checkpoint(**_groups(variables)).write(str(folder / VARIABLES))
    (folder / STATE).write_bytes(to_json_bytes(state))
    manifest = {file.name: _fingerprint(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_bytes(to_json_bytes(manifest))
    for file in folder.iterdir():
        sync_file(file)
    sync_folder(folder)


def _groups(variables: Variables) -> dict[str, list[tf.Variable]]:
    return {name: list(group) for name, group in variables.items()}


def _flat(variables: Variables) -> Iterator[tf.Variable]:
    for group in variables.values():
        yield from group


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _verify(checkpoint: Path) -> dict[str, Any]:
    """Return a checkpoint's state; raise ValueError if its files do not agree with its manifest."""
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
            raise ValueError(f"{name} is damaged: its size or SHA-256 differs from what was written")
    return json.loads((checkpoint / STATE).read_bytes())
