"""The classifier fitted to the features of a given backbone: a linear probe, where fine-tuning starts (LP-FT).

Fine-tuning that starts from a random classifier distorts good features before the classifier has learned to use
them (Kumar et al. 2022, arXiv:2202.10054). Logistic regression on the features of the pictures, as evaluation sees
them, takes seconds.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from keras_sepnets.base.errors import FailedRunError, SepnetsError
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import counted
from keras_sepnets.models.weight_files import HEAD

CLASSIFIER = HEAD[-1]
STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # 1 / penalty
FOLDS = 5
MOST_COMPARED = 2000  # pictures with which the penalty is chosen
MOST_FITTED = 20_000  # pictures, where training follows
MOST_WORK = 10**9  # pictures x features x classes: about a minute of logistic regression
ITERATIONS = 1000


class FittedClassifier(Result):
    """How a classifier was fitted: the content of classifier.json."""

    num_examples: int
    """training pictures that it was fitted to"""
    features: int
    """length of the backbone's output"""
    strength: float
    """inverse of the l2 penalty, as scikit-learn's C, chosen by cross-validation"""
    cross_validated_top1: float | None
    """top-1 on training pictures that were left out, a fraction; null if a class has a single picture"""
    train_top1: float
    """top-1 on the pictures that it was fitted to, a fraction"""
    val_top1: float
    """top-1 on the validation pictures, a fraction"""
    val_loss: float
    """cross-entropy on the validation pictures, in nats"""

    def __str__(self) -> str:
        return (
            f"classifier fitted to {counted(self.num_examples, 'picture')}: "
            f"validation loss {self.val_loss:.4f}  top-1 {self.val_top1:.2%}"
        )


class Fit(NamedTuple):
    """A linear classifier of features."""

    kernel: np.ndarray  # float32 (features, classes)
    bias: np.ndarray  # float32 (classes,)
    strength: float
    cross_validated_top1: float | None
    train_top1: float


def check_can_be_fitted(network: keras.Model) -> None:
    """Raise SepnetsError unless a network's classifier is a single layer on pooled features."""
    if any(layer.name in HEAD and layer.name != CLASSIFIER for layer in network.layers):
        raise SepnetsError(
            "Logistic regression can fit a classifier of one layer; drop model.fully_connected, or choose "
            "transfer.classifier=random. Received: transfer.classifier='fitted' and model.fully_connected=true"
        )


def most_fitted(features: int, classes: int, *, alone: bool) -> int:
    """Return to how many pictures a classifier is fitted at most; `alone`: no training follows."""
    most = max(classes, MOST_WORK // (features * classes))
    return most if alone else min(most, MOST_FITTED)


def compute_features(
    network: keras.Model, batches: Any, on_pictures: Callable[[int], None] = lambda _number: None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network's classifier sees, float32 (n, features), and the labels, int (n,).

    Args:
        network: A network of this package; dropout is off.
        batches: Pictures and class numbers.
        on_pictures: Called with the number of pictures so far.
    """
    backbone = keras.Model(network.inputs, network.get_layer(CLASSIFIER).input)
    features, labels = [], []
    for pictures, classes in batches:
        features.append(backbone.predict_on_batch(pictures).astype(np.float32))
        labels.append(np.asarray(classes))
        on_pictures(sum(map(len, labels)))
    return np.concatenate(features), np.concatenate(labels)


def fit_classifier(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    balanced: bool = False,
    strength: float | None = None,
) -> Fit:
    """Fit multinomial logistic regression; the penalty is chosen by stratified cross-validation.

    The features are standardized, and the scaling is folded into kernel and bias.

    Args:
        features: float32 (n, features).
        labels: int (n,). A class without pictures gets a bias that makes it improbable.
        classes: Number of classes.
        balanced: Whether every class has the same total weight.
        strength: scikit-learn's C; None to choose it.

    Raises:
        FailedRunError: The features are not finite.
    """
    if not np.isfinite(features).all():
        raise FailedRunError("The features of the given weights are NaN or infinite; use other weights.")
    weight = "balanced" if balanced else None
    scaler = StandardScaler().fit(features)
    with threadpool_limits(1, user_api="blas"):  # more threads wait for each other longer than they compute
        top1 = None
        if strength is None:
            strength, top1 = _choose_strength(features, labels, weight)
        model = _fit(scaler.transform(features), labels, strength, weight)
    coefficients, intercepts = _both_rows(model)
    kernel = np.zeros((features.shape[1], classes), np.float32)
    bias = np.full(classes, intercepts.min() - np.log(len(labels)), np.float32)
    coefficients = coefficients / scaler.scale_
    kernel[:, model.classes_] = coefficients.T
    bias[model.classes_] = intercepts - coefficients @ scaler.mean_
    train_top1 = float(np.mean((features @ kernel + bias).argmax(axis=1) == labels))
    return Fit(kernel, bias, strength, top1, train_top1)


def _choose_strength(features: np.ndarray, labels: np.ndarray, weight: str | None) -> tuple[float, float | None]:
    """Return the C with the lowest cross-validated loss, and its top-1; without one if a class has one picture."""
    if len(labels) > MOST_COMPARED:
        some = np.random.default_rng(0).permutation(len(labels))[:MOST_COMPARED]
        features, labels = features[some], labels[some]
    known, counts = np.unique(labels, return_counts=True)
    common = np.isin(labels, known[counts > 1])  # a class with one picture can't be left out
    features, labels = features[common], labels[common]
    if len(np.unique(labels)) < 2:
        return 1e-2, None
    folds = int(min(FOLDS, max(2, counts[counts > 1].min())))
    losses, hits = np.zeros(len(STRENGTHS)), np.zeros(len(STRENGTHS))
    for fitted, left_out in StratifiedKFold(folds, shuffle=True, random_state=0).split(features, labels):
        scaler = StandardScaler().fit(features[fitted])
        inside, outside = scaler.transform(features[fitted]), scaler.transform(features[left_out])
        for number, strength in enumerate(STRENGTHS):
            model = _fit(inside, labels[fitted], strength, weight)
            probabilities = model.predict_proba(outside)
            losses[number] += log_loss(labels[left_out], probabilities, labels=model.classes_, normalize=False)
            hits[number] += (model.classes_[probabilities.argmax(axis=1)] == labels[left_out]).sum()
    best = int(losses.argmin())
    return STRENGTHS[best], float(hits[best] / len(labels))


def _fit(features: np.ndarray, labels: np.ndarray, strength: float, weight: str | None) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough: training or evaluation follows
        return LogisticRegression(C=strength, max_iter=ITERATIONS, class_weight=weight).fit(features, labels)


def _both_rows(model: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (classes, features) and intercepts (classes,), also for two classes.

    For two classes scikit-learn has a single row w with P(second) = sigmoid(w x); softmax needs -w/2 and w/2.
    """
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    return np.concatenate([-model.coef_, model.coef_]) / 2, np.concatenate(
        [-model.intercept_, model.intercept_]
    ) / 2
