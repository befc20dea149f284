"""Which folders are a run's checkpoints."""

import re
from pathlib import Path

NAME = re.compile(r"step-\d{8,}(-\d{2,})?")  # the step, and a number where it was saved more than once


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder; a copy under another name, such as step-00000030.bak, is none."""
    return [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)]
