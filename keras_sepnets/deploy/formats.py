"""The formats to which a run can be exported."""

from typing import NamedTuple


class Format(NamedTuple):
    """A format; everything in it is plain text, so that `--help` loads nothing."""

    suffix: str  # of the file
    runs_on: str  # in words


FORMATS = {"html": Format(".html", "any browser, offline, without installing anything")}
