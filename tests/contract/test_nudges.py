"""The outbox: each nudge raised once, with its deliveries and its patch, on every store alike."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from earmark.clock import iso
from earmark.errors import InvalidNudge, NotFound, StoreUnavailable
from earmark.nudges.draft import NudgeDraft
from earmark.testing import ManualClock
from support.ledger_workers import in_threads
from support.nudge_books import Outbox, open_outbox


@pytest.fixture
def outbox(url: str, clock: ManualClock) -> Iterator[Outbox]:
    """Empty books and an empty outbox."""
    with open_outbox(url, clock) as opened:
        yield opened


def raise_one(outbox: Outbox, id_: str = "a/1", **changes: Any) -> bool:
    """Raise a nudge."""
    wanted: dict[str, Any] = {"title": "something", "data": {"n": 1}, **changes}
    return outbox.nudges.raise_("test", id=id_, **wanted)


def test_a_nudge_its_deliveries_and_its_patch_are_one_write(
    outbox: Outbox, clock: ManualClock
) -> None:
    """A nudge is in the outbox, waits on each channel, and lies in the quilt for its sibling."""
    assert raise_one(outbox, budget="c8", title="80 % is spent", channels=["chat", "hook"])
    nudge = outbox.nudges.get("a/1")
    assert (nudge.number, nudge.kind, nudge.budget, nudge.recipient) == (1, "test", "c8", "AG Lu")
    assert (nudge.title, nudge.data, nudge.created_at) == (
        "80 % is spent",
        {"n": 1},
        clock.instant(),
    )
    waiting = outbox.nudges.deliveries("a/1")
    assert [(each.channel, each.state, each.tries) for each in waiting] == [
        ("chat", "waiting", 0),
        ("hook", "waiting", 0),
    ]
    assert outbox.nudges.pending() == 2
    assert outbox.quilt.get("sibling_nudge", "a/1").data == {
        "id": "a/1",
        "kind": "test",
        "budget": "c8",
        "recipient": "AG Lu",
        "title": "80 % is spent",
        "created_at": iso(clock.instant()),
        "n": 1,
    }


def test_the_same_id_is_raised_once(outbox: Outbox, clock: ManualClock) -> None:
    """Whoever raises a nudge that stands raises nothing, changes nothing, and is told so."""
    assert raise_one(outbox, channels=["chat"])
    first = outbox.nudges.get("a/1")
    clock.advance(timedelta(hours=1))
    assert not raise_one(outbox, title="another", data={"n": 2}, channels=["chat", "hook"])
    assert outbox.nudges.find() == [first]
    assert outbox.nudges.pending() == 1
    assert outbox.quilt.get("sibling_nudge", "a/1").version == 1


def test_many_threads_raise_one(outbox: Outbox) -> None:
    """Of eight threads that raise the same nudge at once, one is told that it did."""
    told: list[bool] = []
    in_threads([lambda: told.append(raise_one(outbox))] * 8)
    assert sorted(told) == [*[False] * 7, True]
    assert outbox.ids() == ["a/1"]


def test_a_lost_answer_raises_once_and_says_so(outbox: Outbox) -> None:
    """A write done again after its answer was lost is one nudge, raised by this call."""
    outbox.line.loses_answers = True
    assert raise_one(outbox, channels=["chat"])
    assert not raise_one(outbox)
    assert raise_one(outbox, "a/2")
    assert outbox.ids() == ["a/1", "a/2"]
    assert outbox.quilt.get("sibling_nudge", "a/1").version == 1


def test_nothing_is_half_raised(outbox: Outbox) -> None:
    """Where the store is gone, or one of several cannot be told, none of them is written."""
    outbox.line.down = True
    with pytest.raises(StoreUnavailable):
        raise_one(outbox)
    outbox.line.down = False
    drafts = [NudgeDraft(kind="test", id=each, title="t", data={}) for each in ("a", "b\n")]
    with pytest.raises(InvalidNudge):
        outbox.nudges.raise_all(drafts)
    assert outbox.nudges.find() == []
    assert outbox.quilt.find() == []


def test_one_write_is_all_that_a_nudge_takes(outbox: Outbox) -> None:
    """Where the store is gone right after it, the sibling's patch is there too."""
    outbox.line.writes_left = 1
    assert raise_one(outbox)
    outbox.line.down, outbox.line.writes_left = False, -1
    assert outbox.quilt.get("sibling_nudge", "a/1").version == 1


def test_nudges_are_numbered_and_listed_in_pages(outbox: Outbox) -> None:
    """Numbers ascend from 1; pages meet, in both orders."""
    for number in range(5):
        raise_one(outbox, f"a/{number}")
    everything = outbox.nudges.find()
    assert [nudge.number for nudge in everything] == [1, 2, 3, 4, 5]
    assert outbox.nudges.find(most=2) + outbox.nudges.find(after=2) == everything
    newest = outbox.nudges.find(newest_first=True, most=3)
    assert [nudge.number for nudge in newest] == [5, 4, 3]
    older = outbox.nudges.find(newest_first=True, after=3)
    assert [nudge.number for nudge in older] == [2, 1]
    assert outbox.nudges.last_number() == 5


def test_deliveries_of_many_are_found_at_once(outbox: Outbox) -> None:
    """However many nudges are asked about, each has its own deliveries, by channel."""
    ids = [f"n/{number}" for number in range(120)]
    for number, id_ in enumerate(ids):
        raise_one(outbox, id_, channels=["b", "a"][: number % 3])
    found = outbox.nudges.deliveries_of([*ids, "n/none"])
    channels = {id_: [each.channel for each in ways] for id_, ways in found.items()}
    wanted = {id_: [[], ["b"], ["a", "b"]][number % 3] for number, id_ in enumerate(ids)}
    assert channels == {**wanted, "n/none": []}


def test_an_acknowledgement_stays(outbox: Outbox, clock: ManualClock) -> None:
    """The first who acknowledges a nudge is kept; lists can leave such nudges out."""
    raise_one(outbox, "a/1")
    raise_one(outbox, "a/2")
    seen = outbox.nudges.ack("a/1", "ann")
    clock.advance(timedelta(minutes=1))
    assert outbox.nudges.ack("a/1", "ben") == seen
    assert (seen.acked_by, seen.acked_at) == ("ann", clock.instant() - 60 * 10**9)
    assert [nudge.id for nudge in outbox.nudges.find(acked=False)] == ["a/2"]
    assert [nudge.id for nudge in outbox.nudges.find(acked=True)] == ["a/1"]
    with pytest.raises(NotFound, match="no nudge 'a/3'"):
        outbox.nudges.ack("a/3", "ann")
    with pytest.raises(NotFound):
        outbox.nudges.get("a/3")


def test_a_title_is_one_line(outbox: Outbox) -> None:
    """What people wrote into a reason cannot keep a nudge from being raised."""
    raise_one(outbox, title="paused: a\tb\n\nc\u2028d \x00 e" + "x" * 5000)
    (title,) = outbox.titles()
    assert title.startswith("paused: a b c d e")
    assert len(title) == 2000


BAD: list[dict[str, Any]] = [
    {"id_": ""},
    {"id_": "a\nb"},
    {"id_": "x" * 501},
    {"title": " \n"},
    {"data": {"n": float("nan")}},
    {"recipient": ""},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_what_cannot_be_told_is_refused(outbox: Outbox, changes: dict[str, Any]) -> None:
    """An id, title, recipient or data that nobody could be told is refused."""
    with pytest.raises(InvalidNudge):
        raise_one(outbox, **changes)
    assert outbox.nudges.find() == []
