"""Ids of what providers keep, on every store: whose each is, noted with its call's booking."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from earmark.admission.guard import Guard
from earmark.gateway.kept_ids import KeptId, KeptIds, NewIds
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.testing import ManualClock

#: Whose the ids are, in most of these tests.
OWNER = "a"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "x", "max_output_tokens": 50}
USAGE = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}
REPLY: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-4o-mini",
    "output": [],
    "usage": USAGE,
}


@pytest.fixture
def books(url: str, clock: ManualClock) -> Iterator[tuple[Ledger, Tables]]:
    """Books with a budget, and the tables beside them."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        ledger.set_budget("acme", limits=["1 usd total"])
        yield ledger, tables


def kept_id(token_id: str, **changes: Any) -> KeptId:
    """Return what is noted of `resp_1`."""
    values: dict[str, Any] = {
        "provider": "openai",
        "id": "resp_1",
        "model": "m",
        "tokens": 5,
        **changes,
    }
    return KeptId(token_id=token_id, **values)


def test_an_id_is_noted_in_the_commit_that_books_its_call(
    books: tuple[Ledger, Tables], clock: ManualClock
) -> None:
    """Not before; with what the reply counted, or without where it is not known."""
    ledger, tables = books
    kept = KeptIds(tables, clock)
    of_reply: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "is_whole": True}
    for name, usage, tokens in (("resp_1", USAGE, 42), ("resp_2", None, None)):
        new = NewIds(kept, token_id=OWNER, **of_reply)
        ticket = Guard(ledger).open("acme", ASK, api="openai-responses", recorder=new)
        new.read({**REPLY, "id": name})
        assert kept.find("a", name) == []
        ticket.settle({**REPLY, "id": name, "usage": usage})
        expected = kept_id("a", id=name, model="gpt-4o-mini", tokens=tokens)
        assert kept.find("a", name) == [expected]
        assert kept.find("b", name) == []
    assert ledger.audit().ok


def test_an_id_stays_its_first_token_s(books: tuple[Ledger, Tables], clock: ManualClock) -> None:
    """Of one token the most counts, and nothing where a count is missing or of another model."""
    _, tables = books
    kept = KeptIds(tables, clock)

    def noted(*ids: KeptId) -> list[int | None]:
        for each in ids:
            tables.write("test", lambda rows, each=each: kept.add_in(rows, each))
        return [found.tokens for found in kept.find("a", ids[0].id)]

    assert noted(kept_id("a")) == [5]
    assert noted(kept_id("b", tokens=9)) == [5]
    assert kept.find("b", "resp_1") == []
    assert noted(kept_id("a", tokens=7), kept_id("a", tokens=6)) == [7]
    assert noted(kept_id("a", tokens=8, model="n")) == [None]
    assert noted(kept_id("a", tokens=9)) == [None]
    # Another provider's is another one.
    assert noted(kept_id("a", provider="local", tokens=1)) == [None, 1]


def test_what_no_provider_keeps_any_more_is_removed(
    books: tuple[Ledger, Tables], clock: ManualClock
) -> None:
    """After a month, so many at a time; what is younger stays."""
    _, tables = books
    kept = KeptIds(tables, clock)
    tables.write("test", lambda rows: kept.add_in(rows, kept_id("a")))
    clock.advance(timedelta(days=30))
    tables.write("test", lambda rows: kept.add_in(rows, kept_id("a", id="resp_2")))
    tables.write("test", lambda rows: kept.add_in(rows, kept_id("a", id="resp_3")))
    assert not kept.forget_old()
    assert len(kept.find("a", "resp_1")) == 1
    clock.advance(timedelta(hours=25))
    for name in ("resp_4", "resp_5"):
        tables.write("test", lambda rows, name=name: kept.add_in(rows, kept_id("a", id=name)))
    clock.advance(timedelta(days=30))
    assert [kept.forget_old(2), kept.forget_old(2)] == [True, False]
    left = [name for name in range(1, 6) if kept.find("a", f"resp_{name}")]
    assert left == [4, 5]


@pytest.mark.parametrize("name", ["", "x" * 201, "x" * 100_000, "'; --", "%", "_"])
def test_an_odd_id_is_nobody_s(books: tuple[Ledger, Tables], clock: ManualClock, name: str) -> None:
    """It is a value of the statement, and never a part of it."""
    _, tables = books
    kept = KeptIds(tables, clock)
    tables.write("test", lambda rows: kept.add_in(rows, kept_id("a")))
    assert kept.find("a", name) == []
