"""When a lease is written anew before a call is sent."""

from datetime import timedelta

import pytest

from earmark.clock import NANOS_PER_SECOND
from earmark.heartbeat.leases import Leases
from support.beat_house import BeatHouse

LEASE_S = 120


@pytest.mark.parametrize(("after_s", "renewed_s"), [(0, 0), (60, 0), (61, 61), (119, 119)])
def test_a_lease_of_which_half_is_over_is_renewed_before_a_call(
    beats: BeatHouse, after_s: int, renewed_s: int
) -> None:
    """Whoever renews in the background may have been kept from it; a fresh one costs no commit."""
    lease_ns = LEASE_S * NANOS_PER_SECOND
    agent, task = beats.settings.agent, beats.add()
    beats.workspace.agents.acquire(agent, "host:1", lease_ns)
    (claimed,) = beats.board.claim(agent, 1, lease_ns=lease_ns)
    leases = Leases(beats.workspace, beats.clock, agent=agent, holder="host:1", lease_ns=lease_ns)
    beats.clock.advance(timedelta(seconds=after_s))
    assert leases.holds(task.id)
    name = beats.workspace.agents.get(agent)
    assert name is not None
    until = claimed.lease_until + renewed_s * NANOS_PER_SECOND
    assert (beats.board.get(task.id).lease_until, name.lease_until) == (until, until)
