"""How often the intervals of a forecast hold: forecasts from a part of a data set against what the rest gives.

A small part of each set plays the pictures that somebody has; the code of `sepnets data forecast` makes a curve of
it. The hidden part then tells the accuracy that two, four and eight times as many give. Features are pixels,
reduced to their main components, or those of given weights; the learners are those of scikit-learn that take
milliseconds, because thousands of them are fitted. What is finished stays in the file of results, so that the
script can be stopped and started again.

    python scripts/check_forecast.py results.json --fashion FOLDER --cifar FOLDER --weights FILE

The folders hold the four original archives of Fashion-MNIST, and CIFAR-10 as train/CLASS/*.jpg; the file holds
weights of MobileNet.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from keras_sepnets.base.learning_curves import learn_curve
from keras_sepnets.lab.shares import Examples, Measured, measure_by_folds

SHARES, SEEDS, FOLDS = (0.125, 0.25, 0.5, 1.0), 3, 5  # as the command has them
TIMES, LEVELS = (2, 4, 8), (0.8, 0.95)
TRUTHS = 3  # draws of hidden pictures whose mean accuracy is taken for the truth
COMPONENTS, USED = 60, 6_000
IMAGE_SIZE = 64  # of MobileNet's features
ON_PIXELS = ("svm", "neighbours")

Data = tuple[np.ndarray, np.ndarray]


def read_digits() -> Data:
    """Return scikit-learn's digits."""
    digits = load_digits()
    return digits.data / 16, digits.target


def read_fashion(folder: Path) -> Data:
    """Return training pictures of Fashion-MNIST."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=skipped)
        for name, skipped in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return pixels.reshape(len(labels), -1)[:USED] / 255, labels[:USED].astype(int)


def read_folder(folder: Path) -> Data:
    """Return training pictures of a folder, at half their size."""
    pixels, labels = [], []
    classes = sorted(path for path in (folder / "train").iterdir() if path.is_dir())
    for label, path in enumerate(classes):
        for file in sorted(path.iterdir())[: USED // len(classes)]:
            pixels.append(np.asarray(Image.open(file).convert("RGB").reduce(2)).ravel() / 255)
            labels.append(label)
    return np.array(pixels), np.array(labels)


def read_features(folder: Path, weights: Path, kept: Path) -> Data:
    """Return features of training pictures of a folder; computed once, then read from a file."""
    if not kept.exists():
        from keras_sepnets.settings.files import load_config
        from keras_sepnets.training.classifier import compute_features
        from keras_sepnets.training.plan import make_plan

        pictures = sum(1 for _ in (folder / "train").glob("*/*"))
        options = {
            "data.dataset": f"folder:{folder}",
            "data.image_size": IMAGE_SIZE,
            "transfer.weights": str(weights),
        }
        options |= {
            "training.epochs": 0,
            "transfer.classifier": "fitted",
            "data.training_fraction": USED / pictures,
        }
        plan = make_plan(load_config(options=options | {"training.accelerate": "off"}))
        features, labels = compute_features(plan.network, plan.splits.evaluation_batches("train", 32))
        np.savez(kept, features=features, labels=labels)
    found = np.load(kept)
    return StandardScaler().fit_transform(found["features"]), found["labels"]


def make_learner(name: str, examples: int) -> ClassifierMixin:
    """Return a classifier for a number of examples."""
    if name == "logistic regression":
        return LogisticRegression(C=0.01, max_iter=100)
    return SVC(C=10) if name == "svm" else KNeighborsClassifier(min(3, examples))


def check(features: np.ndarray, labels: np.ndarray, learner: str, size: int, repeats: int) -> dict:
    """Return what forecasts from `size` pictures say, and what the hidden pictures give."""
    random = np.random.default_rng(0)
    order = random.permutation(len(labels))
    features, labels = features[order], labels[order]
    if learner != "logistic regression" and features.shape[1] > COMPONENTS:
        main = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(features[:2000])
        features = main.transform(features)
    most = round(size * (FOLDS - 1) / FOLDS)  # training pictures of the largest share
    tested = slice(max(TIMES) * most, None)

    def fit(some: np.ndarray, of: np.ndarray, others: np.ndarray, _share: float) -> np.ndarray:
        return make_learner(learner, len(of)).fit(some, of).predict(others)

    def true_accuracy(number: int) -> float:
        drawn = [random.choice(tested.start, number, replace=False) for _ in range(TRUTHS)]
        return float(np.mean([fit(features[d], labels[d], features[tested], 1) == labels[tested] for d in drawn]))

    truth = {times: true_accuracy(times * most) for times in TIMES}
    forecasts = []
    for _ in range(repeats):
        part = random.choice(tested.start, size, replace=False)
        examples = Examples(features[part], labels[part], [*map(str, part)], int(labels.max()) + 1)
        forecasts.append(_compare(measure_by_folds(examples, SHARES, SEEDS, FOLDS, fit), truth))
    return {"training_pictures": most, "truth": truth, "forecasts": forecasts}


def _compare(measured: Measured, truth: dict[int, float]) -> dict:
    """Return which intervals of a forecast hold, how wide they are, and what it says of the middle target."""
    curve = learn_curve(measured.counts.sum(axis=1), measured.wrong)
    most, result = curve.sizes[-1], {}
    for times, accuracy in truth.items():
        for level in LEVELS:
            low, high = curve.interval(times * most, level)
            result[f"{times}x, {level:.0%}"] = [bool(low <= accuracy <= high), float(high - low)]
        result[f"{times}x, error"] = [curve.accuracy(times * most) - accuracy]
    for level in LEVELS:
        needed = curve.pictures_for(truth[TIMES[0]], level)
        holds = bool(needed.low <= TIMES[0] * most <= needed.high)
        result[f"pictures, {level:.0%}"] = [holds, needed.reason or "an interval"]
    return result


def show(results: dict[str, dict]) -> None:
    """Print a table of how often the intervals hold."""
    print(
        "| data, learner | pictures | times | accuracy | 80 % interval holds | 95 % holds | width of 80 % | bias |"
    )
    print("|---|---|---|---|---|---|---|---|")
    every: dict[str, list] = {}
    for name, result in results.items():
        for times in TIMES:
            rows = {level: [one[f"{times}x, {level:.0%}"] for one in result["forecasts"]] for level in LEVELS}
            bias = np.mean([one[f"{times}x, error"] for one in result["forecasts"]])
            held = [np.mean([row[0] for row in rows[level]]) for level in LEVELS]
            for level in LEVELS:
                every.setdefault(f"{times}x, {level:.0%}", []).extend(row[0] for row in rows[level])
            width = np.mean([row[1] for row in rows[LEVELS[0]]])
            cells = [name, f"{result['training_pictures']}", f"{times}", f"{result['truth'][str(times)]:.1%}"]
            cells += [f"{share:.0%}" for share in held]
            cells += [f"{100 * width:.1f} points", f"{100 * bias:+.1f} points"]
            print(f"| {' | '.join(cells)} |")
    for name, held in every.items():
        print(f"all, {name}: {np.mean(held):.1%} of {len(held)}")
    for level in LEVELS:
        answers = [one[f"pictures, {level:.0%}"] for result in results.values() for one in result["forecasts"]]
        print(f"pictures, {level:.0%}: {np.mean([answer[0] for answer in answers]):.1%} of {len(answers)}")
        if level == LEVELS[0]:
            said = [answer[1] for answer in answers]
            print({what: said.count(what) for what in sorted({*said})})


def main() -> None:
    """Check the sets whose results are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--weights", type=Path, help="with --cifar")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    sets: list[tuple[str, Callable[[], Data], int, tuple[str, ...]]] = [("digits", read_digits, 120, ON_PIXELS)]
    if given.fashion:
        sets.append(("Fashion-MNIST", lambda: read_fashion(given.fashion), 200, ON_PIXELS))
    if given.cifar:
        sets.append(("CIFAR-10, JPEG copy", lambda: read_folder(given.cifar), 200, ON_PIXELS))
    if given.cifar and given.weights:
        kept = given.results.with_suffix(".npz")
        read = partial(read_features, given.cifar, given.weights, kept)
        sets.append(("CIFAR-10, JPEG copy, features of MobileNet", read, 200, ("logistic regression",)))
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    for name, read, size, learners in sets:
        todo = [learner for learner in learners if f"{name}, {learner}" not in results]
        features, labels = read() if todo else (np.zeros(0), np.zeros(0))
        for learner in todo:
            begin = time.process_time()
            results[f"{name}, {learner}"] = check(features, labels, learner, size, given.repeats)
            given.results.write_text(json.dumps(results))
            print(f"{name}, {learner}: {time.process_time() - begin:.0f} s", flush=True)
    show(json.loads(given.results.read_text()))


if __name__ == "__main__":
    main()
