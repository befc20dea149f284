"""A page, run in node: by the interpreter and with the weights that are inside it."""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

import numpy as np

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.base.text import last_line

VERIFY = Path(__file__).with_name("verify.js")


def node_version() -> str | None:
    """Return what `node --version` prints; None if node is not installed."""
    program = shutil.which("node")
    if program is None:
        return None
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def classify_in_node(page: Path, pictures: Iterable[np.ndarray], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Classify pictures by a page.

    Args:
        page: The HTML file.
        pictures: RGB, uint8 (height, width, 3), of any size.
        classes: Number of its classes.

    Returns:
        Probabilities, float32 (pictures, classes), and the milliseconds for each picture.

    Raises:
        FailedRunError: The page fails in node.
    """
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            ["node", str(VERIFY), str(page)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages
        )
        try:
            rows = [_ask(process, picture, classes) for picture in pictures]
        except OSError:  # it has ended
            messages.seek(0)
            reason = last_line(messages.read().decode(errors="replace"))
            raise FailedRunError(f"The page fails in node: {reason}") from None
        finally:
            process.kill()
            process.communicate()
    answers = np.stack(rows)
    return answers[:, :-1], answers[:, -1]


def _ask(process: subprocess.Popen, picture: np.ndarray, classes: int) -> np.ndarray:
    """Return the probabilities of a picture and the milliseconds; raise OSError if node has ended."""
    questions, answers = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
    questions.write(struct.pack("<II", *picture.shape[:2]) + picture.tobytes())
    questions.flush()
    row = answers.read(4 * (classes + 1))
    if len(row) < 4 * (classes + 1):
        raise BrokenPipeError
    return np.frombuffer(row, "<f4")
