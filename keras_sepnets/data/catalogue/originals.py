"""The original files of a data set, found by size and SHA-256 under any name."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable

# What is being done, and of how many bytes how many are done; None where that is not known.
Report = Callable[[str, int, int | None], None]

GZIP_HEADER = 10  # bytes: magic, method, flags, time, extra flags, operating system
GZIP_BARE = b"\x1f\x8b\x08\x00"  # no flag: neither name nor time were kept
GZIP_NAMED = b"\x1f\x8b\x08\x08"
# When the archives were compressed, as seconds since 1970 in the gzip headers of the originals, which Debian's
# package dataset-fashion-mnist lost: the train-* and the t10k-* archives of Fashion-MNIST (31 August 2017).
# Found by search: with the time and the name written back, all four SHA-256 sums are those that TFDS registers.
GZIP_TIMES = (1504176606, 1504176627)


class Match(NamedTuple):
    """A file with the right content, once `header` stands in place of its own gzip header."""

    path: str
    header: bytes = b""

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file behind the part that `header` stands for."""
        with Path(self.path).open("rb") as file:
            file.seek(GZIP_HEADER if self.header else 0)
            yield file


class OriginalFiles:
    """The files of a folder, and of TFDS' cache, by size."""

    def __init__(self, root: Path, cache: Path) -> None:
        """Look through a folder and, if there is one, what earlier downloads left in TFDS' cache.

        Raises:
            SepnetsError: The folder is none, is empty or cannot be read.
        """
        self.root = root
        self.unreadable: list[str] = []
        self._by_size: dict[int, list[str]] = {}
        self._digests: dict[Match, str] = {}
        try:
            if not any(root.iterdir()):
                raise SepnetsError(f"The folder is empty. Received: {printable(root)}")
        except OSError as error:
            raise SepnetsError(
                "The files are looked for in a folder and what is below it; it cannot be read: "
                f"{(error.strerror or type(error).__name__).lower()}. Received: {printable(root)}"
            ) from None
        for top in (root, cache):
            for folder, _, names in os.walk(top, onerror=self._note_unreadable):
                for name in names:
                    path = f"{folder}/{name}"
                    with contextlib.suppress(OSError):  # a link that leads nowhere
                        self._by_size.setdefault(Path(path).stat().st_size, []).append(path)

    def find(self, file_name: str, expected: Any, report: Report) -> Match | None:
        """Return the file with the expected size and SHA-256; only files of that size are read.

        Args:
            file_name: The name of the original, which a gzip file may have lost from its header.
            expected: TFDS' `UrlInfo`, with size and checksum.
            report: Is told how much of a file is read.

        Returns:
            The file, or None if it is not there.
        """
        for match in self._candidates(file_name, int(expected.size)):
            try:
                if self._digest(match, file_name, int(expected.size), report) == expected.checksum:
                    return match
            except OSError:
                self.unreadable.append(match.path)
        return None

    def sizes_of(self, file_name: str) -> list[int]:
        """Return the sizes of the files of this name."""
        return [size for size, paths in self._by_size.items() for path in paths if Path(path).name == file_name]

    def _candidates(self, file_name: str, size: int) -> Iterator[Match]:
        yield from map(Match, self._by_size.get(size, ()))
        if file_name.endswith(".gz"):
            original_name = os.fsencode(file_name.removesuffix(".gz")) + b"\0"
            for path in self._by_size.get(size - len(original_name), ()):
                with contextlib.suppress(OSError), Path(path).open("rb") as file:
                    header = file.read(GZIP_HEADER)
                    if header.startswith(GZIP_BARE):
                        for time in GZIP_TIMES:
                            named = GZIP_NAMED + time.to_bytes(4, "little") + header[8:] + original_name
                            yield Match(path, named)

    def _digest(self, match: Match, file_name: str, size: int, report: Report) -> str:
        if match not in self._digests:
            digest, done = hashlib.sha256(match.header), len(match.header)
            with match.open() as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    done += len(block)
                    report(f"checking {file_name}", done, size)
            self._digests[match] = digest.hexdigest()
        return self._digests[match]

    def _note_unreadable(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # there need be no cache
            self.unreadable.append(str(error.filename))
