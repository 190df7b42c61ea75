"""How a heartbeat, its budget and its store do: read from what is written down, by anybody."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from earmark.clock import NANOS_PER_SECOND, Clock, iso
from earmark.errors import EarmarkError
from earmark.ledger.store import Filter
from earmark.workspace.agents import AgentRow
from earmark.workspace.daily_spend import DailySpend, Day, spend_of, today, usd
from earmark.workspace.workspace import Workspace

HealthStatus = Literal["pass", "warn", "fail"]
_WORST_FIRST: Final[Sequence[HealthStatus]] = ("fail", "warn", "pass")

#: A heartbeat that has not ended a cycle for so many intervals is stale.
STALE_INTERVALS: Final = 2
#: So many cycles after its turn the day's patch is late: what failed once is tried again in each.
LATE_CYCLES: Final = 1
#: Holds whose cost is unknown are counted up to here.
MOST_UNRESOLVED: Final = 1000

#: States in which the heartbeat works as it should and dispatches nothing.
_HELD_UP: Final = frozenset({"at_cap", "paused", "killed", "error", "stopped"})


class HealthCheck(Struct, frozen=True, kw_only=True):
    """One thing that was looked at, as `application/health+json` shows it."""

    name: str
    status: HealthStatus
    output: str = ""
    """What is wrong; empty where nothing is."""
    value: int | float | str | None = None
    unit: str = ""

    def to_json(self, at: str) -> dict[str, Any]:
        """Return it in the form of draft-inadarei-api-health-check-06."""
        observed = {} if self.value is None else {"observedValue": self.value}
        unit = {"observedUnit": self.unit} if self.unit else {}
        output = {"output": self.output} if self.output else {}
        return {**observed, **unit, "status": self.status, "time": at, **output}


class Health(Struct, frozen=True, kw_only=True):
    """How everything does at one moment; amounts are decimal strings, instants RFC 3339."""

    status: HealthStatus
    as_of: str
    heartbeat: Mapping[str, Any]
    budget: Mapping[str, Any]
    persistence: Mapping[str, Any]
    checks: Sequence[HealthCheck]

    @property
    def output(self) -> str:
        """What is wrong, in one sentence; empty where nothing is."""
        return "; ".join(check.output for check in self.checks if check.output)

    def to_json(self) -> dict[str, Any]:
        """Return it as `application/health+json`."""
        output = {"output": self.output} if self.output else {}
        return {
            "status": self.status,
            "version": "1",
            "description": "earmark heartbeat",
            **output,
            "as_of": self.as_of,
            "heartbeat": dict(self.heartbeat),
            "budget": dict(self.budget),
            "persistence": dict(self.persistence),
            "checks": {check.name: [check.to_json(self.as_of)] for check in self.checks},
        }


def health(workspace: Workspace, *, agent: str | None = None, clock: Clock) -> Health:
    """Return how the heartbeat of *agent* does; without a name, of the one that reported last.

    It changes nothing; what cannot be read is a failed check.
    """
    now = clock.instant()
    try:
        row = _agent(workspace, agent)
        return _examined(workspace, row, now)
    except EarmarkError as error:
        check = HealthCheck(name="store:read", status="fail", output=str(error))
        return _health(now, {"running": None}, {}, {}, [check])


def _agent(workspace: Workspace, name: str | None) -> AgentRow | None:
    if name is not None:
        return workspace.agents.get(name)
    return max(workspace.agents.all(), key=lambda row: row.updated_at, default=None)


def _examined(workspace: Workspace, row: AgentRow | None, now: int) -> Health:
    store = HealthCheck(name="store:read", status="pass")
    deliveries = _check_deliveries(workspace)
    if row is None:
        beat = HealthCheck(
            name="heartbeat:age", status="warn", output="no heartbeat has run here yet"
        )
        return _health(now, _NO_BEAT, {}, {}, [store, beat, deliveries])
    checks = [store, _check_age(row, now), _check_state(row), _check_patch(row), deliveries]
    budget: Mapping[str, Any] = {}
    if row.state.budget:
        day = today(workspace.ledger, row.state.budget, now)
        spend = spend_of(workspace.ledger, day, now)
        unresolved = _unresolved(workspace, day)
        budget = _budget_block(day, spend, unresolved, now)
        checks += [_check_budget(spend), _check_unresolved(unresolved)]
    return _health(now, _beat_block(row, now), budget, _persistence_block(row, now), checks)


def _health(
    now: int,
    heartbeat: Mapping[str, Any],
    budget: Mapping[str, Any],
    persistence: Mapping[str, Any],
    checks: Sequence[HealthCheck],
) -> Health:
    found = {check.status for check in checks}
    return Health(
        status=next(status for status in _WORST_FIRST if status in found),
        as_of=iso(now),
        heartbeat=heartbeat,
        budget=budget,
        persistence=persistence,
        checks=checks,
    )


# The blocks ---------------------------------------------------------------------------------------

_NO_BEAT: Final = {"running": False, "cycle_count": 0, "last_heartbeat": None}


def _beat_block(row: AgentRow, now: int) -> dict[str, Any]:
    state = row.state
    return {
        "running": state.running and row.held_at(now),
        "cycle_count": state.cycle_count,
        "last_heartbeat": _moment(state.last_heartbeat),
        "next_cycle": _moment(state.next_cycle_at),
        "interval_s": state.interval_s,
        "agent": row.name,
        "holder": row.holder or None,
        "lease_until": _moment(row.lease_until),
        "state": state.state,
        "reason": state.reason,
        "resets_at": _moment(state.resets_at),
        "dispatched": state.dispatched,
        "last_error": state.last_error or None,
        "model": state.model,
        "sibling": state.sibling,
        "started_at": _moment(state.started_at),
    }


def _budget_block(day: Day, spend: DailySpend, unresolved: int, now: int) -> dict[str, Any]:
    limited = spend.limit is not None
    return {
        "date": day.date,
        "daily_spend": usd(spend.settled),
        "daily_cap": usd(spend.limit) if spend.limit is not None else None,
        "utilization_percent": spend.percent(),
        "alert_sent": spend.alerted,
        "remaining": usd(max(0, spend.available or 0)) if limited else None,
        "budget": day.budget,
        "settled": usd(spend.settled),
        "held": usd(spend.held),
        "available": usd(spend.available) if spend.available is not None else None,
        "unresolved": unresolved,
        "starts_at": iso(day.start),
        "resets_at": iso(day.end),
        "timezone": day.zone,
        "as_of": iso(now),
    }


def _persistence_block(row: AgentRow, now: int) -> dict[str, Any]:
    state = row.state
    lag = now - state.last_persist_at if state.last_persist_at else None
    return {
        "last_budget_date": state.last_budget_date or None,
        "persist_interval": state.persist_every,
        "cycles_until_persist": cycles_until_persist(
            state.cycle_count, state.persisted_cycle, state.persist_every
        ),
        "last_persist": _moment(state.last_persist_at),
        "lag_s": None if lag is None else max(0, lag // NANOS_PER_SECOND),
        "patch": state.patch_name or None,
    }


def cycles_until_persist(cycle: int, persisted: int, every: int) -> int:
    """Return after how many more cycles the patch is written: 0, at the end of this one."""
    return max(0, every - (cycle - persisted))


# The checks ---------------------------------------------------------------------------------------


def _check_age(row: AgentRow, now: int) -> HealthCheck:
    state = row.state
    seen = max(state.last_heartbeat, state.started_at)
    age_s = max(0, now - seen) // NANOS_PER_SECOND
    status, output = _freshness(row, now, age_s)
    return HealthCheck(name="heartbeat:age", status=status, output=output, value=age_s, unit="s")


def _freshness(row: AgentRow, now: int, age_s: int) -> tuple[HealthStatus, str]:
    if not row.state.running:
        return "warn", f"the heartbeat of '{row.name}' was stopped"
    if age_s > STALE_INTERVALS * row.state.interval_s + _slack_s(row):
        return "fail", f"the heartbeat of '{row.name}' is stale: no cycle has ended for {age_s} s"
    if not row.held_at(now):
        return "fail", f"the heartbeat of '{row.name}' is dead or cannot write: its lease ran out"
    return "pass", ""


def _slack_s(row: AgentRow) -> int:
    """Return how much longer than an interval a cycle may take: while it dispatches, it lives."""
    if row.state.state != "dispatching":
        return 0
    return max(0, row.lease_until - row.state.last_heartbeat) // NANOS_PER_SECOND


def _check_state(row: AgentRow) -> HealthCheck:
    state = row.state
    wrong = state.state in _HELD_UP or bool(state.last_error)
    reason = state.reason if state.state in _HELD_UP else ""
    output = "; ".join(dict.fromkeys(part for part in (reason, state.last_error) if part))
    return HealthCheck(
        name="heartbeat:state",
        status="warn" if wrong else "pass",
        output=output if wrong else "",
        value=state.state,
    )


def _check_patch(row: AgentRow) -> HealthCheck:
    """Look whether the day's patch is late: a cycle that was to write it may end without."""
    state = row.state
    since = state.cycle_count - state.persisted_cycle
    late = state.running and since > state.persist_every + LATE_CYCLES
    output = f"the day's patch is late: it was not written for {since} cycles" if late else ""
    status: HealthStatus = "warn" if late else "pass"
    return HealthCheck(
        name="persistence:lag", status=status, output=output, value=since, unit="cycles"
    )


def _check_budget(spend: DailySpend) -> HealthCheck:
    used = spend.percent()
    full = spend.available is not None and spend.available <= 0
    output = "nothing is left of the day's budget" if full else ""
    status: HealthStatus = "warn" if full else "pass"
    return HealthCheck(
        name="budget:utilization", status=status, output=output, value=used, unit="percent"
    )


def _check_unresolved(count: int) -> HealthCheck:
    output = f"the cost of {count} calls of today is not known" if count else ""
    status: HealthStatus = "warn" if count else "pass"
    return HealthCheck(name="budget:unresolved", status=status, output=output, value=count)


def _check_deliveries(workspace: Workspace) -> HealthCheck:
    count, error = workspace.nudges.undelivered()
    if not count:
        return HealthCheck(name="nudges:deliveries", status="pass", value=0)
    output = f"{count} nudges could not be delivered yet: {error}"
    return HealthCheck(name="nudges:deliveries", status="warn", output=output, value=count)


def _unresolved(workspace: Workspace, day: Day) -> int:
    """Count the day's holds whose cost is unknown, without those that are under way."""
    query = Filter(
        budget=day.budget,
        state="presumed",
        since=day.start,
        until=day.end,
        most=MOST_UNRESOLVED,
    )
    return len(workspace.ledger.store.reservations(query))


def _moment(instant: int) -> str | None:
    return iso(instant) if instant else None
