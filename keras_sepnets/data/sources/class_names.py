"""Names of classes as people write them: in one form of Unicode, with remarks on what looks like a mistake."""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

from keras_sepnets.base.text import counted, printable

NAMED = 5  # classes that a note names


def composed(name: str) -> str:
    """Return a name in composed Unicode (NFC): a disk of a Mac decomposes what its keyboard composes."""
    return unicodedata.normalize("NFC", name)


def find_name(name: str, names: Sequence[str]) -> int | None:
    """Return the place of a name among others, whatever form of Unicode they are in; None if it is not there."""
    if name in names:
        return names.index(name)
    forms = [composed(other) for other in names]
    return forms.index(composed(name)) if composed(name) in forms else None


def describe_names(written: Collection[str]) -> list[str]:
    """Remark on names that are one class in two spellings, almost the same, or lists of several labels.

    Args:
        written: The names of all classes as they are written, not composed.
    """
    forms = Counter(composed(name) for name in set(written))
    notes = []
    if merged := [name for name, count in forms.items() if count > 1]:
        notes.append(f"one class each, in composed and decomposed Unicode: {_list(merged)}")
    for _, similar in itertools.groupby(sorted(forms, key=_bare), key=_bare):
        if len(names := sorted(similar)) > 1:
            notes.append(
                f"different classes, though only case, spaces or hyphens tell them apart: {_list(names)}; if they "
                "are one class, give them one name"
            )
    if several := _find_several(forms):
        notes.append(
            f"several labels in the name of one class: {_list(several)}; a picture has one class, so each "
            "combination is a class of its own"
        )
    return notes


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _find_several(names: Collection[str]) -> list[str]:
    """Return the names that consist of labels: some also occur elsewhere, or all are names of other classes."""
    listed = {name: [part.strip() for part in re.split(r"[|;,]", name)] for name in names}
    uses = Counter(part for parts in listed.values() for part in set(parts) if part)
    return sorted(
        name
        for name, parts in listed.items()
        if (len(parts) > 1 and any(uses[part] > 1 for part in parts))
        or (len(words := re.split(r"[\s+&/]+", name)) > 1 and all(word in names for word in words))
    )


def _list(names: Collection[str]) -> str:
    shown = ", ".join(f'"{printable(name)}"' for name in sorted(names)[:NAMED])
    return f"{shown} and {counted(len(names) - NAMED, 'other')}" if len(names) > NAMED else shown
