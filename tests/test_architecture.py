"""Imports run one way: the contracts of `pyproject.toml` hold, and each fails when it is broken."""

import os
import shutil
import subprocess
import sys
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
