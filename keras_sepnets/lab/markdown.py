"""Markdown: any text as itself, tables, and generated parts of a page whose other words are a person's."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable

MARKER = re.compile(rb"^<!-- (begin|end): (\w+) -->[ \t]*\r?$\n?", re.MULTILINE)
SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|_(?!\w)|(?<!\w)_|&(?=#?\w+;)")
FIRST = re.compile(r"^(?:(\d+)([.)])|([-+#=]))")


def plain(words: str) -> str:
    """Return a text, such as a question, so that Markdown shows it as it is; its paragraphs stay."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", words))
    return "\n\n".join(FIRST.sub(r"\1\\\2\3", SPECIAL.sub(r"\\\g<0>", words)) for words in paragraphs if words)


def code(words: str) -> str:
    """Return a name as code, whatever characters it has."""
    words = " ".join(words.split()) or " "
    ticks = "`" * (max(map(len, re.findall("`+", words)), default=0) + 1)
    space = " " if "`" in words else ""
    return f"{ticks}{space}{words}{space}{ticks}"


def fence(lines: str, language: str = "sh") -> str:
    """Return lines of code as a block."""
    ticks = "`" * max(3, *(len(run) + 1 for run in ["", *re.findall("`+", lines)]))
    return f"{ticks}{language}\n{lines.strip()}\n{ticks}"


def bullets(items: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {item}" for item in items)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return a table.

    Args:
        head: The names of the columns.
        rows: The cells, as Markdown.
        left: The columns of words; those of numbers are aligned to the right.
    """
    rules = ["---" if column in left else "---:" for column in range(len(head))]
    # A bar would end a cell, in code too; the bars of plain text are escaped already.
    lines = (
        [re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split())) for cell in row] for row in (head, rules, *rows)
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def marked(name: str, content: str) -> str:
    """Return a generated part between its markers."""
    return f"<!-- begin: {name} -->\n{content.strip()}\n<!-- end: {name} -->"


def replace_parts(page: bytes, parts: Mapping[str, str], file: Path) -> bytes:
    """Return a page with its generated parts replaced; every byte outside them stays.

    Args:
        page: The page.
        parts: The new content of each part by its name.
        file: The page's path, for errors.

    Raises:
        SepnetsError: A marker is missing, or there twice, or between those of another part.
    """
    for name, content in parts.items():
        begin, end = (_find_marker(page, kind, name, file) for kind in ("begin", "end"))
        if end.start() < begin.end() or MARKER.search(page, begin.end(), end.start()):
            raise _damaged(name, "its markers are not in order", file)
        page = page[: begin.end()] + content.strip().encode() + b"\n" + page[end.start() :]
    return page


def _find_marker(page: bytes, kind: str, name: str, file: Path) -> re.Match[bytes]:
    found = [marker for marker in MARKER.finditer(page) if marker.groups() == (kind.encode(), name.encode())]
    if len(found) != 1:
        times = f"is there {len(found)} times" if found else "is missing"
        raise _damaged(name, f"the line <!-- {kind}: {name} --> {times}", file)
    return found[0]


def _damaged(name: str, fault: str, file: Path) -> SepnetsError:
    return SepnetsError(
        f'The generated part "{name}" of {file.name} cannot be replaced, because {fault}. Put '
        f"<!-- begin: {name} --> and <!-- end: {name} --> around that part, each once and on its own line, or "
        f"rename the file, so that a new one is written. Received: {printable(file)!r}"
    )
