"""Every file and name that ARCHITECTURE.md gives is in the package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "earmark"
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
#: A file, and the names in it that follow in parentheses or after a comma.
FILE = re.compile(r"`((?:[\w.]+/)*\w+\.(?:py|sql))`((?:(?:,| and|:)? `[\w.]+`)*)")


def found(path: str) -> Path | None:
    """Return the file that *path* names: below the package, the project, or its unit tests."""
    places = (PACKAGE, ROOT, ROOT / "tests", ROOT / "tests" / "unit" / "apis", PACKAGE / "apis")
    return next((place / path for place in places if (place / path).exists()), None)


def defined(file: Path) -> set[str]:
    """Return the functions and classes of *file*, methods as `Class.method`."""
    names: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return names


@pytest.mark.parametrize(
    ("path", "names"),
    # `X.py` stands for a file of an API that somebody adds.
    sorted(each for each in set(FILE.findall(PAGE)) if not each[0].startswith("X")),
)
def test_what_the_page_names_is_there(path: str, names: str) -> None:
    """A file that the page names exists, and defines the names that stand behind it."""
    file = found(path)
    assert file is not None, f"ARCHITECTURE.md names {path}, which is not there"
    listed = set(re.findall(r"`([\w.]+)`", names))
    assert file.suffix == ".py" or not listed
    if listed:
        assert listed - defined(file) == set(), f"{path} does not define them"


def test_every_folder_has_its_row() -> None:
    """The code map says of every folder of the package what it is and what it must not."""
    folders = {each.name for each in PACKAGE.iterdir() if (each / "__init__.py").exists()}
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in row.split("`")}
    assert folders - named == set()
