"""A program of the next version: this one's source, with more plain fields of a budget."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import earmark
from support.last_resort import LAST_RESORT_S

_SOURCE: Final = Path(earmark.__file__).parent
_DECLARED_IN: Final = Path("budget", "fields.py")
#: What the next version declares: a text, a whole number and a flag.
_FIELDS: Final = """
    next_text: Annotated[
        str, FieldRules(about="A text.", metavar="TEXT", longest=40)
    ] = ""
    next_number: Annotated[int, FieldRules(about="A number.")] = 0
    next_flag: Annotated[bool, FieldRules(about="A flag.")] = False
"""
_GIVEN: Final = """    next_text: str | None
    next_number: int | None
    next_flag: bool | None
"""


def make_newer_program(folder: Path) -> Path:
    """Return a folder with the next version's package, in which one file is changed."""
    shutil.copytree(_SOURCE, folder / "earmark", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "earmark" / _DECLARED_IN
    text = file.read_text()
    for after, more in (('    ] = "UTC"\n', _FIELDS), ("    timezone: str | None\n", _GIVEN)):
        assert text.count(after) == 1, "the declaration is written otherwise"
        text = text.replace(after, after + more)
    file.write_text(text)
    return folder


def run_newer(program: Path, *arguments: str, folder: Path) -> str:
    """Run Python with *arguments* on the next version's package; return what it wrote."""
    tests = str(Path(__file__).parent.parent)
    outside = {name: x for name, x in os.environ.items() if not name.startswith("PYTEST_")}
    variables = {**outside, "PYTHONPATH": f"{program}{os.pathsep}{tests}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=LAST_RESORT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
