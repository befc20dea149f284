"""Fonts for class names in any script: matplotlib's own font, and installed ones for characters that it lacks."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font


@contextlib.contextmanager
def fonts_for(*texts: str) -> Iterator[Callable[[str], str]]:
    """Draw with fonts that have the characters of these texts.

    Yields:
        A function that replaces the characters of a text that no installed font has by their codes, because
        matplotlib would draw the same box for each; a warning says so.
    """
    needed = frozenset(char for text in texts for char in text if char.isprintable())
    families, missing = _choose(needed - _characters(findfont(FontProperties())))
    if missing:
        _warn_once()
    with mpl.rc_context({"font.family": [*mpl.rcParams["font.family"], *families]}):
        yield lambda text: "".join(_code(char) if char in missing else char for char in text)


@functools.cache
def _warn_once() -> None:
    """Say that letters are missing, once for all pictures of a process."""
    warnings.warn(
        "No installed font has some letters of the names, so pictures show their codes, such as \\u732b; "
        "install a font that has them, such as Noto Sans CJK.",
        stacklevel=1,
    )


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()


@functools.cache
def _choose(missing: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the families of installed fonts that have these characters, and the characters that none has."""
    families: list[str] = []
    own = mpl.get_data_path()  # fonts for formulas, and one that has a box for every character
    for font in fontManager.ttflist if missing else ():
        if font.fname.startswith(own) or font.style != "normal":
            continue
        if found := missing & _characters(font.fname):
            families.append(font.name)
            missing -= found
            if not missing:
                break
    return tuple(families), missing


@functools.cache
def _characters(file: str) -> frozenset[str]:
    """Return the characters of a font; none if it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
