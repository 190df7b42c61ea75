"""Fixtures: a nudge to send, and a receiver of webhooks."""

from collections.abc import Iterator

import pytest

from earmark.nudges.nudge import Nudge
from earmark.testing import ManualClock
from support.webhook_receiver import Receiver


@pytest.fixture
def clock() -> ManualClock:
    """Noon in UTC on 22 November 2026, until a test moves it."""
    return ManualClock()


@pytest.fixture
def nudge(clock: ManualClock) -> Nudge:
    """A nudge as it comes out of the outbox."""
    return Nudge(
        id="acme.eu/usd/day/1795305600000000000/800000",
        number=7,
        kind="threshold",
        budget="acme.eu",
        recipient="AG Lu",
        title="acme.eu: 80 % of 10 USD per day is spent (8.04 USD)",
        data={"type": "budget_alert", "daily_spend": "8.04", "daily_cap": "10", "über": "€"},
        created_at=clock.instant(),
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with Receiver() as started:
        yield started
