"""What more pictures would bring, in numbers and words."""

import numpy as np
import pytest

from keras_sepnets.base.learning_curves import learn_curve
from keras_sepnets.lab.growth import describe_growth, list_shares
from keras_sepnets.lab.shares import Measured

SIZES = np.array([50, 100, 200, 400])


def grown(errors, target=None, *, tested=10_000, sizes=SIZES, there=400, class_name=None):
    wrong = np.array([[np.arange(tested) < round(error * tested) for error in errors]] * 2)
    return describe_growth(learn_curve(sizes, wrong), there, target, class_name)


POWER_LAW = 0.02 + 2 * SIZES**-0.5


def test_an_answer_is_a_number_with_its_intervals():
    growth = grown(POWER_LAW, 1 - (0.02 + 2 * 800**-0.5), there=380, class_name="mould")
    assert growth.reason is None
    assert growth.more == pytest.approx(420, rel=0.2)
    assert growth.more == float(f"{growth.more:.2g}")  # two digits
    for interval in (growth.more_80, growth.more_95):
        assert interval[0] <= growth.more <= interval[1]
    low, high = growth.more_80
    assert growth.more_95[0] <= low < high <= growth.more_95[1]
    number = f"{growth.more:,}"
    assert growth.sentence == (
        f"About {number} more training pictures of mould for 90.93% (80 % interval {low:,} to {high:,})."
    )
    assert growth.more_in_short == f"about {number}, {low:,} to {high:,}"
    assert growth.curve.a + growth.curve.b * 400**-growth.curve.c == pytest.approx(0.12, abs=0.002)


def test_without_a_target_the_answer_is_twice_the_pictures():
    growth = grown(POWER_LAW)
    assert (growth.more, growth.more_80, growth.reason) == (None, None, None)
    assert growth.doubled.num_examples == 800
    assert growth.doubled.top1 == pytest.approx(1 - (0.02 + 2 * 800**-0.5), abs=0.01)
    assert growth.sentence.startswith(
        "Twice the training pictures (400 more) would raise the accuracy from about 8"
    )


@pytest.mark.parametrize(
    ("errors", "target", "tested", "sentence", "short"),
    [
        ([0.30, 0.22, 0.17, 0.14], 0.9, 15, "The data cannot say what more training pictures would bring: 400 of "
         "them and 15 tested pictures are too few for a curve.", "cannot say: too few pictures"),
        ([0.30, 0.31, 0.30, 0.31], 0.9, 1000, "The data cannot say how many more training pictures 90% needs: "
         "from 50 to 400, accuracy does not rise measurably on 1,000 tested pictures.",
         "cannot say: no measurable rise"),
        ([0.40, 0.32, 0.305, 0.30], 0.9, 10_000, "More training pictures alone will hardly bring 90%, because the "
         "curve levels off: 8 times the pictures would give about 70.", "cannot say: the curve levels off"),
        ([0.40, 0.336, 0.283, 0.238], 0.9, 10_000, "90% needs more than 8 times the pictures, farther than the "
         "curve tells: 8 times the pictures would give about 8", "cannot say: more than 8 times"),
        ([0.30, 0.22, 0.17, 0.13], 0.91, 100, "The data cannot say how many more training pictures 91% needs: at "
         "least ", "cannot say: at least "),
        ([0.30, 0.20, 0.15, 0.10], 0.8, 10_000, "The training pictures that there are give 80%.", "none"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_the_data_can_say(errors, target, tested, sentence, short):
    growth = grown(errors, target, tested=tested)
    assert growth.sentence.startswith(sentence)
    assert growth.more_in_short.startswith(short)
    assert (growth.more is None) == short.startswith("cannot say")


def test_shares_are_summed_over_classes_and_averaged_over_seeds():
    wrong = np.zeros((2, 2, 10), bool)
    wrong[0, 0, :4] = wrong[1, 0, :2] = True
    shares = list_shares((0.5, 1.0), Measured(np.array([[2, 3], [4, 6]]), wrong, np.zeros(10, int)))
    assert [(one.num_examples, one.top1) for one in shares] == [(5, [0.6, 0.8]), (10, [1.0, 1.0])]
    assert shares[0].mean == pytest.approx(0.7)
