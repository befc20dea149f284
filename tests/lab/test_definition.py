"""The file of an experiment, without any training."""

import pytest

from keras_sepnets import SepnetsError
from keras_sepnets.lab.definition import WRITTEN, make_experiment, read_definition, to_toml

WHOLE = """
question = "Should there be a \\"ReLU\\"?"
seeds = 12
margin = 0.005
claim = "equivalence"
fixed = ["split"]
reach = [0.8, 0.9]
compare = "all pairs"

[base]
model.name = "xception"
data.augmentation.flip = true

[[variants]]
name = "none"
settings = { "model.intermediate_activation" = "linear" }
[[variants]]
name = "relu"
settings.model.intermediate_activation = "relu"

[grid]
"model.alpha" = [0.25, 0.5]

[tune]
learning_rate = [0.01, 0.03]
"""
PAIR = '[[variants]]\nname = "a"\n[[variants]]\nname = "b"\nsettings = { "model.alpha" = 0.5 }\n'


def read(tmp_path, text):
    (tmp_path / "experiment.toml").write_text(text)
    return read_definition(tmp_path)


def test_a_file_is_read_with_dotted_keys(tmp_path):
    experiment = read(tmp_path, WHOLE)
    assert experiment.base == {"model.name": "xception", "data.augmentation.flip": True}
    assert [variant.settings for variant in experiment.variants] == [
        {"model.intermediate_activation": "linear"},
        {"model.intermediate_activation": "relu"},
    ]
    assert experiment.grid == {"model.alpha": [0.25, 0.5]}
    assert (experiment.seed_numbers, experiment.tune.seeds) == (list(range(12)), 2)
    assert read_definition(tmp_path / "experiment.toml") == experiment


def test_what_is_written_reads_back_the_same(tmp_path):
    experiment = read(tmp_path, WHOLE)
    text = to_toml(experiment)
    assert text.startswith(WRITTEN)
    assert read(tmp_path, text) == experiment
    plain = make_experiment({"variants": [{"name": "a"}, {"name": "b", "settings": {"model.segments": None}}]})
    assert read(tmp_path, to_toml(plain)).variants[1].settings == {"model.segments": "none"}
    assert "seeds" not in to_toml(plain)


def test_the_form_of_0_1_0_is_read(tmp_path):
    old = '[base.model]\nname = "mobilenet_v2"\n[reference]\nname = "reference"\n'
    old += 'settings = { residual = "bottleneck" }\n'
    experiment = read(tmp_path, f'{old}[ablated]\nname = "none"\nsettings = {{ residual = "none" }}\n')
    assert [(one.name, one.settings) for one in experiment.variants] == [
        ("reference", {"model.residual": "bottleneck"}),
        ("none", {"model.residual": "none"}),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sedes = 3\n" + PAIR, 'unknown key "sedes". Did you mean "seeds"?'),
        (PAIR + "setings = {}\n", 'unknown key of variants "setings". Did you mean "settings"?'),
        (
            PAIR + "[tune]\nlearning_rat = [0.1, 0.2]\n",
            'unknown key of tune "learning_rat". Did you mean "learning_rate"?',
        ),
        (PAIR + "[tune]\nseeds = 2\n", "tune.learning_rate is missing"),
        ("seeds = 3\n", "needs variants to compare"),
        ("variants = []\n", "needs variants to compare"),
        ("[[variants]]\nsettings = {}\n", "variants.0.name is missing"),
        ('[[variants]]\nname = "a/b"\n[[variants]]\nname = "A-b"\n', "the name of one folder"),
        ('[[variants]]\nname = "pilots"\n', "cannot have this name"),
        ('[[variants]]\nname = ".."\n', "cannot have this name"),
        ('claim = "equivalence"\n' + PAIR, "states its margin before it runs"),
        ("margin = 0.5\n" + PAIR, "0.005 is half a point"),
        ("margin = 0\n" + PAIR, "margin: Input should be greater than 0"),
        ('margin = "small"\n' + PAIR, "margin: "),
        ("seeds = 0\n" + PAIR, "seeds: "),
        ("seeds = [1, 1]\n" + PAIR, "a seed is named twice"),
        ("seeds = [1000]\n" + PAIR, "seeds: "),
        ('fixed = ["weight"]\n' + PAIR, "fixed.0: Input should be 'weights'"),
        ('compare = "every"\n' + PAIR, "compare: Input should be 'reference' or 'all pairs'"),
        (PAIR + '[grid]\n"model.alpha" = [0.5, 1.0]\n', "so does the variant 'b'"),
        (PAIR + '[grid]\n"model.dropout" = []\n', "different values of model.dropout"),
        (PAIR + '[grid]\n"model.dropout" = [0.1, 0.1]\n', "different values of model.dropout"),
        (
            PAIR + '[grid]\n"training.learning_rate" = [1.0]\n[tune]\nlearning_rate = [0.1, 0.2]\n',
            "[tune] chooses",
        ),
        (PAIR + "[tune]\nlearning_rate = [0.1, 0.1]\n", "needs different values"),
        (PAIR + "[tune]\nlearning_rate = [0.1]\n", "at least 2 items"),
        ("variants = 3\n", "variants: "),
        ("seeds = \n", "cannot be read"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, text, sentence):
    with pytest.raises(SepnetsError) as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_an_experiment_is_refused(tmp_path):
    with pytest.raises(SepnetsError, match="There is no experiment"):
        read_definition(tmp_path)
