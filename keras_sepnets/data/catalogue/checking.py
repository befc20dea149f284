"""What is wrong with a data set, before anyone trains on it: every picture is read and decoded once."""

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.reading import memory_budget
from keras_sepnets.data.batches.splits import ROLES, Splits, resolve_data
from keras_sepnets.data.pictures.decoding import UnreadablePictureError, decode_picture, read_file, read_header
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.records import TfdsSource
from keras_sepnets.settings.schema import DataConfig

TINY = 32  # px of the shorter side
LONG = 3.0  # times as wide as high, or as high as wide
IMBALANCE = 10.0  # pictures of the largest class of train to those of the smallest
DECODED_SIDE = 224  # px; larger pictures are decoded at a half, a quarter or an eighth
LARGEST_DECODING = 300_000_000  # bytes, see `pictures`
AT_ONCE = 256  # files in flight: what bounds the memory
SHEET_CLASSES, SHEET_COLUMNS, SHEET_SIDE = 20, 8, 96
SUFFIXES = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "BMP": (".bmp",), "GIF": (".gif",), "WEBP": (".webp",)}
COLOURS = {"L": "grey", "1": "grey", "LA": "grey", "P": "palette", "PA": "palette", "CMYK": "CMYK"}


@dataclass(frozen=True)
class Issue:
    """One kind of fault and the pictures that have it."""

    kind: str
    severity: str  # "error": training would fail or its result could not be trusted; or "warning"
    message: str
    examples: tuple[str, ...] = ()  # paths, or TFDS ids; where several belong together, joined by " = "

    def to_json(self) -> dict[str, Any]:
        """Return the issue with the number of its examples."""
        return {**asdict(self), "examples": list(self.examples), "count": len(self.examples)}


@dataclass(frozen=True)
class Check:
    """What a data set holds, and what is wrong with it."""

    source: str
    num_examples: dict[str, int]  # of each role: train, validation, test
    classes: dict[str, dict[str, int]]  # class -> role -> pictures
    sizes: dict[str, dict[str, int]]  # width and height -> smallest, median, largest, in px
    colours: dict[str, int]  # RGB, grey, palette, transparent, 16-bit, CMYK -> pictures
    issues: tuple[Issue, ...]
    thumbnails: dict[str, list[np.ndarray]] = field(repr=False)  # class -> a few pictures, 96 x 96 px

    @property
    def has_errors(self) -> bool:
        """Tell whether one of the issues is an error."""
        return any(issue.severity == "error" for issue in self.issues)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures."""
        return {
            "source": self.source,
            "num_examples": self.num_examples,
            "classes": self.classes,
            "sizes": self.sizes,
            "colours": self.colours,
            "issues": [issue.to_json() for issue in self.issues],
        }


class _Finding(NamedTuple):
    """What one picture is."""

    name: str  # its path, or its TFDS id
    role: str
    label: int
    digest: bytes = b""
    width: int = 0
    height: int = 0
    colour: str = ""
    fault: str = ""  # why it cannot be read
    wrong_name: bool = False
    thumbnail: np.ndarray | None = None


def check_source(source: FileSource | TfdsSource, on_progress: Callable[[int, int], None] | None = None) -> Check:
    """Read and decode every picture of a data set once and report what would hurt.

    Args:
        source: The data set; picture files must have been opened with `skip_bad`, so that all faults are found.
        on_progress: Called with the number of pictures that are done and of all.

    Returns:
        Counts, sizes and issues, for the roles that a run with default settings would give the pictures.
    """
    issues = []
    try:
        data = resolve_data(DataConfig(dataset=source.name), source, default_size=DECODED_SIDE)
        parts = Splits(source, data, memory=0).parts
    except SepnetsError as error:  # too small to be split
        issues.append(Issue("too small", "error", str(error)))
        parts = {split: (split, None) for split in source.splits}
    total = sum(
        len(source.index(split).keys) if chosen is None else chosen.sum() for split, chosen in parts.values()
    )
    findings = []
    thumbnails: dict[str, list[np.ndarray]] = {name: [] for name in source.class_names[:SHEET_CLASSES]}
    checked = _check_files(source, parts) if isinstance(source, FileSource) else _check_records(source, parts)
    for finding in checked:
        row = thumbnails.get(source.class_names[finding.label])
        if finding.thumbnail is not None and row is not None and len(row) < SHEET_COLUMNS:
            row.append(finding.thumbnail)
        findings.append(finding._replace(thumbnail=None))
        if on_progress:
            on_progress(len(findings), int(total))
    good = [finding for finding in findings if not finding.fault]
    roles = [role for role in ROLES if role in parts]
    classes = {name: dict.fromkeys(roles, 0) for name in source.class_names}
    for finding in findings:
        classes[source.class_names[finding.label]][finding.role] += 1
    found = _find_issues(findings, source.class_names, classes)
    issues += [issue for issue in found if not (issue.kind == "tiny" and source.picture_size)]
    issues += [Issue("note", "warning", note) for note in source.notes if not note.startswith("left out")]
    return Check(
        source=source.name,
        num_examples={role: sum(counts[role] for counts in classes.values()) for role in roles},
        classes=classes,
        sizes={
            name: {
                "smallest": min(values, default=0),
                "median": int(np.median(values)) if values else 0,
                "largest": max(values, default=0),
            }
            for name, values in (
                ("width", [finding.width for finding in good]),
                ("height", [finding.height for finding in good]),
            )
        },
        colours=dict(Counter(finding.colour for finding in good)),
        issues=tuple(sorted(issues, key=lambda issue: issue.severity)),
        thumbnails=thumbnails,
    )


def _find_issues(
    findings: list[_Finding], class_names: tuple[str, ...], classes: dict[str, dict[str, int]]
) -> list[Issue]:
    good = [finding for finding in findings if not finding.fault]
    copies = defaultdict(list)
    for finding in good:
        copies[finding.digest].append(finding)
    groups = [group for group in copies.values() if len(group) > 1]
    leaking = [group for group in groups if _differ(group, "role")]
    conflicting = [group for group in groups if _differ(group, "label")]
    repeated = [group for group in groups if not (_differ(group, "role") or _differ(group, "label"))]
    sizes = {name: counts.get("train", 0) for name, counts in classes.items()}
    largest, smallest = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    found = [
        Issue(
            "unreadable",
            "error",
            "files cannot be read; replace or remove them, or train with --on-bad-picture skip",
            tuple(f"{finding.name} {finding.fault}" for finding in findings if finding.fault),
        ),
        Issue(
            "leakage",
            "error",
            "pictures are the same in several of train, validation and test: the test would flatter",
            tuple(_joined(group, lambda finding: finding.role) for group in leaking),
        ),
        Issue(
            "conflicting labels",
            "error",
            "pictures are the same under different classes",
            tuple(_joined(group, lambda finding: class_names[finding.label]) for group in conflicting),
        ),
        Issue(
            "duplicates",
            "warning",
            "pictures are there more than once",
            tuple(_joined(group, lambda finding: finding.role) for group in repeated),
        ),
        Issue(
            "tiny",
            "warning",
            f"pictures have a side of less than {TINY} px",
            _names(good, lambda finding: min(finding.width, finding.height) < TINY),
        ),
        Issue(
            "odd shape",
            "warning",
            f"pictures are more than {LONG:g} times as long as wide: the central square shows little of them",
            _names(
                good,
                lambda finding: max(finding.width, finding.height) > LONG * min(finding.width, finding.height),
            ),
        ),
        Issue(
            "wrong name",
            "warning",
            "files have another format than their names say; they are read all the same",
            _names(good, lambda finding: finding.wrong_name),
        ),
    ]
    colours = Counter(finding.colour for finding in good)
    if len(colours) > 1:
        mixed = ", ".join(f"{count:,} {colour}" for colour, count in colours.most_common())
        found.append(
            Issue(
                "mixed colours",
                "warning",
                f"pictures are not RGB, of {mixed}; all become RGB",
                _names(good, lambda finding: finding.colour != "RGB"),
            )
        )
    missing = [issue for issue in found if issue.examples]
    if sizes[largest] > IMBALANCE * sizes[smallest]:
        missing.append(
            Issue(
                "imbalance",
                "warning",
                f'train has {sizes[largest]:,} pictures of "{printable(largest)}" and {sizes[smallest]:,} of '
                f'"{printable(smallest)}"; --class-weights balanced lets all classes weigh the same',
            )
        )
    return missing


def _names(findings: Iterable[_Finding], has_it: Callable[[_Finding], bool]) -> tuple[str, ...]:
    return tuple(finding.name for finding in findings if has_it(finding))


def _differ(group: list[_Finding], field_name: str) -> bool:
    return len({getattr(finding, field_name) for finding in group}) > 1


def _joined(group: list[_Finding], word: Callable[[_Finding], str]) -> str:
    return " = ".join(f"{finding.name} ({word(finding)})" for finding in group)


def _check_files(source: FileSource, parts: dict[str, tuple[str, Any]]) -> Iterator[_Finding]:
    def all_files() -> Iterator[tuple[str, str, int]]:
        for role, (split, chosen) in parts.items():
            keep = slice(None) if chosen is None else chosen
            labels = source.index(split).labels[keep]
            for path, label in zip(source.paths(split)[keep], labels, strict=True):
                yield role, os.fsdecode(path), int(label)

    files = all_files()
    # Reading and decoding let other threads run; the largest pictures take 300 MB each while they are decoded.
    threads = max(1, min(os.cpu_count() or 1, memory_budget() // LARGEST_DECODING))
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(files, AT_ONCE)):
            yield from pool.map(lambda file: _check_file(*file), chunk)


def _check_file(role: str, path: str, label: int) -> _Finding:
    try:
        content = read_file(path)
        header = read_header(path, io.BytesIO(content))
        pixels = decode_picture(path, content, header, DECODED_SIDE)
    except UnreadablePictureError as error:
        return _Finding(path, role, label, fault=error.reason)
    width, height = header.width, header.height
    if (width > height) != (pixels.shape[1] > pixels.shape[0]):  # its EXIF orientation lays it on its side
        width, height = height, width
    return _Finding(
        path,
        role,
        label,
        hashlib.sha256(content).digest(),
        width,
        height,
        _colour(header.mode),
        wrong_name=not path.lower().endswith(SUFFIXES[header.format]),
        thumbnail=_thumbnail(pixels),
    )


def _check_records(source: TfdsSource, parts: dict[str, tuple[str, Any]]) -> Iterator[_Finding]:
    for split in dict.fromkeys(own_split for own_split, _ in parts.values()):  # others play no part in a run
        roles = np.empty(source.num_examples(split), object)
        for role, (own_split, chosen) in parts.items():
            if own_split == split:
                roles[slice(None) if chosen is None else chosen] = role
        records = source.read(split).map(
            lambda key, label, encoded: (key, label, encoded, source.decode(encoded)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        for role, (key, label, encoded, pixels) in zip(roles, records.as_numpy_iterator(), strict=True):
            height, width, _ = pixels.shape
            digest = hashlib.sha256(encoded).digest()
            name = key.decode()
            yield _Finding(
                name, role, int(label), digest, width, height, source.colour, thumbnail=_thumbnail(pixels)
            )


def _colour(mode: str) -> str:
    if mode.startswith("I"):
        return "16-bit"
    return COLOURS.get(mode, "transparent" if mode in ("RGBA", "RGBa") else mode)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((SHEET_SIDE, SHEET_SIDE)))
