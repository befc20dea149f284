"""The classifier that is fitted to features, against scikit-learn's own pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_sepnets import Run
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.settings.schema import RunConfig
from keras_sepnets.training.classifier import FittedClassifier, fit_classifier, most_fitted
from keras_sepnets.training.clock import Clock
from keras_sepnets.training.recorder import Recorder


def make_features(classes, count=120, length=12, noise=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = 2 * random.normal(size=(classes, length))
    features = 5 + 3 * (centres[labels] + noise * random.normal(size=(count, length)))
    return features.astype(np.float32), labels


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_equal_those_of_scikit_learns_pipeline(classes, balanced):
    features, labels = make_features(classes, noise=3.0)
    labels = np.where(np.arange(len(labels)) < 40, 0, labels)  # not balanced
    fit = fit_classifier(features, labels, classes, balanced=balanced)
    model = LogisticRegression(C=fit.strength, class_weight="balanced" if balanced else None, max_iter=1000)
    expected = make_pipeline(StandardScaler(), model).fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(softmax(features @ fit.kernel + fit.bias), expected, atol=2e-3)


def test_the_penalty_is_strong_where_features_say_little_and_weak_where_they_say_all():
    noise, labels = make_features(3, noise=100.0)
    clear, same_labels = make_features(3, noise=0.1)
    of_noise, of_clear = fit_classifier(noise, labels, 3), fit_classifier(clear, same_labels, 3)
    assert of_noise.strength <= 1e-2 < 1 <= of_clear.strength
    assert of_noise.cross_validated_top1 < 0.6
    assert of_clear.cross_validated_top1 == of_clear.train_top1 == 1


def test_a_class_without_pictures_is_never_predicted_and_others_are_unchanged():
    features, labels = make_features(3)
    fit, wider = fit_classifier(features, labels, 3), fit_classifier(features, 2 * labels, 5)
    probabilities = softmax(features @ wider.kernel + wider.bias)
    assert probabilities[:, [1, 3]].max() < probabilities[:, [0, 2, 4]].max(axis=1).min()
    np.testing.assert_array_equal(wider.kernel[:, [0, 2, 4]], fit.kernel)


def test_a_class_with_one_picture_is_learned_too():
    features, labels = make_features(3, noise=0.1)
    features, labels = features[:62], np.where(np.arange(62) == 61, 2, labels[:62] % 2)
    fit = fit_classifier(features, labels, 3)
    assert (features @ fit.kernel + fit.bias).argmax(axis=1)[61] == 2


def test_one_picture_of_each_class_is_enough():
    features, labels = make_features(3, count=3)
    fit = fit_classifier(features, labels, 3)
    assert fit.cross_validated_top1 is None
    assert (features @ fit.kernel + fit.bias).argmax(axis=1).tolist() == [0, 1, 2]


def test_features_that_are_not_finite_are_refused():
    features, labels = make_features(2)
    features[3, 4] = np.nan
    with pytest.raises(FailedRunError, match="NaN or infinite"):
        fit_classifier(features, labels, 2)


def test_large_sets_are_bounded_only_where_training_follows():
    assert most_fitted(1024, 10, alone=False) == 20_000
    assert most_fitted(1024, 10, alone=True) == 97_656
    assert most_fitted(2048, 1000, alone=False) == 1000  # at least one per class


def test_an_epoch_is_better_than_the_fitted_classifier_only_by_a_standard_error(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Recorder, "save", lambda _recorder, name: saved.append(name))
    plan = SimpleNamespace(config=RunConfig(), splits=SimpleNamespace(num_examples=lambda _role: 25))
    recorder = Recorder(Run(tmp_path), plan, Clock())
    fitted = FittedClassifier(
        num_examples=9,
        features=4,
        strength=1.0,
        cross_validated_top1=0.8,
        train_top1=1,
        val_top1=0.8,
        val_loss=0.5,
    )
    recorder.begin_with(fitted)
    recorder._keep_if_better(0.9, 0.41, 1)
    assert saved == ["best"]
    recorder._keep_if_better(0.7, 0.39, 2)  # lower than 0.5 - 0.5 / sqrt(25)
    assert saved == ["best", "best"]
