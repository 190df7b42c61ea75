"""Reads a page as a strict reader would: balanced tags, unique ids, labelled fields, no tricks."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

#: Elements that have no end tag.
VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
#: In SVG, an element may end itself.
SELF_ENDING = {"rect", "path", "line"}
#: Elements that may stand in the middle of a word.
WITHIN_WORDS = {"a", "time", "b", "em", "s", "strong", "code"}
#: Fields that a person fills in, and that need a label.
FIELDS = {"input", "select", "textarea"}
LINKS = {"href", "src", "action", "formaction", "srcset", "poster", "data"}
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


@dataclass
class Page:
    """What was found on a page."""

    text: str = ""
    """All that is shown, in order."""
    title: str = ""
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Return the attributes of each *tag* that has these."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            found for name, found in self.tags if name == tag and wanted.items() <= found.items()
        ]

    def field(self, name: str) -> dict[str, str]:
        """Return the one field called *name* in the forms of the page, csrf and key among them."""
        found = [a for tag, a in self.tags if tag in FIELDS and a.get("name") == name]
        assert found, f"no field {name}"
        return found[0]


def read_page(html: str) -> Page:
    """Return what *html* shows, with all that is wrong with it as a page of ours."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    page = reader.page
    page.text = " ".join("".join(reader.shown).split())
    page.faults += [f"<{tag}> is not ended" for tag in reader.open]
    page.faults += _faults(page)
    return page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if len({name for name, _ in attrs}) != len(attrs):
            self.page.faults.append(f"<{tag}> says something twice")
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._space(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in SELF_ENDING | VOID:
            self.page.faults.append(f"<{tag}/> ends itself")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.page.faults.append(f"</{tag}> ends {self.open[-1:]} at {self.getpos()}")
            return
        self.open.pop()
        self._space(tag)

    def _space(self, tag: str) -> None:
        self.shown.append("" if tag in WITHIN_WORDS else " ")

    def handle_data(self, data: str) -> None:
        if "title" in self.open:
            self.page.title += data
        elif not {"script", "style"} & set(self.open):
            self.shown.append(data)


def _faults(page: Page) -> list[str]:
    return [*_ids(page), *_labels(page), *_tricks(page), *_landmarks(page)]


def _ids(page: Page) -> list[str]:
    ids = [found["id"] for _, found in page.tags if "id" in found]
    faults = [f"id {each} twice" for each in sorted({i for i in ids if ids.count(i) > 1})]
    for _, found in page.tags:
        named = [found.get("for", ""), *found.get("aria-labelledby", "").split()]
        faults += [f"nothing has the id {each}" for each in named if each and each not in ids]
    return faults


def _labels(page: Page) -> list[str]:
    labelled = {found.get("for") for found in page.all("label")}
    return [
        f"field {found.get('name')} has no label"
        for tag, found in page.tags
        if tag in FIELDS and not _is_hidden(found) and found.get("id") not in labelled
    ]


def _is_hidden(found: dict[str, str]) -> bool:
    return found.get("type") == "hidden" or "hidden" in found


def _tricks(page: Page) -> list[str]:
    """Return whatever the content policy would stop, and every way off the machine."""
    faults: list[str] = []
    for tag, found in page.tags:
        if tag in {"style", "iframe", "object", "embed", "base", "img"}:
            faults.append(f"<{tag}>")
        if tag == "script" and not found.get("src", "").startswith("/static/"):
            faults.append("a script of its own")
        faults += [f"{tag} {name}" for name in found if name.startswith("on") or name == "style"]
        for name in LINKS & set(found):
            own = tag == "a" and "noopener" in found.get("rel", "")
            if OUTSIDE.match(found[name]) and not own:
                faults.append(f"{tag} {name}={found[name]}")
    return faults


def _landmarks(page: Page) -> list[str]:
    faults = [f"no <{tag}>" for tag in ("main", "header", "footer", "h1") if not page.all(tag)]
    if len(page.all("h1")) > 1:
        faults.append("two <h1>")
    if not page.all("html", lang="en"):
        faults.append("no language")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    for before, after in pairwise(levels):
        if after > before + 1:
            faults.append(f"h{after} under h{before}")
    return faults
