"""The outbox: nudges as they were raised, each once, and how far each has come on each channel."""

# ruff: noqa: S608 - statements are put together from constants of this file

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from earmark.clock import Clock
from earmark.errors import NotFound
from earmark.nudges.draft import LONGEST_WORD, NudgeDraft, check_words, checked, text_of
from earmark.nudges.nudge import Delivery, Nudge, patch_data
from earmark.quilt.quilt import LOCK, put_within
from earmark.stores.tables import Row, Rows, Tables

__all__ = ["Delivery", "Nudge", "NudgeDraft", "Nudges"]

#: The patches that nudges are, for siblings that look in the quilt.
PATCH_TYPE: Final = "sibling_nudge"


class NudgeProgress(Struct, frozen=True):
    """How far a nudge has come on one channel: it changes whenever that does."""

    acked_at: int
    channel: str | None
    state: str | None
    tries: int | None


def not_raised(id_sql: str) -> str:
    """Return the SQL condition that no nudge has the id that the expression *id_sql* gives."""
    return f"NOT EXISTS (SELECT 1 FROM {{schema}}.nudge AS raised WHERE raised.id = {id_sql})"


class Nudges:
    """The nudges of one store; any thread may call."""

    def __init__(self, tables: Tables, clock: Clock, *, recipient: str = "AG Lu") -> None:
        """Keep nudges in *tables*, dated by *clock*, for *recipient* unless told otherwise."""
        self.tables = tables
        self.read_until: dict[str, int] = {}
        """By tree, the entry up to which this process has read and found nobody to be told."""
        self.clock = clock
        self.recipient = recipient

    def raise_(
        self,
        kind: str,
        *,
        id: str,  # noqa: A002 - the nudge's own word
        budget: str = "",
        title: str,
        data: Mapping[str, Any],
        recipient: str | None = None,
        channels: Sequence[str] = (),
    ) -> bool:
        """Write a nudge, its deliveries and its patch in one durable transaction, once per *id*.

        Args:
            kind: What has happened: `threshold`, `paused` …
            id: Follows from what it is about, so that whoever raises it again raises nothing.
            budget: The budget it is about.
            title: One sentence with its numbers; what cannot be printed in a line is left out.
            data: A JSON object; amounts are decimal strings.
            recipient: The sibling; the one of this outbox unless given.
            channels: Names of the channels that are to carry it.

        Returns:
            Whether it was written now; False if a nudge of that id stood already.

        Raises:
            InvalidNudge: Something of it cannot be kept or told; says what.
            StoreUnavailable: The outcome is unknown: raise it again.
        """
        draft = NudgeDraft(
            kind=kind, id=id, budget=budget, title=title, data=data, recipient=recipient
        )
        return self.raise_all([draft], channels) == 1

    def raise_all(
        self,
        drafts: Sequence[NudgeDraft],
        channels: Sequence[str] = (),
        also: Callable[[Rows], bool] = lambda _: True,
    ) -> int:
        """Write those of *drafts* that do not stand already, in one durable transaction.

        Args:
            drafts: In the order they are to be numbered.
            channels: Names of the channels that are to carry them.
            also: Done in the same transaction, before them; False keeps them from being written.

        Returns:
            How many were written now.

        Raises:
            InvalidNudge, StoreUnavailable: As `raise_`; then none was written.
        """
        now = self.clock.instant()
        wanted = [self._nudge(checked(draft), now) for draft in drafts]
        written: list[Nudge] = []

        def work(rows: Rows) -> int:
            # Done again after a lost connection: what was written before may be there.
            ours = [nudge for nudge in written if _is_kept(rows, nudge)]
            if also(rows):
                added = [nudge for nudge in wanted if _insert(rows, nudge, channels, now)]
                ours += added
                written.extend(added)
            return len(ours)

        return self.tables.write(LOCK, work)

    def get(self, id: str) -> Nudge:  # noqa: A002 - the nudge's own word
        """Return the nudge of that id.

        Raises:
            NotFound: There is none.
        """
        found = self.tables.read(lambda rows: rows.run(f"{_NUDGES} WHERE id = ?", id))
        if not found:
            raise NotFound(kind="nudge", name=id)
        return _nudge(found[0])

    def find(
        self,
        *,
        acked: bool | None = None,
        after: int = 0,
        most: int = 100,
        newest_first: bool = False,
    ) -> list[Nudge]:
        """Return nudges in the order they were raised, at most *most*.

        Args:
            acked: Only those that somebody acknowledged, or nobody.
            after: The number of the last of a page before; 0 for the first page.
            most: How many at most.
            newest_first: In the other order.
        """
        beyond, order = ("<", "DESC") if newest_first and after else (">", "ASC")
        order = "DESC" if newest_first else order
        tests = [f"number {beyond} ?"]
        if acked is not None:
            tests.append(f"acked_at {'>' if acked else '='} 0")
        sql = f"{_NUDGES} WHERE {' AND '.join(tests)} ORDER BY number {order} LIMIT ?"
        return [_nudge(row) for row in self.tables.read(lambda rows: rows.run(sql, after, most))]

    def ack(self, id: str, actor: str) -> Nudge:  # noqa: A002 - the nudge's own word
        """Note that *actor* has seen the nudge; who was first stays; durable.

        Raises:
            NotFound: There is no such nudge.
            InvalidNudge: *actor* is no name.
        """
        check_words("acknowledging name", actor, LONGEST_WORD)
        now = self.clock.instant()
        self.tables.write(LOCK, lambda rows: rows.run(_ACK, actor, now, id))
        return self.get(id)

    def deliveries(self, id: str) -> list[Delivery]:  # noqa: A002 - the nudge's own word
        """Return how far the nudge has come on each of its channels, by channel."""
        return self.deliveries_of([id])[id]

    def deliveries_of(self, ids: Collection[str]) -> dict[str, list[Delivery]]:
        """Return the deliveries of each of *ids*, in one look."""
        wanted = list(ids)
        found: dict[str, list[Delivery]] = {each: [] for each in wanted}

        def work(rows: Rows) -> list[Row]:
            # Always as many values: one statement serves lists of any length.
            chunks = [wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE)]
            padded = [chunk + [""] * (_AT_ONCE - len(chunk)) for chunk in chunks]
            return [row for chunk in padded for row in rows.run(_OF_NUDGES, *chunk)]

        for row in self.tables.read(work):
            found[row[0]].append(_delivery(row))
        return found

    def pending(self) -> int:
        """Return how many deliveries are still to be made."""
        sql = "SELECT count(*) FROM {schema}.nudge_delivery WHERE state = 'waiting'"
        return self.tables.read(lambda rows: rows.run(sql))[0][0]

    def undelivered(self) -> tuple[int, str]:
        """Return how many deliveries have failed and are tried again, and what one of them said."""
        ((count, error),) = self.tables.read(lambda rows: rows.run(_FAILED))
        return count, error or ""

    def progress(self, most: int) -> dict[str, list[NudgeProgress]]:
        """Return how far each of the latest *most* nudges has come, by its id: for each channel.

        Of a nudge without channels there is one, whose channel is None.
        """
        found: dict[str, list[NudgeProgress]] = {}
        for id_, *rest in self.tables.read(lambda rows: rows.run(_PROGRESS, most)):
            found.setdefault(id_, []).append(NudgeProgress(*rest))
        return found

    def last_number(self) -> int:
        """Return the number of the latest nudge, 0 without one: it moves when one is raised."""
        return self.tables.read(lambda rows: rows.run(_LAST))[0][0]

    # For the courier ------------------------------------------------------------------------------

    def lease(self, channel: str, until: Callable[[int], int]) -> tuple[Nudge, Delivery] | None:
        """Take the delivery of *channel* that is due for the longest time; durable.

        It counts as tried, and nobody else gets it before *until* of the tries then made.
        """
        now = self.clock.instant()
        if not self.tables.read(lambda rows: rows.run(_DUE, channel, now)):
            return None

        def work(rows: Rows) -> tuple[Nudge, Delivery] | None:
            due = rows.run(_DUE, channel, now)
            if not due:
                return None
            id_, tries = due[0]
            (delivery,) = rows.run(_LEASE, tries + 1, until(tries + 1), id_, channel)
            (nudge,) = rows.run(f"{_NUDGES} WHERE id = ?", id_)
            return _nudge(nudge), _delivery(delivery)

        return self.tables.write(LOCK, work)

    def note(self, delivery: Delivery) -> None:
        """Write what became of a try, unless the nudge was delivered or given up meanwhile."""
        d = delivery
        values = (d.state, d.next_at, d.delivered_at, d.error, d.nudge_id, d.channel)
        self.tables.write(LOCK, lambda rows: rows.run(_NOTE, *values))

    def give_up_strays(self, channels: Collection[str], before: int) -> list[Delivery]:
        """Give up deliveries on channels other than *channels* of nudges raised *before*.

        Returns:
            Those that were given up.
        """
        known = ", ".join("?" for _ in channels)
        stray = f"{_STRAY} AND channel NOT IN ({known})" if channels else _STRAY
        look = f"SELECT {_ON_ITS_WAY} FROM {{schema}}.nudge_delivery WHERE {stray}"
        if not self.tables.read(lambda rows: rows.run(f"{look} LIMIT 1", before, *channels)):
            return []
        end = f"{_END} WHERE {stray} RETURNING {_ON_ITS_WAY}"
        error = "no such channel is configured any more"
        found = self.tables.write(LOCK, lambda rows: rows.run(end, error, before, *channels))
        return [_delivery(row) for row in found]

    def _nudge(self, draft: NudgeDraft, now: int) -> Nudge:
        return Nudge(
            id=draft.id,
            number=0,
            kind=draft.kind,
            budget=draft.budget,
            recipient=self.recipient if draft.recipient is None else draft.recipient,
            title=draft.title,
            data=draft.data,
            created_at=now,
        )


_FIELDS: Final = "id, number, kind, budget, recipient, title, data, created_at, acked_by, acked_at"
_NUDGES: Final = f"SELECT {_FIELDS} FROM {{schema}}.nudge"
_LAST: Final = "SELECT coalesce(max(number), 0) FROM {schema}.nudge"
_ADD: Final = (
    f"INSERT INTO {{schema}}.nudge ({_FIELDS})"
    " SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, '', 0 FROM {schema}.nudge"
    " WHERE true ON CONFLICT (id) DO NOTHING RETURNING number"
)
_KEPT: Final = "SELECT kind, title, data, created_at FROM {schema}.nudge WHERE id = ?"
_ACK: Final = "UPDATE {schema}.nudge SET acked_by = ?, acked_at = ? WHERE id = ? AND acked_at = 0"
_ON_ITS_WAY: Final = "nudge_id, channel, state, tries, next_at, delivered_at, error"
_SEND: Final = (
    f"INSERT INTO {{schema}}.nudge_delivery ({_ON_ITS_WAY})"
    " VALUES (?, ?, 'waiting', 0, ?, 0, '') ON CONFLICT (nudge_id, channel) DO NOTHING"
)
_AT_ONCE: Final = 50
_OF_NUDGES: Final = (
    f"SELECT {_ON_ITS_WAY} FROM {{schema}}.nudge_delivery"
    f" WHERE nudge_id IN ({', '.join('?' * _AT_ONCE)}) ORDER BY channel"
)
_FAILED: Final = (
    "SELECT count(*), max(error) FROM {schema}.nudge_delivery"
    " WHERE state = 'waiting' AND error <> ''"
)
_PROGRESS: Final = (
    "SELECT n.id, n.acked_at, d.channel, d.state, d.tries FROM {schema}.nudge n"
    " LEFT JOIN {schema}.nudge_delivery d ON d.nudge_id = n.id"
    " WHERE n.number > (SELECT coalesce(max(number), 0) FROM {schema}.nudge) - ?"
    " ORDER BY n.number, d.channel"
)
_DUE: Final = (
    "SELECT nudge_id, tries FROM {schema}.nudge_delivery"
    " WHERE state = 'waiting' AND channel = ? AND next_at <= ? ORDER BY next_at, nudge_id LIMIT 1"
)
_LEASE: Final = (
    "UPDATE {schema}.nudge_delivery SET tries = ?, next_at = ?"
    f" WHERE nudge_id = ? AND channel = ? RETURNING {_ON_ITS_WAY}"
)
_NOTE: Final = (
    "UPDATE {schema}.nudge_delivery SET state = ?, next_at = ?, delivered_at = ?, error = ?"
    " WHERE nudge_id = ? AND channel = ? AND state = 'waiting'"
)
_STRAY: Final = (
    "state = 'waiting' AND nudge_id IN (SELECT id FROM {schema}.nudge WHERE created_at < ?)"
)
_END: Final = "UPDATE {schema}.nudge_delivery SET state = 'given_up', error = ?"


def _insert(rows: Rows, nudge: Nudge, channels: Iterable[str], now: int) -> bool:
    n = nudge
    values = (n.id, n.kind, n.budget, n.recipient, n.title, text_of(n.data), n.created_at)
    if not rows.run(_ADD, *values):
        return False
    for channel in channels:
        rows.run(_SEND, n.id, channel, now)
    put_within(rows, PATCH_TYPE, n.id, patch_data(n), author="earmark", now=now)
    return True


def _is_kept(rows: Rows, nudge: Nudge) -> bool:
    found = rows.run(_KEPT, nudge.id)
    return found == [(nudge.kind, nudge.title, text_of(nudge.data), nudge.created_at)]


def _nudge(row: Row) -> Nudge:
    id_, number, kind, budget, recipient, title, data, created_at, acked_by, acked_at = row
    return Nudge(
        id=id_,
        number=number,
        kind=kind,
        budget=budget,
        recipient=recipient,
        title=title,
        data=json.loads(data),
        created_at=created_at,
        acked_by=acked_by,
        acked_at=acked_at,
    )


def _delivery(row: Row) -> Delivery:
    nudge_id, channel, state, tries, next_at, delivered_at, error = row
    return Delivery(
        nudge_id=nudge_id,
        channel=channel,
        state=state,
        tries=tries,
        next_at=next_at,
        delivered_at=delivered_at,
        error=error,
    )
