"""From material to HTML: Jinja2 with everything escaped twice over, and a policy that lets a browser load nothing.

Every value passes `printable`, which writes control characters and direction overrides as escapes, and then autoescape.
The page has no script, no external resource and no inline style attribute; its one style sheet is named by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from verifier.attestation.summary import printable
from verifier.report.material import Material
from verifier.report.page import Page

_TEMPLATE, _STYLE = "report.html.j2", "report.css"


def render(material: Material) -> str:
    """The report as one HTML document; the same material gives the same text."""
    style = files("verifier.report").joinpath("templates", _STYLE).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    security = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    template = _environment().get_template(_TEMPLATE)
    return template.render(page=Page.of(material), style=Markup(style), security=security)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("verifier.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _visible(value: Any) -> Any:
    """Nothing unprintable leaves a template, except through what the program itself marked as safe."""
    return value if isinstance(value, Markup) else printable(str(value))
