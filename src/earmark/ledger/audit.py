"""Recomputes the books from the entries, trusting nothing else, and says where they differ."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from earmark.budget.path import is_within
from earmark.ledger.store import Snapshot, Store
from earmark.ledger.values import Account, Amounts, Entry, Reservation, State
from earmark.money import Money

#: A damaged store has as many faults as rows; the first ones tell the story.
MOST_PROBLEMS: Final = 100

Progress = Callable[[str, int], None]
#: What an account is known by: budget, unit, window and the start of its interval.
Place = tuple[str, str, str, int]
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
    """Accounts with more settled and held than their limit: overruns, or a lowered limit."""


def _silent(_stage: str, _rows: int) -> None:
    """Tell nobody."""


def audit(store: Store, progress: Progress = _silent) -> AuditReport:
    """Recompute every balance of *store* as of one commit; changes nothing.

    Checked: no entry is missing, and within a tree none goes back in time; each budget and each
    reservation is what its entries made it; each account holds and has settled exactly the sum of
    its reservations; one that began with what was before counts all of that.

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
    found.read_reservations(snapshot)
    found.read_accounts(snapshot)
    return found.report()


@dataclass(slots=True)
class _Told:
    """A reservation as its entries tell it."""

    budget: str
    opened: int
    hold: Amounts
    state: State = "open"
    actual: Amounts | None = None
    last: int = 0


_CLOSES: Final[dict[str, State]] = {
    "settle": "settled",
    "release": "released",
    "presume": "presumed",
}


@dataclass(slots=True)
class _Findings:
    progress: Progress
    problems: list[str] = field(default_factory=list[str])
    told: dict[str, _Told] = field(default_factory=dict[str, _Told])
    sums: defaultdict[int, Amounts] = field(default_factory=lambda: defaultdict(_zero))
    holds: defaultdict[int, Amounts] = field(default_factory=lambda: defaultdict(_zero))
    budgets: dict[str, Body] = field(default_factory=dict[str, Body])
    begun: defaultdict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Who counts on the accounts that began with what was before, by key."""
    charged: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """The accounts of those."""
    over: list[str] = field(default_factory=list[str])
    entries: int = 0
    reservations: int = 0
    unresolved: int = 0
    accounts: int = 0
    settled: int = 0
    held: int = 0
    last: int = 0
    last_at: dict[str, int] = field(default_factory=dict[str, int])

    def wrong(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)

    def read_entries(self, snapshot: Snapshot) -> None:
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
            self._replay(entry)
            self._tell("entries", self.entries)

    def _replay(self, entry: Entry) -> None:
        if entry.kind == "reserve":
            if entry.key in self.told:
                self.wrong(f"key '{entry.key}' was reserved twice")
            self.told[entry.key] = _Told(entry.budget, entry.at, entry.amounts, last=entry.seq)
            return
        if entry.kind not in {*_CLOSES, "extend"}:
            if entry.kind == "limit":
                self._begin(entry)
            self.budgets[entry.budget] = _changed(self.budgets.get(entry.budget, _NEW), entry)
            return
        told = self.told.get(entry.key)
        if told is None or told.last != entry.prior:
            self.wrong(f"entry {entry.seq} does not follow on an entry of '{entry.key}'")
            return
        told.last = entry.seq
        if entry.kind == "extend":
            told.hold = _plus(told.hold, entry.amounts)
        else:
            told.state, told.actual = _CLOSES[entry.kind], entry.amounts

    def _begin(self, entry: Entry) -> None:
        """Note who counts on the accounts that a change of a budget began with what was before."""
        for opened in json.loads(entry.data or "{}").get("opened", ()):
            within = range(opened["start"], opened["end"])
            count, sums = 0, {"settled": 0, "held": 0}
            place = (entry.budget, opened["unit"], opened["window"], opened["start"])
            for key, told in self.told.items():
                counts = told.opened in within and told.state != "released"
                if not is_within(told.budget, entry.budget) or not (counts or told.state == "open"):
                    continue
                count += 1
                self.begun[place].add(key)
                self.charged.setdefault(key, ())
                amounts = told.hold if told.state == "open" else told.actual or _zero()
                sums["held" if told.state == "open" else "settled"] += _of(amounts, opened["unit"])
            # Of an account that was there before, some counted already.
            added = {name: opened[name] for name in sums}
            if added != sums and (
                opened["reservations"] >= count or any(added[name] > sums[name] for name in sums)
            ):
                self.wrong(f"entry {entry.seq} counts {added}, the entries before it sum to {sums}")

    def read_budgets(self, snapshot: Snapshot) -> None:
        for budget in snapshot.budgets():
            if budget.to_json() != self.budgets.pop(budget.path, None):
                self.wrong(f"budget '{budget.path}' is not what its entries say")
        for path in self.budgets:
            self.wrong(f"budget '{path}' is missing")

    def read_reservations(self, snapshot: Snapshot) -> None:
        for row in snapshot.reservations():
            self.reservations += 1
            told = self.told.pop(row.key, None)
            if told is None:
                self.wrong(f"reservation '{row.key}' has no entry")
            elif (told.budget, told.hold, told.state, told.actual, told.last) != (
                row.budget,
                row.hold,
                row.state,
                row.actual,
                row.last,
            ):
                self.wrong(f"reservation '{row.key}' is {row.state}, its entries say {told.state}")
            self._add(row)
            self._tell("reservations", self.reservations)
        for key in list(self.told)[:MOST_PROBLEMS]:
            self.wrong(f"reservation '{key}' is missing")

    def _add(self, row: Reservation) -> None:
        open_ = row.state == "open"
        amounts = row.hold if open_ else row.actual or _zero()
        self.unresolved += row.state in {"open", "presumed"}
        self.held += row.hold.usd if open_ else 0
        self.settled += 0 if open_ else amounts.usd
        sums = self.holds if open_ else self.sums
        for number in row.accounts:
            sums[number] = _plus(sums[number], amounts)
        for part in row.parts:
            number = row.accounts[part.index]
            sums[number] = _plus(sums[number], _uncounted(amounts, part.before))
        if row.key in self.charged:
            self.charged[row.key] = row.accounts

    def read_accounts(self, snapshot: Snapshot) -> None:
        for account in snapshot.accounts():
            self.accounts += 1
            line = account.line
            for key in self.begun.pop((line.budget, line.unit, line.window, line.start), ()):
                if account.id not in self.charged[key]:
                    self.wrong(f"{_name(account)} does not count reservation '{key}'")
            self._compare(account, "held", account.held, self.holds.pop(account.id, _zero()))
            self._compare(account, "settled", account.settled, self.sums.pop(account.id, _zero()))
            if account.available < 0:
                self.over.append(_name(account))
        for number in {*self.holds, *self.sums}:
            self.wrong(f"account {number} is missing")
        for budget, unit, window, _ in self.begun:
            self.wrong(f"account of {budget}, {unit} per {window}, is missing")

    def _compare(self, account: Account, what: str, stands: int, sums: Amounts) -> None:
        recomputed = _of(sums, account.line.unit)
        if stands != recomputed:
            self.wrong(f"{_name(account)}: {what} is {stands}, its entries sum to {recomputed}")

    def _tell(self, stage: str, rows: int) -> None:
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
        )


_NEW: Final[Body] = {"paused": None, "extensions": []}


def _changed(body: Body, entry: Entry) -> Body:
    """Return a budget's JSON form after *entry*."""
    data: Body = json.loads(entry.data or "{}")
    match entry.kind:
        case "limit":
            parts = ("path", "limits", "timezone", "alerts")
            return {**body, **{part: data.get(part) for part in parts}}
        case "pause":
            return {**body, "paused": data}
        case "resume":
            return {**body, "paused": None}
        case _:
            live = [each for each in body["extensions"] if entry.at < each["until"]]
            return {**body, "extensions": [*live, data]}


def _of(amounts: Amounts, unit: str) -> int:
    return int(getattr(amounts, unit) or 0)


def _uncounted(amounts: Amounts, before: Amounts) -> Amounts:
    """Return what an account does not count of *amounts*, below zero."""
    less = [-min(_of(amounts, unit), _of(before, unit)) for unit in ("usd", "calls", "tokens")]
    return Amounts(*less)


def _zero() -> Amounts:
    return Amounts(0, 0, 0)


def _plus(one: Amounts, other: Amounts) -> Amounts:
    tokens = other.tokens if one.tokens is None else one.tokens + (other.tokens or 0)
    return Amounts(one.usd + other.usd, one.calls + other.calls, tokens)


def _name(account: Account) -> str:
    line = account.line
    return f"account {line.id} ({line.budget}, {line.unit} per {line.window})"
