"""The first seed's defects, one test each: its behaviour, which is wrong, beside ours.

The seed's tracker stands in `support/seed_tracker.py` as it was delivered. Its defects 4 and 5, the
lost and the repeated alerts, are shown beside the nudges.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from earmark.board.task import TaskStatus
from earmark.budget.limit import Limit
from earmark.config.settings import HeartbeatSettings
from earmark.errors import (
    BudgetExceeded,
    EarmarkError,
    InvalidAmount,
    InvalidPatch,
    StoreUnavailable,
)
from earmark.money import Money
from earmark.testing import ManualClock
from earmark.workspace.daily_spend import usd
from support.beat_house import BeatHouse, answer
from support.seed_tracker import SeedTracker, StubQuilt

EVENING = datetime(2026, 11, 22, 23, 50, tzinfo=UTC)
TODAY, TOMORROW = "budget_2026-11-22", "budget_2026-11-23"


@pytest.fixture
def quilt() -> StubQuilt:
    """The seed's quilt."""
    return StubQuilt()


@pytest.fixture
def clock() -> ManualClock:
    """Ten minutes before midnight."""
    return ManualClock(EVENING)


@pytest.fixture
def seed(quilt: StubQuilt, clock: ManualClock) -> SeedTracker:
    """The seed's tracker."""
    return SeedTracker(quilt, clock)


def cycles(seed: SeedTracker, count: int) -> dict[str, Any]:
    """Run so many of the seed's cycles; return what the last one says."""
    return [asyncio.run(seed.dispatch_cycle()) for _ in range(count)][-1]


def test_1_a_crash_loses_nothing(seed: SeedTracker, quilt: StubQuilt, clock: ManualClock) -> None:
    """The seed forgets up to nine cycles; here every call is in the books before it is sent."""
    cycles(seed, 19)
    assert seed.daily_spend == pytest.approx(0.019)
    assert SeedTracker(quilt, clock).daily_spend == pytest.approx(0.010)
    with BeatHouse() as beats:
        beats.fill(4)
        beats.cycles(4)
        # Killed without a word: nothing was persisted since the start.
        with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
            second.cycle(after=timedelta(minutes=3))
            assert second.spent == beats.provider.billed == Money("0.40")


def test_2_the_cost_is_what_the_call_cost(seed: SeedTracker) -> None:
    """The seed adds a made-up constant; here it is the priced usage of a call that was made."""
    cycles(seed, 1)
    assert seed.daily_spend == 0.001
    with BeatHouse(answer(7)) as beats:
        task = beats.add()
        beats.cycle()
        assert beats.spent == beats.cost(task) == beats.provider.billed == Money("0.07")
        assert beats.cycle().dispatched == ()
        assert beats.spent == Money("0.07")


def test_3_the_cap_stops(quilt: StubQuilt, clock: ManualClock) -> None:
    """The seed spends twenty caps and is healthy; here nothing starts that does not fit."""
    seed = SeedTracker(quilt, clock, cap=1.0, cycle_cost=1.0)
    assert cycles(seed, 20)["status"] == "healthy"
    health = seed.get_health_status()["budget"]
    assert (health["daily_spend"], health["remaining"]) == (20.0, -19.0)
    assert len(quilt.named("sibling_nudge")) == 1
    with BeatHouse() as beats:
        beats.fill(20)
        beats.cycles(20)
        assert beats.spent == beats.provider.billed == Money(1)
        assert (beats.beat.state.state, beats.health().status) == ("at_cap", "warn")
        assert beats.health().budget["remaining"] == "0"
        assert beats.nudges() == ["threshold", "exhausted"]


def test_6_a_start_that_cannot_read_does_not_begin_at_nothing(
    seed: SeedTracker, quilt: StubQuilt, clock: ManualClock
) -> None:
    """The seed starts at 0 and overwrites the good record; here the start is refused."""
    seed.accumulate_cost(0.7)
    seed.persist_budget()
    quilt.down = True
    second = SeedTracker(quilt, clock, cycle_cost=0.001)
    quilt.down = False
    assert second.daily_spend == 0.0
    cycles(second, 10)
    assert quilt.patches["budget", TODAY]["daily_spend"] == pytest.approx(0.01)
    with BeatHouse() as beats:
        beats.fill(7)
        beats.cycles(7)
        beats.stop()
        beats.line.down = True
        with pytest.raises(StoreUnavailable):
            beats.start()
        beats.line.down = False
        assert beats.patch(TODAY)["daily_spend"] == "0.7"
        beats.start()
        beats.cycles(10)
        assert beats.patch(TODAY)["daily_spend"] == "0.7"


def test_7_two_processes_add_up(quilt: StubQuilt, clock: ManualClock) -> None:
    """The seed's last writer wins; here both spend from one account."""
    first, second = SeedTracker(quilt, clock), SeedTracker(quilt, clock)
    first.accumulate_cost(0.3)
    second.accumulate_cost(0.1)
    first.persist_budget()
    second.persist_budget()
    assert quilt.patches["budget", TODAY]["daily_spend"] == 0.1
    with (
        BeatHouse() as beats,
        BeatHouse(ledger=beats.ledger, clock=beats.clock, agent="VS Lu") as other,
    ):
        for house in (beats, other, beats, beats):
            house.add()
            house.cycle()
            house.clock.advance(timedelta(seconds=30))
        beats.stop()
        other.stop()
        assert beats.patch(TODAY)["daily_spend"] == "0.4"


def test_8_a_day_is_filed_under_its_own_date(
    seed: SeedTracker, quilt: StubQuilt, clock: ManualClock
) -> None:
    """The seed files yesterday's spend under today and goes on from it; here each has its own."""
    seed.accumulate_cost(0.6)
    clock.advance(timedelta(minutes=20))
    assert (
        seed.get_health_status()["budget"] | {"date": "2026-11-23", "daily_spend": 0.6}
        == (seed.get_health_status()["budget"])
    )
    seed.persist_budget()
    assert ("budget", TODAY) not in quilt.patches
    assert SeedTracker(quilt, clock).daily_spend == 0.6
    with BeatHouse(answer(60), clock=ManualClock(EVENING)) as beats:
        beats.fill(1)
        beats.cycle()
        beats.clock.advance(timedelta(minutes=20))
        assert beats.health().budget["daily_spend"] == "0"
        beats.cycle()
        assert beats.patch(TODAY)["daily_spend"] == "0.6"
        assert beats.patch(TOMORROW)["daily_spend"] == "0"


def test_9_a_clock_that_steps_back_frees_nothing(seed: SeedTracker, clock: ManualClock) -> None:
    """The seed takes another date for a new day; here time only moves forward."""
    seed.accumulate_cost(0.9)
    clock.set(EVENING - timedelta(days=1))
    seed.accumulate_cost(0.01)
    assert seed.daily_spend == 0.01
    with BeatHouse(clock=ManualClock(EVENING)) as beats:
        beats.fill(20)
        beats.cycles(3)
        beats.clock.set(EVENING - timedelta(days=1))
        assert beats.spent == Money("0.90")
        # A cycle's lease began in what is now the future: nobody minds.
        beats.cycles(4)
        assert beats.spent == beats.provider.billed == Money(1)
        assert beats.beat.state.state == "at_cap"


@pytest.mark.parametrize("cost", [float("nan"), -5.0, float("inf")])
def test_10_a_cost_that_is_none_poisons_nothing(seed: SeedTracker, cost: float) -> None:
    """The seed's total becomes NaN, or less than nothing; here an amount is one, or refused."""
    seed.accumulate_cost(0.79)
    seed.accumulate_cost(cost)
    seed.accumulate_cost(0.2)
    assert not 0.99 <= seed.daily_spend < 1.0
    with BeatHouse() as beats:
        beats.start()
        key = beats.ledger.reserve("c8/cloud-lu", "0.79").key
        with pytest.raises((EarmarkError, TypeError)):
            beats.ledger.settle(key, cost)  # type: ignore[arg-type]
        with pytest.raises((EarmarkError, TypeError)):
            beats.ledger.settle(key, str(cost))
        beats.ledger.settle(key, "0.79")
        assert beats.spent == Money("0.79")


def test_10_nor_does_one_in_a_patch(quilt: StubQuilt, clock: ManualClock) -> None:
    """The seed restores NaN and never alerts again; here such a patch stops the start."""
    quilt.store_patch("budget", TODAY, {"daily_spend": float("nan")})
    seed = SeedTracker(quilt, clock)
    seed.accumulate_cost(100.0)
    assert not seed.alert_sent
    with BeatHouse() as beats:
        beats.workspace.quilt.put("budget", TODAY, {"daily_spend": -0.4}, author="seed")
        with pytest.raises(InvalidPatch):
            beats.start()


@pytest.mark.parametrize("cap", [0.0, -1.0])
def test_11_a_cap_of_nothing_is_full(quilt: StubQuilt, clock: ManualClock, cap: float) -> None:
    """The seed spends, fails for ever and shows 0 %; here it is 100 %, and nothing is spent."""
    seed = SeedTracker(quilt, clock, cap=cap)
    said = cycles(seed, 3)
    assert said["status"] == ("error" if not cap else "healthy")
    assert seed.daily_spend == pytest.approx(0.003)
    assert seed.get_health_status()["budget"]["utilization_percent"] == 0
    with pytest.raises(InvalidAmount, match="zero or more"):
        Limit.parse("-1 usd per day")
    with BeatHouse(limits=["0 usd per day"]) as beats:
        beats.fill(3)
        report = beats.cycles(3)
        assert (report.state, beats.spent, beats.provider.sent) == ("at_cap", Money(), [])
        assert beats.health().budget["utilization_percent"] == 100.0
        assert beats.health().status == "warn"


def test_12_trouble_is_told_and_nothing_is_written_twice(
    seed: SeedTracker, quilt: StubQuilt
) -> None:
    """The seed swallows every error and persists twice; here health fails, and one is kept."""

    async def stop_at_once() -> None:
        task = asyncio.ensure_future(seed.start())
        for _ in range(3):
            await asyncio.sleep(0)
        seed.stop()
        seed.clock.advance(timedelta(seconds=1))
        await task

    asyncio.run(stop_at_once())
    assert quilt.writes == [("budget", TODAY)] * 2
    quilt.down = True
    seed.persist_budget()
    assert cycles(seed, 10)["status"] == "healthy"
    with BeatHouse() as beats:
        beats.cycle()
        beats.line.down = True
        report = beats.cycle()
        assert (report.state, beats.health().status) == ("error", "fail")
        beats.line.down = False
        beats.stop()
        assert beats.workspace.quilt.get("budget", TODAY).version == 1


def test_13_cycles_are_counted_over_restarts(
    seed: SeedTracker, quilt: StubQuilt, clock: ManualClock
) -> None:
    """The seed counts from 0 again and persists out of step; here the count goes on."""
    cycles(seed, 15)
    seed.persist_budget()
    second = SeedTracker(quilt, clock)
    cycles(second, 5)
    assert (second.cycle_count, quilt.patches["budget", TODAY]["cycle_count"]) == (5, 15)
    with BeatHouse() as beats:
        beats.cycles(15)
        with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as other:
            other.cycle(after=timedelta(minutes=3))
            assert other.health().persistence["cycles_until_persist"] == 4
            other.cycles(4)
            assert other.patch(TODAY)["cycle_count"] == 20


def test_14_health_knows_when_nothing_beats(seed: SeedTracker, clock: ManualClock) -> None:
    """The seed's health has no age and no store, and stays as it was; ours fails and says why."""
    cycles(seed, 1)
    seed.is_running = True
    before = seed.get_health_status()
    clock.advance(timedelta(hours=5))
    after = seed.get_health_status()
    assert after["heartbeat"] == before["heartbeat"]
    with BeatHouse() as beats:
        beats.cycle()
        assert beats.health().status == "pass"
        beats.clock.advance(timedelta(hours=5))
        found = beats.health()
        assert (found.status, found.heartbeat["running"]) == ("fail", False)
        assert "no cycle has ended for 18000 s" in found.output
        assert "store:read" in found.to_json()["checks"]


def test_14_the_cap_is_changed_without_a_restart(seed: SeedTracker) -> None:
    """The seed's cap is a constant of its import; here the next cycle knows the new limit."""
    assert seed.cap == 1.0
    with BeatHouse(limits=["0.10 usd per day"]) as beats:
        beats.fill(1)
        beats.cycle()
        beats.fill(1)
        assert beats.cycle().state == "at_cap"
        beats.ledger.set_budget("c8/cloud-lu", limits=["2 usd per day"])
        assert len(beats.cycle().dispatched) == 1
        assert beats.health().budget["daily_cap"] == "2"


def test_15_amounts_are_exact(quilt: StubQuilt, clock: ManualClock) -> None:
    """The seed's sum drifts; here 86,400 thousandths are 86.4."""
    seed = SeedTracker(quilt, clock, cap=1e9)
    for _ in range(86_400):
        seed.daily_spend += 0.001
    assert seed.daily_spend != 86.4
    assert usd(sum(Money("0.001").in_nanos for _ in range(86_400))) == "86.4"
    with BeatHouse(answer(1), limits=["3 usd per day"], max_dispatches=100) as beats:
        beats.fill(30)
        beats.cycle()
        assert (beats.spent, beats.health().budget["daily_spend"]) == (Money("0.30"), "0.3")
        assert sum([0.01] * 30) != 0.3


def test_16_the_day_is_the_budgets_own_and_every_cent_has_a_name(seed: SeedTracker) -> None:
    """The seed has one total in UTC; here each call has its entry, task, agent, model and zone."""
    cycles(seed, 1)
    assert set(vars(seed)) & {"entries", "zone", "held"} == set()
    with BeatHouse(clock=ManualClock(EVENING), timezone="Asia/Tokyo") as beats:
        task = beats.add()
        beats.when_sent(lambda: held.append(beats.health().budget["held"]))
        held: list[str] = []
        beats.cycle()
        assert (beats.health().budget["date"], held) == ("2026-11-23", ["0.1"])
        (hold,) = beats.holds()
        assert json.loads(hold.labels) == {"task": task.id, "agent": "Cloud Lu"}
        assert [entry.kind for entry in beats.ledger.entries(key=hold.key)] == ["reserve", "settle"]
        assert beats.board.attempts(task.id)[0].model == "scripted/m"


def test_16_the_cost_is_known_before_the_call() -> None:
    """The seed learns a cost after it was spent; here the bound is refused before anything is."""
    with BeatHouse(limits=["0.09 usd per day"]) as beats:
        task = beats.add()
        beats.cycle()
        assert (beats.status(task), beats.provider.sent) == (TaskStatus.FAILED, [])
        with pytest.raises(BudgetExceeded):
            beats.ledger.reserve("c8/cloud-lu", "0.10")


def test_17_an_outage_over_midnight_is_closed_out(
    seed: SeedTracker, quilt: StubQuilt, clock: ManualClock
) -> None:
    """The seed's last evening is lost for ever; here the next start writes its true numbers."""
    seed.accumulate_cost(0.5)
    seed.persist_budget()
    seed.accumulate_cost(0.4)
    clock.advance(timedelta(hours=1))
    SeedTracker(quilt, clock)
    assert quilt.patches["budget", TODAY]["daily_spend"] == 0.5
    with BeatHouse(clock=ManualClock(EVENING)) as beats:
        beats.fill(9)
        beats.cycles(3)
        beats.clock.advance(timedelta(hours=9))
        with BeatHouse(ledger=beats.ledger, clock=beats.clock, holder="host:2") as second:
            second.cycle()
            assert second.patch(TODAY)["daily_spend"] == "0.9"


def test_the_cap_is_a_setting() -> None:
    """What the seed imports as a constant is a limit like any other."""
    assert "10 usd per day" in [str(limit) for limit in HeartbeatSettings().limits]
