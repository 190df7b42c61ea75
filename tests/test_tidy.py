"""Tidiness is tested: sizes, docstrings, words, and nothing of the machine it was written on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 450
#: Tests are read one at a time, and a suite that belongs together stays together.
LONGEST_TEST_FILE = 500
LONGEST_FUNCTION = 50
#: Names that say nothing about what is inside.
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


def files(*suffixes: str, under: tuple[str, ...] = ("src", "tests", "benchmarks")) -> list[Path]:
    """Return the project's files with one of *suffixes*, by name."""
    found = [
        path
        for folder in under
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts
    ]
    return sorted(path.relative_to(ROOT) for path in found)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a Python file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


PYTHON = files(".py")
TESTS = [path for path in PYTHON if path.name.startswith("test_")]


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    """No Python file has more than 450 lines, no file of tests more than 500."""
    most = LONGEST_TEST_FILE if path.name.startswith("test_") else LONGEST_FILE
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= most


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    """No function has more than 50 lines."""
    long = {
        node.name: size
        for node in functions(path)
        if (size := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_a_test_states_a_claim(path: Path) -> None:
    """Every test has a docstring that is a sentence."""
    for node in functions(path):
        if node.name.startswith("test_"):
            claim = ast.get_docstring(node) or ""
            assert len(claim.split()) > 2, f"{node.name} claims nothing"
            assert claim.endswith("."), f"{node.name}: {claim!r} is no sentence"


#: Fixed waits, patched-in fakes, and tests that do not run; a test that lacks its ground skips by
#: calling `pytest.skip` with the reason.
BANNED_IN_TESTS = {
    "time.sleep", "unittest.mock", "pytest.mark.skip", "pytest.mark.skipif",
    "pytest.mark.xfail", "monkeypatch.setattr",
}  # fmt: skip


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_a_test_neither_sleeps_nor_mocks(path: Path) -> None:
    """Tests wait on events or move a clock, and use real parts."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used & BANNED_IN_TESTS == set()


#: What waits for something, and where among its arguments a limit in seconds may be.
WAITS = {
    "asyncio.timeout": 0, "asyncio.wait_for": 1, "join": 0, "wait": 0, "wait_for": 1, "acquire": 1,
    "result": 0, "communicate": 1, "settimeout": 0, "Client": 9, "subprocess.run": 9, "timeout": 0,
}  # fmt: skip
#: Shorter ones are pauses between two looks, or the wait itself is what a test is about.
LONGEST_PAUSE_S = 1
CLOCKS = re.compile(r"\b(?:monotonic|perf_counter|elapsed)(?:_ns)?\(\) - \w+ *<|\btook *<")


def seconds_waited(path: Path) -> Iterator[str]:
    """Yield where a test waits for no longer than a number of seconds that is written there."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        place = WAITS.get(name, WAITS.get(name.rpartition(".")[2]))
        if place is None:
            continue
        given = [each.value for each in node.keywords if each.arg == "timeout"]
        for value in [*node.args[place : place + 1], *given]:
            seconds = value.value if isinstance(value, ast.Constant) else None
            if isinstance(seconds, int | float) and seconds > LONGEST_PAUSE_S:
                yield f"{path}:{node.lineno}: {ast.unparse(node)[:80]}"
    yield from (f"{path}: {found}" for found in CLOCKS.findall(text))


def test_the_pace_of_the_machine_decides_nothing() -> None:
    """Tests wait as long as it takes, up to the one `LAST_RESORT_S`, and compare no durations."""
    own = [path for path in PYTHON if path.parts[0] == "tests" and path.name != "test_tidy.py"]
    assert [found for path in own for found in seconds_waited(path)] == []


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_name_says_what_is_inside(path: Path) -> None:
    """No file or folder is called utils, helpers, common or manager."""
    assert VAGUE.isdisjoint({*path.parts[:-1], path.stem})


def test_no_folder_is_empty() -> None:
    """Every folder of the package holds something of its own."""
    for folder in (ROOT / "src").rglob("*"):
        if folder.is_dir() and folder.name != "__pycache__":
            assert any(child.name != "__pycache__" for child in folder.iterdir()), folder


def written() -> list[Path]:
    """Return every text people read or run."""
    plain = sorted(path.relative_to(ROOT) for path in ROOT.glob("*.md"))
    listed = files(".py", ".sql", ".md", ".toml", under=("src", "tests", "benchmarks", "docs"))
    return [*plain, *listed, *map(Path, ("Makefile", "pyproject.toml", ".ci/run"))]


#: Folders of somebody's machine; a JSON pointer such as `/root/stages` is none of them.
MACHINE = re.compile(r"/(?:home|Users)/\w+|/work/\w+|/root/\.\w+|/tmp/\w+|C:\\\\Users")


@pytest.mark.parametrize("path", written(), ids=str)
def test_nothing_tells_of_a_machine(path: Path) -> None:
    """No text names a folder of the machine it was written on."""
    assert MACHINE.findall((ROOT / path).read_text(encoding="utf-8")) == []


#: Where a banned word is somebody else's: (word, beginning of the path) and why.
FOREIGN = {
    ("cents", "src/earmark/composition/"): "the composition format's own field",
    ("cents", "src/earmark/stages/kinds/"): "the composition format's own field",
    ("cents", "src/earmark/config/"): "reads the composition format's costs",
    ("cents", "src/earmark/cli/demo/"): "says what a try on a real provider costs",
    ("job", "src/earmark/cli/demo/"): "the main job of the program, in plain English",
    ("job", "README.md"): "the main job of the program, in plain English",
    ("overdraft", "src/earmark/service/metrics.py"): "a metric's name, as dashboards know it",
    ("quota", "src/earmark/apis/"): "quotes a provider's message",
    ("estimate", "src/earmark/provider/"): "counts tokens of a stream: no bound, and says so",
}


def banned_words() -> list[str]:
    """Return what the glossary's last column tells not to say."""
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    cells = [row.strip("|").split("|")[-1] for row in rows if row.startswith("| ")][1:]
    return [word.strip() for cell in cells for word in cell.split(",") if word.strip()]


def spoken(path: Path, word: str) -> list[str]:
    """Return the lines of *path* that use *word*, in whatever case or number."""
    pattern = re.compile(rf"(?<![a-z]){re.escape(word)}s?(?![a-z])", re.IGNORECASE)
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if pattern.search(line)]


def test_the_glossary_bans_something() -> None:
    """The glossary's last column is read."""
    assert {"wallet", "quota", "escrow", "bucket"} <= set(banned_words())


@pytest.mark.parametrize("word", banned_words())
def test_one_word_per_thing(word: str) -> None:
    """The package and its documents use the glossary's words, never the ones it bans."""
    own = [path for path in written() if path.parts[0] not in {"tests", "benchmarks"}]
    found = {
        f"{path}: {line}"
        for path in own
        if path.name != "glossary.md"
        for line in spoken(path, word)
        if not any(w == word and str(path).startswith(where) for w, where in FOREIGN)
    }
    assert found == set()
