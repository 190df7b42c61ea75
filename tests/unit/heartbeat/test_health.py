"""Health tells the truth: about the heartbeat, its budget, what is kept, and the store."""

import json
from datetime import timedelta

from earmark.cli.main import main
from earmark.testing import Failure, HalfStream
from earmark.workspace.health import HealthCheck, health
from support.beat_house import BeatHouse, answer


def status(beats: BeatHouse, name: str) -> str:
    """Return the status of one check."""
    return next(check.status for check in beats.health().checks if check.name == name)


def test_health_has_the_seeds_fields_and_more(beats: BeatHouse) -> None:
    """Three blocks with the seed's names; amounts are text, the window and the time are named."""
    beats.fill(1)
    beats.cycles(10)
    found = beats.health()
    assert (found.status, found.output) == ("pass", "")
    assert {"running", "cycle_count", "last_heartbeat"} <= found.heartbeat.keys()
    assert found.heartbeat["running"] is True
    assert found.heartbeat["cycle_count"] == 10
    assert found.heartbeat["last_heartbeat"] == found.as_of == "2026-11-22T12:10:00Z"
    assert found.budget == {
        "date": "2026-11-22",
        "daily_spend": "0.1",
        "daily_cap": "1",
        "utilization_percent": 10.0,
        "alert_sent": False,
        "remaining": "0.9",
        "budget": "c8/cloud-lu",
        "settled": "0.1",
        "held": "0",
        "available": "0.9",
        "unresolved": 0,
        "starts_at": "2026-11-22T00:00:00Z",
        "resets_at": "2026-11-23T00:00:00Z",
        "timezone": "UTC",
        "as_of": found.as_of,
    }
    document = json.loads(json.dumps(found.to_json()))
    assert document["checks"]["store:read"] == [{"status": "pass", "time": found.as_of}]
    assert document["checks"]["budget:utilization"][0]["observedValue"] == 10.0


def test_a_heartbeat_that_does_not_beat_is_failing(beats: BeatHouse) -> None:
    """Dead it fails when its lease is over; hanging, when two intervals went by without a cycle."""
    beats.cycle()
    assert beats.health().status == "pass"
    beats.clock.advance(timedelta(minutes=2))
    assert beats.health().status == "fail"
    assert "dead or cannot write: its lease ran out" in beats.health().output
    assert beats.health().heartbeat["running"] is False
    beats.clock.advance(timedelta(minutes=59))
    beats.workspace.agents.renew("Cloud Lu", "host:1", 10**12)
    assert beats.health().status == "fail"
    assert "stale: no cycle has ended for 3660 s" in beats.health().output


def test_one_that_was_stopped_is_a_warning(beats: BeatHouse) -> None:
    """Somebody stopped it: that is no fault, and it is no running heartbeat either."""
    beats.cycle()
    beats.stop()
    found = beats.health()
    assert (found.status, found.heartbeat["running"]) == ("warn", False)
    assert "was stopped" in found.output


def test_before_any_heartbeat_health_says_so(beats: BeatHouse) -> None:
    """Nothing has run: the store is fine, and there is nothing else to tell."""
    found = health(beats.workspace, clock=beats.clock)
    assert (found.status, found.output) == ("warn", "no heartbeat has run here yet")
    assert found.heartbeat == {"running": False, "cycle_count": 0, "last_heartbeat": None}


def test_without_a_name_the_latest_heartbeat_is_shown(beats: BeatHouse) -> None:
    """Of several agents it is the one that reported last."""
    beats.cycle()
    with BeatHouse(ledger=beats.ledger, clock=beats.clock, agent="VS Lu") as second:
        second.clock.advance(timedelta(seconds=1))
        second.cycle()
        assert health(beats.workspace, clock=beats.clock).heartbeat["agent"] == "VS Lu"
        found = health(beats.workspace, agent="Cloud Lu", clock=beats.clock)
        assert found.heartbeat["agent"] == "Cloud Lu"


def test_a_store_that_is_away_fails_and_raises_nothing(beats: BeatHouse) -> None:
    """Whoever asks gets an answer: the store cannot be read."""
    beats.cycle()
    beats.line.down = True
    found = beats.health()
    assert (found.status, found.heartbeat) == ("fail", {"running": None})
    assert found.checks == [
        HealthCheck(
            name="store:read",
            status="fail",
            output="store memory:: the line is down",
        )
    ]


def test_the_day_is_right_from_its_first_moment(beats: BeatHouse) -> None:
    """After midnight the new date has the new day's spend, before any cycle has run."""
    beats.fill(1)
    beats.cycle()
    beats.clock.set(beats.clock.now.replace(day=23, hour=0, minute=0, second=0))
    assert beats.health().budget["date"] == "2026-11-23"
    assert beats.health().budget["daily_spend"] == "0"


def test_what_is_left_is_never_less_than_nothing() -> None:
    """An overrun shows in `available` and in percent; `remaining` stays at 0."""
    with BeatHouse(limits=["0.10 usd per day"]) as beats:
        beats.fill(1)
        beats.provider.play(answer(25))
        beats.cycle()
        found = beats.health()
        assert (found.budget["remaining"], found.budget["available"]) == ("0", "-0.15")
        assert (found.budget["utilization_percent"], found.status) == (250.0, "warn")
        assert found.budget["alert_sent"] is True


def test_a_day_without_a_limit_has_no_cap() -> None:
    """Where only other windows are limited, the day's spend is told, and no cap is made up."""
    with BeatHouse(limits=["5 usd total"]) as beats:
        beats.fill(1)
        beats.cycles(10)
        found = beats.health().budget
        assert (found["daily_spend"], found["daily_cap"]) == ("0.1", None)
        assert (found["remaining"], found["utilization_percent"]) == (None, None)
        assert beats.patch("budget_2026-11-22")["limit"] is None


def test_unknown_costs_are_counted() -> None:
    """A lost reply shows as unresolved until somebody settles it."""
    with BeatHouse(HalfStream()) as beats:
        beats.fill(1)
        beats.cycle()
        assert (beats.health().budget["unresolved"], status(beats, "budget:unresolved")) == (
            1,
            "warn",
        )
        beats.ledger.settle(beats.holds()[0].key, "0.03")
        assert (beats.health().budget["unresolved"], beats.health().budget["settled"]) == (
            0,
            "0.03",
        )


def test_what_went_wrong_is_told_within_a_cycle() -> None:
    """A provider that refuses is named in the state check; a good cycle clears it."""
    with BeatHouse(Failure(detail="provider 'x' cannot be reached", billed="no")) as beats:
        beats.fill(1)
        beats.cycle()
        assert status(beats, "heartbeat:state") == "warn"
        assert "provider 'x' cannot be reached" in beats.health().output
        beats.provider.play(answer(1))
        beats.cycle(after=timedelta(minutes=30))
        assert beats.health().status == "pass"


def test_a_patch_that_is_late_is_a_warning(beats: BeatHouse) -> None:
    """One from elsewhere that says no amount ends no heartbeat, and keeps its own from its place.

    It beats on, dispatches nothing and says which patch it is; a cycle after its turn the day's
    patch is late, and health says for how long, until it stands.
    """

    def elsewhere(spend: str) -> None:
        data = {"daily_spend": spend}
        beats.workspace.quilt.put("budget", "budget_2026-11-22", data, author="VS Lu")

    beats.cycle()
    elsewhere("much")
    beats.fill(1)
    assert beats.cycles(10).dispatched == ()
    assert status(beats, "persistence:lag") == "pass", "it is tried again before that is said"
    beats.cycles(1)
    found = beats.health()
    assert (found.status, found.heartbeat["state"]) == ("warn", "error")
    assert status(beats, "persistence:lag") == "warn"
    assert "correct patch 'budget_2026-11-22'" in found.output
    assert "the day's patch is late: it was not written for 12 cycles" in found.output
    elsewhere("0")
    assert len(beats.cycles(1).dispatched) == 1
    assert beats.health().status == "pass"


def test_a_nudge_that_does_not_get_through_is_a_warning(beats: BeatHouse) -> None:
    """What a channel said stands in the check until the nudge is delivered."""
    beats.cycle()
    beats.workspace.nudges.raise_("x", id="1", title="t", data={}, channels=["hook"])
    assert status(beats, "nudges:deliveries") == "pass"
    leased = beats.workspace.nudges.lease("hook", lambda _: beats.clock.instant())
    assert leased is not None
    from msgspec.structs import replace

    beats.workspace.nudges.note(replace(leased[1], error="HTTP 503"))
    assert status(beats, "nudges:deliveries") == "warn"
    assert "1 nudges could not be delivered yet: HTTP 503" in beats.health().output


def test_only_a_name_is_needed_to_ask(tmp_path: object, capsys: object) -> None:
    """A store that does not exist is not made by asking for health."""
    del capsys
    code = main(["heartbeat", "--status", "--store", f"sqlite:///{tmp_path}/none.db"])
    assert code == 1
