"""Tokens: made once, shown once, kept as a digest."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from earmark.errors import InvalidKey, NotFound
from earmark.stores.tables import Tables
from earmark.stores.tables_memory import MemoryTables
from earmark.testing import ManualClock
from earmark.workspace.tokens import Tokens


@pytest.fixture
def tables() -> Iterator[Tables]:
    """Tables in memory."""
    opened = MemoryTables()
    yield opened
    opened.close()


@pytest.fixture
def clock() -> ManualClock:
    """Noon, until a test moves it."""
    return ManualClock()


@pytest.fixture
def tokens(tables: Tables, clock: ManualClock) -> Tokens:
    """No tokens yet."""
    return Tokens(tables, clock)


def test_a_token_opens_what_its_scopes_say(tokens: Tokens) -> None:
    """The highest scope includes those below it."""
    for scope, scopes in {
        "read": ("read",),
        "spend": ("read", "spend"),
        "admin": ("read", "spend", "admin"),
    }.items():
        row, secret = tokens.create("ci", [scope])
        assert row.scopes == scopes
        assert tokens.check(secret) == row
    assert [each.name for each in tokens.all()] == ["ci"] * 3


def test_only_the_digest_is_kept(tokens: Tokens, tables: Tables) -> None:
    """Nothing in the table has any part of the secret."""
    _, secret = tokens.create("ci", ["read"])
    ((*row,),) = tables.read(lambda rows: rows.run("SELECT * FROM {schema}.token"))
    assert secret[37:] not in str(row)
    assert secret not in str(row)
    assert secret not in repr(tokens.all())


@pytest.mark.parametrize("place", [4, 35, 36, 37, -1])
def test_a_token_with_one_other_character_opens_nothing(tokens: Tokens, place: int) -> None:
    """Neither its number nor its secret part may differ anywhere."""
    _, secret = tokens.create("ci", ["admin"])
    letters = list(secret)
    letters[place] = "1" if letters[place] != "1" else "2"
    assert tokens.check("".join(letters)) is None


@pytest.mark.parametrize("secret", ["", "emk_", "emk__", "x" * 100_000, "emk_é_", "emk_\x00"])
def test_what_is_no_token_opens_nothing(tokens: Tokens, secret: str) -> None:
    """Whatever is sent is answered by no, not by an error."""
    assert tokens.check(secret) is None


def test_a_token_of_another_store_opens_nothing(tokens: Tokens, clock: ManualClock) -> None:
    """A well-formed token that nobody made here is unknown."""
    other = MemoryTables()
    _, secret = Tokens(other, clock).create("ci", ["admin"])
    other.close()
    assert tokens.check(secret) is None


def test_one_tokens_number_with_anothers_secret_opens_nothing(tokens: Tokens) -> None:
    """The secret is compared with the digest of its own row."""
    _, first = tokens.create("a", ["read"])
    _, second = tokens.create("b", ["admin"])
    assert tokens.check(second[:37] + first[37:]) is None


def test_a_revoked_token_opens_nothing_again(tokens: Tokens) -> None:
    """Revoking is for good, and a second time changes nothing."""
    row, secret = tokens.create("ci", ["read"])
    assert tokens.any_valid()
    first = tokens.revoke(row.id)
    assert first.revoked_at
    assert tokens.revoke(row.id) == first
    assert tokens.check(secret) is None
    assert not tokens.any_valid()
    with pytest.raises(NotFound):
        tokens.revoke("nobody")


def test_a_token_opens_nothing_from_its_end_on(tokens: Tokens, clock: ManualClock) -> None:
    """At the instant of its end it is over, and before it is not."""
    end = clock.instant() + 1_000_000_000
    _, secret = tokens.create("ci", ["read"], end)
    clock.advance(timedelta(seconds=1) - timedelta(microseconds=1))
    assert tokens.check(secret) is not None
    clock.advance(timedelta(microseconds=1))
    assert tokens.check(secret) is None


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["read"]), ("x" * 101, ["read"]), ("a\nb", ["read"]), ("ci", []), ("ci", ["root"])],
)
def test_a_token_needs_a_name_and_a_scope(tokens: Tokens, name: str, scopes: list[str]) -> None:
    """A name that spoils a log and a scope that does not exist are refused."""
    with pytest.raises(InvalidKey):
        tokens.create(name, scopes)
    assert tokens.all() == []
