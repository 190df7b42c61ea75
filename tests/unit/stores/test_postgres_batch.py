"""A batch on its way to PostgreSQL and its numbers on the way back."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from earmark.clock import END_OF_TIME
from earmark.ledger.changes import Changes
from earmark.ledger.values import (
    Accepted,
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    LimitWindow,
    Refused,
    Repeated,
    Reservation,
)
from earmark.stores.postgres_batch import (
    PARAMETERS,
    PARAMETERS_ONE,
    Batch,
    Numbers,
    Tree,
    Written,
    arguments,
    single,
    written,
)
from earmark.stores.postgres_batch import _maybe_texts as array_of
from support.postgres_server import Server

HOUR = 3600 * 10**9
NOW = 1_000 * HOUR
FIRST = 101
FRAMES = (("frames", 2),)


def reservation(key: str, *, seq: int, last: int, state: str = "open") -> Reservation:
    """Return a reservation of 5 on `a/b`, as the fold made it."""
    closed = 0 if state == "open" else NOW
    five = Amounts(5, 1, None)
    actual = None if state == "open" else five
    return Reservation(
        key, "a/b", five, five, state, (1,), NOW, NOW + HOUR, closed, actual, "", seq, last  # type: ignore[arg-type]
    )  # fmt: skip


def entry(seq: int, kind: str, key: str, prior: int = 0) -> Entry:
    """Return an entry of 5 on `a/b`."""
    return Entry(seq, NOW, kind, key, "a/b", Amounts(5, 1, None), prior, "")  # type: ignore[arg-type]


def batch(
    entries: Sequence[Entry],
    rows: Sequence[Reservation],
    *decisions: Decision,
    room: dict[int, int] | None = None,
) -> Batch:
    """Return a folded batch on one account, which had 10 settled and 20 held of 100."""
    changes = Changes()
    changes.entries.extend(entries)
    changes.reservations.update({row.key: row for row in rows})
    line = LimitWindow(1, "a/b", "usd", "total", 0, END_OF_TIME, 100)
    changes.before[1] = Account(line, 10, 20, 0, 0, 80)
    changes.accounts[1] = Account(line, 15, 15, 0, 0, 80)
    trees = {"a": Tree(100, NOW - 1, END_OF_TIME)}
    return Batch(
        decisions=list(decisions), room=room or {}, changes=changes, unwritten=set(), now=NOW,
        until=NOW + HOUR, first=FIRST, trees=trees,
    )  # fmt: skip


def named(folded: Batch) -> dict[str, Any]:
    """Return what `apply_2` is called with, by the names of its parameters."""
    return dict(zip(PARAMETERS, arguments(folded), strict=True))


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@pytest.fixture(scope="module")
def server(postgres: Server) -> Iterator[psycopg.Connection]:
    """A connection that reads arrays as the function does."""
    with postgres.connect() as connection:
        yield connection


@given(texts=st.lists(words | st.sampled_from(["NULL", "null", "{}", '"', "\\", "a,b", " "])))
def test_any_text_arrives_as_it_was(server: psycopg.Connection, texts: list[str]) -> None:
    """Quotes, backslashes, braces, commas and the word NULL are text like any other."""
    row = server.execute("SELECT %s::text[]", (array_of([*texts, None]),)).fetchone()
    assert row == ([*texts, None],)


def test_what_must_hold_on_the_server_is_sent() -> None:
    """The batch's highest point and its distance from the alert are set against the server's sums.

    60 more were held at the highest point than before the batch: at most 40 of 100 may stand there.
    """
    new = reservation("k", seq=FIRST, last=FIRST)
    told = Accepted((), (80,), new, None, entry(FIRST, "reserve", "k"))
    sent = named(batch([told.entry], [new], told, room={1: 100 - 10 - 80}))
    assert (sent["a_most"], sent["a_below"]) == ("{40}", "{75}")


def test_what_was_refused_needs_the_sums_as_they_are() -> None:
    """With a refusal in it, a batch holds only if nobody else wrote."""
    new = reservation("k", seq=FIRST, last=FIRST)
    told = Accepted((), (25,), new, None, entry(FIRST, "reserve", "k"))
    assert named(batch([told.entry], [new], told))["p_strict"] is False
    assert named(batch([told.entry], [new], told, Refused("exceeded")))["p_strict"] is True


def test_a_close_names_the_entry_it_follows() -> None:
    """A reservation is closed only as it was known; one opened in the same batch, in any case."""
    old = reservation("old", seq=7, last=FIRST, state="settled")
    new = reservation("new", seq=FIRST + 1, last=FIRST + 2, state="released")
    entries = [
        entry(FIRST, "settle", "old", 7),
        entry(FIRST + 1, "reserve", "new"),
        entry(FIRST + 2, "release", "new", FIRST + 1),
    ]
    sent = named(batch(entries, [old, new]))
    assert (sent["e_prior"], sent["e_was"]) == ("{7,0,-2}", "{7,NULL,0}")
    assert (sent["p_opens"], sent["p_closes"]) == (1, 2)
    assert sent["e_counts"] == "{}", "what nobody counts costs nothing"


def test_counts_of_other_units_are_sent_where_there_are_any() -> None:
    """As JSON beside each entry; an entry without has none."""
    new = reservation("k", seq=FIRST, last=FIRST)
    counts = replace(entry(FIRST + 1, "extend", "k", FIRST), amounts=Amounts(1, 0, None, FRAMES))
    folded = batch([entry(FIRST, "reserve", "k"), counts], [new])
    assert json.loads(named(folded)["e_counts"].replace("{NULL", "[null")[:-1] + "]") == [
        None, '{"frames": 2}',
    ]  # fmt: skip


@pytest.mark.parametrize("more", ["another entry", "a new account", "a lock", "a tree"])
def test_only_one_plain_operation_goes_alone(more: str) -> None:
    """The short function is for one entry and nothing new beside it."""
    new = reservation("k", seq=FIRST, last=FIRST)
    plain = batch([entry(FIRST, "reserve", "k")], [new])
    alone = single(plain)
    assert alone is not None
    assert len(alone) == len(PARAMETERS_ONE)
    if more == "another entry":
        plain.changes.entries.append(entry(FIRST + 1, "release", "k", FIRST))
    elif more == "a new account":
        plain.unwritten.add(1)
    elif more == "a tree":
        plain.trees["b"] = Tree(100, NOW - 1, END_OF_TIME)
    else:
        plain = Batch(
            decisions=[], changes=plain.changes, unwritten=set(), now=NOW, until=NOW + 1,
            first=FIRST, trees=plain.trees, locked=True,
        )  # fmt: skip
    assert single(plain) is None


def test_numbers_and_instants_are_those_that_were_written() -> None:
    """Where others wrote in between, each decision gets the numbers its entries really have."""
    old = reservation("old", seq=7, last=FIRST, state="settled")
    new = reservation("new", seq=FIRST + 1, last=FIRST + 1)
    folded = batch([entry(FIRST, "settle", "old", 7), entry(FIRST + 1, "reserve", "new")], [])
    numbers = Numbers(folded, Written(205, NOW + 3, exact=False, seqs=[205, 209]))
    closed = numbers.decision(Accepted((), (), old, None, folded.changes.entries[0]))
    opened = numbers.decision(Accepted((), (), new, None, folded.changes.entries[1]))
    assert isinstance(closed, Accepted)
    assert isinstance(opened, Accepted)
    assert closed.reservation is not None
    assert opened.reservation is not None
    row = closed.reservation
    assert (row.seq, row.last, row.opened, row.closed) == (7, 205, NOW, NOW + 3)
    row = opened.reservation
    assert (row.seq, row.last, row.opened, row.expires) == (209, 209, NOW + 3, NOW + 3 + HOUR)
    assert (closed.entry.seq, closed.entry.prior, closed.entry.at) == (205, 7, NOW + 3)
    refused = numbers.decision(Refused("exceeded", seen=FIRST + 1))
    assert isinstance(refused, Refused)
    assert refused.seen == 209
    assert numbers.decision(Repeated(None, None)) == Repeated(None, None)
    alert = Alert(1, 800_000, "a/b", "usd", "total", 0, END_OF_TIME, 100, 80, NOW, FIRST)
    assert (numbers.alert(alert).seq, numbers.alert(alert).at) == (205, NOW + 3)


def test_an_answer_is_read_as_it_comes() -> None:
    """No number at all means that nothing was written; numbers in a row are not listed."""
    assert written((None, "5", "f", None)) is None
    assert written(("7", "5", "t", None)) == Written(7, 5, exact=True, seqs=None)
    assert written(("7", "5", "f", "{7,9}")) == Written(7, 5, exact=False, seqs=[7, 9])
    assert written(("0", "5", "t", "{}")) == Written(0, 5, exact=True, seqs=[])
