"""Names that mean a split: of folders, of values in a list of pictures, of an option's value."""

import re
from collections.abc import Iterable

UNLABELLED = "unlabelled"  # what is not a split, but lies beside splits: pictures to be predicted
EVALUATION = "evaluation"  # validation where there is a test too, otherwise the test
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
    "eval": EVALUATION,
    "evaluation": EVALUATION,
    "pred": UNLABELLED,
    "prediction": UNLABELLED,
    "predictions": UNLABELLED,
    "unlabelled": UNLABELLED,
    "unlabeled": UNLABELLED,
    "unknown": UNLABELLED,
}
# Columns of a list that say of each picture whether it is in this split; the others are in train.
FLAGS = {"isvalid": "validation", "isvalidation": "validation", "isval": "validation", "istest": "test"}
YES, NO = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
# What people add to these words; numbers, such as years and sizes, do not count either.
ADDED = (
    "set sets data dataset split subset folder dir files new final original image images img imgs picture "
    "pictures pic pics photo photos sample samples"
)
_ADDED = f"(?:{'|'.join(ADDED.split())})*"
_WHOLE = re.compile(f"{_ADDED}({'|'.join(SPLIT_WORDS)}){_ADDED}")


def understand_splits(names: Iterable[str], *, loosely: bool = False) -> dict[str, str]:
    """Return the split that each name means, or "unlabelled"; names that mean neither are left out.

    A name means a split in any case, and with words such as `set` and `data`, signs and numbers around it:
    `Train_set`, `testing-data`, `val2017`.

    Args:
        names: The names of siblings.
        loosely: Whether any other words may stand beside it: `seg_train`.
    """
    read = _word_within if loosely else _word
    words = {name: word for name in names if (word := read(name))}
    evaluation = "validation" if "test" in words.values() else "test"
    return {name: evaluation if word == EVALUATION else word for name, word in words.items()}


def split_of(name: str) -> str | None:
    """Return the split that a single name means; None if it means none."""
    return next((split for split in understand_splits([name]).values() if split != UNLABELLED), None)


def _word(name: str) -> str | None:
    found = _WHOLE.fullmatch("".join(_parts(name)))
    return SPLIT_WORDS[found[1]] if found else None


def _word_within(name: str) -> str | None:
    words = {word for part in _parts(name) if (word := _word(part))}
    return _word(name) or (words.pop() if len(words) == 1 else None)


def _parts(name: str) -> list[str]:
    """Return the words of a name in lower case: `SegTrain_2` has `seg` and `train`."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
