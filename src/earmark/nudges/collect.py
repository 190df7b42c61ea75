"""From what the books have booked to nudges: each alert and each notable entry is told once.

The books number their entries in the order of commits, within each tree of budgets or in one order
for all. A mark for each such order says up to which entry nudges were raised, and moves in the
transaction that writes them: what could not be written is read again, what was written is not.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Alert, Entry
from earmark.nudges import wording
from earmark.nudges.draft import NudgeDraft
from earmark.nudges.nudges import Nudges
from earmark.stores.tables import Rows

_log = logging.getLogger(__name__)

#: Nudges of one kind about single calls that one collection raises; the rest share one.
MOST_CALLS: Final = 20
#: Entries that are read at once.
PAGE: Final = 5000
#: Moving a mark is a commit. For fewer entries than these, of which nobody is told, it stays: this
#: process remembers that it read them, another one reads them again.
MOST_UNMARKED: Final = 1000
#: Who collects from old books for the first time hears of the last day, not of years.
_FIRST_LOOK_NS: Final = 24 * 3600 * NANOS_PER_SECOND
#: How often somebody else may have been faster before the rest is left to the next collection.
_TRIES: Final = 10
#: Holds that are remembered between two entries of one call; others are looked up.
_MOST_HOLDS: Final = 100_000

#: Entries that change what a budget allows for a while.
_CHANGES: Final = frozenset({"pause", "resume", "extension"})
#: A run's own budget is made to be spent, and its run says so.


def collect(ledger: Ledger, nudges: Nudges, channels: Sequence[str] = ()) -> int:
    """Raise nudges for what was booked since the last collection of any process; durable.

    Alerts become `threshold` and `exhausted` nudges, pauses, resumes and extensions of budgets
    `paused`, `resumed` and `extended`, what costs more than its hold `overrun`, and holds presumed
    spent `unknown`. Any number of processes may collect at once: each nudge is raised once.

    Args:
        ledger: The books.
        nudges: The outbox in the same store.
        channels: Names of the channels that are to carry the nudges.

    Returns:
        How many nudges this call has raised.

    Raises:
        StoreUnavailable: The store cannot be read or written now; nothing is lost by it.
    """
    ledger.sweep()
    heads = ledger.store.heads()
    marks = dict(nudges.tables.read(lambda rows: rows.run(_MARKS)))
    since = None if marks else ledger.clock.instant() - _FIRST_LOOK_NS
    collector = _Collector(ledger, nudges, channels, since)
    return sum(collector.tree(tree, marks.get(tree), heads[tree]) for tree in sorted(heads))


@dataclass(slots=True)
class _Collector:
    """One collection."""

    ledger: Ledger
    nudges: Nudges
    channels: Sequence[str]
    since: int | None
    raised: dict[str, int] = field(default_factory=dict[str, int])
    """Nudges about single calls so far, by kind."""

    def tree(self, tree: str, mark: int | None, head: int) -> int:
        """Raise what is new in *tree* between *mark* and *head*; return how many nudges."""
        for _ in range(_TRIES):
            after = max(mark or 0, self.nudges.read_until.get(tree, 0))
            if after >= head:
                return 0
            notable = _NotableEntries(self.ledger)
            notable.read(Filter(budget=tree or None, after=after, since=self.since), head)
            drafts = self._drafts(notable)
            if not drafts and mark is not None and head - mark < MOST_UNMARKED:
                self.nudges.read_until[tree] = head
                return 0
            move = _MarkAdvance(tree, mark or 0, head)
            count = self.nudges.raise_all(drafts, self.channels, move)
            _log.debug("entries %s to %s of '%s': %s nudges", after, head, tree, count)
            mark = move.stands
            if mark >= head:
                return count
        return 0

    def _drafts(self, notable: "_NotableEntries") -> list[NudgeDraft]:
        zones = _Zones(self.ledger)
        drafts = [
            (alert.seq, wording.of_alert(alert, zones.of(alert.budget))) for alert in notable.alerts
        ]
        drafts += [(entry.seq, wording.of_change(entry)) for entry in notable.changes]
        drafts += self._calls("overrun", notable.overruns)
        drafts += self._calls("unknown", list(notable.unknown.values()))
        return [draft for _, draft in sorted(drafts, key=lambda each: each[0])]

    def _calls(self, kind: str, entries: list[Entry]) -> list[tuple[int, NudgeDraft]]:
        left = MOST_CALLS - self.raised.get(kind, 0)
        alone, rest = entries[:left], entries[left:]
        self.raised[kind] = self.raised.get(kind, 0) + len(alone)
        found = [(entry.seq, self._call(kind, entry)) for entry in alone]
        return [*found, (rest[-1].seq, wording.of_many(kind, rest))] if rest else found

    def _call(self, kind: str, entry: Entry) -> NudgeDraft:
        known = self.ledger.reservation(entry.key)
        if kind == "overrun":
            return wording.of_overrun(entry, known.hold.usd, known.labels)
        return wording.of_unknown(entry, known.hold.usd, known.labels)


class _NotableEntries:
    """What a stretch of entries has for nudges."""

    def __init__(self, ledger: Ledger) -> None:
        self._store = ledger.store
        self._holds: dict[str, int] = {}
        self.alerts: list[Alert] = []
        self.changes: list[Entry] = []
        self.overruns: list[Entry] = []
        self.unknown: dict[str, Entry] = {}
        """By key: who tells the truth in time is asked nothing."""

    def read(self, wanted: Filter, head: int) -> None:
        """Read the entries that are *wanted*, up to the one numbered *head*."""
        self.alerts = [
            alert
            for alert in self._store.alerts(wanted)
            if alert.seq <= head and self._is_shared(alert.budget)
        ]
        after = wanted.after
        while after < head:
            page = self._store.entries(_page(wanted, after))
            for entry in page:
                if entry.seq <= head:
                    self._take(entry)
            after = page[-1].seq if len(page) == PAGE else head

    def _is_shared(self, path: str) -> bool:
        """Return whether the budget is not one that a run or a session opened to spend itself."""
        budget = self._store.budget(path)
        return budget is None or budget.kind == "budget"

    def _take(self, entry: Entry) -> None:
        if entry.kind in _CHANGES:
            self.changes.append(entry)
            return
        key, usd = entry.key, entry.amounts.usd
        match entry.kind:
            case "reserve":
                if len(self._holds) >= _MOST_HOLDS:
                    self._holds.clear()
                self._holds[key] = usd
            case "extend":
                if key in self._holds:
                    self._holds[key] += usd
            case "settle" | "presume" | "release":
                self._take_cost(entry)
            case _:
                pass

    def _take_cost(self, entry: Entry) -> None:
        if entry.kind == "presume":
            self.unknown[entry.key] = entry
        else:
            self.unknown.pop(entry.key, None)
        if entry.kind == "release":
            self._holds.pop(entry.key, None)
        elif entry.amounts.usd > self._hold(entry.key):
            self.overruns.append(entry)

    def _hold(self, key: str) -> int:
        found = self._holds.pop(key, None)
        if found is None:
            reservation = self._store.reservation(key)
            assert reservation is not None, f"'{key}' was settled, so it was reserved"
            found = reservation.hold.usd
        return found


def _page(wanted: Filter, after: int) -> Filter:
    return Filter(budget=wanted.budget, since=wanted.since, after=after, most=PAGE)


class _Zones:
    """The time zones of budgets, each read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, str] = {}

    def of(self, path: str) -> str:
        """Return the zone of the budget at *path*."""
        if path not in self._known:
            found = self._ledger.budgets(path)
            self._known.update((budget.path, budget.timezone) for budget in found)
        return self._known.get(path, "UTC")


@dataclass(slots=True)
class _MarkAdvance:
    """Moves the mark of a tree, unless somebody else moved it meanwhile."""

    tree: str
    old: int
    new: int
    stands: int = 0
    """Where the mark is after it."""

    def __call__(self, rows: Rows) -> bool:
        """Move it within a transaction; return whether what goes with it may be written."""
        found = rows.run(_MARK, self.tree)
        self.stands = found[0][0] if found else 0
        if self.stands != self.old:
            return False
        rows.run(_SET, self.tree, self.new)
        self.stands = self.new
        return True


_MARKS: Final = "SELECT tree, seq FROM {schema}.nudge_mark"
_MARK: Final = "SELECT seq FROM {schema}.nudge_mark WHERE tree = ?"
_SET: Final = (
    "INSERT INTO {schema}.nudge_mark (tree, seq) VALUES (?, ?)"
    " ON CONFLICT (tree) DO UPDATE SET seq = excluded.seq"
)
