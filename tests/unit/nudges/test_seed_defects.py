"""Two defects of the first seed's alerts, shown on the seed's own code and absent here.

The numbers are those of the list of seventeen; the others are in the heartbeat's tests.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from earmark.errors import StoreUnavailable
from earmark.testing import ManualClock
from support.nudge_books import Outbox, open_outbox
from support.seed_tracker import SeedTracker, StubQuilt


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Books in a file, which outlive a restart."""
    return f"sqlite:///{tmp_path}/books.db"


@pytest.fixture
def outbox(url: str, clock: ManualClock) -> Iterator[Outbox]:
    """Books with a cap of 1 USD per day, and an empty outbox."""
    with open_outbox(url, clock) as opened:
        opened.ledger.set_budget("c8", limits=["1 usd per day"])
        yield opened


def test_defect_4_the_seed_loses_an_alert(clock: ManualClock) -> None:
    """In the seed, an alert that could not be stored counts as sent and is never tried again."""
    quilt = StubQuilt()
    tracker = SeedTracker(quilt, clock, cap=1.0)
    quilt.down = True
    tracker.accumulate_cost(0.85)
    quilt.down = False
    tracker.accumulate_cost(0.05)
    assert tracker.get_health_status()["budget"]["alert_sent"] is True
    assert quilt.named("sibling_nudge") == []


def test_defect_4_here_an_alert_waits_for_the_store(outbox: Outbox) -> None:
    """Here, an alert that could not be stored is raised as soon as the store is back, once."""
    outbox.spend("c8", "0.85")
    outbox.line.down = True
    with suppress(StoreUnavailable):
        outbox.collect()
    outbox.line.down = False
    assert outbox.nudges.find() == []
    outbox.spend("c8", "0.05")
    assert outbox.collect() == 1
    (patch,) = outbox.quilt.find("sibling_nudge")
    assert patch.data["type"] == "budget_alert"
    assert patch.data["recipient"] == "AG Lu"
    assert patch.data["threshold_percent"] == 80


def test_defect_5_the_seed_alerts_again_after_a_restart(clock: ManualClock) -> None:
    """In the seed, a restart forgets that it alerted, and the alert has another name each time."""
    quilt = StubQuilt()
    tracker = SeedTracker(quilt, clock, cap=1.0)
    tracker.accumulate_cost(0.85)
    tracker.persist_budget()
    clock.set(clock.now.replace(second=7))
    again = SeedTracker(quilt, clock, cap=1.0)
    again.accumulate_cost(0.01)
    assert len(quilt.named("sibling_nudge")) == 2


def test_defect_5_here_a_restart_alerts_nobody_again(
    outbox: Outbox, url: str, clock: ManualClock
) -> None:
    """Here, one crossing is one nudge and one patch under one name, however many restarts."""
    outbox.spend("c8", "0.85")
    assert outbox.collect() == 1
    clock.set(clock.now.replace(second=7))
    with open_outbox(url, clock) as restarted:
        restarted.spend("c8", "0.01")
        assert restarted.collect() == 0
        (patch,) = restarted.quilt.find("sibling_nudge")
        assert (patch.name, patch.version) == (restarted.ledger.alerts()[0].id, 1)
