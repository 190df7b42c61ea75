"""One batch on its way to PostgreSQL: the folded changes as arrays, and the answer put back.

The function `apply_2` of the schema says what each array is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from earmark.clock import END_OF_TIME
from earmark.ledger.books import Books
from earmark.ledger.changes import Changes
from earmark.ledger.values import (
    Accepted,
    Account,
    Alert,
    Amounts,
    Decision,
    Entry,
    ExtendBudget,
    Operation,
    PauseBudget,
    Refused,
    Release,
    Repeated,
    Reservation,
    Reserve,
    ResumeBudget,
    SetLimits,
    Settle,
)
from earmark.money import LARGEST_SUM
from earmark.stores.rows import asked, counts_of, numbers
from earmark.stores.tables import Row

_TAKES: Final = frozenset({"reserve", "extend"})
_CLOSES: Final = frozenset({"settle", "release", "presume"})
_ON_RESERVATION: Final = _TAKES | _CLOSES

_NAMES_BUDGET: Final = (Reserve, SetLimits, PauseBudget, ResumeBudget, ExtendBudget)


def _parameters(declared: str) -> dict[str, str]:
    """Return the types of parameters by their names, from how a function declares them."""
    return dict(each.split() for each in declared.split(","))


#: The parameters of `apply_2` and `apply_one_3` of the schema, in the order of `arguments` and
#: `single`.
PARAMETERS: Final = _parameters("""
    p_now bigint, p_until bigint, p_strict boolean, p_locked boolean,
    t_name text[], t_exact bigint[], t_last int[], t_count int[], t_ttl bigint[],
    t_budgets int[], t_next bigint[],
    n_id bigint[], n_budget text[], n_unit text[], n_window text[], n_start bigint[],
    n_end bigint[],
    a_id bigint[], a_limit bigint[], a_settled bigint[], a_held bigint[], a_most bigint[],
    a_below bigint[],
    e_kind text[], e_key text[], e_budget text[], e_usd bigint[], e_calls bigint[],
    e_tokens bigint[], e_prior bigint[], e_ttl bigint[], e_accounts text[], e_was bigint[],
    e_labels text[], e_data text[], e_counts text[],
    g_key text[], g_at int[], g_usd bigint[], g_calls bigint[], g_tokens bigint[],
    g_counts text[], g_asked text[],
    p_opens int, p_closes int
""")
PARAMETERS_ONE: Final = _parameters("""
    p_now bigint, p_until bigint, t_name text, t_exact bigint,
    a_id bigint[], a_limit bigint[], a_settled bigint[], a_held bigint[], a_most bigint[],
    e_kind text, e_key text, e_budget text, e_usd bigint, e_calls bigint, e_tokens bigint,
    e_prior bigint, e_ttl bigint, e_accounts text, e_labels text, e_data text, e_counts text
""")


@dataclass(slots=True)
class Tree:
    """What a client knows of one tree of budgets."""

    exact: int
    """The number of the entry up to which all that is known of it is exact."""
    at: int
    next_due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was folded, and on what."""

    decisions: list[Decision]
    room: dict[int, int] = field(default_factory=dict[int, int])
    """The least that was free on each account after a hold was admitted."""
    changes: Changes
    unwritten: set[int]
    now: int
    until: int
    """The batch must be written before this instant: then other accounts or limits hold."""
    first: int
    """The number the first entry was given in the fold."""
    trees: dict[str, Tree]
    """The trees it belongs to, in the order of their names."""
    deadlines: dict[str, int] = field(default_factory=dict[str, int])
    """The next deadline of trees in which all that were due are presumed."""
    locked: bool = False
    begun: bool = False
    """It is written inside a transaction that somebody else ends."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the server made of a batch."""

    first: int
    now: int
    exact: bool
    """Whether nobody else had written to its trees since they were read."""
    seqs: list[int] | None
    """The number of each entry, where they do not follow on *first*."""

    def last(self, entries: int) -> int:
        """Return the number of the last of *entries*."""
        return self.seqs[-1] if self.seqs is not None else self.first + entries - 1


def plain_budgets(batch: Sequence[Operation], books: Books) -> set[str] | None:
    """Return the budgets of *batch*, or nothing if there is more in it than the quick way can do.

    That is: new reservations, and settling or releasing what this process holds open, each once.
    """
    budgets: set[str] = set()
    keys: set[str] = set()
    for op in batch:
        kind = type(op)
        if kind is Reserve:
            assert isinstance(op, Reserve)
            budgets.add(op.budget)
        elif kind is Settle or kind is Release:
            assert isinstance(op, Settle | Release)
            known = books.opened(op.key)
            if known is None:
                return None
            budgets.add(known.budget)
        else:
            return None
        keys.add(op.key)
    return budgets if len(keys) == len(batch) else None


def fold(
    batch: Sequence[Operation], books: Books, now: int
) -> tuple[list[Decision], dict[int, int]]:
    """Decide *batch* in order; return the decisions, and the least room that its holds left.

    Each hold is set against the limit that it was admitted under: a batch may change limits, and a
    limit that was lowered afterwards takes nothing back. One that an observed tree admitted beyond
    a limit is set against the sums that it was decided on.
    """
    decisions: list[Decision] = []
    room: dict[int, int] = {}
    accounts = books.changes.accounts
    for operation in batch:
        decision = books.apply(operation, now)
        if type(decision) is Accepted and decision.held and decision.entry.kind in _TAKES:
            assert decision.reservation is not None
            observed = decision.would_refuse is not None
            for number in decision.reservation.accounts:
                free = accounts[number].available
                if observed:
                    free = max(free, 0)
                if free < room.get(number, END_OF_TIME):
                    room[number] = free
        decisions.append(decision)
    return decisions, room


def arguments(batch: Batch) -> list[Any]:
    """Return what `apply_2` is called with, in the order of `PARAMETERS`."""
    # What does not fit holds on exact knowledge only: of the sums, and of whether it is observed.
    strict = any(
        type(decision) is not Accepted or decision.would_refuse is not None
        for decision in batch.decisions
    )
    entries, rows = batch.changes.entries, batch.changes.reservations
    closes = [_was(entry, rows, batch.first) for entry in entries]
    return [
        batch.now, batch.until, strict, batch.locked,
        *_trees(batch), *_new_accounts(batch), *_accounts(batch), _thresholds(batch),
        *_entries(batch, closes), *_grown(batch),
        [entry.kind for entry in entries].count("reserve"), len(closes) - closes.count(None),
    ]  # fmt: skip


def single(batch: Batch) -> list[Any] | None:
    """Return what `apply_one_3` is called with, or nothing where there is more to write."""
    entries = batch.changes.entries
    if len(entries) != 1 or len(batch.trees) != 1 or batch.locked or batch.unwritten:
        return None
    (entry,) = entries
    ((name, tree),) = batch.trees.items()
    row, amounts = batch.changes.reservations[entry.key], entry.amounts
    opens = entry.kind == "reserve"
    return [
        batch.now, batch.until, name, tree.exact, *_accounts(batch),
        entry.kind, entry.key, entry.budget, amounts.usd, amounts.calls, amounts.tokens,
        entry.prior, row.expires - row.opened if opens else None,
        numbers(row.accounts) if opens else None, row.labels, entry.data, counts_of(amounts),
    ]  # fmt: skip


def _trees(batch: Batch) -> list[str]:
    known = batch.trees
    last, count = dict.fromkeys(known, 0), dict.fromkeys(known, 0)
    budgets, ttl = dict.fromkeys(known, 0), dict[str, int]()
    for position, entry in enumerate(batch.changes.entries, start=1):
        name = tree_of(entry.budget)
        last[name] = position
        count[name] += 1
        if entry.kind not in _ON_RESERVATION:
            budgets[name] = position
    for row in batch.changes.reservations.values():
        if row.state == "open":
            name, lives = tree_of(row.budget), row.expires - row.opened
            ttl[name] = min(ttl.get(name, lives), lives)
    return [
        _texts(known), _ints(tree.exact for tree in known.values()), _ints(last.values()),
        _ints(count.values()), _maybe([ttl.get(name) for name in known]),
        _ints(budgets.values()), _maybe([batch.deadlines.get(name) for name in known]),
    ]  # fmt: skip


def _new_accounts(batch: Batch) -> list[str]:
    if not batch.unwritten:
        return ["{}"] * 6
    accounts = batch.changes.accounts
    lines = [accounts[number].line for number in batch.unwritten.intersection(accounts)]
    return [
        _ints(line.id for line in lines),
        _texts(line.budget for line in lines),
        _texts(line.unit for line in lines),
        _texts(line.window for line in lines),
        _ints(line.start for line in lines),
        _ints(line.end for line in lines),
    ]


def _accounts(batch: Batch) -> list[str]:
    changes, room = batch.changes, batch.room
    rows = [
        (
            number,
            after.line.limit,
            after.settled - (before := changes.before[number]).settled,
            after.held - before.held,
            _most(before, room.get(number)),
        )
        for number, after in changes.accounts.items()
    ]
    # Turned over at once: for each column a list of its own costs four times as much.
    return list(map(_maybe, zip(*rows, strict=True))) if rows else ["{}"] * 5


def _thresholds(batch: Batch) -> str:
    before = batch.changes.before
    return _maybe([_below(a, before[number]) for number, a in batch.changes.accounts.items()])


def _most(before: Account, room: int | None) -> int | None:
    """Return what may be settled and held before the batch for its holds to fit."""
    if room is None:
        return None
    return min(before.settled + before.held + room, LARGEST_SUM)


def _below(after: Account, before: Account) -> int | None:
    """Return what must not be settled before the batch, or it would cross an alert."""
    if after.alert_at == END_OF_TIME:
        return None
    below = after.alert_at - (after.settled - before.settled)
    return None if below > LARGEST_SUM else below


def _entries(batch: Batch, closes: list[int | None]) -> list[str]:
    entries, rows, first = batch.changes.entries, batch.changes.reservations, batch.first
    amounts = [entry.amounts for entry in entries]
    opened = [rows[entry.key] if entry.kind == "reserve" else None for entry in entries]
    labels = [row.labels if row else "" for row in opened]
    data = [entry.data for entry in entries]
    return [
        _plain([entry.kind for entry in entries]),
        _texts(entry.key for entry in entries),
        _plain([entry.budget for entry in entries]),
        _ints(each.usd for each in amounts),
        _ints(each.calls for each in amounts),
        _maybe([each.tokens for each in amounts]),
        _ints(e.prior if e.prior < first else first - e.prior - 1 for e in entries),
        _maybe([row.expires - row.opened if row else None for row in opened]),
        _maybe_texts([numbers(row.accounts) if row else None for row in opened]),
        _maybe(closes),
        _texts(labels) if any(labels) else "{}",
        _texts(data) if any(data) else "{}",
        _counts(amounts),
    ]


def _was(entry: Entry, rows: dict[str, Reservation], first: int) -> int | None:
    """Return which entry a row must have as its last for *entry* to close it; 0 for any."""
    if entry.kind not in _CLOSES or rows[entry.key].last != entry.seq:
        return None
    return entry.prior if entry.prior < first else 0


def _grown(batch: Batch) -> list[str]:
    last = {e.key: n for n, e in enumerate(batch.changes.entries, 1) if e.kind == "extend"}
    if not last:
        return ["{}"] * 7
    rows = [batch.changes.reservations[key] for key in last]
    return [
        _texts(last),
        _ints(last.values()),
        _ints(row.hold.usd for row in rows),
        _ints(row.hold.calls for row in rows),
        _maybe([row.hold.tokens for row in rows]),
        _counts([row.hold for row in rows]),
        _maybe_texts([asked(row) for row in rows]),
    ]


def _counts(amounts: list[Amounts]) -> str:
    if not any(each.counts for each in amounts):
        return "{}"
    return _maybe_texts([counts_of(each) for each in amounts])


# Arrays as PostgreSQL reads them: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT.
# Written here, for a driver makes them from lists an element and a type at a time.


def _ints(values: Iterable[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _maybe(values: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _plain(values: list[str]) -> str:
    """Return an array of words that need no escape; quoted, for 'null' is one."""
    return '{"' + '","'.join(values) + '"}' if values else "{}"


def _texts(values: Iterable[str]) -> str:
    return _plain([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])


def _maybe_texts(values: list[str | None]) -> str:
    quoted = ["NULL" if value is None else _texts((value,))[1:-1] for value in values]
    return "{" + ",".join(quoted) + "}"


# The answer ---------------------------------------------------------------------------------------


class Numbers:
    """The numbers and the instant that a batch was written with, in place of those of the fold."""

    def __init__(self, batch: Batch, written: Written) -> None:
        self._first, self._now = batch.first, batch.now
        self.written: Final = written
        self.changed = (written.seqs, written.first, written.now) != (None, batch.first, batch.now)

    def number(self, predicted: int) -> int:
        """Return the number in place of *predicted*, if it is one of this batch."""
        index = predicted - self._first
        if index < 0:
            return predicted
        seqs = self.written.seqs
        return self.written.first + index if seqs is None else seqs[index]

    def decision(self, decision: Decision) -> Decision:
        """Return *decision* with its numbers."""
        if isinstance(decision, Refused):
            return replace(decision, seen=self.number(decision.seen))
        known = decision.reservation
        reservation = None if known is None else self.reservation(known)
        if isinstance(decision, Repeated):
            return replace(decision, reservation=reservation)
        return replace(decision, reservation=reservation, entry=self._entry(decision.entry))

    def reservation(self, row: Reservation) -> Reservation:
        """Return *row* with its numbers."""
        new, closed = row.seq >= self._first, row.closed and row.last >= self._first
        opened = self.written.now if new else row.opened
        return replace(
            row,
            opened=opened,
            expires=row.expires - row.opened + opened,
            closed=self.written.now if closed else row.closed,
            seq=self.number(row.seq),
            last=self.number(row.last),
        )

    def alert(self, alert: Alert) -> Alert:
        """Return *alert* with its number."""
        return replace(alert, at=self.written.now, seq=self.number(alert.seq))

    def _entry(self, entry: Entry) -> Entry:
        number = self.number
        return replace(entry, seq=number(entry.seq), at=self.written.now, prior=number(entry.prior))


def written(row: Row) -> Written | None:
    """Return what the server made of a batch; nothing if it no longer holds."""
    first, now, exact, seqs = row
    if first is None:
        return None
    numbers = None if seqs is None else [int(seq) for seq in seqs.strip("{}").split(",") if seq]
    return Written(int(first), int(now), exact == "t", numbers)


def tree_of(path: str) -> str:
    """Return the name of the tree that the budget *path* stands in."""
    return path.partition("/")[0]


def paths_of(batch: Sequence[Operation]) -> set[str]:
    """Return the budgets that the operations of *batch* name."""
    return {op.budget for op in batch if isinstance(op, _NAMES_BUDGET)}


def keys_of(batch: Sequence[Operation]) -> set[str]:
    """Return the keys of the reservations that *batch* changes: their rows say on which budget."""
    return {op.key for op in batch if not isinstance(op, _NAMES_BUDGET)}
