"""A run as one HTML file that classifies pictures in a browser, verified in node on the whole test split."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_sepnets.base.errors import SepnetsError
from keras_sepnets.base.files import check_writable, write_file
from keras_sepnets.base.results import Result
from keras_sepnets.base.text import printable
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.pictures.preprocessing import PADDING
from keras_sepnets.data.pictures.rules import PixelRules
from keras_sepnets.deploy.html.card import describe_run, make_card
from keras_sepnets.deploy.html.network import flatten
from keras_sepnets.deploy.html.node import classify_in_node, node_version
from keras_sepnets.deploy.html.packing import WEIGHTS, pack
from keras_sepnets.deploy.html.page import render_page
from keras_sepnets.deploy.verification import Verification, check_drop, compare
from keras_sepnets.inference.evaluation import classify_split
from keras_sepnets.inference.inputs import as_run
from keras_sepnets.inference.pictures import open_pictures
from keras_sepnets.runs.folder import Run
from keras_sepnets.settings.schema import DataConfig


class HtmlExport(Result):
    """A run, exported to one HTML file."""

    file: str
    """The file."""
    bytes: int
    """Its size."""
    run: str
    """The run folder."""
    checkpoint: str
    """The network: final or best."""
    quantize: str
    """How the kernels are stored: float16 or int8."""
    verification: Verification | None
    """How the file answers, compared with Keras; null if node is not installed."""


def export_html(
    run: Run | str | os.PathLike,
    output: str | os.PathLike,
    *,
    checkpoint: str | None = None,
    quantize: str = "float16",
    max_drop: float = 0.01,
    dataset: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> HtmlExport:
    """Write a run as one HTML file, and verify it on the run's test pictures by its own interpreter in node.

    Args:
        run: A trained run, or the path of its folder.
        output: The file, which must not exist yet.
        checkpoint: "final" or "best"; default: the network that the run keeps.
        quantize: How kernels are stored: "float16", or "int8", which is half as large and less exact.
        max_drop: Largest loss of top-1 on the test pictures, as a fraction.
        dataset: Where the run's pictures are now, if they have moved.
        on_progress: Called with the number of verified pictures and of all.

    Returns:
        What was written, and how it compares with Keras.

    Raises:
        SepnetsError: There is no such run, the file exists or cannot be written, a page cannot compute the network
            or read such pictures, or the test pictures cannot be opened.
        FailedRunError: The page lost too much accuracy; it is kept with the suffix ".rejected".
    """
    run, output = as_run(run), Path(output)
    if quantize not in WEIGHTS:
        raise SepnetsError(f"quantize is {' or '.join(WEIGHTS)}. Received: quantize={quantize!r}")
    check_new(output)
    rules = _rules(run.config.data)
    file, model = run.network_file(checkpoint), run.load_model(checkpoint)
    packed = pack(*flatten(model), quantize)
    role = run.config.data.evaluated_role
    splits = _open_own(run, role, dataset)
    with splits.translated_failures():
        probabilities, labels = classify_split(model, splits, role)
    about = describe_run(run) | {"rules": rules}
    verification, runtime = None, node_version()
    if runtime:
        page = render_page(packed, about)
        answers, milliseconds = _classify(page, splits, role, probabilities.shape[1], on_progress)
        verification = compare(
            answers, probabilities, labels, split=role, runtime=f"node {runtime}", milliseconds=milliseconds
        )
        probabilities = answers
    about["card"] = make_card(
        run,
        splits,
        role,
        probabilities,
        labels,
        weights=quantize,
        parameters=model.count_params(),
        verification=verification,
    )
    content = render_page(packed, about).encode()
    if verification:
        advice = "try --quantize float16" if quantize == "int8" else "allow more with --max-drop"
        _reject(verification, max_drop, output, content, advice)
    write_file(output, content)
    return HtmlExport(
        file=str(output),
        bytes=len(content),
        run=str(run.path),
        checkpoint=file.stem,
        quantize=quantize,
        verification=verification,
    )


def check_new(output: Path) -> None:
    """Raise SepnetsError unless a new file can be written to this path."""
    if os.path.lexists(output):
        raise SepnetsError(f"The output file exists already; choose another name. Received: {str(output)!r}")
    check_writable(output)


def _open_own(run: Run, role: str, dataset: str | None) -> Splits:
    """Open the run's own pictures of a role, wherever they are now."""
    pictures = open_pictures(run, role, dataset)
    if pictures.other:
        raise SepnetsError(
            f"A page is verified on the run's own {role} pictures, and these are others; sepnets evaluate "
            f"--dataset tells how often the network is right on them. Received: {printable(str(dataset))}"
        )
    return pictures.splits


def _rules(data: DataConfig) -> dict[str, Any]:
    """Return what pixels.js needs to turn pictures into the network's input."""
    if data.image_size is None:
        raise SepnetsError("The run's config.json has no data.image_size.")
    if PixelRules.of(data).black is not None:
        raise SepnetsError(
            "This run stretches a range of 16-bit samples, and browsers only show their high bytes to a page, "
            "which would answer differently. Received: data.sixteen_bit='stretch'"
        )
    return {
        "imageSize": data.image_size,
        "cropFraction": data.crop_fraction or 1.0,
        "fit": data.fit,
        "padding": PADDING,
    }


def _classify(
    page: str, splits: Splits, role: str, classes: int, on_progress: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the page answers in node, and the milliseconds per picture."""

    def pictures() -> Iterator[np.ndarray]:
        total = splits.num_examples(role)
        for done, (picture, _) in enumerate(splits.examples(role).in_order().as_numpy_iterator(), start=1):
            yield picture
            on_progress(done, total)

    with tempfile.TemporaryDirectory() as folder, splits.translated_failures():
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        return classify_in_node(file, pictures(), classes)


def _reject(verification: Verification, max_drop: float, output: Path, content: bytes, advice: str) -> None:
    """Keep a page that lost too much accuracy under another name, and raise FailedRunError."""
    rejected = output.with_name(f"{output.name}.rejected")
    if verification.keras_top1 - verification.top1 > max_drop:
        write_file(rejected, content)
    check_drop(verification, max_drop, rejected=str(rejected), advice=advice)
