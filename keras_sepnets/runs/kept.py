"""Which network a run keeps, of which epoch it is, and how good it was on validation."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.runs.folder import Run

FEW_VALIDATION = 1000  # pictures, below which the loss ranks networks


class KeptNetwork(NamedTuple):
    """A network that a run keeps."""

    name: str  # final or best
    epoch: int | None  # 0: before the first epoch, with a fitted classifier; None: unknown without a history
    validation_top1: float | None  # None if no picture is held out, or if it is unknown


def kept_network(run: Run, name: str | None = None) -> KeptNetwork | None:
    """Return the "final" or "best" network of a run, by default the one that it keeps; None if there is none yet.

    Raises:
        SepnetsError: A file of the run is damaged.
    """
    try:
        name = run.network_file(name).stem
    except SepnetsError:
        return None
    history = run.read_history()
    start = run.read_json("classifier.json") if run.has("classifier.json") else None
    if _lacks_history(run, history, start):
        return KeptNetwork(name, None, None)
    epoch = len(history)
    if name == "best" and (history or start):
        epoch = best_epoch(history, start, run.read_data()["validation"]["num_examples"])
    if run.config.data.trains_on_all:
        return KeptNetwork(name, epoch, None)
    if epoch:
        return KeptNetwork(name, epoch, history[epoch - 1]["val_top1"])
    return KeptNetwork(name, 0, start["val_top1"] if start else None)


def _lacks_history(run: Run, history: Sequence[object], start: object) -> bool:
    """Return whether a network was trained in epochs that are not recorded: the folder was copied without them."""
    training = run.config.training
    was_trained = run.has("final.keras") and round(int(training.epochs) * training.stop_after) > 0
    return not history and (start is None or was_trained)


def best_epoch(
    history: Sequence[Mapping[str, float]], start: Mapping[str, float] | None, num_validation: int
) -> int:
    """Return the epoch with the best result on validation, the first of several; 0 for the start.

    Args:
        history: One row per epoch; at least one, if there is no start.
        start: Validation loss and top-1 of a fitted classifier before the first epoch, if there was one.
        num_validation: Number of validation pictures.
    """
    pairs = [(row["val_top1"], row["val_loss"]) for row in history]
    if start:
        pairs.insert(0, with_handicap(start["val_top1"], start["val_loss"], num_validation))
    ranks = [rank(*pair, num_validation) for pair in pairs]
    return ranks.index(max(ranks)) + (0 if start else 1)


def rank(top1: float, loss: float, num_validation: int) -> list[float]:
    """Return what ranks networks by their results on validation, the larger the better.

    A few validation pictures rank networks by top-1 only roughly; their loss says more. See
    experiments/transfer_learning.
    """
    return [-loss, top1] if num_validation < FEW_VALIDATION else [top1, -loss]


def with_handicap(top1: float, loss: float, num_validation: int) -> tuple[float, float]:
    """Return the results of the network with a fitted classifier, better by a standard error.

    So an epoch is better than this simplest network only by a standard error: less may well be chance, and
    fine-tuning on a few pictures spoils good features more often than it improves them.
    """
    return top1 + (top1 * (1 - top1) / num_validation) ** 0.5, loss - loss / num_validation**0.5
