"""What the pages are made of: Markdown that can do nothing, files that ask for nothing outside."""

import re

import pytest

from earmark.service.pages.assets import FOLDER, address, assets
from earmark.service.pages.markdown import rendered
from support.page_house import HOSTILE, PageHouse
from support.page_reader import OUTSIDE, read_page

CSS = (FOLDER / "static" / "style.css").read_text(encoding="utf-8")
JS = (FOLDER / "static" / "live.js").read_text(encoding="utf-8")

# Markdown -----------------------------------------------------------------------------------------


def test_markdown_is_rendered() -> None:
    """Headings, lists, code and tables are what they say."""
    html = rendered("## A\n- **b**\n\n`c`\n\n|d|e|\n|-|-:|\n|1|2|\n\n```py\nx < y\n```")
    for part in ("<h3>A</h3>", "<strong>b</strong>", "<code>c</code>", '<td class="right">2</td>'):
        assert part in html
    assert "x &lt; y" in html


def test_headings_stand_below_the_page_s_own() -> None:
    """A description's headings begin at the third level, and leave none out."""
    html = rendered("## A\n#### B\n# C\n###### D")
    assert re.findall(r"<(h\d)>", html) == ["h3", "h4", "h3", "h4"]
    assert re.findall(r"<(h\d)>", rendered("### A\n##### B\n### C")) == ["h3", "h4", "h3"]


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE, f"# {HOSTILE}", f"`{HOSTILE}`", f"```{HOSTILE}\n{HOSTILE}\n```", f"- {HOSTILE}",
        f"|{HOSTILE}|\n|-|\n|{HOSTILE}|", f"[{HOSTILE}](https://a.example/{HOSTILE})",
        f'[a](https://a.example "{HOSTILE}")', "<div onclick=alert(1)>", "<!-- <script>x -->",
        "<svg/onload=alert(1)>", "[a]: https://x\n<iframe src=//evil.example>", "&lt;script&gt;",
    ],
)  # fmt: skip
def test_html_in_markdown_is_shown_and_never_used(text: str) -> None:
    """No tag comes from a text but those of Markdown itself, and none with an event."""
    found = read_page(f"<main>{rendered(text)}</main>")
    known = {"main", "p", "h3", "code", "pre", "ul", "li", "a", "table", "thead", "tbody", "tr"}
    assert {tag for tag, _ in found.tags} <= known | {"th", "td", "strong", "em"}
    assert not [name for _, given in found.tags for name in given if name.startswith("on")]


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", " javascript:x",
        "data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", "/budgets",
        "//evil.example", "&#106;avascript:alert(1)", "\x01javascript:alert(1)", "blob:x", "http",
    ],
)  # fmt: skip
def test_a_link_leads_to_the_web_or_to_mail(target: str) -> None:
    """Any other scheme, and any address of this service, is no link."""
    assert "<a" not in rendered(f"[x](<{target}>) [y]({target}) <{target}>\n\n[r]\n\n[r]: {target}")


def test_a_link_does_not_bring_this_page_along() -> None:
    """Links that are links tell the other side nothing of this page."""
    html = rendered("[x](https://a.example) <mailto:a@b.example>")
    assert html.count('rel="noopener noreferrer nofollow"') == 2


def test_an_image_is_a_link() -> None:
    """Nobody can make a page fetch something from elsewhere."""
    html = rendered("![x](https://evil.example/pixel.png)")
    assert "<img" not in html
    assert '<a href="https://evil.example/pixel.png"' in html


def test_deep_markdown_is_rendered() -> None:
    """A text made to nest for ever is rendered, or left as it is."""
    for text in ("[" * 5_000, ">" * 5_000, "*a" * 2_000, "`" * 5_001, "- " * 2_000, "|" * 5_000):
        assert rendered(text)


def test_a_very_long_text_is_shown_as_it_was_typed() -> None:
    """Nobody waits for the rendering of a quarter of a megabyte, which may be made to be slow."""
    text = f"# {HOSTILE}\n" * 10_000
    html = rendered(text)
    assert "longer than the 20,000 characters up to which Markdown is rendered" in html
    assert "<pre># &lt;script&gt;" in html
    assert read_page(f"<main>{html}</main>").tags[2:] == [("pre", {})]


# Files --------------------------------------------------------------------------------------------


def test_a_file_may_be_kept_for_ever(house: PageHouse) -> None:
    """Its address holds its digest; the same address asked again with its tag is not sent again."""
    visitor = house.visitor()
    for name in assets():
        first = visitor.get(address(name))
        assert first.status_code == 200
        assert "immutable" in first.headers["cache-control"]
        again = visitor.client.get(address(name), headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert visitor.get(f"/static/{name}").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["nothing.js", "../render.py", "..%2frender.py", "%2e%2e/__init__.py", "", "."]
)
def test_no_other_file_is_sent(house: PageHouse, path: str) -> None:
    """What did not stand in the folder at the start does not exist."""
    assert house.visitor().get(f"/static/{path}").status_code == 404


def test_files_ask_for_nothing_outside() -> None:
    """Neither style sheet, script, icon nor template names another host."""
    for file in sorted((FOLDER / "static").iterdir()) + sorted((FOLDER / "templates").iterdir()):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"(?:https?:)?//[\w-]+\.\w+|@import|url\((?!#)", text) == [], file.name


def test_the_script_makes_no_code_of_text() -> None:
    """Nothing is evaluated, and HTML is parsed where no script of it can run."""
    for way in ("eval(", "Function(", "document.write", "insertAdjacentHTML", 'setTimeout("'):
        assert way not in JS
    assert re.findall(r"innerHTML\s*=[^=]", JS) == []


def test_links_out_are_recognized() -> None:
    """The reader that finds ways off the machine finds them."""
    page = read_page('<a href="https://evil.example">x</a><p onclick="x" style="y">z</p>')
    assert {"a href=https://evil.example", "p onclick", "p style"} <= set(page.faults)
    assert OUTSIDE.match("//evil.example")


# Colours ------------------------------------------------------------------------------------------

#: Text, and what it stands on.
TEXT = [
    (text, ground)
    for text in ("ink", "mute", "accent", "blue", "green", "red", "amber")
    for ground in ("paper", "sheet")
] + [("on-accent", "accent"), ("paper", "ink")]
#: Parts of pictures and frames of fields.
PARTS = [
    ("edge", "paper"),
    ("edge", "sheet"),
    ("accent", "room"),
    ("amber", "room"),
    ("red", "room"),
]


def schemes() -> dict[str, dict[str, str]]:
    """Return the colours of the light and of the dark scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    found = {"light": dict(re.findall(r"--([\w-]+): (#\w{6});", light))}
    found["dark"] = {**found["light"], **dict(re.findall(r"--([\w-]+): (#\w{6});", dark))}
    return found


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG 2.2 counts it."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str) -> None:
    """Text has a contrast of 4.5 at least, parts of pictures of 3, in both schemes."""
    colours = schemes()[scheme]
    for pairs, least in ((TEXT, 4.5), (PARTS, 3.0)):
        for one, other in pairs:
            assert contrast(colours[one], colours[other]) >= least, (scheme, one, other)
