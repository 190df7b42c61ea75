"""The agents' names, of which each is one heartbeat's at a time, and what they report."""

from dataclasses import dataclass
from typing import Final

import msgspec

from earmark.clock import Clock, Instant, InstantOrZero, to_datetime
from earmark.errors import AgentBusy
from earmark.stores.tables import Row, Rows, Tables
from earmark.workspace.agent_state import AgentState

_LOCK: Final = "agents"
_COLUMNS: Final = "name, holder, lease_until, cycles, state, updated_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """One agent: who holds its name until when, and its last report."""

    name: str
    holder: str
    """The process; empty for none."""
    lease_until: InstantOrZero
    cycles: int
    state: AgentState
    updated_at: Instant

    def held_at(self, now: int) -> bool:
        """Return whether a process holds the name at the instant *now*."""
        return bool(self.holder) and now < self.lease_until


class Agents:
    """The table of agents; share it between threads."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def acquire(self, name: str, holder: str, lease_ns: int) -> AgentRow:
        """Make *holder* the one who runs under *name* for *lease_ns*; durable.

        Returns:
            What the last holder left: its cycles and its report.

        Raises:
            AgentBusy: Another holder's lease is not over.
        """

        def work(rows: Rows) -> AgentRow:
            now = self._clock.instant()
            row = _get(rows, name)
            if row is not None and row.holder != holder and row.held_at(now):
                raise _busy(row)
            _hold(rows, name, holder, now, now + lease_ns)
            found = _get(rows, name)
            assert found is not None, "just written"
            return found

        return self._tables.write(_LOCK, work)

    def renew(self, name: str, holder: str, lease_ns: int) -> None:
        """Keep the name for *lease_ns* from now; durable.

        Raises:
            AgentBusy: The lease was over and another took the name.
        """

        def work(rows: Rows) -> None:
            now = self._clock.instant()
            _check_holder(rows, name, holder)
            _hold(rows, name, holder, now, now + lease_ns)

        self._tables.write(_LOCK, work)

    def give_up(self, name: str, holder: str) -> None:
        """Let others have the name at once; nothing if it is held by another already."""

        def work(rows: Rows) -> None:
            rows.run(
                "UPDATE {schema}.agent SET holder = '', lease_until = 0, updated_at = ?"
                " WHERE name = ? AND holder = ?",
                self._clock.instant(),
                name,
                holder,
            )

        self._tables.write(_LOCK, work)

    def report(self, name: str, holder: str, state: AgentState, cycles: int) -> None:
        """Write what the agent says of itself; durable.

        Raises:
            AgentBusy: Another took the name.
        """
        self._tables.write(_LOCK, lambda rows: self.report_in(rows, name, holder, state, cycles))

    def report_in(self, rows: Rows, name: str, holder: str, state: AgentState, cycles: int) -> None:
        """Write what the agent says of itself in the transaction of *rows*, under whatever lock.

        Raises:
            AgentBusy: Another took the name.
        """
        written = rows.run(
            "UPDATE {schema}.agent SET state = ?, cycles = ?, updated_at = ?"
            " WHERE name = ? AND holder = ? RETURNING name",
            msgspec.json.encode(state).decode(),
            cycles,
            self._clock.instant(),
            name,
            holder,
        )
        if not written:
            _check_holder(rows, name, holder)

    def get(self, name: str) -> AgentRow | None:
        """Return the agent *name*, if it ever ran."""
        return self._tables.read(lambda rows: _get(rows, name))

    def all(self) -> list[AgentRow]:
        """Return every agent that ever ran, by name."""
        sql = f"SELECT {_COLUMNS} FROM {{schema}}.agent ORDER BY name"  # noqa: S608 - constants
        return self._tables.read(lambda rows: [_row(row) for row in rows.run(sql)])


def _hold(rows: Rows, name: str, holder: str, now: int, until: int) -> None:
    rows.run(
        "INSERT INTO {schema}.agent (name, holder, lease_until, cycles, state, updated_at)"
        " VALUES (?, ?, ?, 0, '{}', ?) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, lease_until = excluded.lease_until,"
        " updated_at = excluded.updated_at",
        name,
        holder,
        until,
        now,
    )


def _get(rows: Rows, name: str) -> AgentRow | None:
    found = rows.run(f"SELECT {_COLUMNS} FROM {{schema}}.agent WHERE name = ?", name)  # noqa: S608 - constants
    return _row(found[0]) if found else None


def _check_holder(rows: Rows, name: str, holder: str) -> None:
    row = _get(rows, name)
    if row is None or row.holder != holder:
        raise _busy(row) if row else AgentBusy(agent=name, holder="")


def _busy(row: AgentRow) -> AgentBusy:
    until = to_datetime(row.lease_until) if row.lease_until else None
    return AgentBusy(agent=row.name, holder=row.holder, until=until)


def _row(row: Row) -> AgentRow:
    name, holder, lease_until, cycles, state, updated_at = row
    return AgentRow(
        name=name,
        holder=holder,
        lease_until=lease_until,
        cycles=cycles,
        state=_state(state),
        updated_at=updated_at,
    )


def _state(text: str) -> AgentState:
    """Return the report, or an empty one where a newer program wrote what this one cannot read."""
    try:
        return msgspec.json.decode(text, type=AgentState)
    except msgspec.MsgspecError:
        return AgentState()
