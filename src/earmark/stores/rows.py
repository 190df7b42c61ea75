"""What both durable stores keep in a row: the columns, and the values they become."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, get_args

from earmark.budget.budget import Budget
from earmark.budget.fields import BudgetKind
from earmark.budget.units import UNITS
from earmark.errors import InvalidLimit, UnknownUnit
from earmark.errors.inputs import shown
from earmark.ledger.store import Filter
from earmark.ledger.values import (
    Account,
    Alert,
    Amounts,
    Entry,
    LimitWindow,
    Part,
    Reservation,
    State,
)
from earmark.stores.tables import Row

BUDGET_COLUMNS: Final = "path, body, kind"
MOST_BUDGETS: Final = 1_000_000_000
ACCOUNT_COLUMNS: Final = (
    'id, budget, unit, "window", start, "end", "limit", settled, held, alerted, alerted_of'
)
RESERVATION_COLUMNS: Final = (
    '"key", budget, usd, calls, tokens, state, accounts, opened, expires, closed,'
    " actual_usd, actual_calls, actual_tokens, asked, labels, seq, last, parts, counts,"
    " actual_counts"
)
#: What a reservation's row is read with: of a closed one, what its last entry keeps beside amounts.
DETAILS: Final = (
    ", CASE WHEN state = 'open' THEN '' ELSE"
    " (SELECT e.data FROM {schema}entry e WHERE e.seq = reservation.last) END"
)
ENTRY_COLUMNS: Final = 'seq, at, kind, "key", budget, usd, calls, tokens, prior, data, counts'
ALERT_COLUMNS: Final = (
    'account, threshold, budget, unit, "window", start, "end", "limit", settled, at, seq'
)

#: The test of entries that changed a budget: as it stands in the index `entry_change`, so that a
#: query with it is answered from there.
OF_BUDGETS: Final = (
    "kind <> 'reserve' AND kind <> 'extend' AND kind <> 'settle' AND kind <> 'release'"
    " AND kind <> 'presume'"
)


def reservation(row: Row) -> Reservation:
    """Return the reservation a row of the table holds."""
    key, budget, usd, calls, tokens, state, accounts, opened, expires, closed = row[:10]
    actual_usd, actual_calls, actual_tokens, asked, labels, seq, last, parts = row[10:18]
    counts, actual_counts, *details = row[18:]
    hold = Amounts(usd, calls, tokens, read_counts(counts))
    first = hold if asked is None else _listed(*json.loads(asked))
    actual = None
    if actual_usd is not None:
        actual = Amounts(actual_usd, actual_calls, actual_tokens, read_counts(actual_counts))
    return Reservation(
        key,
        budget,
        first,
        hold,
        state,
        tuple(map(int, accounts.split())),
        opened,
        expires,
        closed,
        actual,
        labels,
        seq,
        last,
        read_parts(parts),
        *details,
    )


def counts_of(amounts: Amounts) -> str | None:
    """Return the counts of units without a column, as JSON by unit; `None` for none."""
    return json.dumps(dict(amounts.counts)) if amounts.counts else None


def read_counts(text: str | None) -> tuple[tuple[str, int], ...]:
    """Return the counts that a row holds as JSON.

    Raises:
        UnknownUnit: One of them is of a unit that this program does not know.
    """
    if text is None:
        return ()
    return tuple([(_known(unit), number) for unit, number in json.loads(text).items()])


def _known(unit: str) -> str:
    if unit in UNITS:
        return unit
    # A limit that is not understood would be one that is not kept.
    raise UnknownUnit(unit=shown(unit))


def _as_list(amounts: Amounts) -> list[object]:
    listed: list[object] = [amounts.usd, amounts.calls, amounts.tokens]
    return [*listed, dict(amounts.counts)] if amounts.counts else listed


def _listed(
    usd: int, calls: int, tokens: int | None, counts: Mapping[str, int] | None = None
) -> Amounts:
    others = () if counts is None else tuple([(_known(unit), n) for unit, n in counts.items()])
    return Amounts(usd, calls, tokens, others)


def read_parts(text: str | None) -> tuple[Part, ...]:
    """Return the parts that a row holds as JSON."""
    if text is None:
        return ()
    return tuple(Part(index, _listed(*before)) for index, *before in json.loads(text))


def parts(r: Reservation) -> str | None:
    """Return as JSON which accounts count only a part; `None` where all count the whole."""
    if not r.parts:
        return None
    return json.dumps([(part.index, *_as_list(part.before)) for part in r.parts])


def entry(row: Row) -> Entry:
    """Return the entry a row of the table holds."""
    seq, at, kind, key, budget, usd, calls, tokens, prior, data, counts = row
    amounts = Amounts(usd, calls, tokens, read_counts(counts))
    return Entry(seq, at, kind, key, budget, amounts, prior, data)


def budget_of(row: Row) -> Budget:
    """Return the budget a row of the table holds.

    Raises:
        UnknownUnit: It has a limit of a unit that this program does not know.
    """
    _, text, kind = row
    return _read_budget(text, kind)


@lru_cache(maxsize=1024)
def _read_budget(text: str, kind: str) -> Budget:
    """Return a budget by its text: each reserve and each balance reads those on its path anew."""
    body = json.loads(text)
    try:
        return Budget.from_json({**body, "kind": kind})
    except InvalidLimit:
        for limit in (*body["limits"], *(each["limit"] for each in body["extensions"])):
            _known(str(limit).split()[1])
        raise


def budget_row(b: Budget) -> Row:
    """Return the row of a budget: its kind is a column, for lists of one kind."""
    body = b.to_json()
    kind = body.pop("kind")
    return (b.path, json.dumps(body), kind)


def account_of(row: Row) -> Account:
    """Return the account a row of the table holds.

    Raises:
        UnknownUnit: It is of a unit that this program does not know.
    """
    _known(row[2])
    return Account(LimitWindow(*row[:7]), *row[7:])


def account_row(a: Account) -> Row:
    """Return the row of an account."""
    at = a.line
    return (
        at.id, at.budget, at.unit, at.window, at.start, at.end, at.limit, a.settled, a.held,
        a.alerted, a.alerted_of,
    )  # fmt: skip


def reservation_row(r: Reservation) -> Row:
    """Return the row of a reservation."""
    h, a = r.hold, r.actual
    actual = (None, None, None) if a is None else (a.usd, a.calls, a.tokens)
    actual_counts = None if a is None else counts_of(a)
    return (
        r.key, r.budget, h.usd, h.calls, h.tokens, r.state, numbers(r.accounts), r.opened,
        r.expires, r.closed, *actual, None if r.asked is r.hold else asked(r), r.labels, r.seq,
        r.last, parts(r) if r.parts else None, counts_of(h), actual_counts,
    )  # fmt: skip


def asked(r: Reservation) -> str | None:
    """Return the amounts before extensions as JSON; `None` where there were none."""
    if r.asked is r.hold or r.asked == r.hold:
        return None
    return json.dumps(_as_list(r.asked))


def joined_row(r: Reservation) -> Row:
    """Return the accounts of a reservation that was opened before, its parts, and its key."""
    return (numbers(r.accounts), parts(r), r.key)


def entry_row(e: Entry) -> Row:
    """Return the row of an entry."""
    a = e.amounts
    return (
        e.seq, e.at, e.kind, e.key, e.budget, a.usd, a.calls, a.tokens, e.prior, e.data,
        counts_of(a),
    )  # fmt: skip


def alert_row(a: Alert) -> Row:
    """Return the row of an alert."""
    return (
        a.account, a.threshold, a.budget, a.unit, a.window, a.start, a.end, a.limit, a.settled,
        a.at, a.seq,
    )  # fmt: skip


@lru_cache(10_000)
def numbers(accounts: tuple[int, ...]) -> str:
    """Return the ids of *accounts* as a row keeps them."""
    return " ".join(map(str, accounts))


def select(
    columns: str,
    table: str,
    moment: str,
    order: str,
    tests: Iterable[tuple[str, object]],
    query: Filter,
    fixed: str = "",
) -> tuple[str, list[Any]]:
    """Return the statement, with `?` for values, that lists what *query* selects, and its values.

    Of *tests*, one without a value asks for nothing; *fixed* is one that has none.
    """
    where = [(f"{moment} >= ?", query.since), (f"{moment} < ?", query.until), *tests]
    conditions: list[tuple[str, tuple[object, ...]]] = [
        (test, (value,)) for test, value in where if value is not None
    ]
    if fixed:
        conditions.append((fixed, ()))
    if query.budget is not None:
        below = (query.budget, f"{query.budget}/", f"{query.budget}0")
        conditions.append(("(budget = ? OR (budget >= ? AND budget < ?))", below))
    if query.prefix is not None:
        span = (query.prefix, _after(query.prefix))
        conditions.append(('"key" >= ? AND "key" < ?', span))
    conditions.append(("seq > ?", (query.after,)))
    clause = " AND ".join(test for test, _ in conditions)
    sql = f"SELECT {columns} FROM {table} WHERE {clause} ORDER BY {order} LIMIT ?"
    return sql, [*(value for _, values in conditions for value in values), query.most]


def select_budgets(
    schema: str,
    prefix: str = "",
    kind: BudgetKind | None = None,
    *,
    after: str = "",
    most: int = MOST_BUDGETS,
) -> tuple[str, tuple[str | int, ...]]:
    """Return the statement that lists budgets by path, and its values.

    Those at or below *prefix*, of one *kind* if given, after the path *after*. The kind is part of
    the statement: an index of one kind's rows is found by it.
    """
    # '!' is before, '0' after all that may follow in a path; between them are siblings of *prefix*.
    low = max(prefix, f"{after}!" if after else "")
    below, high = (f"{prefix}/", f"{prefix}0") if prefix else ("", "\x7f")
    of_kind = "" if kind is None else f" AND {_KINDS[kind]}"
    sql = (
        f"SELECT {BUDGET_COLUMNS} FROM {schema}budget WHERE path >= ? AND path < ?"
        f" AND (path = ? OR path >= ?){of_kind} ORDER BY path LIMIT ?"
    )
    return sql, (low, high, prefix, below, most)


_KINDS: Final[dict[str, str]] = {each: f"kind = '{each}'" for each in get_args(BudgetKind)}


def is_of_many(query: Filter) -> bool:
    """Return whether most reservations may match *query*, so that no index finds the few."""
    named = (query.key, query.keys, query.prefix)
    return query.state in {None, "settled"} and named == (None, None, None)


def select_opened(columns: str, schema: str, query: Filter) -> tuple[str, list[Any]]:
    """Return the statement of *query* for reservations, from the entries that opened them.

    Those are in the order that is wanted, and the first ones end the search: without an index of
    all reservations by that order, which every reserve would have to write, they all would be read
    and sorted. The CROSS JOIN tells SQLite to go from an entry to its reservation.
    """
    entries = Filter(budget=query.budget, since=query.since, until=query.until, after=query.after)
    sql, values = select(
        'seq AS number, "key" AS name', f"{schema}entry", "at", "", (), entries, "kind = 'reserve'"
    )
    found = sql.partition(" ORDER BY ")[0]
    state = in_state(query.state)
    sql = (
        f"SELECT {columns} FROM ({found}) AS x CROSS JOIN {schema}reservation"
        f' WHERE reservation."key" = x.name{" AND " + state if state else ""}'
        " ORDER BY x.number LIMIT ?"
    )
    return sql, [*values[:-1], query.most]


def of_key(schema: str = "") -> str:
    """Return the test of an entry's key, for `select`; *schema* comes before a table's name.

    No index has the keys of all entries, which every operation would have to write. A reservation's
    row leads to its last entry, and each entry to the one before it.
    """
    return f"""seq IN (
        WITH RECURSIVE wanted ("key") AS (SELECT CAST(? AS text)), chain (seq) AS (
            SELECT last FROM {schema}reservation WHERE "key" = (SELECT "key" FROM wanted)
            UNION ALL
            SELECT e.prior FROM chain JOIN {schema}entry e ON e.seq = chain.seq WHERE e.prior > 0
        )
        SELECT seq FROM chain
        UNION ALL
        SELECT seq FROM {schema}entry WHERE "key" = (SELECT "key" FROM wanted)
            AND {OF_BUDGETS}
    )"""


#: The test of a row for which `counting.is_counted` says so: of the budget or below it, within the
#: interval; '0' follows '/'.
COUNTED: Final = (
    "(budget = ? OR (budget >= ? AND budget < ?))"
    " AND (state = 'open' OR (opened >= ? AND opened < ? AND state <> 'released')) ORDER BY seq"
)


def in_state(state: State | None) -> str:
    """Return the test of a reservation's state, for `select`.

    The state is part of the statement: an index of one state's rows is of no use to one that the
    server has prepared for any state.
    """
    return "" if state is None else _STATES.get(state, "1 = 0")


_STATES: Final[dict[str, str]] = {each: f"state = '{each}'" for each in get_args(State)}


def _after(prefix: str) -> str:
    """Return what comes after every text that begins with *prefix*, in the order of characters."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
