"""What a weight file may hold: no more than it has bytes for, and only finite numbers. Files are not trusted."""

import io
import math
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import in_bytes
from keras_sepnets.models.architecture import LARGEST_JSON, read_architecture

WEIGHTS = "model.weights.h5"  # the member of a .keras file that holds arrays
MOST_UNPACKED = 8  # bytes for each byte of a file: weights hardly shrink when they are compressed


def check_sizes(file: Path) -> None:
    """Refuse a .keras file that would take far more memory than it has bytes."""
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(file))
        _refuse_bomb(file, sum(member.file_size for member in archive.infolist()))
        arrays: list[int] = []
        open_weights(archive, stack).visititems(
            lambda _name, found: arrays.append(found.nbytes) if isinstance(found, h5py.Dataset) else None
        )
        _refuse_bomb(file, sum(arrays))
    described = (shape for layer in read_architecture(file) for shape in layer.weight_shapes() or ())
    _refuse_bomb(file, sum(4 * math.prod(shape) for shape in described))


def _refuse_bomb(file: Path, unpacked: int) -> None:
    size = file.stat().st_size
    if unpacked > LARGEST_JSON + MOST_UNPACKED * size:
        raise SepnetsError(
            f"The network cannot be loaded: {in_bytes(size)} would become {in_bytes(unpacked)} in memory, which "
            f"real weights do not; save it again without compression. Received: {str(file)!r}"
        )


def open_weights(archive: zipfile.ZipFile, stack: ExitStack) -> h5py.File:
    """Open the arrays in a .keras file; `stack` closes them."""
    member = archive.getinfo(WEIGHTS)
    if member.compress_type == zipfile.ZIP_STORED:  # as Keras writes it
        return stack.enter_context(h5py.File(stack.enter_context(archive.open(member)), "r"))
    return stack.enter_context(h5py.File(io.BytesIO(archive.read(member)), "r"))


def check_finite(name: str, array: Any, file: Path) -> None:
    """Raise SepnetsError if weights from a file are NaN or infinite."""
    if not np.isfinite(array).all():
        raise SepnetsError(
            f"The file holds weights that are NaN or infinite, first in {name}, as training that diverged leaves "
            f"them; use an earlier file, or train again at a lower learning rate. Received: {str(file)!r}"
        )
