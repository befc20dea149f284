"""A report as one HTML file that needs nothing else: its Markdown rendered, its figures inside."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jinja2
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from keras_sepnets.lab.drawing import Drawing
from keras_sepnets.lab.markdown import MARKER

TEMPLATES = Path(__file__).with_name("templates")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
ID = re.compile(r'(\bid="|url\(#|href="#)')


def render_page(title: str, report: bytes, figures: Mapping[str, Drawing]) -> bytes:
    """Return a page.

    Args:
        title: The title of the window.
        report: The report in Markdown. HTML in it is shown as text, except comments, which are left out.
        figures: The figures by the paths that the report has.
    """
    markdown = MarkdownIt("commonmark").enable("table")
    markdown.core.ruler.push("figures", partial(_unwrap_figures, figures))
    rules: dict[str, Any] = {
        "text": _show_text,
        "html_block": _show_html,
        "html_inline": _show_html,
        "table_open": lambda *_: '<div class="table"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
        "image": partial(_show_image, figures),
    }
    cast(RendererHTML, markdown.renderer).rules.update(rules)
    body = markdown.render(MARKER.sub(b"\n", report).decode(errors="replace"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html").render(title=title, body=Markup(body)).encode()


def _show_text(tokens: Sequence[Token], place: int, *_: Any) -> str:
    return re.sub(r"(?<=\d) (?=%)", "&nbsp;", escape(tokens[place].content))


def _show_html(tokens: Sequence[Token], place: int, *_: Any) -> str:
    return escape(COMMENT.sub("", tokens[place].content))


def _unwrap_figures(figures: Mapping[str, Drawing], state: Any) -> None:
    """Take a figure out of the paragraph that it is alone in, where HTML allows none."""
    for place, token in enumerate(state.tokens):
        children = token.children or []
        if len(children) == 1 and children[0].type == "image" and children[0].attrs["src"] in figures:
            state.tokens[place - 1].hidden = state.tokens[place + 1].hidden = True


def _show_image(figures: Mapping[str, Drawing], tokens: Sequence[Token], place: int, *_: Any) -> str:
    """Return the figure itself; of a picture that the report's writer added, a link to it."""
    source, words = str(tokens[place].attrs["src"]), escape(tokens[place].content)
    if source not in figures:
        return f'<a href="{escape(source)}">{words}</a>'
    svg = figures[source].svg.decode()
    inside = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{words}"', 1)
    # Figures have the same ids, which are unique on a page.
    inside = ID.sub(rf"\1{Path(source).stem}-", inside)
    return f"<figure>{inside}<figcaption>{words}</figcaption></figure>\n"
