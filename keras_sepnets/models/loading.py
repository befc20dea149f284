"""Networks from `.keras` files and from the folders that hold them."""

import zipfile
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import one_line


def load_network(file: Path) -> Any:
    """Return the Keras model in a .keras file, not compiled; raise SepnetsError if it cannot be had."""
    import keras

    if not zipfile.is_zipfile(file):  # Keras says then that it is not found
        raise SepnetsError(
            f"The network cannot be loaded: no .keras file, or a damaged one. Received: {str(file)!r}"
        )
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises many kinds for damaged files
        raise SepnetsError(f"The network cannot be loaded: {one_line(error)}. Received: {str(file)!r}") from error


def check_run_folder(folder: Path) -> None:
    """Raise SepnetsError unless a folder holds a run."""
    if not (Path(folder) / "config.json").is_file():
        raise SepnetsError(
            "This is not a run folder: it has no config.json; name a folder that sepnets train has written. "
            f"Received: {str(folder)!r}"
        )


def network_file(folder: Path, name: str | None = None) -> Path:
    """Return the file of a network in a run folder; by default the final one, of an unfinished run the best.

    Args:
        folder: The run folder.
        name: "final", "best" or None.

    Raises:
        SepnetsError: The folder has no such file.
    """
    for candidate in (name,) if name else ("final", "best"):
        file = Path(folder) / f"{candidate}.keras"
        if file.is_file():
            return file
    raise SepnetsError(f"The run has no {name or 'finished epoch'} to load. Received: {str(folder)!r}")
