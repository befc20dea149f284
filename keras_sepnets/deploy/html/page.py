"""The HTML file: one template, filled with scripts, style, network and card; it fetches nothing."""

import base64
import hashlib
import html
import json
from pathlib import Path
from string import Template
from typing import Any

from keras_sepnets.deploy.html.packing import PackedNetwork

HERE = Path(__file__).parent
INTERPRETER = ("pixels.js", "vectors.js", "interpreter.js")  # these run in node, too


def render_page(network: PackedNetwork, about: dict[str, Any]) -> str:
    """Return the page.

    Args:
        network: The network.
        about: What page.js reads: title, summary, classes, rules of the pixels, card.
    """
    interpreter = "\n".join(_read(name) for name in INTERPRETER)
    page, style = _read("page.js"), _read("page.css")
    return Template(_read("page.html")).substitute(
        title=html.escape(about["title"]),
        hashes_of_scripts=f"{_hash(interpreter)} {_hash(page)}",
        hash_of_style=_hash(style),
        style=style,
        interpreter=interpreter,
        page=page,
        about=_json(about),
        network=_json(network.description),
        kernels=network.kernels,
        floats=network.floats,
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy calls a script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: Any) -> str:
    """Return JSON in which nothing can end the script element around it."""
    return json.dumps(content).replace("<", "\\u003c")
