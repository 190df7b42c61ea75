"""The README's code runs and prints what the README prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


def test_the_first_example_prints_what_the_readme_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Python block, run in an empty folder, prints the text block below it."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[0], str(README), "exec"), {})  # noqa: S102

    assert printed.getvalue() == blocks("text")[0]


def test_the_first_screen_shows_guarantee_example_and_commands() -> None:
    """The first 40 lines hold the guarantee, the example, its output and the two commands."""
    first = README.read_text("utf-8").splitlines()[:40]

    screen = "\n".join(first)
    for part in ("cannot be overspent", "```python", "```text", "make demo", "make test"):
        assert part in screen
