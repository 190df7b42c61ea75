"""How many commits a request costs: each is a flush of the disk."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from support.service_house import House
from support.service_house import house as open_house


class Commits:
    """Counts the commits of every SQLite connection that is made while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self, connection: apsw.Connection) -> None:
        """Count those of *connection* that change something."""
        connection.set_commit_hook(self._note)

    def _note(self) -> bool:
        self.count += 1
        return False


@pytest.fixture
def commits() -> Iterator[Commits]:
    """Counts what is committed to files that are opened from here on."""
    counting = Commits()
    apsw.connection_hooks.append(counting.watch)
    yield counting
    apsw.connection_hooks.remove(counting.watch)


@pytest.fixture
def kept(commits: Commits, tmp_path: Path) -> Iterator[House]:
    """A service on a file, with a budget."""
    del commits
    with open_house(f"sqlite:///{tmp_path / 'books.db'}") as house:
        house.budget()
        house.workspace.ledger.reserve("acme", "1", key="open")
        yield house


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/reservations", {"budget": "acme", "amount": "1"}),
        ("/v1/reservations/open/extend", {"amount": "1"}),
        ("/v1/reservations/open/settle", {"amount": "0.5"}),
        ("/v1/reservations/open/presume", {}),
        ("/v1/reservations/open/release", None),
    ],
)
def test_what_is_done_to_a_reservation_is_one_commit(
    kept: House, commits: Commits, path: str, body: object, key: str | None
) -> None:
    """With a key, too: its answer is kept in the same transaction, and a repeat writes nothing."""
    before = commits.count
    first = kept.ask("post", path, json=body, key=key)
    assert first.is_success, first.text
    assert commits.count == before + 1
    if key is not None:
        again = kept.ask("post", path, json=body, key=key)
        assert (again.text, again.headers["idempotent-replayed"]) == (first.text, "true")
        assert commits.count == before + 1
