"""Tokens on every store: who opens what, whatever becomes of their secrets."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import TypeVar

import pytest
from msgspec.structs import replace

from earmark.errors import InvalidDuration, InvalidUsage, NotFound, TokenRefused
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Rows, Tables
from earmark.testing import ManualClock
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.board_books import Repeating
from support.last_resort import LAST_RESORT_S

T = TypeVar("T")

ACCESS = GatewayAccess(
    budget="acme/agent",
    providers=("openai",),
    models=("gpt-*",),
    most_per_request=Money("0.5"),
    may_bound=True,
    tier="flex",
    refusal_status=403,
)


@pytest.fixture
def tables(url: str, clock: ManualClock) -> Iterator[Tables]:
    """The tables beside empty books."""
    with open_ledger(url, clock=clock) as ledger:
        opened = open_tables(ledger.store)
        yield opened
        opened.close()


@pytest.fixture
def tokens(tables: Tables, clock: ManualClock) -> Tokens:
    """No tokens yet."""
    return Tokens(tables, clock)


class Meanwhile(Tables):
    """Tables at which something happens before the first write."""

    def __init__(self, tables: Tables, happens: Callable[[], object]) -> None:
        self._tables = tables
        self._happens: Callable[[], object] | None = happens

    @property
    def name(self) -> str:
        """The store's."""
        return self._tables.name

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Write, after what happens."""
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return self._tables.write(lock, work)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Read."""
        return self._tables.read(work)

    def close(self) -> None:
        """Leave them open."""


def test_a_rotated_token_is_the_same_holder(tokens: Tokens, clock: ManualClock) -> None:
    """Its id, name and terms stay, and the old secret opens until the overlap is over."""
    made, old = tokens.create_for_gateway("agent", ACCESS)
    rotated, new = tokens.rotate(made.id, "2h")
    assert new != old
    assert (rotated.id, rotated.name, rotated.access) == (made.id, made.name, ACCESS)
    by_old, by_new = tokens.check(old), tokens.check(new)
    assert by_old is not None
    assert by_new is not None
    assert by_new == tokens.get(made.id) == rotated
    assert (by_old.id, by_old.access) == (by_new.id, by_new.access)
    assert (by_old.expires_at, by_new.expires_at) == (rotated.overlap_until, 0)
    clock.advance(timedelta(hours=2) - timedelta(microseconds=1))
    assert tokens.check(old) is not None
    clock.advance(timedelta(microseconds=1))
    assert tokens.check(old) is None
    assert tokens.check(new) is not None
    assert len(tokens.all()) == 1


def test_without_an_overlap_no_secret_before_opens(tokens: Tokens) -> None:
    """Neither the last one nor those whose own overlap goes on."""
    row, first = tokens.create_for_gateway("agent", ACCESS)
    _, second = tokens.rotate(row.id)
    assert tokens.check(first) is not None
    last, third = tokens.rotate(row.id, "0s")
    assert [tokens.check(each) for each in (first, second)] == [None, None]
    assert tokens.check(third) == last
    assert last.overlap_until == 0


def test_an_overlap_opens_nothing_beyond_the_token(tokens: Tokens, clock: ManualClock) -> None:
    """A token that expires or is revoked ends with every secret it had."""
    end = clock.instant() + 60 * 10**9
    row, old = tokens.create_for_gateway("agent", ACCESS, end)
    _, new = tokens.rotate(row.id, "1d")
    other, first = tokens.create("ops", ["admin"])
    _, second = tokens.rotate(other.id, "1d")
    clock.advance(timedelta(seconds=60))
    tokens.revoke(other.id)
    assert [tokens.check(each) for each in (old, new, first, second)] == [None] * 4
    for ended in (row, other):
        with pytest.raises(TokenRefused, match="revoked or expired"):
            tokens.rotate(ended.id)


def test_of_two_rotations_at_once_one_is_done(tables: Tables, clock: ManualClock) -> None:
    """Whoever comes second is told so, and holds no secret that opens nothing."""
    tokens = Tokens(tables, clock)
    row, old = tokens.create_for_gateway("agent", ACCESS)
    found: list[str] = []
    meanwhile = Meanwhile(tables, lambda: found.append(tokens.rotate(row.id, "0s")[1]))
    with pytest.raises(TokenRefused, match="meanwhile"):
        Tokens(meanwhile, clock).rotate(row.id, "0s")
    assert tokens.check(found[0]) is not None
    assert tokens.check(old) is None


def test_many_rotations_at_once_leave_one_successor(tokens: Tokens) -> None:
    """Of all secrets that were given out, one opens without an end, the others to their own."""
    row, old = tokens.create_for_gateway("agent", ACCESS)
    secrets: list[str] = []
    gate = threading.Barrier(4)

    def rotate() -> None:
        gate.wait(LAST_RESORT_S)
        try:
            secrets.append(tokens.rotate(row.id, "1h")[1])
        except TokenRefused:
            return

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(LAST_RESORT_S)
    opened = [tokens.check(each) for each in [old, *secrets]]
    assert secrets
    assert all(opened)
    assert [each.expires_at for each in opened if each is not None].count(0) == 1


def test_a_rotation_whose_connection_broke_is_done_once(tables: Tables, clock: ManualClock) -> None:
    """Written again, it finds that it was done, and its secret opens."""
    row, old = Tokens(tables, clock).create_for_gateway("agent", ACCESS)
    tokens = Tokens(Repeating(tables), clock)
    _, new = tokens.rotate(row.id)
    assert all(tokens.check(each) for each in (old, new))


def test_one_tokens_old_secret_opens_no_other_token(tokens: Tokens) -> None:
    """A secret that was replaced belongs to its token's number alone."""
    one, old = tokens.create_for_gateway("a", ACCESS)
    _, other = tokens.create("b", ["admin"])
    tokens.rotate(one.id)
    assert tokens.check(other[:37] + old[37:]) is None
    assert tokens.check(old) is not None


def test_what_cannot_be_rotated_is_refused(tokens: Tokens) -> None:
    """An unknown id, and an overlap that is no duration; nothing changes."""
    row, secret = tokens.create_for_gateway("agent", ACCESS)
    with pytest.raises(NotFound):
        tokens.rotate("00000000-0000-0000-0000-000000000000")
    with pytest.raises(InvalidDuration):
        tokens.rotate(row.id, "soon")
    assert tokens.check(secret) == row


def test_a_token_observes_where_its_tree_is_observed_when_it_is_made(
    url: str, clock: ManualClock
) -> None:
    """Elsewhere it is refused with the next step; rotated it still observes, whatever its tree."""
    observing = replace(ACCESS, mode="observe")
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        tokens, find = Tokens(tables, clock), ledger.store.budget
        with pytest.raises(TokenRefused, match=r"no budget 'acme': `earmark budget set acme "):
            tokens.create_for_gateway("agent", observing, budget_at=find)
        ledger.set_budget("acme", limits=["1 usd total"])
        with pytest.raises(TokenRefused, match="`earmark budget set acme --observed` marks"):
            tokens.create_for_gateway("agent", observing, budget_at=find)
        assert tokens.all() == []
        ledger.set_budget("acme", observed=True)
        with pytest.raises(TokenRefused, match="no budget"):
            tokens.create_for_gateway("agent", observing)  # nobody could look
        row, _ = tokens.create_for_gateway("agent", observing, budget_at=find)
        ledger.set_budget("acme", observed=False)
        rotated, secret = tokens.rotate(row.id)
        assert rotated.access == observing
        assert tokens.check(secret) == rotated
        # What a newer program wrote is not known to be safe.
        tables.write("token", lambda rows: rows.run("UPDATE {schema}.token SET mode = 'later'"))
        assert tokens.get(row.id).access == ACCESS


def test_a_token_is_found_by_its_id_or_its_name(tokens: Tokens) -> None:
    """Of several of one name, by the one that still opens something; else all are named."""
    first, _ = tokens.create_for_gateway("agent", ACCESS)
    assert tokens.find(first.id) == tokens.find("agent") == first
    second, _ = tokens.create("agent", ["read"])
    with pytest.raises(InvalidUsage) as several:
        tokens.find("agent")
    assert first.id in str(several.value)
    assert second.id in str(several.value)
    tokens.revoke(first.id)
    assert tokens.find("agent") == second
    assert tokens.find(first.id).revoked_at
    with pytest.raises(NotFound):
        tokens.find("nobody")
    # A name that is another's id leads to that one.
    tokens.create(first.id, ["read"])
    assert tokens.find(first.id).name == "agent"


def test_no_secret_is_in_the_store(tokens: Tokens, tables: Tables) -> None:
    """Neither the one that stands nor those that were replaced."""
    row, old = tokens.create_for_gateway("agent", ACCESS)
    _, new = tokens.rotate(row.id)

    def kept(rows: Rows) -> str:
        found = [rows.run(f"SELECT * FROM {{schema}}.{each}") for each in ("token", "token_secret")]  # noqa: S608
        return str(found)

    text = tables.read(kept)
    for secret in (old, new):
        assert secret[37:] not in text
