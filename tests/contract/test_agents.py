"""Agents on every store: one name is one heartbeat's at a time, and what it says is kept."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from earmark.errors import AgentBusy
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.testing import ManualClock
from earmark.workspace.agent_state import AgentState
from earmark.workspace.agents import Agents
from support.board_books import Repeating

NAME = "Cloud Lu"
LEASE = 60 * 10**9


@pytest.fixture
def tables(url: str, clock: ManualClock) -> Iterator[Tables]:
    """The tables beside empty books."""
    with open_ledger(url, clock=clock) as ledger:
        opened = open_tables(ledger.store)
        yield opened
        opened.close()


@pytest.fixture
def agents(tables: Tables, clock: ManualClock) -> Agents:
    """No agents yet."""
    return Agents(tables, clock)


def test_a_name_is_one_holders_until_its_lease_is_over(agents: Agents, clock: ManualClock) -> None:
    """A second holder is refused by name and moment, and takes over a lease that ended."""
    assert agents.acquire(NAME, "a:1", LEASE).cycles == 0
    with pytest.raises(AgentBusy) as busy:
        agents.acquire(NAME, "b:2", LEASE)
    assert (busy.value.agent, busy.value.holder) == (NAME, "a:1")
    assert busy.value.until == clock.now + timedelta(seconds=60)
    assert agents.acquire("VS Lu", "b:2", LEASE).holder == "b:2"
    clock.advance(timedelta(seconds=60))
    assert agents.acquire(NAME, "b:2", LEASE).holder == "b:2"
    with pytest.raises(AgentBusy):
        agents.renew(NAME, "a:1", LEASE)
    with pytest.raises(AgentBusy):
        agents.report(NAME, "a:1", AgentState(), 1)


def test_a_lease_that_is_renewed_does_not_end(agents: Agents, clock: ManualClock) -> None:
    """Who renews keeps the name; who is late may renew as long as nobody took it."""
    agents.acquire(NAME, "a:1", LEASE)
    for _ in range(3):
        clock.advance(timedelta(seconds=59))
        agents.renew(NAME, "a:1", LEASE)
    clock.advance(timedelta(seconds=600))
    agents.renew(NAME, "a:1", LEASE)
    with pytest.raises(AgentBusy):
        agents.acquire(NAME, "b:2", LEASE)


def test_a_name_that_is_given_up_is_free_at_once(agents: Agents) -> None:
    """Giving up lets the next one in; giving up what another holds does nothing."""
    agents.acquire(NAME, "a:1", LEASE)
    agents.give_up(NAME, "b:2")
    with pytest.raises(AgentBusy):
        agents.acquire(NAME, "b:2", LEASE)
    agents.give_up(NAME, "a:1")
    agents.acquire(NAME, "b:2", LEASE)


def test_what_an_agent_says_outlives_its_holder(agents: Agents, clock: ManualClock) -> None:
    """Cycles and report are there for the next holder, and for whoever looks."""
    agents.acquire(NAME, "a:1", LEASE)
    state = AgentState(agent=NAME, running=True, cycle_count=7, reason="it's ünïcode")
    agents.report(NAME, "a:1", state, 7)
    clock.advance(timedelta(seconds=61))
    row = agents.acquire(NAME, "b:2", LEASE)
    assert (row.cycles, row.state) == (7, state)
    found = agents.get(NAME)
    assert found is not None
    assert found.held_at(clock.instant())
    assert not found.held_at(clock.instant() + LEASE)
    agents.acquire("AG Lu", "c:3", LEASE)
    assert [each.name for each in agents.all()] == ["AG Lu", NAME]
    assert agents.get("nobody") is None


def test_a_report_of_a_newer_program_is_no_obstacle(
    agents: Agents, tables: Tables, clock: ManualClock
) -> None:
    """What this program cannot read is taken for nothing said; the cycles stay."""
    agents.acquire(NAME, "a:1", LEASE)
    agents.report(NAME, "a:1", AgentState(cycle_count=3), 3)
    tables.write(
        "agents",
        lambda rows: rows.run("UPDATE {schema}.agent SET state = ?", '{"cycle_count": "three"}'),
    )
    clock.advance(timedelta(seconds=61))
    row = agents.acquire(NAME, "b:2", LEASE)
    assert (row.cycles, row.state) == (3, AgentState())


def test_a_write_that_runs_twice_is_one(tables: Tables, clock: ManualClock) -> None:
    """After a lost connection the same holder's write runs again, and is no stranger to itself."""
    agents = Agents(Repeating(tables), clock)
    assert agents.acquire(NAME, "a:1", LEASE).holder == "a:1"
    agents.renew(NAME, "a:1", LEASE)
    agents.report(NAME, "a:1", AgentState(cycle_count=1), 1)
    agents.give_up(NAME, "a:1")
    assert agents.acquire(NAME, "b:2", LEASE).cycles == 1
