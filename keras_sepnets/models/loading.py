"""Opens networks in `.keras` files, and finds these files in run folders."""

import json
import zipfile
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line


def load_network(file: Path) -> Any:
    """Return the Keras model in a .keras file, not compiled; raise SepnetsError if it cannot be loaded."""
    import keras

    if not zipfile.is_zipfile(file):  # for which Keras reports a missing file
        raise SepnetsError(
            f"The network cannot be loaded: this is not a .keras file, or it is damaged. Received: {str(file)!r}"
        )
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises many kinds of exceptions for damaged files
        raise SepnetsError(f"The network cannot be loaded: {one_line(error)}. Received: {str(file)!r}") from error


def check_run_folder(folder: Path) -> None:
    """Raise SepnetsError unless a folder holds a run."""
    if not (Path(folder) / "config.json").is_file():
        raise SepnetsError(
            "This is not a run folder: it has no config.json; give a folder that sepnets train wrote. "
            f"Received: {str(folder)!r}"
        )


def network_file(folder: Path, name: str | None = None) -> Path:
    """Return the file of a network in a run folder: by default the one that the run keeps.

    Args:
        folder: The run folder.
        name: "final" or "best"; None for what training.keep says, or the best one of an unfinished run.

    Raises:
        SepnetsError: The folder has no such file.
    """
    for candidate in (name,) if name else _by_preference(Path(folder)):
        file = Path(folder) / f"{candidate}.keras"
        if file.is_file():
            return file
    raise SepnetsError(
        f"The run has no {f'{name} network' if name else 'finished epoch'} to load. Received: {str(folder)!r}"
    )


def _by_preference(folder: Path) -> tuple[str, str]:
    try:
        kept = json.loads((folder / "config.json").read_bytes())["training"]["keep"]
    except (OSError, ValueError, KeyError, TypeError):  # version 0.1.0 kept the final network
        kept = "final"
    return ("best", "final") if kept == "best" else ("final", "best")
