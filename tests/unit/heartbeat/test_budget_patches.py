"""The budget's patches: written from the books, dated by their day, taken over once."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from earmark.clock import iso
from earmark.errors import InvalidPatch, StoreUnavailable
from earmark.ledger.store import Filter
from earmark.ledger.values import Entry
from earmark.money import Money
from earmark.testing import HalfStream, ManualClock
from earmark.workspace.daily_spend import books_id
from earmark.workspace.health import cycles_until_persist
from support.beat_house import BeatHouse, answer

TODAY = "budget_2026-11-22"


def test_the_patch_is_written_every_ten_cycles_and_at_the_end(beats: BeatHouse) -> None:
    """It has the seed's fields, from the ledger; the ledger's entry says up to where."""
    beats.fill(1)
    assert beats.cycles(9).persisted == ""
    assert beats.health().persistence["cycles_until_persist"] == 1
    assert beats.cycles(1).persisted == TODAY
    patch = beats.patch(TODAY)
    assert patch | {"last_updated": "", "books": ""} == {
        "daily_spend": "0.1",
        "date": "2026-11-22",
        "last_updated": "",
        "cycle_count": 10,
        "agent": "Cloud Lu",
        "budget": "c8/cloud-lu",
        "limit": "1",
        "held": "0",
        "available": "0.9",
        "starts_at": "2026-11-22T00:00:00Z",
        "resets_at": "2026-11-23T00:00:00Z",
        "timezone": "UTC",
        "entry": 3,
        "books": "",
    }
    assert beats.health().persistence | {"last_persist": ""} == {
        "last_budget_date": "2026-11-22",
        "persist_interval": 10,
        "cycles_until_persist": 10,
        "last_persist": "",
        "lag_s": 0,
        "patch": TODAY,
    }
    beats.cycles(3)
    beats.stop()
    assert beats.patch(TODAY)["cycle_count"] == 13


def test_health_says_when_the_patch_was_written_and_how_long_ago(beats: BeatHouse) -> None:
    """The last one's moment and its age; neither before there is one."""
    beats.cycle()
    block = beats.health().persistence
    assert (block["last_persist"], block["lag_s"]) == (None, None)
    beats.cycles(9)
    beats.clock.advance(timedelta(seconds=90))
    block = beats.health().persistence
    assert (block["last_persist"], block["lag_s"]) == ("2026-11-22T12:09:00Z", 90)


def test_cycles_and_their_patches_go_on_after_a_restart(beats: BeatHouse) -> None:
    """The count is that of all restarts, and the next patch comes when it would have come."""
    beats.cycles(14)
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
        second.clock.advance(timedelta(minutes=3))
        assert second.cycle().number == 15
        assert [second.cycles(1).persisted for _ in range(5)] == ["", "", "", "", TODAY]
        assert cycles_until_persist(20, 20, 10) == 10
        assert cycles_until_persist(29, 10, 10) == 0


class Asked:
    """Books of which only entries can be asked for, and how often they were."""

    def __init__(self, beats: BeatHouse) -> None:
        self.store = self
        self.times = 0
        self._beats = beats

    def entries(self, wanted: Filter) -> list[Entry]:
        """Return what is wanted."""
        self.times += 1
        return self._beats.ledger.store.entries(wanted)


def test_the_first_entry_is_looked_for_once(beats: BeatHouse) -> None:
    """Which books these are is asked for in every cycle, and stays: it is remembered by tree."""
    began, books = iso(beats.clock.instant()), Asked(beats)
    beats.cycle(after=timedelta(hours=1))
    for _ in range(3):
        assert books_id(books, "c8/cloud-lu") == began  # type: ignore[arg-type]
    assert books.times == 1
    # What has not begun may begin.
    assert books_id(books, "later/on") == ""  # type: ignore[arg-type]
    beats.ledger.set_budget("later", limits=["1 usd total"])
    assert books_id(books, "later/on") == iso(beats.clock.instant())  # type: ignore[arg-type]


ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland"]


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_that_ends_is_closed_under_its_own_date(zone: str) -> None:
    """At midnight there, yesterday's last numbers are under yesterday's name, today begins at 0."""
    midnight = datetime(2026, 11, 23, tzinfo=ZoneInfo(zone))
    clock = ManualClock((midnight - timedelta(minutes=5)).astimezone(UTC))
    with BeatHouse(clock=clock, timezone=zone) as beats:
        beats.fill(2)
        beats.cycle()
        assert beats.health().budget["date"] == "2026-11-22"
        beats.fill(1)
        report = beats.cycle(after=timedelta(minutes=5))
        assert report.persisted == "budget_2026-11-23"
        yesterday, today = beats.patch(TODAY), beats.patch("budget_2026-11-23")
        assert (yesterday["daily_spend"], yesterday["date"]) == ("0.2", "2026-11-22")
        assert (today["daily_spend"], today["date"]) == ("0.1", "2026-11-23")
        assert yesterday["resets_at"] == today["starts_at"]
        health = beats.health().budget
        assert (health["date"], health["daily_spend"]) == ("2026-11-23", "0.1")


def test_a_day_is_closed_after_an_outage_over_midnight(beats: BeatHouse) -> None:
    """Killed before midnight and started two days later, each day in between gets its patch."""
    beats.clock.set(datetime(2026, 11, 22, 23, 50, tzinfo=UTC))
    beats.fill(1)
    beats.cycle()
    beats.clock.advance(timedelta(days=2))
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
        second.cycle()
        days = [second.patch(f"budget_2026-11-{day}")["daily_spend"] for day in (22, 23, 24)]
        assert days == ["0.1", "0", "0"]


def test_what_is_settled_late_belongs_to_its_day() -> None:
    """A hold that was open at midnight is in the old day's patch, and corrected there."""
    clock = ManualClock(datetime(2026, 11, 22, 23, 55, tzinfo=UTC))
    with BeatHouse(HalfStream(), answer(1), clock=clock) as beats:
        beats.start()
        hold = beats.ledger.reserve("c8/cloud-lu", "0.30", deadline="20min")
        beats.cycle(after=timedelta(minutes=10))
        assert beats.patch(TODAY) | {"held": "0.3", "daily_spend": "0"} == beats.patch(TODAY)
        beats.ledger.settle(hold.key, "0.25")
        beats.cycles(9)
        beats.cycle()
        assert (beats.patch(TODAY)["daily_spend"], beats.patch(TODAY)["held"]) == ("0.25", "0")
        version = beats.workspace.quilt.get("budget", TODAY).version
        beats.cycles(10)
        assert beats.workspace.quilt.get("budget", TODAY).version == version


def test_two_agents_with_budgets_of_their_own_write_two_patches(beats: BeatHouse) -> None:
    """The second one's patch says whose it is, and overwrites nobody's day."""
    beats.fill(1)
    beats.cycles(10)
    with BeatHouse(
        ledger=beats.ledger, clock=beats.clock, agent="VS Lu", budget="c9", limits=["2 usd per day"]
    ) as second:
        second.cycles(10)
        assert second.health().persistence["patch"] == f"{TODAY}_c9"
        assert second.patch(f"{TODAY}_c9")["daily_spend"] == "0"
        assert second.patch(TODAY)["daily_spend"] == "0.1"
        assert second.spent == Money()


# A patch from elsewhere ---------------------------------------------------------------------------


def put(beats: BeatHouse, name: str = TODAY, **data: Any) -> None:
    """Let somebody write a budget's patch."""
    beats.workspace.quilt.put("budget", name, data, author="VS Lu")


@pytest.mark.parametrize(
    ("said", "booked"),
    [(0.7, "0.7"), ("0.70", "0.7"), (0.1 + 0.2, "0.300000001"), (2, "2"), (0, "0")],
)
def test_a_patch_from_elsewhere_is_booked_once(beats: BeatHouse, said: Any, booked: str) -> None:
    """Its spend is today's before anything runs, also above the cap, and never twice."""
    put(beats, daily_spend=said, date="2026-11-22", cycle_count=12)
    beats.start()
    assert beats.spent == Money(booked)
    for _ in range(2):
        beats.stop()
        beats.start()
    beats.cycles(10)
    assert beats.spent == Money(booked)
    assert [hold.key for hold in beats.holds()] == [f"opening-budget-{TODAY}"][: bool(said)]
    assert [hold.hold.calls for hold in beats.holds()] == [0][: bool(said)]


def test_a_patch_from_elsewhere_leaves_no_more_than_it_says() -> None:
    """With 0.95 of a dollar spent elsewhere, no call of ten cents fits today."""
    with BeatHouse() as beats:
        put(beats, daily_spend=0.95)
        beats.add()
        assert beats.cycle().state == "at_cap"
        assert beats.provider.sent == []


def test_a_patch_of_these_books_is_not_booked_again(beats: BeatHouse) -> None:
    """What the heartbeat wrote itself is no news to it, though it was restored from a copy."""
    beats.fill(2)
    beats.cycles(10)
    beats.stop()
    beats.start()
    assert beats.spent == Money("0.20")
    copy = beats.patch(TODAY)
    put(beats, **copy)
    beats.stop()
    beats.start()
    assert beats.spent == Money("0.20")


def test_a_patch_of_other_books_is_booked(beats: BeatHouse) -> None:
    """Another deployment's patch names an entry too; it is of other books, and booked."""
    beats.fill(1)
    beats.cycles(10)
    put(beats, **{**beats.patch(TODAY), "books": "2020-01-01T00:00:00Z", "daily_spend": "0.3"})
    beats.cycle()
    assert beats.spent == Money("0.40")


def test_yesterdays_patch_is_not_todays_spend(beats: BeatHouse) -> None:
    """Only the patch of today is taken over."""
    put(beats, "budget_2026-11-21", daily_spend=0.9)
    beats.start()
    assert beats.spent == Money()


@pytest.mark.parametrize("said", [-0.4, "lots", None, True, "NaN", 1e300, [1]])
def test_a_patch_that_says_no_amount_stops_the_start(beats: BeatHouse, said: Any) -> None:
    """Rather no heartbeat than one that takes what it cannot read for nothing."""
    put(beats, daily_spend=said)
    with pytest.raises(
        InvalidPatch, match="is no amount of USD: correct patch 'budget_2026-11-22'"
    ):
        beats.start()
    row = beats.workspace.agents.get("Cloud Lu")
    assert row is not None
    assert not row.holder


def test_nothing_is_dispatched_before_a_patch_is_booked(beats: BeatHouse) -> None:
    """A pause is in the way of booking it: until it is booked, no task goes."""
    put(beats, daily_spend=0.5)
    beats.ledger.pause("c8/cloud-lu")
    beats.add()
    assert beats.cycle().state == "paused"
    assert beats.spent == Money()
    beats.ledger.resume("c8/cloud-lu")
    beats.cycle()
    assert beats.spent == Money("0.60")


def test_a_patch_that_says_no_amount_stops_dispatching(beats: BeatHouse) -> None:
    """Put there while it runs: what was spent elsewhere is not known, so nothing goes."""
    beats.start()
    put(beats, daily_spend="lots")
    beats.add()
    report = beats.cycle()
    assert (report.state, report.dispatched) == ("error", ())
    assert "'lots' is no amount of USD" in report.reason
    put(beats, daily_spend="0.3")
    beats.cycle()
    assert beats.spent == Money("0.40")


def test_a_crash_within_the_taking_over_books_it_all_the_same(beats: BeatHouse) -> None:
    """Reserved and not settled when it died: the next start settles the same opening entry."""
    put(beats, daily_spend=5)
    beats.ledger.reserve(
        "c8/cloud-lu", 0, key=f"opening-budget-{TODAY}", units={"calls": 0, "tokens": 0}
    )
    beats.start()
    assert beats.spent == Money(5)


def test_a_store_that_cannot_be_read_stops_the_start(beats: BeatHouse) -> None:
    """Nothing starts from 0 because the books could not be read."""
    beats.line.down = True
    with pytest.raises(StoreUnavailable, match="the line is down"):
        beats.start()


def test_a_patch_that_cannot_be_written_is_written_later(beats: BeatHouse) -> None:
    """Nothing is lost meanwhile: the ledger has it, and the next cycle writes it."""
    beats.fill(1)
    beats.cycles(9)
    beats.line.writes_left = 1
    report = beats.cycle()
    assert (report.state, report.persisted) == ("error", "")
    beats.line.down, beats.line.writes_left = False, -1
    assert beats.cycle().persisted == TODAY
    assert beats.patch(TODAY)["daily_spend"] == "0.1"
