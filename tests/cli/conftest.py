"""Fixtures: a folder of its own for each test, no settings from outside."""

from pathlib import Path

import pytest

from earmark.stores.open import open_ledger
from support.shell import DRAFT_AND_CRITICS, FAILING, STAGES, Shell, isolated_shell


@pytest.fixture
def shell(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    """A shell in an empty folder, without any variable of Earmark's, where no file is allowed."""
    return isolated_shell(tmp_path, tmp_path_factory.mktemp("state"), monkeypatch, capsys)


@pytest.fixture
def workshop(shell: Shell) -> Shell:
    """A shell with stages and compositions of them."""
    shell.write("stages.py", STAGES)
    shell.write("graph.json", DRAFT_AND_CRITICS)
    shell.write("failing.json", FAILING)
    return shell


@pytest.fixture
def books(shell: Shell) -> Shell:
    """A shell with books: one budget, one hold."""
    shell.ok("budget", "set", "acme", "--limit", "10.50 usd per day", "--reason", "a start")
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.reserve("acme", "1.00", key="call-1", labels={"stage": "draft"})
    return shell
