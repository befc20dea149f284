"""Variants times grid times seeds, without any training."""

import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.lab.definition import make_experiment
from keras_sepnets.lab.matrix import arms_of, pairs_of, plan_runs

BASE = {"model.name": "xception", "model.alpha": 0.25, "model.middle_repeats": 0}
NETWORKS = [{"name": name, "settings": {"model.name": name}} for name in ("xception", "mobilenet", "inception_v3")]
RESIDUAL = [{"name": name, "settings": {"model.residual": name == "with"}} for name in ("with", "without")]


def make(variants, **keys):
    return make_experiment({"base": BASE, "variants": variants, **keys})


def names(pairs):
    return [(one.name, other.name) for one, other in pairs]


def test_arms_are_variants_at_every_point_of_the_grid():
    experiment = make(RESIDUAL, grid={"model.dropout": [0.1, 0.5], "data.image_size": [32, 48]})
    arms = arms_of(experiment)
    assert [arm.name for arm in arms[:3]] == [
        "with,dropout=0.1,image_size=32", "without,dropout=0.1,image_size=32", "with,dropout=0.1,image_size=48",
    ]  # fmt: skip
    assert len(arms) == 8
    assert (arms[-1].config.model.residual, arms[-1].config.model.dropout) == (False, 0.5)
    assert (arms[-1].config.data.image_size, arms[-1].config.model.alpha) == (48, 0.25)
    assert len(pairs_of(experiment, arms)) == 4
    assert all(one.point == other.point for one, other in pairs_of(experiment, arms))


def test_networks_are_compared_with_what_each_has_of_the_base():
    arms = arms_of(make(NETWORKS))
    assert [arm.config.model.name for arm in arms] == ["xception", "mobilenet", "inception_v3"]
    assert {arm.config.model.alpha for arm in arms} == {0.25}
    assert arms[0].config.model.middle_repeats == 0
    assert not hasattr(arms[1].config.model, "middle_repeats")


def test_comparisons_are_with_the_reference_or_between_all():
    with_reference, all_pairs = make(NETWORKS), make(NETWORKS, compare="all pairs")
    arms = arms_of(with_reference)
    assert names(pairs_of(with_reference, arms)) == [("xception", "mobilenet"), ("xception", "inception_v3")]
    assert len(pairs_of(all_pairs, arms)) == 3
    alone = make([{"name": "network"}], grid={"model.alpha": [0.25, 0.5, 1.0]})
    along = arms_of(alone)
    assert names(pairs_of(alone, along)) == [
        ("network,alpha=0.25", "network,alpha=0.5"), ("network,alpha=0.25", "network,alpha=1.0"),
    ]  # fmt: skip


def test_a_seed_moves_every_source_that_is_not_fixed(tmp_path):
    arms = arms_of(make(RESIDUAL))
    first, second = plan_runs(tmp_path, arms, [3])
    assert (first.folder, first.title) == (tmp_path / "with" / "seed-3", "with, seed 3")
    for config in (first.config, second.config):
        sources = [config.training.seed_of(one) for one in ("weights", "order", "augmentation", "dropout")]
        assert (sources, config.data.holdout_seed) == ([3, 3, 3, 3], 3)
    (some, _) = plan_runs(tmp_path, arms, [3], ["weights", "split"])
    assert (some.config.training.seed_of("weights"), some.config.training.seed_of("order")) == (0, 3)
    assert some.config.data.holdout_seed is None


@pytest.mark.parametrize(
    ("variants", "keys", "sentence"),
    [
        ([{"name": "a"}, {"name": "b"}], {}, "Both variants are the same"),
        ([{"name": "a"}, {"name": "b", "settings": {"model.alpha": 0.25}}], {}, "Both variants are the same"),
        ([{"name": "a", "settings": {"model.shallow": True}}], {}, "xception cannot be ablated this way"),
        ([{"name": "a", "settings": {"model.residul": True}}], {}, 'Did you mean "model.residual"'),
        ([{"name": "a", "settings": {"model.name": "xeption"}}], {}, 'Did you mean "xception"'),
        ([{"name": "a", "settings": {"data.dataset": "cifar10"}}], {}, "cannot vary data.dataset"),
        ([{"name": "a", "settings": {"data.holdout_seed": 1}}], {}, "cannot vary data.holdout_seed"),
        ([{"name": "a"}], {"grid": {"training.seed": [1, 2]}}, "cannot vary training.seed"),
        ([{"name": "a"}], {"grid": {"model.shallow": [True, False]}}, "it has no shallow"),
        ([{"name": "a", "settings": {"training.patience": 3}}], {}, "leave training.patience out"),
        ([{"name": "a", "settings": {"training.epochs": "auto"}}], {}, "set training.epochs"),
        ([{"name": "a"}], {"base": {"training.seed": 3}}, "leave training.seed out"),
        ([{"name": "a"}], {"base": {"data.folds": 5}}, "leave data.folds out"),
        ([{"name": "a"}], {"base": {"model.nam": "xception"}}, "model.nam"),
    ],
)  # fmt: skip
def test_what_is_no_matrix_is_refused(variants, keys, sentence):
    with pytest.raises(SepnetsError) as caught:
        arms_of(make_experiment({"base": BASE, "variants": variants, **keys}))
    assert sentence in str(caught.value)
