"""How many commits a request costs: each is a flush of the disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commits import Commits, counted_commits
from support.service_house import House
from support.service_house import house as open_house


@pytest.fixture
def commits() -> Iterator[Commits]:
    """Counts what is committed to files that are opened from here on."""
    with counted_commits() as counting:
        yield counting


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
