import pytest

from keras_sepnets.data.sources.split_names import split_of, understand_splits


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            "train TRAIN Training training_set Train_set train-data TrainingData trainset train2017 images_train",
        ),
        ("validation", "val valid Validation val_set dev devset ValidationData"),
        ("test", "test Testing test_set TEST-IMAGES testdata eval evaluation_set holdout"),
        (None, "contest latest trainer steam_train pretraining invalid device 2017 _ Zug pred unlabelled"),
    ],
)
def test_a_name_means_a_split_whatever_its_case_and_what_people_add(split, names):
    assert {split_of(name) for name in names.split()} == {split}


def test_other_words_beside_it_are_allowed_only_loosely():
    names = ["seg_train", "segTest", "seg-pred", "cats"]
    assert understand_splits(names) == {}
    expected = {"seg_train": "train", "segTest": "test", "seg-pred": "unlabelled"}
    assert understand_splits(names, loosely=True) == expected


def test_an_evaluation_is_the_test_unless_there_is_one():
    assert understand_splits(["train", "eval"]) == {"train": "train", "eval": "test"}
    assert understand_splits(["eval", "test"]) == {"eval": "validation", "test": "test"}
