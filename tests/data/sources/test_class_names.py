import pytest

from keras_sepnets.data.sources.class_names import composed, describe_names


def test_both_forms_of_a_letter_are_one_name():
    assert composed("cafe\u0301") == "caf\u00e9"
    (note,) = describe_names({"cafe\u0301", "caf\u00e9", "tea"})
    assert note == 'one class each, in composed and decomposed Unicode: "caf\u00e9"'


@pytest.mark.parametrize("names", [("Cat", "cat", "dog"), ("red fox", "red_fox"), ("red-fox", "Red Fox")])
def test_names_that_only_case_or_spaces_tell_apart_are_warned_of(names):
    (note,) = describe_names(names)
    assert note.startswith("different classes, though only case, spaces or hyphens tell them apart")


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (("rain", "snow", "rain|snow"), ["rain|snow"]),
        (("a;b", "b;c", "d"), ["a;b", "b;c"]),
        (("rust, scab", "rust"), ["rust, scab"]),
        (("rust scab", "rust", "scab"), ["rust scab"]),
        (("golden retriever", "labrador retriever", "a+b", "Smith, John"), []),
    ],
)
def test_combinations_of_labels_are_warned_of(names, several):
    notes = [note for note in describe_names(names) if note.startswith("several labels")]
    assert bool(notes) == bool(several)
    assert all(f'"{name}"' in notes[0] for name in several)
