"""Descriptions of tasks: Markdown from anybody, as HTML that can do nothing."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

#: Where a link in a text may lead.
SCHEMES: Final = frozenset({"http", "https", "mailto"})
#: Longer texts would take a second or more to render.
LONGEST: Final = 20_000
#: A description's headings stand below those of the page.
_HIGHEST: Final = 3
_LOWEST: Final = 6
#: A column's alignment, which Markdown's tables write as a style that a page may not have.
_ALIGNED: Final = "text-align:"


@lru_cache(maxsize=256)
def rendered(text: str) -> Markup:
    """Return *text* (Markdown) as HTML.

    HTML in it is shown, not used; an image becomes a link, since a page fetches nothing from
    elsewhere; a link leads to a web page or a mail address, or stays text. A very long text is
    shown as it was typed.
    """
    if len(text) > LONGEST:
        return Markup(
            '<p class="mute small">Shown as it was typed: longer than the {:,} characters up to'
            " which Markdown is rendered.</p><pre>{}</pre>"
        ).format(LONGEST, text)
    tokens = _MARKDOWN.parse(text)
    _lower(tokens)
    for token in _all(tokens):
        _tame(token)
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return Markup(html)  # noqa: S704 - markdown-it escapes whatever it is given


def _lower(tokens: Sequence[Token]) -> None:
    """Let the headings begin below the page's own, and leave no level out."""
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    levels = [int(token.tag[1]) for token in headings]
    before = _HIGHEST - 1
    for token, level in zip(headings, levels, strict=True):
        if token.type == "heading_open":
            before = min(before + 1, _LOWEST, level - min(levels) + _HIGHEST)
        token.tag = f"h{before}"


def _all(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or ())


def _tame(token: Token) -> None:
    if token.type == "link_open":
        token.attrSet("rel", "noopener noreferrer nofollow")
    style = str(token.attrs.pop("style", ""))
    if style.startswith(_ALIGNED):
        token.attrSet("class", style.removeprefix(_ALIGNED))


def _leads_outside_safely(url: str) -> bool:
    try:
        return urlsplit(url).scheme.lower() in SCHEMES
    except ValueError:
        return False


def _made() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 20})
    markdown.enable(["table", "strikethrough"]).disable("image")
    markdown.validateLink = _leads_outside_safely
    return markdown


_MARKDOWN: Final = _made()
