"""What is collected from the books: each thing told once, in words and numbers, on every store."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from earmark.clock import iso
from earmark.errors import BudgetExceeded, StoreUnavailable
from earmark.nudges.collect import MOST_CALLS, MOST_UNMARKED, collect
from earmark.nudges.nudges import Nudges
from earmark.testing import ManualClock
from support.ledger_workers import in_threads
from support.nudge_books import Outbox, open_outbox


@pytest.fixture
def outbox(url: str, clock: ManualClock) -> Iterator[Outbox]:
    """Empty books and an empty outbox."""
    with open_outbox(url, clock) as opened:
        yield opened


def test_eighty_per_cent_is_told_with_its_numbers(outbox: Outbox, clock: ManualClock) -> None:
    """A threshold nudge says in words and data what is spent of what, and until when."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    outbox.spend("c8", "8.04")
    assert outbox.collect("chat") == 1
    (nudge,) = outbox.nudges.find()
    assert nudge.kind == "threshold"
    said = "c8: 80 % of 10 USD per day is spent (8.04 USD), resets 2026-11-23T00:00Z"
    assert nudge.title == said
    (alert,) = outbox.ledger.alerts()
    assert nudge.id == alert.id
    assert nudge.data == {
        "type": "budget_alert",
        "daily_spend": "8.04",
        "daily_cap": "10",
        "threshold_percent": 80,
        "date": "2026-11-22",
        "timestamp": iso(clock.instant()),
        "budget": "c8",
        "unit": "usd",
        "window": "day",
        "limit": "10",
        "settled": "8.04",
        "starts_at": "2026-11-22T00:00:00Z",
        "resets_at": "2026-11-23T00:00:00Z",
        "entry": alert.seq,
    }
    assert outbox.quilt.get("sibling_nudge", alert.id).data["daily_spend"] == "8.04"
    assert [each.channel for each in outbox.nudges.deliveries(alert.id)] == ["chat"]


def test_a_hundred_per_cent_is_another_kind(outbox: Outbox) -> None:
    """At the limit, and above it, a nudge says that it is exhausted."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"], alerts=[0.125, 1.0, 1.5])
    outbox.spend("c8", "0.5", "1.6")
    outbox.collect()
    assert outbox.kinds() == ["threshold", "exhausted", "exhausted", "overrun"]
    per_cent = [nudge.data.get("threshold_percent") for nudge in outbox.nudges.find()]
    assert per_cent == [12.5, 100, 150, None]


def test_calls_and_totals_are_told_in_their_own_words(outbox: Outbox) -> None:
    """Limits in calls count calls, and a limit that never resets says nothing of it."""
    outbox.ledger.set_budget("c8", limits=["2 calls per 30min", "1 usd total"], alerts=[1.0])
    outbox.spend("c8", "0.5")
    outbox.spend("c8", "0.5")
    outbox.collect()
    assert sorted(outbox.titles()) == [
        "c8: 100 % of 1 USD total is spent (1 USD)",
        "c8: 100 % of 2 calls per 30min is spent (2 calls), resets 2026-11-22T12:30Z",
    ]
    assert {nudge.data["starts_at"] for nudge in outbox.nudges.find()} == {
        None,
        "2026-11-22T12:00:00Z",
    }


ZONES = {
    "UTC": ("2026-11-22T23:30Z", "2026-11-22"),
    "Pacific/Kiritimati": ("2026-11-22T12:30Z", "2026-11-23"),
    "America/New_York": ("2026-11-23T02:00Z", "2026-11-22"),
    "Asia/Kathmandu": ("2026-11-22T18:20Z", "2026-11-23"),
}


@pytest.mark.parametrize("zone", ZONES)
def test_the_date_is_that_of_the_window(outbox: Outbox, clock: ManualClock, zone: str) -> None:
    """The date is the one in the budget's zone, also when it was settled on the next day."""
    at, date = ZONES[zone]
    clock.set(datetime.fromisoformat(at))
    outbox.ledger.set_budget("c8", limits=["1 usd per day"], timezone=zone, alerts=[0.5, 1])
    late = outbox.ledger.reserve("c8", "0.4", deadline="20h")
    outbox.spend("c8", "0.6")
    clock.advance(timedelta(hours=10))
    outbox.ledger.settle(late.key, "0.4")
    outbox.collect()
    assert [nudge.data["date"] for nudge in outbox.nudges.find()] == [date, date]


def test_each_thing_is_told_once(outbox: Outbox, clock: ManualClock) -> None:
    """Collecting again, here or by another process, raises nothing."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    outbox.spend("c8", "0.85")
    assert outbox.collect() == 1
    assert outbox.collect() == 0
    other = Nudges(outbox.tables, clock)
    assert Outbox(outbox.ledger, outbox.tables, outbox.line, other, outbox.quilt).collect() == 0
    outbox.spend("c8", "0.01")
    assert outbox.collect() == 0
    outbox.spend("c8", "0.14")
    assert outbox.collect() == 1
    assert outbox.kinds() == ["threshold", "exhausted"]


def test_a_new_window_is_told_anew(outbox: Outbox, clock: ManualClock) -> None:
    """Each interval of a window has nudges of its own."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    for _ in range(3):
        outbox.spend("c8", "0.9")
        assert outbox.collect() == 1
        clock.advance(timedelta(days=1))
    assert len(set(outbox.ids())) == 3


def test_pauses_resumes_and_extensions_are_told(outbox: Outbox, clock: ManualClock) -> None:
    """Who changed what a budget may do, why, and until when."""
    ledger = outbox.ledger
    ledger.set_budget("c8", limits=["1 usd per day"], actor="ann")
    until = clock.now + timedelta(hours=2)
    ledger.pause("c8", actor="ann", reason="a look\nat the bill", until=until)
    ledger.resume("c8", actor="ben")
    ledger.extend_budget("c8", "5 usd per day", until=until, actor="ann", reason="launch")
    ledger.pause("c8")
    assert outbox.collect() == 4
    assert outbox.titles() == [
        "c8 is paused by ann until 2026-11-22T14:00:00Z: a look at the bill",
        "c8 goes on, resumed by ben",
        "c8 has 5 usd per day more until 2026-11-22T14:00:00Z by ann: launch",
        "c8 is paused",
    ]
    assert outbox.kinds() == ["paused", "resumed", "extended", "paused"]
    extended = outbox.nudges.find()[2].data
    assert (extended["limit"], extended["until"]) == ("5 usd per day", "2026-11-22T14:00:00Z")


def test_no_word_keeps_a_nudge_back(outbox: Outbox) -> None:
    """A reason or a label that no channel could carry is told as far as it can be."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    outbox.ledger.pause("c8", actor="a\x85", reason="b\x00\x1b")
    outbox.ledger.resume("c8")
    hold = outbox.ledger.reserve("c8", "1", labels={"task": "\x00"})
    outbox.ledger.presume(hold.key)
    assert outbox.collect() == 3
    paused, _, unknown = outbox.nudges.find()
    assert (paused.title, paused.data["actor"]) == ("c8 is paused by a : b", "a\x85")
    assert unknown.data["labels"] == {"task": "\x00"}


def test_an_overrun_is_told(outbox: Outbox) -> None:
    """A settlement above its hold says by how much; one within it, or extended, says nothing."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    hold = outbox.ledger.reserve("c8", "0.5", key="call-1", labels={"task": "t-1"})
    outbox.ledger.settle(hold.key, "0.52")
    grown = outbox.ledger.reserve("c8", "0.5")
    outbox.ledger.extend(grown.key, "0.5")
    outbox.ledger.settle(grown.key, "1")
    outbox.spend("c8", "0.5")
    assert outbox.collect() == 1
    (nudge,) = outbox.nudges.find()
    assert nudge.title == "c8: call-1 cost 0.52 USD, 0.02 USD more than its hold of 0.5 USD"
    about = {name: nudge.data[name] for name in ("key", "hold", "settled", "overrun", "labels")}
    assert about == {
        "key": "call-1",
        "hold": "0.5",
        "settled": "0.52",
        "overrun": "0.02",
        "labels": {"task": "t-1"},
    }


def test_an_overrun_is_seen_across_collections(outbox: Outbox) -> None:
    """A hold opened and extended before the last collection still tells an overrun."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    one, two = (outbox.ledger.reserve("c8", "0.5") for _ in range(2))
    outbox.ledger.extend(two.key, "0.5")
    assert outbox.collect() == 0
    outbox.ledger.settle(one.key, "0.6")
    outbox.ledger.settle(two.key, "0.6")
    assert outbox.collect() == 1
    assert outbox.nudges.find()[0].data["key"] == one.key


def test_a_hold_that_grew_since_the_last_collection_is_no_overrun(outbox: Outbox) -> None:
    """Opened before it and extended after it, a hold is all of both."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    hold = outbox.ledger.reserve("c8", "0.5")
    assert outbox.collect() == 0
    outbox.ledger.extend(hold.key, "0.2")
    outbox.ledger.settle(hold.key, "0.6")
    assert outbox.collect() == 0


def test_an_unknown_outcome_is_told_once(outbox: Outbox, clock: ManualClock) -> None:
    """A hold whose deadline passed is one nudge; the truth, told later, is none."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    outbox.ledger.reserve("c8", "0.5", key="call-1", deadline="10min")
    assert outbox.collect() == 0
    clock.advance(timedelta(minutes=10))
    assert outbox.collect("chat") == 1
    (nudge,) = outbox.nudges.find()
    assert nudge.kind == "unknown"
    assert nudge.title == (
        "c8: nobody knows what call-1 cost; its hold of 0.5 USD counts as spent until"
        " `earmark holds settle` tells the truth"
    )
    outbox.ledger.settle("call-1", "0.1")
    assert outbox.collect() == 0


def test_truth_told_in_time_is_no_nudge(outbox: Outbox) -> None:
    """What was presumed and settled before anybody collected needs nobody's attention."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    for key in ("call-1", "call-2"):
        outbox.ledger.reserve("c8", "0.5", key=key)
        outbox.ledger.presume(key)
    outbox.ledger.settle("call-1", "0.1")
    outbox.ledger.release("call-2")
    assert outbox.collect() == 0


def test_a_presumed_cost_above_the_hold_is_both(outbox: Outbox) -> None:
    """Nobody knows all of it, and what is known is more than the hold: one nudge for each."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    outbox.ledger.presume(outbox.ledger.reserve("c8", "0.5", key="call-1").key, known="0.63")
    assert outbox.collect() == 2
    overrun, unknown = sorted(outbox.nudges.find(), key=lambda each: each.kind)
    assert (overrun.kind, overrun.data["overrun"]) == ("overrun", "0.13")
    assert unknown.title == (
        "c8: nobody knows what call-1 cost; 0.63 USD are known, more than its hold of 0.5 USD, and"
        " count as spent until `earmark holds settle` tells the truth"
    )
    assert (unknown.data["hold"], unknown.data["settled"]) == ("0.5", "0.63")


def test_many_unknown_outcomes_are_no_flood(outbox: Outbox) -> None:
    """After twenty nudges about single holds, one speaks for the rest; none is told again."""
    outbox.ledger.set_budget("c8", limits=["100 usd per day"], alerts=[])
    for number in range(MOST_CALLS + 5):
        outbox.ledger.presume(outbox.ledger.reserve("c8/x", "0.5", key=f"call-{number}").key)
    assert outbox.collect() == MOST_CALLS + 1
    summary = outbox.nudges.find(newest_first=True, most=1)[0]
    assert summary.title == (
        "c8: 5 more calls whose outcome nobody knows, counted as spent in full: 2.5 USD in all"
    )
    assert (summary.data["count"], summary.data["settled"]) == (5, "2.5")
    assert outbox.collect() == 0
    outbox.ledger.presume(outbox.ledger.reserve("c8/x", "0.5").key)
    assert outbox.collect() == 1


def presume(outbox: Outbox, count: int) -> int:
    """Presume *count* calls spent; return the number of the last entry."""
    for _ in range(count):
        outbox.ledger.presume(outbox.ledger.reserve("c8", "0.5").key)
    return max(outbox.ledger.store.heads().values())


def test_who_was_overtaken_tells_nothing_twice(outbox: Outbox) -> None:
    """A collection that somebody else overtook, further on in the books, raises nothing more."""
    outbox.ledger.set_budget("c8", limits=["100 usd per day"], alerts=[])
    presume(outbox, MOST_CALLS + 5)
    told: list[int] = []

    def overtake() -> None:
        presume(outbox, 1)
        told.append(outbox.collect())

    outbox.line.meanwhile = overtake
    assert outbox.collect() == 0
    assert told == [MOST_CALLS + 1]
    assert len(outbox.ids()) == MOST_CALLS + 1
    assert outbox.collect() == 0


def test_who_was_overtaken_half_way_tells_the_rest(outbox: Outbox) -> None:
    """A collection that somebody else overtook, less far in the books, raises what is left."""
    outbox.ledger.set_budget("c8", limits=["100 usd per day"], alerts=[])
    half = presume(outbox, 5)
    presume(outbox, 1)
    (tree,) = outbox.ledger.store.heads()
    sql = "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, ?)"
    outbox.line.meanwhile = lambda: outbox.tables.write("quilt", lambda r: r.run(sql, tree, half))
    assert outbox.collect() == 1
    assert outbox.collect() == 0


def test_a_run_may_spend_its_own_budget(outbox: Outbox) -> None:
    """A run's own budget is there to be spent: its thresholds nudge nobody, those above do."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    outbox.ledger.set_budget("c8/run-1", limits=["0.9 usd total"], kind="run")
    outbox.spend("c8/run-1", "0.9")
    assert outbox.collect() == 1
    assert outbox.nudges.find()[0].budget == "c8"


def test_nothing_is_lost_while_the_store_is_down(outbox: Outbox) -> None:
    """What could not be written is raised by the next collection, once."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    outbox.spend("c8", "0.85")
    outbox.line.writes_left = 0
    with pytest.raises(StoreUnavailable):
        outbox.collect()
    outbox.spend("c8", "0.15")
    with pytest.raises(StoreUnavailable):
        outbox.collect()
    outbox.line.down, outbox.line.writes_left = False, -1
    assert outbox.nudges.find() == []
    assert outbox.collect() == 2
    assert outbox.kinds() == ["threshold", "exhausted"]


@pytest.mark.parametrize("writes", [1, 2])
def test_nothing_is_lost_between_two_writes(outbox: Outbox, writes: int) -> None:
    """Wherever a collection is cut off, the mark has moved with its nudges or not at all."""
    for tree in ("acme", "c8"):
        outbox.ledger.set_budget(tree, limits=["1 usd per day"])
        outbox.spend(tree, "0.85")
    outbox.line.writes_left = writes
    with suppress(StoreUnavailable):
        outbox.collect()
    outbox.line.down, outbox.line.writes_left = False, -1
    outbox.collect()
    assert sorted(outbox.ids()) == sorted(alert.id for alert in outbox.ledger.alerts())
    assert len(outbox.ids()) == 2


def test_a_lost_answer_collects_once(outbox: Outbox) -> None:
    """A collection whose answer was lost raises each nudge once, and counts it."""
    outbox.line.loses_answers = True
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    outbox.spend("c8", "0.85")
    assert outbox.collect() == 1
    assert outbox.collect() == 0
    assert outbox.quilt.get("sibling_nudge", outbox.ids()[0]).version == 1


def test_every_tree_is_told(outbox: Outbox) -> None:
    """Budgets of different trees are collected alike, however their entries alternate."""
    for tree in ("acme", "c8", "c8-2"):
        outbox.ledger.set_budget(tree, limits=["1 usd per day"])
    outbox.spend("c8", "0.85")
    outbox.spend("acme", "0.1")
    assert outbox.collect() == 1
    outbox.spend("acme", "0.75")
    outbox.spend("c8-2", "0.85")
    outbox.spend("c8", "0.1")
    assert outbox.collect() == 2
    assert [nudge.budget for nudge in outbox.nudges.find()] == ["c8", "acme", "c8-2"]


def test_old_books_are_no_flood(outbox: Outbox, clock: ManualClock) -> None:
    """Who collects for the first time hears of the last day; from then on, of everything."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"])
    for _ in range(30):
        outbox.spend("c8", "0.9")
        outbox.ledger.pause("c8")
        outbox.ledger.resume("c8")
        clock.advance(timedelta(days=1))
    outbox.spend("c8", "0.9")
    assert outbox.collect() == 4
    for _ in range(3):
        clock.advance(timedelta(days=1))
        outbox.spend("c8", "0.9")
    assert outbox.collect() == 3


def test_many_collect_at_once(outbox: Outbox) -> None:
    """Threads that spend and collect at the same time raise one nudge per threshold."""
    outbox.ledger.set_budget("c8", limits=["1 usd per day"], alerts=[0.2, 0.4, 0.6, 0.8, 1])
    told: list[int] = []

    def spend_and_tell() -> None:
        try:
            for _ in range(5):
                outbox.spend("c8", "0.05")
                told.append(outbox.collect())
        except BudgetExceeded:
            told.append(outbox.collect())

    in_threads([spend_and_tell] * 6)
    assert sum(told) == 5
    per_cent = [nudge.data["threshold_percent"] for nudge in outbox.nudges.find()]
    assert per_cent == [20, 40, 60, 80, 100]


def test_summer_time_ends_without_a_second_nudge(outbox: Outbox, clock: ManualClock) -> None:
    """A day of 25 hours is one window, and is told once."""
    clock.set(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    outbox.ledger.set_budget("c8", limits=["1 usd per day"], timezone="Europe/Berlin")
    outbox.spend("c8", "0.8")
    clock.advance(timedelta(hours=1))
    outbox.spend("c8", "0.01")
    assert outbox.collect() == 1
    assert outbox.nudges.find()[0].data["date"] == "2026-10-25"
    assert outbox.nudges.find()[0].data["resets_at"] == "2026-10-25T23:00:00Z"


def test_entries_of_which_nobody_is_told_move_no_mark(outbox: Outbox, clock: ManualClock) -> None:
    """It would be a commit a cycle. Another process reads them again, and nothing is told twice."""
    other = Nudges(outbox.nudges.tables, clock)

    def mark() -> list[tuple[object, ...]]:
        sql = "SELECT tree, seq FROM {schema}.nudge_mark"
        return outbox.nudges.tables.read(lambda rows: rows.run(sql))

    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    assert outbox.collect() == 0
    first = mark()
    outbox.spend("c8", "1", "1")
    assert outbox.collect() == 0
    assert mark() == first
    outbox.spend("c8", "7", "7")
    assert (collect(outbox.ledger, other), outbox.collect()) == (1, 0)
    assert outbox.kinds() == ["threshold"]
    told = mark()
    outbox.spend("c8", "2", "2")
    assert (outbox.collect(), collect(outbox.ledger, other)) == (1, 0)
    assert outbox.kinds() == ["threshold", "exhausted"]
    assert told != mark()


def test_a_mark_moves_after_many_entries(outbox: Outbox) -> None:
    """Whoever comes next does not read them all."""
    outbox.ledger.set_budget("c8", limits=["10 usd per day"])
    outbox.collect()
    sql = "SELECT max(seq) FROM {schema}.nudge_mark"
    for _ in range(MOST_UNMARKED // 2):
        outbox.ledger.release(outbox.ledger.reserve("c8", "1").key)
    outbox.collect()
    ((mark,),) = outbox.nudges.tables.read(lambda rows: rows.run(sql))
    assert mark == max(outbox.ledger.store.heads().values())
