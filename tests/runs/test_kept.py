"""Which network a run keeps."""

import pytest

from keras_sepnets.runs.kept import best_epoch


def history(*pairs):
    return [{"val_top1": top1, "val_loss": loss} for top1, loss in pairs]


def test_many_validation_pictures_rank_epochs_by_top1_and_few_by_loss():
    rows = history((0.5, 1.0), (0.9, 0.6), (0.8, 0.4), (0.9, 0.5), (0.9, 0.5))
    assert best_epoch(rows, None, 1000) == 4  # the lower loss decides between equal accuracies, then the first
    assert best_epoch(rows, None, 999) == 3


@pytest.mark.parametrize(("loss", "best"), [(0.41, 0), (0.39, 1)])
def test_a_fitted_classifier_gives_way_only_to_what_is_better_by_a_standard_error(loss, best):
    assert best_epoch(history((0.9, loss)), {"val_top1": 0.8, "val_loss": 0.5}, 25) == best  # 0.5 - 0.5 / sqrt(25)
    assert best_epoch([], {"val_top1": 0.8, "val_loss": 0.5}, 25) == 0
