"""Opens networks in `.keras` files, and finds these files in run folders."""

import json
import zipfile
from pathlib import Path
from typing import Any

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.machine import without_values
from keras_sepnets.base.text import one_line


def load_network(file: Path) -> Any:
    """Return the Keras model in a .keras file, not compiled; raise SepnetsError if it cannot be loaded."""
    import keras

    from keras_sepnets.models.archives import check_finite, check_sizes

    _check_is_archive(file)
    try:
        check_sizes(file)
        model = keras.models.load_model(file, compile=False)
    except SepnetsError:
        raise
    except Exception as error:  # Keras raises many kinds of exceptions for damaged files
        raise SepnetsError(f"The network cannot be loaded: {one_line(error)}. Received: {str(file)!r}") from error
    for variable in model.weights:
        check_finite(variable.path, keras.ops.convert_to_numpy(variable), file)
    return model


def _check_is_archive(file: Path) -> None:
    """Refuse what is no zip file, for which Keras reports a missing file."""
    if not zipfile.is_zipfile(file):
        raise SepnetsError(
            f"The network cannot be loaded: this is not a .keras file, or it is damaged. Received: {str(file)!r}"
        )


def load_architecture(file: Path) -> Any:
    """Return the Keras model that a .keras or .h5 file or a run folder describes, without values.

    Raises:
        SepnetsError: The file is damaged, has weights only, or describes a layer that Keras 3 does not have.
    """
    import keras

    from keras_sepnets.models.architecture import read_description
    from keras_sepnets.models.graph_names import restore_names, with_graph_names
    from keras_sepnets.models.old_formats import upgraded

    file = network_file(file) if file.is_dir() else file
    if file.name.endswith(".keras"):
        _check_is_archive(file)
    try:
        description = read_description(file)
        if description is not None:
            description.pop("compile_config", None)
            if not file.name.endswith(".keras"):
                description = upgraded(description)
            description, names = with_graph_names(description)
            with without_values():
                model = keras.saving.deserialize_keras_object(description)
            restore_names(model, names)
            return model
    except Exception as error:  # Keras raises many kinds of exceptions for damaged files
        raise SepnetsError(
            f"The network in this file cannot be built: {one_line(error)}. Received: {str(file)!r}"
        ) from error
    raise SepnetsError(
        "This file has weights but does not describe their network; name the network instead, such as --model "
        f"mobilenet --alpha 0.5, or give the file of a whole model. Received: {str(file)!r}"
    )


def check_run_folder(folder: str | Path) -> None:
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
