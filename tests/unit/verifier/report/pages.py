"""Reading a report as a strict reader does: every tag closed, text by element, what a browser would fetch or run."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}
CLOSED = {"rect", "line", "circle"}
"""Drawn elements that close themselves."""


class Reader(HTMLParser):
    """The elements of a page. Fails on tags that are not closed in order.

    Attributes:
        tags: every element, with its attributes, in order.
        texts: the text of each finished element by tag, white space as one space.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.feed(page)
        self.close()
        assert self._open == [], f"never closed: {[tag for tag, _ in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        assert tag not in CLOSED
        if tag not in VOID:
            self._open.append((tag, []))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in CLOSED
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, parts = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        self.texts.setdefault(tag, []).append(" ".join("".join(parts).split()))

    def handle_data(self, data: str) -> None:
        for _, parts in self._open:
            parts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def text(self) -> str:
        """The whole page."""
        return self.texts["html"][0]


def inert(page: str) -> Reader:
    """The page, after asserting that nothing in it runs, loads or leads elsewhere, and that it is for people."""
    read = Reader(page)
    allowed = {
        *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "article", "footer"),
        *("h1", "h2", "h3", "p", "strong", "em", "span", "code", "pre", "a", "sup", "ol", "ul", "li", "dl", "dt", "dd"),
        *("div", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
        *("svg", "desc", "text", "rect", "line", "circle"),
    }
    assert {tag for tag, _ in read.tags} <= allowed
    for tag, attributes in read.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")}
        assert (attributes.get("href") or "#").startswith("#"), tag
    style = read.texts["style"][0]
    assert "url(" not in style and "@import" not in style
    metas = [attributes for tag, attributes in read.tags if tag == "meta"]
    (security,) = [m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"]
    assert security is not None and security.startswith("default-src 'none'; style-src 'sha256-")
    assert read.count("style") == read.count("title") - read.count("svg") == 1
    assert read.count("caption") == read.count("table")
    for tag, attributes in read.tags:
        if tag == "svg":
            assert attributes["role"] == "img"
            named = (attributes["aria-labelledby"] or "").split()
            assert len(named) == 2 and all(f'id="{name}"' in page for name in named)
    assert all(c.isprintable() or c == "\n" for c in page)
    return read
