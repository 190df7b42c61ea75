"""The first token: made by the first `earmark serve`, and seen by who started it alone."""

import os
import pty
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import httpx2
import pytest

from earmark.clock import SystemClock
from earmark.stores.open import open_ledger
from earmark.workspace.tokens import SCOPES, Tokens
from support.last_resort import LAST_RESORT_S
from support.served import EARMARK, environment
from support.tables_at import tables_at

TOKEN = re.compile(r"emk_[0-9a-f]{32}_[A-Za-z0-9_-]{43}")


@contextmanager
def serving(folder: Path, stderr: int, *options: str, **variables: str) -> Generator[IO[str]]:
    """Run `earmark serve --json` with its standard error at *stderr*; gives its standard output."""
    process = subprocess.Popen(
        [*EARMARK, "serve", "--port", "0", "--json", *options],
        cwd=folder,
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    assert process.stdout is not None
    os.close(stderr)
    with process, process.stdout:
        try:
            yield process.stdout
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(LAST_RESORT_S)
        assert code == 0


def started(said: IO[str]) -> str:
    """Return the URL once it serves."""
    text = ""
    while "}" not in text:
        line = said.readline()
        assert line, text
        text += line
    assert TOKEN.search(text) is None, "standard output goes to programs and into files"
    found = re.search(r"http://[^\"]+", text)
    assert found is not None
    return found[0]


def log(folder: Path) -> int:
    """Return where a service without a terminal complains."""
    return os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def opens(url: str, token: str) -> bool:
    """Return whether *token* lets its bearer in."""
    head = {"Authorization": f"Bearer {token.strip()}"}
    return httpx2.get(f"{url}/v1/audit", headers=head, timeout=LAST_RESORT_S).status_code == 200


def test_on_a_terminal_the_first_token_is_shown_once(tmp_path: Path) -> None:
    """There, and not in a file; a second start shows none."""
    for is_first in (True, False):
        own, its = pty.openpty()
        shown = ""
        with serving(tmp_path, its) as said, os.fdopen(own, errors="replace") as terminal:
            url = started(said)
            while "serving" not in shown:
                shown += terminal.readline()
            found = TOKEN.search(shown)
            assert (found is not None) == is_first
            if found:
                assert opens(url, found[0])
                assert httpx2.get(f"{url}/v1/tasks", timeout=LAST_RESORT_S).status_code == 401
    assert not list(tmp_path.glob("*token*"))


def test_without_a_terminal_the_first_token_is_in_a_file_of_its_owner(tmp_path: Path) -> None:
    """Beside the store, with mode 0600 and new; where it is is printed, what it is is not."""
    file = tmp_path / "books.db.token"
    for _ in range(2):
        with serving(tmp_path, log(tmp_path), "--store", "sqlite:///books.db") as said:
            url = started(said)
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert opens(url, file.read_text())
    text = (tmp_path / "log").read_text()
    assert text.count(str(file)) == 1
    assert TOKEN.search(text) is None
    assert [path.name for path in tmp_path.glob("*token*")] == [file.name]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_there_is_not_written_to(tmp_path: Path, kind: str) -> None:
    """Somebody else may read it, or have made it lead elsewhere."""
    place, elsewhere = tmp_path / "books.db.token", tmp_path / "elsewhere"
    if kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(elsewhere)
    with serving(tmp_path, log(tmp_path), "--store", "sqlite:///books.db") as said:
        assert opens(started(said), (tmp_path / "books.db.token-2").read_text())
    assert not elsewhere.exists()
    assert place.is_symlink() or place.read_text() == "mine"


def test_of_a_store_that_is_no_file_it_is_in_the_users_folder(tmp_path: Path) -> None:
    """Where programs keep what lasts and is nobody else's."""
    state = tmp_path / "state"
    told = {"XDG_STATE_HOME": str(state)}
    with serving(tmp_path, log(tmp_path), "--store", "memory:", **told) as said:
        url = started(said)
        file = state / "earmark" / "first.token"
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert opens(url, file.read_text())


def test_where_no_file_can_be_made_it_says_how_to_get_a_token(tmp_path: Path) -> None:
    """And makes none that nobody would know."""
    (tmp_path / "state").write_text("no folder")
    ended = subprocess.run(
        [*EARMARK, "serve", "--port", "0", "--store", "memory:"],
        cwd=tmp_path,
        env={**environment(), "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
        timeout=LAST_RESORT_S,
    )
    assert ended.returncode == 1
    assert "earmark token create" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_of_many_first_starts_at_once_one_makes_the_token(tmp_path: Path) -> None:
    """The store decides: nobody's second look is between its look and its writing."""
    name, count = str(tmp_path / "books.db"), 8
    together = threading.Barrier(count)

    def first() -> str | None:
        with closing(tables_at(f"sqlite:///{name}")) as tables:
            tokens = Tokens(tables, SystemClock())
            assert tokens.all() == []
            together.wait(LAST_RESORT_S)
            made = tokens.create_first("first", ["admin"])
            return None if made is None else made[1]

    open_ledger(f"sqlite:///{name}").close()
    with ThreadPoolExecutor(count) as threads:
        made = [each.result() for each in [threads.submit(first) for _ in range(count)]]
    (secret,) = [each for each in made if each is not None]
    with closing(tables_at(f"sqlite:///{name}")) as tables:
        row = Tokens(tables, SystemClock()).check(secret)
        assert row is not None
        assert row.scopes == SCOPES
