"""Imports run one way: the contracts of `pyproject.toml` hold, and each fails when it is broken."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in *folder*`/src` against the contracts of *folder*`/pyproject.toml`."""
    return subprocess.run(
        [*LINT, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_run_one_way() -> None:
    """Every contract is kept."""
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


LAYERS = "Imports run one way"
#: A contract, a file, and a line in it that breaks the contract.
BREACHES = [
    (LAYERS, "money.py", "import earmark.ledger.ledger"),
    (LAYERS, "service/app.py", "import earmark.heartbeat.cycle"),
    (LAYERS, "workspace/health.py", "import earmark.heartbeat.cycle"),
    (
        "Of the commands only earmark serve knows the service",
        "cli/task.py",
        "import earmark.service.app",
    ),
    (
        "Only stores.open knows the concrete stores",
        "cli/main.py",
        "import earmark.stores.sqlite",
    ),
    ("The rules do no I/O", "ledger/rules.py", "import threading"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package to break."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
    return folder


@pytest.mark.parametrize(("contract", "name", "line"), BREACHES)
def test_a_broken_contract_is_noticed(copied: Path, contract: str, name: str, line: str) -> None:
    """One wrong import in one file breaks the contract that forbids it."""
    file = copied / "src" / "earmark" / name
    before = file.read_text(encoding="utf-8")
    file.write_text(f"{before}\n{line}\n", encoding="utf-8")
    found = lint_imports(copied)
    file.write_text(before, encoding="utf-8")
    assert found.returncode != 0
    assert f"{contract} BROKEN" in found.stdout


def test_every_package_has_its_layer(copied: Path) -> None:
    """A new folder has to take a place in the layers."""
    added = copied / "src" / "earmark" / "attic"
    added.mkdir()
    (added / "__init__.py").touch()
    found = lint_imports(copied)
    shutil.rmtree(added)
    assert found.returncode != 0
    assert "attic" in found.stdout


def imports(folder: Path) -> dict[str, set[str]]:
    """Return which modules each module below *folder* imports, wherever in it, also for typing."""
    modules = {
        ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): file
        for file in folder.rglob("*.py")
    }
    found: dict[str, set[str]] = {}
    for name, file in modules.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                within = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
                named |= within or {node.module}
        found[name] = named & modules.keys() - {name}
    return found


def circle(imported: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one circle, if there is any."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other() -> None:
    """No module imports what imports it: not in a function and not for the type checker alone."""
    found = imports(ROOT / "src")
    assert "earmark.ledger.rules" in found["earmark.ledger.books"]
    assert circle(found) == []


def test_a_circle_is_noticed(copied: Path) -> None:
    """An import for the type checker alone closes a circle as any other does."""
    file = copied / "src" / "earmark" / "ledger" / "async_ledger.py"
    before = file.read_text(encoding="utf-8")
    added = "if TYPE_CHECKING:\n    from earmark.ledger.ledger import Ledger"
    file.write_text(f"{before}\n{added}\n", encoding="utf-8")
    found = circle(imports(copied / "src"))
    file.write_text(before, encoding="utf-8")
    assert {"earmark.ledger.async_ledger", "earmark.ledger.ledger"} <= set(found)


#: Beside the guard: the modules that write money, and why each may.
WRITERS = {
    "cli/holds.py": "a person books the truth of a call",
    "heartbeat/budget_patches.py": "what was spent elsewhere, by the patch of the day",
    "runs/attempts.py": "a stage that is declared free says that it cost something",
    "service/routes/reservations.py": "the API's reservations are its clients' own holds",
    "workspace/attempt_reservations.py": "a key is used up, so that a lost attempt cannot spend",
}
#: Calls of a ledger that write money, and values that a committer is given.
WRITES = {"reserve", "spend", "extend", "settle", "release", "presume", "submit", "submit_async"}


def writes_money(module: ast.Module) -> bool:
    """Return whether *module* asks a ledger, by whatever name it has there, to write money."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WRITES
        and any(word in ast.unparse(node.func.value) for word in ("ledger", "committer"))
        for node in ast.walk(module)
    )


def test_money_is_written_by_the_guard_and_those_who_say_why() -> None:
    """Above the guard no module reserves or settles, but those that are listed."""
    package = ROOT / "src" / "earmark"
    writers = {
        path
        for file in package.rglob("*.py")
        if (path := file.relative_to(package).as_posix()).split("/")[0]
        not in {"ledger", "admission", "stores"}
        and writes_money(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert writers == WRITERS.keys()


#: Who knows a store by its URL, and why: as a user typed it, before a store is open.
URLS = {
    "cli/demo/__init__.py": "the demo's own books",
    "cli/first_token.py": "a first token is written beside a file",
    "cli/store_access.py": "books that are not there are named by their path",
    "config/load.py": "a path in a configuration is that file's",
    "config/settings.py": "the default",
}
_URL = ("memory:", "sqlite:", "postgresql:", "postgres:")


def test_nothing_above_the_stores_asks_what_kind_one_is() -> None:
    """No URL of a kind of store is written there, but for those that are listed."""
    package = ROOT / "src" / "earmark"
    found = {
        path
        for file in package.rglob("*.py")
        if not (path := file.relative_to(package).as_posix()).startswith("stores/")
        and any(
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(_URL)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
    }
    assert found == URLS.keys()


def test_nothing_of_the_package_imports_its_fakes() -> None:
    """`earmark.testing` is for the tests of others."""
    found = imports(ROOT / "src")
    assert {
        name
        for name, named in found.items()
        if not name.startswith("earmark.testing")
        and any(each.startswith("earmark.testing") for each in named)
    } == set()
