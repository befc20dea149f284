"""The original files of a data set, found by size and SHA-256 under any name."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable

# Takes a description of the current stage, the bytes done, and the bytes in total (None if unknown).
Report = Callable[[str, int, int | None], None]

GZIP_HEADER = 10  # bytes: magic, method, flags, time, extra flags, operating system
GZIP_BARE = b"\x1f\x8b\x08\x00"  # no flag: the header has no file name
GZIP_NAMED = b"\x1f\x8b\x08\x08"
# Compression times in the gzip headers of the original train-* and t10k-* archives of Fashion-MNIST (31 August
# 2017), in seconds since 1970. In Debian's package dataset-fashion-mnist the headers lack time and name. The times
# were found by search: with time and name restored, all four SHA-256 sums are those that TFDS registers.
GZIP_TIMES = (1504176606, 1504176627)


class Match(NamedTuple):
    """A file that may be an original, after `header` has replaced its gzip header."""

    path: str
    header: bytes = b""

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file after the part that `header` replaces."""
        with Path(self.path).open("rb") as file:
            file.seek(GZIP_HEADER if self.header else 0)
            yield file


class OriginalFiles:
    """The files of a folder and of TFDS' cache, indexed by size."""

    def __init__(self, root: Path, cache: Path) -> None:
        """Search a folder and, if it exists, TFDS' cache of earlier downloads.

        Raises:
            SepnetsError: The folder does not exist, is not a folder, is empty or cannot be read.
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
                "The original files are searched for in a folder, and it cannot be read: "
                f"{(error.strerror or type(error).__name__).lower()}. Received: {printable(root)}"
            ) from None
        for top in (root, cache):
            for folder, _, names in os.walk(top, onerror=self._note_unreadable):
                for name in names:
                    path = f"{folder}/{name}"
                    with contextlib.suppress(OSError):  # a broken link
                        self._by_size.setdefault(Path(path).stat().st_size, []).append(path)

    def find(self, file_name: str, expected: Any, report: Report) -> Match | None:
        """Find the file with the expected size and SHA-256; only files of that size are read.

        Args:
            file_name: Name of the original, which the header of a gzip file may lack.
            expected: TFDS' `UrlInfo`, with size and checksum.
            report: Called with the progress of reading.

        Returns:
            The file, or None if it was not found.
        """
        for match in self._candidates(file_name, int(expected.size)):
            try:
                if self._digest(match, file_name, int(expected.size), report) == expected.checksum:
                    return match
            except OSError:
                self.unreadable.append(match.path)
        return None

    def sizes_of(self, file_name: str) -> list[int]:
        """Return the sizes of all files of this name."""
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
        if not isinstance(error, FileNotFoundError):  # the cache need not exist
            self.unreadable.append(str(error.filename))
