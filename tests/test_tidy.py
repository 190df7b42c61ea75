"""Tidiness is tested: sizes, docstrings, words, and nothing of the machine it was written on."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hypothesis import settings

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


@cache
def text_of(path: Path) -> str:
    """Return what stands in a file."""
    return (ROOT / path).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Code:
    """What the rules ask of a Python file; all their trees would take much memory."""

    functions: list[tuple[str, int, str]]
    "Name, lines and docstring of each."
    names: set[str]
    "Dotted names that are used, and modules that names are imported from."
    waits: list[str]
    "Where it waits, or lets Hypothesis, for no longer than what is written there."


@cache
def code(path: Path) -> Code:
    """Read a Python file, once."""
    nodes = list(ast.walk(ast.parse(text_of(path))))
    functions = [
        (each.name, (each.end_lineno or 0) - each.lineno + 1, ast.get_docstring(each) or "")
        for each in nodes
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    names = {ast.unparse(each) for each in nodes if isinstance(each, ast.Attribute)}
    names |= {each.module or "" for each in nodes if isinstance(each, ast.ImportFrom)}
    waits = [
        f"{path}:{each.lineno}: {ast.unparse(each)[:80]}"
        for each in nodes
        if isinstance(each, ast.Call) and (waits_by_the_clock(each) or sets_a_pace(each))
    ]
    return Code(functions, names, waits)


#: What waits for something, and where among its arguments a limit in seconds may be.
WAITS = {
    "asyncio.timeout": 0, "asyncio.wait_for": 1, "join": 0, "wait": 0, "wait_for": 1, "acquire": 1,
    "result": 0, "communicate": 1, "settimeout": 0, "Client": 9, "subprocess.run": 9, "timeout": 0,
}  # fmt: skip
#: Shorter ones are pauses between two looks, or the wait itself is what a test is about.
LONGEST_PAUSE_S = 1
CLOCKS = re.compile(r"\b(?:monotonic|perf_counter|elapsed)(?:_ns)?\(\) - \w+ *<|\btook *<")


def waits_by_the_clock(call: ast.Call) -> bool:
    """Tell whether *call* waits for something no longer than a number of seconds."""
    name = ast.unparse(call.func)
    place = WAITS.get(name, WAITS.get(name.rpartition(".")[2]))
    if place is None:
        return False
    limits = [each.value for each in call.keywords if each.arg == "timeout"]
    limits += call.args[place : place + 1]
    seconds = [each.value for each in limits if isinstance(each, ast.Constant)]
    return any(isinstance(each, int | float) and each > LONGEST_PAUSE_S for each in seconds)


def sets_a_pace(call: ast.Call) -> bool:
    """Tell whether *call* gives one test of Hypothesis a deadline or health checks of its own."""
    own = {"deadline", "suppress_health_check"} & {each.arg for each in call.keywords}
    return ast.unparse(call.func) in {"settings", "hypothesis.settings"} and own != set()


PYTHON = files(".py")
TESTS = [path for path in PYTHON if path.name.startswith("test_")]


def test_a_file_is_read_in_one_sitting() -> None:
    """No Python file has more than 450 lines, no file of tests more than 500."""
    sizes = {path: len(text_of(path).splitlines()) for path in PYTHON}
    most = dict.fromkeys(PYTHON, LONGEST_FILE) | dict.fromkeys(TESTS, LONGEST_TEST_FILE)
    assert [f"{path}: {lines}" for path, lines in sizes.items() if lines > most[path]] == []


def test_a_function_fits_on_a_screen() -> None:
    """No function has more than 50 lines."""
    sizes = [(path, *function[:2]) for path in PYTHON for function in code(path).functions]
    assert [f"{path}: {name}" for path, name, lines in sizes if lines > LONGEST_FUNCTION] == []


def test_a_test_states_a_claim() -> None:
    """Every test has a docstring of some words; ruff sees that it exists (D103), ends (D415)."""
    claims = [
        (f"{path}: {name}", claim)
        for path in TESTS
        for name, _, claim in code(path).functions
        if name.startswith("test_")
    ]
    assert [where for where, claim in claims if len(claim.split()) <= 2] == []


#: Fixed waits, patched-in fakes, and tests that do not run; a test that lacks its ground skips by
#: calling `pytest.skip` with the reason.
BANNED_IN_TESTS = {
    "time.sleep", "unittest.mock", "pytest.mark.skip", "pytest.mark.skipif",
    "pytest.mark.xfail", "monkeypatch.setattr",
}  # fmt: skip


def test_a_test_neither_sleeps_nor_mocks() -> None:
    """Tests wait on events or move a clock, and use real parts."""
    used = {path: code(path).names & BANNED_IN_TESTS for path in TESTS}
    assert {str(path): names for path, names in used.items() if names} == {}


def test_the_pace_of_the_machine_decides_nothing() -> None:
    """Tests wait as long as it takes, up to the one `LAST_RESORT_S`, and compare no durations."""
    own = [path for path in PYTHON if path.parts[0] == "tests" and path.name != "test_tidy.py"]
    compared = [f"{path}: {found}" for path in own for found in CLOCKS.findall(text_of(path))]
    assert [*compared, *(wait for path in own for wait in code(path).waits)] == []


def test_the_pace_of_examples_decides_nothing() -> None:
    """The suite's profile of Hypothesis has no deadline and no health check of speed."""
    assert settings().deadline is None
    speed = {"too_slow", "data_too_large", "filter_too_much", "large_base_example"}
    assert speed <= {check.name for check in settings().suppress_health_check}


#: They take a second to import, which every worker would pay before its first test.
LARGE = re.compile(
    r"^(?:import|from) (?:anthropic|openai|playwright|schemathesis)\b.*", re.MULTILINE
)


def test_what_is_large_is_imported_by_who_uses_it() -> None:
    """No file of the tests imports an SDK, a browser or Schemathesis when it is collected."""
    # Scripts are programs that tests start.
    own = [path for path in PYTHON if path.parts[0] == "tests" and "scripts" not in path.parts]
    assert [f"{path}: {found}" for path in own for found in LARGE.findall(text_of(path))] == []


def test_a_name_says_what_is_inside() -> None:
    """No file or folder is called utils, helpers, common or manager."""
    assert [path for path in PYTHON if VAGUE & {*path.parts[:-1], path.stem}] == []


def test_no_folder_is_empty() -> None:
    """Every folder of the package holds something of its own."""
    folders = [each for each in (ROOT / "src").rglob("*") if each.is_dir()]
    cache_alone = {"__pycache__"}
    bare = [each for each in folders if {child.name for child in each.iterdir()} <= cache_alone]
    assert [each for each in bare if each.name not in cache_alone] == []


def written() -> list[Path]:
    """Return every text people read or run."""
    plain = sorted(path.relative_to(ROOT) for path in ROOT.glob("*.md"))
    listed = files(".py", ".sql", ".md", ".toml", under=("src", "tests", "benchmarks", "docs"))
    return [*plain, *listed, *map(Path, ("Makefile", "pyproject.toml", ".ci/run"))]


#: Folders of somebody's machine; a JSON pointer such as `/root/stages` is none of them.
MACHINE = re.compile(r"/(?:home|Users)/\w+|/work/\w+|/root/\.\w+|/tmp/\w+|C:\\\\Users")


def test_nothing_tells_of_a_machine() -> None:
    """No text names a folder of the machine it was written on."""
    found = {str(path): MACHINE.findall(text_of(path)) for path in written()}
    assert {path: names for path, names in found.items() if names} == {}


#: Where a banned word is somebody else's: (word, beginning of the path) and why.
FOREIGN = {
    ("job", "src/earmark/cli/demo/"): "the main job of the program, in plain English",
    ("job", "src/earmark/gateway/endpoints.py"): "a word of providers' paths",
    ("workflow", "src/earmark/gateway/endpoints.py"): "a word of providers' paths",
    ("job", "README.md"): "the main job of the program, in plain English",
    ("overdraft", "src/earmark/service/metrics.py"): "a metric's name, as dashboards know it",
    ("quota", "src/earmark/apis/"): "quotes a provider's message",
    ("quota", "docs/gateway.md"): "a provider's type of an error",
    ("estimate", "src/earmark/provider/"): "counts tokens of a stream: no bound, and says so",
}


def banned_words() -> list[str]:
    """Return what the glossary's last column tells not to say."""
    rows = text_of(Path("docs/glossary.md")).splitlines()
    cells = [row.strip("|").split("|")[-1] for row in rows if row.startswith("| ")][1:]
    return [word.strip() for cell in cells for word in cell.split(",") if word.strip()]


def spoken(path: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield the banned words that *path* uses, in whatever case or number, each with its line."""
    if pattern.search(text_of(path)):
        for line in text_of(path).splitlines():
            for word in pattern.findall(line):
                yield word.lower(), line.strip()


def test_the_glossary_bans_something() -> None:
    """The glossary's last column is read."""
    assert {"wallet", "quota", "escrow", "bucket"} <= set(banned_words())


def test_one_word_per_thing() -> None:
    """The package and its documents use the glossary's words, never the ones it bans."""
    own = [path for path in written() if path.parts[0] not in {"tests", "benchmarks"}]
    any_of = "|".join(map(re.escape, banned_words()))
    pattern = re.compile(rf"(?<![a-z])({any_of})s?(?![a-z])", re.IGNORECASE)
    found = [
        f"{path}: {line}"
        for path in own
        if path.name != "glossary.md"
        for word, line in spoken(path, pattern)
        if not any(w == word and str(path).startswith(where) for w, where in FOREIGN)
    ]
    assert found == []
