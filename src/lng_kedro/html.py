"""Pages of one HTML file that works offline, from the templates of this package."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any


def render_html(template: str, styles: Sequence[str], script: str = "", **content: Any) -> str:
    """A page: its template, filled in; every text of `content` is escaped.

    Args:
        template: name of a file of this package. It is given `style`, `script` and `script_hash` beside
            `content`.
        styles: names of its style sheets.
        script: what the page runs, and nothing else, whatever a text on it tries.
    """
    return "".join(stream_html(template, styles, script, **content))


def stream_html(template: str, styles: Sequence[str], script: str = "", **content: Any) -> Iterator[str]:
    """A page as `render_html` makes it, piece by piece: an iterator in `content` is not held as a whole."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("lng_kedro", ""),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).generate(
        style="".join(map(part, styles)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **content,
    )


def part(name: str) -> str:
    """Text of a file of this package."""
    return files("lng_kedro").joinpath(name).read_text(encoding="utf-8")


def to_script(data: Any) -> str:
    """JSON that may stand inside a script element, whatever texts it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
