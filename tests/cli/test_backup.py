"""`earmark backup`: a good copy under its name, or none."""

from pathlib import Path

import apsw

from earmark.stores.open import open_ledger
from support.shell import Shell


def files(shell: Shell) -> set[str]:
    """Return what is in the folder besides the books themselves."""
    return {each.name for each in shell.folder.iterdir() if not each.name.startswith("earmark.db")}


def test_a_backup_is_the_books(books: Shell) -> None:
    """Everything of it stands in the file, tasks and tokens too; put in place, it is the books."""
    books.ok("token", "create", "ci", "--scope", "read")
    made = books.json("backup", "copy.db")
    assert (made["entries"], made["held"], made["file"]) == (2, "1", "copy.db")
    assert made["bytes"] == (books.folder / "copy.db").stat().st_size
    assert files(books) == {"copy.db"}, "one file, and nothing beside it"
    for old in books.folder.glob("earmark.db*"):
        old.unlink()
    (books.folder / "copy.db").rename(books.folder / "earmark.db")
    assert books.json("audit")["held"] == "1"
    assert len(books.json("token", "list")["tokens"]) == 1
    with open_ledger("sqlite:///earmark.db") as ledger:
        assert ledger.settle("call-1", "0.5").state == "settled"


def test_a_backup_goes_into_a_store(books: Shell) -> None:
    """By `earmark store copy`, holds and all."""
    books.ok("backup", "copy.db")
    books.ok("store", "copy", "sqlite:///copy.db", "sqlite:///new.db", "--with-holds")
    assert books.json("audit", "--store", "sqlite:///new.db")["held"] == "1"


def test_nothing_is_written_over(books: Shell) -> None:
    """A file that is there stays as it is, also one that an earlier try left."""
    kept = Path(books.write("copy.db", "mine"))
    again = books("backup", "copy.db")
    assert (again.code, kept.read_text()) == (1, "mine")
    assert "there already" in again.err
    books.write("other.db.partial", "another's")
    assert books("backup", "other.db").code == 1
    assert (books.folder / "other.db.partial").read_text() == "another's"
    assert files(books) == {"copy.db", "other.db.partial"}


def test_wrong_books_are_not_backed_up(books: Shell) -> None:
    """The audit of the copy fails: exit 1, and no file is left."""
    with apsw.Connection("earmark.db") as connection:
        connection.execute("UPDATE account SET held = held + 1")
    failed = books("backup", "copy.db")
    assert failed.code == 1
    assert "the books are wrong" in failed.err
    assert files(books) == set()


def test_what_are_no_books_is_not_backed_up(shell: Shell) -> None:
    """No file, another program's database, a folder that is not there, books in memory."""
    assert shell("backup", "copy.db").code == 1
    with apsw.Connection("other.db") as connection:
        connection.execute("CREATE TABLE mine (a)")
    assert shell("backup", "copy.db", "--store", "sqlite:///other.db").code == 1
    assert shell("backup", "copy.db", "--store", "memory:").code == 1
    with open_ledger("sqlite:///earmark.db"):
        pass
    assert shell("backup", "nowhere/copy.db").code == 1
    assert files(shell) == {"other.db"}


def test_a_backup_is_its_owners_to_read(books: Shell) -> None:
    """It holds what the books hold: nobody else reads it."""
    books.ok("backup", "copy.db")
    assert (books.folder / "copy.db").stat().st_mode & 0o077 == 0
