"""Totals over all that was ever booked, for counters that no restart sets back.

Read by aggregates in the database, where there is one: they take a second for some million rows, so
whoever shows them keeps them for a while.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from earmark.budget.path import ancestors
from earmark.ledger.counting import NOTHING, count_after
from earmark.ledger.recount import beginnings
from earmark.ledger.store import Filter, Store
from earmark.ledger.values import Amounts, Part
from earmark.stores.rows import OF_BUDGETS, read_counts, read_parts
from earmark.stores.tables import Row, Rows, Tables

LimitKey = tuple[str, str, str]
"""Budget, unit, window."""

_BITS: Final = 31


def summed_parts(amount: str) -> str:
    """Return the columns that sum *amount* in two parts: a sum of sums may be above 64 bits."""
    return f"sum(({amount}) >> {_BITS}), sum(({amount}) & {(1 << _BITS) - 1})"


def whole_sum(parts: Sequence[int]) -> int:
    """Return the sum that two such columns add up to."""
    return (int(parts[0]) << _BITS) + int(parts[1])


_IN_MEMORY: Final = "memory:"
_SETTLED: Final = (
    f'SELECT budget, unit, "window", {summed_parts("settled")} FROM {{schema}}.account'
    " JOIN {schema}.budget ON path = budget WHERE budget.kind = 'budget'"
    ' GROUP BY budget, unit, "window"'
)
_CLOSED: Final = (
    "SELECT accounts, actual_usd, actual_calls, actual_tokens, actual_counts, parts"
    " FROM {schema}.reservation"
)
_PRESUMED: Final = f"{_CLOSED} WHERE state = 'presumed'"
# A change of a budget may begin an account with reservations that count on another one of the same
# limit, in another zone: such changes are rare, and their entries name what they began.
_BEGINNINGS: Final = (
    "SELECT seq, budget, data FROM {schema}.entry"
    f" WHERE {OF_BUDGETS} AND kind = 'limit' AND data LIKE ?"
)
_BEGUN: Final = (
    'SELECT id FROM {schema}.account WHERE budget = ? AND unit = ? AND "window" = ? AND start = ?'
)
_COUNTED_BACK: Final = (
    f"{_CLOSED} WHERE seq < ? AND (state = 'settled' OR state = 'presumed') AND ({{tests}})"
)
_NAMES_ACCOUNT: Final = "' ' || accounts || ' ' LIKE ?"
_OVERRUN: Final = (
    f"SELECT budget, {summed_parts('actual_usd - usd')} FROM {{schema}}.reservation"
    " WHERE state = 'settled' AND actual_usd > usd GROUP BY budget"
)
_EXPIRED: Final = (
    'SELECT budget, count(DISTINCT "key") FROM {schema}.entry'
    " WHERE kind = 'presume' GROUP BY budget"
)
#: No name of a request has a line feed: only a mark begins so.
_WOULD_REFUSE: Final = (
    f"SELECT budget, count(*), {summed_parts('usd')} FROM {{schema}}.entry"
    " WHERE (kind = 'reserve' OR kind = 'extend') AND data LIKE ? GROUP BY budget"
)
_MARK: Final = "%\n{%"
_OLDEST: Final = (
    "SELECT budget, min(opened) FROM {schema}.reservation WHERE state = 'open' GROUP BY budget"
)
_ACCOUNT: Final = 'SELECT budget, unit, "window" FROM {schema}.account WHERE id = ?'


@dataclass(slots=True)
class Totals:
    """What the books come to; amounts are nano-USD, or counts, by the budget that was charged."""

    settled: dict[LimitKey, int] = field(default_factory=dict[LimitKey, int])
    """Over all intervals of each limit, with what is presumed."""
    presumed: defaultdict[LimitKey, int] = field(default_factory=lambda: defaultdict(int))
    """The part of it whose true cost is not known yet."""
    overrun: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What was settled above its hold, at or below each budget; what is presumed may fall."""
    expired: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Reservations that nobody settled in time, at or below each budget."""
    would_refuse: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What an observed tree accepted and a limit would have refused: operations at or below each
    budget."""
    would_refuse_usd: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What those asked for."""
    oldest: dict[str, int] = field(default_factory=dict[str, int])
    """When the oldest open reservation at or below each budget was made."""

    def known(self, limit_key: LimitKey) -> int:
        """Return what is known to be spent: it never falls, whatever is corrected."""
        return self.settled.get(limit_key, 0) - self.presumed[limit_key]


def read_totals(store: Store, tables: Tables) -> Totals:
    """Return the totals of *store*, which *tables* are beside, as of one commit."""
    if store.url == _IN_MEMORY:
        return _from_memory(store)
    return tables.read(_from_rows)


def _from_rows(rows: Rows) -> Totals:
    totals = Totals()
    for budget, unit, window, *parts in rows.run(_SETTLED):
        totals.settled[budget, unit, window] = whole_sum(parts)

    @cache
    def limit_key_of(number: int) -> LimitKey:
        ((budget, unit, window),) = rows.run(_ACCOUNT, number)
        return budget, unit, window

    for row in rows.run(_PRESUMED):
        _add_presumed(totals, _counts(*_closed(row), limit_key_of))
    for row in _counted_back(rows):
        _drop_repeats(totals, _counts(*_closed(row), limit_key_of))
    _fold(totals.overrun, [(budget, whole_sum(parts)) for budget, *parts in rows.run(_OVERRUN)])
    _fold(totals.expired, rows.run(_EXPIRED))
    for budget, operations, *parts in rows.run(_WOULD_REFUSE, _MARK):
        _fold(totals.would_refuse, [(budget, operations)])
        _fold(totals.would_refuse_usd, [(budget, whole_sum(parts))])
    _earliest(totals.oldest, rows.run(_OLDEST))
    return totals


def _from_memory(store: Store) -> Totals:
    totals = Totals()
    limit_keys: dict[int, LimitKey] = {}
    with closing(store.snapshot()) as snapshot:
        for account in snapshot.accounts():
            line = account.line
            limit_key = limit_keys[account.id] = (line.budget, line.unit, line.window)
            totals.settled[limit_key] = totals.settled.get(limit_key, 0) + account.settled
        reservations = list(snapshot.reservations())
        entries = list(snapshot.entries())
    presumed = {(e.budget, e.key) for e in entries if e.kind == "presume"}
    marked = [e for e in entries if e.would_refuse is not None]
    _fold(totals.would_refuse, [(e.budget, 1) for e in marked])
    _fold(totals.would_refuse_usd, [(e.budget, e.amounts.usd) for e in marked])
    for each in reservations:
        if each.state in {"settled", "presumed"} and each.actual is not None:
            counts = _counts(each.accounts, each.actual, each.parts, limit_keys.__getitem__)
            _drop_repeats(totals, counts)
            if each.state == "presumed":
                _add_presumed(totals, counts)
    over = [(r.budget, r.overrun.in_nanos) for r in reservations if r.state == "settled"]
    _fold(totals.overrun, over)
    _fold(totals.expired, [(budget, 1) for budget, _ in presumed])
    query = Filter(state="open")
    opened = [(each.budget, each.opened) for each in store.reservations(query)]
    _earliest(totals.oldest, opened)
    return totals


_Counts = dict[LimitKey, list[int]]
"""What a closed reservation counts on each of its accounts, by the limit they are of."""


def _counts(
    accounts: Iterable[int],
    actual: Amounts,
    parts: Iterable[Part],
    limit_key_of: Callable[[int], LimitKey],
) -> _Counts:
    before = {part.index: part.before for part in parts}
    counts: _Counts = {}
    for index, number in enumerate(accounts):
        limit_key = limit_key_of(number)
        counted = count_after(actual, before.get(index, NOTHING), limit_key[1])
        counts.setdefault(limit_key, []).append(counted)
    return counts


def _add_presumed(totals: Totals, counts: _Counts) -> None:
    for limit_key, counted in counts.items():
        totals.presumed[limit_key] += max(counted)


def _drop_repeats(totals: Totals, counts: _Counts) -> None:
    """Count a reservation once for each limit, on however many of its accounts it stands."""
    for limit_key, counted in counts.items():
        if limit_key in totals.settled:
            totals.settled[limit_key] -= sum(counted) - max(counted)


def _closed(row: Row) -> tuple[list[int], Amounts, tuple[Part, ...]]:
    accounts, usd, calls, tokens, counts, parts = row
    actual = Amounts(usd, calls, tokens, read_counts(counts))
    return list(map(int, accounts.split())), actual, read_parts(parts)


def _counted_back(rows: Rows) -> Iterator[Row]:
    """Yield the closed reservations that an account began with, each once."""
    begun: set[int] = set()
    last = 0
    for seq, budget, data in rows.run(_BEGINNINGS, '%"opened"%'):
        for body in beginnings(data):
            account_key = (budget, body["unit"], body["window"], body["start"])
            begun |= {number for (number,) in rows.run(_BEGUN, *account_key)}
            last = max(last, seq)
    if begun:
        tests = " OR ".join([_NAMES_ACCOUNT] * len(begun))
        marks = [f"% {number} %" for number in begun]
        yield from rows.run(_COUNTED_BACK.replace("{tests}", tests), last, *marks)


def _fold(into: defaultdict[str, int], found: Iterable[tuple[str, int]]) -> None:
    """Add what was found to each budget and to those above it."""
    for budget, amount in found:
        for path in ancestors(budget):
            into[path] += int(amount)


def _earliest(into: dict[str, int], found: Iterable[tuple[str, int]]) -> None:
    for budget, at in found:
        for path in ancestors(budget):
            into[path] = min(at, into.get(path, at))
