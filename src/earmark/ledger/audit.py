"""Recomputes the books from the entries, trusting nothing else, and says where they differ."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import DecodeError

from earmark.budget.budget import Budget
from earmark.budget.fields import PLAIN_FIELDS, BudgetKind
from earmark.budget.settable import SETTABLE
from earmark.clock import iso
from earmark.ledger.amounts import add, count, less
from earmark.ledger.recount import Recount, Replayed, name_of
from earmark.ledger.store import Snapshot, Store
from earmark.ledger.values import Account, Amounts, Entry, Reservation, State
from earmark.money import Money

#: A damaged store has as many faults as rows; the first ones tell the story.
MOST_PROBLEMS: Final = 100

Progress = Callable[[str, int], None]
#: A budget in its JSON form.
Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found; `ok` when every balance equals what the entries say."""

    ok: bool
    problems: tuple[str, ...]
    entries: int
    reservations: int
    unresolved: int
    """Reservations that are open or presumed: their true cost is not known yet."""
    accounts: int
    settled: Money
    """Actual and presumed cost of all reservations."""
    held: Money
    """Holds of all open reservations."""
    over: tuple[str, ...]
    """Accounts with more settled and held than their limit.

    By overruns, a lowered limit, or what an observed tree accepted.
    """
    would_refuse: int
    """Operations that an observed tree accepted although a limit would have refused them."""
    would_refuse_usd: Money
    """What those asked for."""


def _silent(_stage: str, _rows: int) -> None:
    """Tell nobody."""


def audit(store: Store, progress: Progress = _silent) -> AuditReport:
    """Recompute every balance of *store* as of one commit; changes nothing.

    Checked: no entry is missing, and within a tree none goes back in time; each budget and each
    reservation is what its entries made it; each account holds and has settled exactly the sum of
    its reservations; one that began with what was before counts all of that. Entries and
    reservations are read side by side: what is kept in memory grows with the accounts and with what
    is in flight at one time, not with the entries.

    Args:
        store: The store.
        progress: Told the stage and the rows read so far, every 10,000 rows.
    """
    snapshot = store.snapshot()
    try:
        return audit_snapshot(snapshot, progress)
    finally:
        snapshot.close()


def audit_snapshot(snapshot: Snapshot, progress: Progress = _silent) -> AuditReport:
    """Recompute every balance of *snapshot*, which stays open; see `audit`."""
    found = _Findings(progress)
    found.problems.extend(snapshot.problems())
    found.read_entries(snapshot)
    found.read_budgets(snapshot)
    found.read_accounts(snapshot)
    return found.report()


_CLOSES: Final[dict[str, State]] = {
    "settle": "settled",
    "release": "released",
    "presume": "presumed",
}


@dataclass(slots=True)
class _Findings:
    progress: Progress
    problems: list[str] = field(default_factory=list[str])
    replayed: dict[str, Replayed] = field(default_factory=dict[str, Replayed])
    """Those with entries still to come, so that it stays small however many there are."""
    sums: defaultdict[int, Amounts] = field(default_factory=lambda: defaultdict(_zero))
    holds: defaultdict[int, Amounts] = field(default_factory=lambda: defaultdict(_zero))
    recount: Recount = field(init=False)
    budgets: dict[str, Body] = field(default_factory=dict[str, Body])
    over: list[str] = field(default_factory=list[str])
    entries: int = 0
    reservations: int = 0
    unresolved: int = 0
    accounts: int = 0
    settled: int = 0
    held: int = 0
    would_refuse: int = 0
    would_refuse_usd: int = 0
    last: int = 0
    last_at: dict[str, int] = field(default_factory=dict[str, int])

    def wrong(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def read_entries(self, snapshot: Snapshot) -> None:
        """Read the entries and, beside them in the same order, the reservations they opened."""
        self.recount = Recount(snapshot, self.wrong)
        rows = _Ahead(self._counted(snapshot.reservations()))
        for entry in snapshot.entries():
            self.entries += 1
            expected = self.last + 1
            if entry.seq < expected or (snapshot.gapless and entry.seq != expected):
                self.wrong(f"entry {entry.seq} stands where {expected} should")
            self.last = entry.seq
            tree = entry.budget.partition("/")[0]
            if entry.at < self.last_at.get(tree, 0):
                self.wrong(f"entry {entry.seq} is earlier than the one before it")
            self.last_at[tree] = entry.at
            if entry.kind == "reserve":
                self._open(entry, rows)
            else:
                self._replay(entry)
            self._report_progress("entries", self.entries)
        self._strangers(rows.until(None))
        for key, replayed in self.replayed.items():
            if replayed.row is not None:
                self._disagrees(replayed.row, replayed)
            else:
                self.wrong(f"reservation '{key}' is missing, or its key was reserved twice")

    def _counted(self, rows: Iterator[Reservation]) -> Iterator[Reservation]:
        for row in rows:
            self.reservations += 1
            self._add(row)
            self._report_progress("reservations", self.reservations)
            yield row

    def _strangers(self, rows: Iterable[Reservation]) -> None:
        for row in rows:
            self.wrong(f"reservation '{row.key}' has no entry")

    def _open(self, entry: Entry, rows: "_Ahead") -> None:
        if entry.key in self.replayed:
            self.wrong(f"key '{entry.key}' was reserved twice")
        self._strangers(rows.until(entry.seq))
        row = rows.take(entry)
        self._check_mark(entry)
        replayed = Replayed(row, entry.budget, entry.at, entry.amounts, last=entry.seq)
        self.replayed[entry.key] = replayed
        self._drop_if_done(entry)

    def _drop_if_done(self, entry: Entry) -> None:
        replayed = self.replayed[entry.key]
        if replayed.row is not None and replayed.row.last <= entry.seq:
            if not replayed.agrees(replayed.row):
                self._disagrees(replayed.row, replayed)
            self.recount.add(replayed)
            del self.replayed[entry.key]

    def _disagrees(self, row: Reservation, replayed: Replayed) -> None:
        recorded, entries = row.state, replayed.state
        if recorded == entries and replayed.expires not in {None, row.expires}:
            recorded, entries = f"due at {iso(row.expires)}", iso(replayed.expires or 0)
        self.wrong(f"reservation '{row.key}' is {recorded}, its entries say {entries}")

    def _replay(self, entry: Entry) -> None:
        if entry.kind not in {*_CLOSES, "extend"}:
            self.recount.begin(entry, self.replayed.values())
            self.budgets[entry.budget] = _changed(self.budgets.get(entry.budget, _NEW), entry)
            return
        replayed = self.replayed.get(entry.key)
        if replayed is None or replayed.last != entry.prior:
            self.wrong(f"entry {entry.seq} does not follow on an entry of '{entry.key}'")
            return
        replayed.last = entry.seq
        if entry.kind == "extend":
            self._check_mark(entry)
            replayed.hold = add(replayed.hold, entry.amounts)
            replayed.expires = entry.expires or replayed.expires
        else:
            replayed.state, replayed.actual = _CLOSES[entry.kind], entry.amounts
        self._drop_if_done(entry)

    def _check_mark(self, entry: Entry) -> None:
        """Only in an observed tree may anything be accepted that does not fit."""
        try:
            mark = entry.would_refuse
        except DecodeError:
            self.wrong(f"entry {entry.seq} does not say which limit it did not fit on")
            return
        tree = entry.budget.partition("/")[0]
        if mark is None:
            return
        if not self.budgets.get(tree, _NEW).get("observed"):
            self.wrong(f"entry {entry.seq} went over a limit while '{tree}' was not observed")
        self.would_refuse += 1
        self.would_refuse_usd += entry.amounts.usd

    def read_budgets(self, snapshot: Snapshot) -> None:
        for budget in snapshot.budgets():
            if budget.to_json() != self.budgets.pop(budget.path, None):
                self.wrong(f"budget '{budget.path}' is not what its entries say")
        for path in self.budgets:
            self.wrong(f"budget '{path}' is missing")

    def _add(self, row: Reservation) -> None:
        open_ = row.state == "open"
        amounts = row.hold if open_ else row.actual or _zero()
        self.unresolved += row.state in {"open", "presumed"}
        self.held += row.hold.usd if open_ else 0
        self.settled += 0 if open_ else amounts.usd
        sums = self.holds if open_ else self.sums
        for number in row.accounts:
            sums[number] = add(sums[number], amounts)
        for part in row.parts:
            number = row.accounts[part.index]
            sums[number] = add(sums[number], less(part.before, amounts))

    def read_accounts(self, snapshot: Snapshot) -> None:
        for account in snapshot.accounts():
            self.accounts += 1
            self._compare(account, "held", account.held, self.holds.pop(account.id, _zero()))
            self._compare(account, "settled", account.settled, self.sums.pop(account.id, _zero()))
            if account.available < 0:
                self.over.append(name_of(account))
        for number in {*self.holds, *self.sums}:
            self.wrong(f"account {number} is missing")

    def _compare(self, account: Account, column: str, recorded: int, sums: Amounts) -> None:
        recomputed = count(sums, account.line.unit)
        if recorded != recomputed:
            self.wrong(
                f"{name_of(account)}: {column} is {recorded}, its entries sum to {recomputed}"
            )

    def _report_progress(self, stage: str, rows: int) -> None:
        if rows % 10_000 == 0:
            self.progress(stage, rows)

    def report(self) -> AuditReport:
        return AuditReport(
            ok=not self.problems,
            problems=tuple(self.problems),
            entries=self.entries,
            reservations=self.reservations,
            unresolved=self.unresolved,
            accounts=self.accounts,
            settled=Money.nanos(self.settled),
            held=Money.nanos(self.held),
            over=tuple(self.over),
            would_refuse=self.would_refuse,
            would_refuse_usd=Money.nanos(self.would_refuse_usd),
        )


class _Ahead:
    """Reservations in the order in which they were opened, read as far as the entries are."""

    def __init__(self, rows: Iterator[Reservation]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def until(self, seq: int | None) -> Iterator[Reservation]:
        """Yield those that were opened before the entry of that number; all that are left."""
        while self._next is not None and (seq is None or self._next.seq < seq):
            yield self._next
            self._next = next(self._rows, None)

    def take(self, entry: Entry) -> Reservation | None:
        """Return the one that *entry* opened."""
        row = self._next
        if row is None or (row.seq, row.key) != (entry.seq, entry.key):
            return None
        self._next = next(self._rows, None)
        return row


#: Budgets of this name were a run's, and migrations set their kind by it.
_NAME_OF_RUN: Final = re.compile(r"(^|/)run-[0-9a-f]{16}$")
#: What a budget is before its first entry, which says its path and its kind.
_NEW: Final[Body] = {**Budget(path="new").to_json(), "path": None, "kind": None}
#: Fields that neither a budget nor its entry has at their default.
_LEFT_OUT: Final = {each.name for each in PLAIN_FIELDS if not each.is_kept(each.default)}


def _changed(body: Body, entry: Entry) -> Body:
    """Return a budget's JSON form after *entry*."""
    data: Body = json.loads(entry.data or "{}")
    match entry.kind:
        case "limit":
            # Fields that an earlier program's entry lacks keep their value, at first the default;
            # those that are left out at their default have it where the entry lacks them.
            kept = {name: value for name, value in body.items() if name not in _LEFT_OUT}
            fields = {name: data[name] for name in ("path", *SETTABLE) if name in data}
            kind = fields.get("kind") or body["kind"] or _kind_by_name(entry.budget)
            return {**kept, **fields, "kind": kind}
        case "pause":
            return {**body, "paused": data}
        case "resume":
            return {**body, "paused": None}
        case _:
            live = [each for each in body["extensions"] if entry.at < each["until"]]
            return {**body, "extensions": [*live, data]}


def _kind_by_name(path: str) -> BudgetKind:
    """Return the kind of a budget whose entries, of a program of before, do not say it."""
    return "run" if _NAME_OF_RUN.search(path) else "budget"


def _zero() -> Amounts:
    return Amounts(0, 0, 0)
