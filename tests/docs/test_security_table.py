"""`docs/security.md` names a test for what it promises, and each of them is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_promise_names_a_test_that_is_there() -> None:
    """A row without a test, or with one that is gone, is a promise that nobody keeps."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    lines = page.splitlines()
    # A heading is followed by its rule, which has no blank.
    rows = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not after.startswith("|---")
    ]
    for row in rows[1:]:
        assert _TEST.search(row), row
    for file, name in _TEST.findall(page):
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{file}::{name}"
