"""Stores that cannot be used: each says in one sentence what is wrong, and nothing is changed."""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from earmark.errors import SchemaMismatch, StoreClosed, StoreCorrupt, StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.ledger_books import STORES, check_books
from support.ledger_workers import go, result, start


def made(folder: Path, holds: int = 1) -> Path:
    """Make books in *folder* and return their file."""
    with open_ledger(STORES["sqlite"](folder)) as ledger:
        ledger.set_budget("acme", limits=["1000 usd total"])
        for number in range(holds):
            ledger.reserve("acme", "0.1", key=f"k{number}", labels={"text": "x" * 100})
    return folder / "books.db"


def opened(file: Path) -> Ledger:
    """Open the books in *file*."""
    return open_ledger(f"sqlite:///{file}")


def test_text_is_no_store(tmp_path: Path) -> None:
    """A file of something else is refused and left as it is."""
    file = tmp_path / "notes.db"
    file.write_text("These are my notes, not a database. " * 50)
    before = file.read_bytes()
    with pytest.raises(StoreCorrupt, match=r"notes\.db.*damaged or no SQLite database"):
        opened(file)
    assert file.read_bytes() == before


def test_another_programs_database_is_no_store(tmp_path: Path) -> None:
    """A database that is not Earmark's is refused and left as it is."""
    file = tmp_path / "theirs.db"
    with apsw.Connection(str(file)) as connection:
        connection.execute("CREATE TABLE customer(name); INSERT INTO customer VALUES ('Ada')")
    before = file.read_bytes()
    with pytest.raises(StoreCorrupt, match="another program"):
        opened(file)
    assert file.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """Books of a newer Earmark are refused with both numbers."""
    file = made(tmp_path)
    with apsw.Connection(str(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaMismatch, match=r"99.*newer Earmark"):
        opened(file)


@pytest.mark.parametrize("size", [50, 100, 5000])
def test_a_truncated_file_is_corrupt(tmp_path: Path, size: int) -> None:
    """What is left of a file that was cut off is refused, when opened or when audited."""
    file = made(tmp_path, holds=200)
    file.write_bytes(file.read_bytes()[:size])
    try:
        with opened(file) as ledger:
            assert not ledger.audit().ok
    except StoreCorrupt as error:
        assert "restore a backup" in str(error)  # noqa: PT017 - either is right


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    """Rubbish in the middle of the file is an error or a red audit, never a wrong answer."""
    file = made(tmp_path, holds=400)
    size = file.stat().st_size
    for place in range(4096, size, 4096):
        body = bytearray(file.read_bytes())
        saved = bytes(body[place : place + 200])
        body[place : place + 200] = b"\xa5" * 200
        file.write_bytes(body)
        try:
            with opened(file) as ledger:
                assert not ledger.audit().ok
        except StoreCorrupt as error:
            assert "restore a backup" in str(error)  # noqa: PT017 - either is right
        body[place : place + 200] = saved
        file.write_bytes(body)
    with opened(file) as ledger:
        check_books(ledger)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Books in a folder that is not there cannot be opened; the sentence says so."""
    with pytest.raises(StoreUnavailable, match="check that its folder exists"):
        opened(tmp_path / "no" / "books.db")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder given as the file cannot be opened, and nothing is left beside it."""
    folder = tmp_path / "books"
    folder.mkdir()

    with pytest.raises(StoreUnavailable):
        opened(folder)

    assert [path.name for path in tmp_path.iterdir()] == ["books"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that a user without rights can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def without_rights(url: str) -> list[str]:
    """Return what opening *url* tells a user who may not do everything."""
    worker = start("attempt", url)
    go(worker)
    told: list[str] = result(worker)
    return told


def test_a_read_only_file_is_named(public: Path) -> None:
    """Books that may be read but not written are refused in one sentence, unchanged."""
    file = made(public)
    before = file.read_bytes()
    file.chmod(0o444)
    (public / "books.db-turn").chmod(0o666)
    code, sentence = without_rights(f"sqlite:///{file}")
    assert code == "store_unavailable"
    assert "cannot be written; nothing was changed: check the file's permissions" in sentence
    assert file.read_bytes() == before


def test_a_read_only_folder_is_named(public: Path) -> None:
    """Where no file can be made, the sentence says so."""
    public.chmod(0o555)
    code, sentence = without_rights(f"sqlite:///{public}/books.db")
    assert (code, "cannot be" in sentence) == ("store_unavailable", True)
    assert list(public.iterdir()) == []


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "earmark-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tiny file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(ledger: Ledger, name: str, acknowledged: list[str]) -> None:
    """Reserve until that fails."""
    for number in range(100_000):
        hold = ledger.reserve("acme", "0.001", key=f"{name}{number}")
        acknowledged.append(hold.key)


def test_a_full_disk_is_named_and_survived(tiny: Path) -> None:
    """When the disk is full each operation says so; with space again, the books go on."""
    file = made(tiny)
    with opened(file) as ledger:
        acknowledged: list[str] = []
        for name in ("first", "again", "and again"):
            with pytest.raises(StoreUnavailable, match="the disk is full; nothing was changed"):
                fill(ledger, name, acknowledged)
        kept = {hold.key for hold in ledger.holds(most=10**9)}
        assert set(acknowledged) <= kept
        subprocess.run(["mount", "-o", "remount,size=8m", str(tiny)], check=True)
        ledger.reserve("acme", "0.001", key="after")
        check_books(ledger)


def test_a_fork_must_open_its_own(tmp_path: Path) -> None:
    """A forked child that uses its parent's ledger is told to open it anew; the parent goes on."""
    for url in (STORES["sqlite"](tmp_path), "memory:"):
        worker = start("forked", url)
        go(worker)
        told = result(worker)
        assert told.pop("parent") == ["True", "2"]
        assert told.pop("close")[0] == "done"
        for name, (code, sentence) in told.items():
            assert code == StoreClosed.code, (name, code, sentence)
            assert "forked" in sentence
