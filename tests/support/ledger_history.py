"""What many clients asked and were answered, held against the books: one order explains it all.

Each client records when it asked, when it was answered, and what. Accepted operations carry the
number of their entry; a refusal carries the number of the last entry it had seen. So the order of
commits need not be searched for: it is read from the books, compared with real time, and replayed
by the pure rules. An operation whose answer was lost, or whose client was killed, has the place of
its entry, if there is one. Source of the method: the Jepsen analysis of TigerBeetle 0.16.11
(2025-06), which checks a database's own order against real time.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    Accepted,
    Decision,
    Entry,
    Extend,
    OnReservation,
    Operation,
    Refused,
    Reserve,
    SetLimits,
)
from support.budget_fields import fields_of
from support.ledger_books import check_books
from support.ledger_model import Model, outline

#: The answer that never came.
NEVER: Final = 1 << 63


class Record(NamedTuple):
    """One question. Instants are of the machine's monotonic counter."""

    invoked: int
    answered: int
    """`NEVER` if the client was not told what became of it."""
    operation: Operation
    decision: Decision | None
    """`None` if the client was not told what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A record at its place in the order of commits."""

    entry: int
    """Of which entry it is, or the last it had seen; the first entry is 1."""
    after: bool
    """Whether it was decided after that entry: then it changed nothing."""
    record: Record

    @property
    def order(self) -> tuple[int, bool]:
        """Refusals come after what they saw."""
        return self.entry, self.after


class SwiftModel(Model):
    """The oracle for long histories in which no deadline is reached: it looks for none."""

    def sweep(self, at: int) -> int:
        """Return the instant the books are at."""
        return max(at, self.last)


def check_history(
    ledger: Ledger, history: Iterable[Record], *, trees: Sequence[str] = ("acme",)
) -> None:
    """Assert that the books, and all that the clients were told, follow one order in each tree."""
    check_books(ledger)
    asked = by_tree(history)
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger.entries(most=10**9):
        entries[entry.budget.partition("/")[0]].append(entry)
    for tree in trees:
        placed = place(entries[tree], asked.get(tree, []))
        check_real_time(placed)
        check_replay(ledger, tree, entries[tree], placed)


def by_tree(history: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the records by the tree that their reservation belongs to."""
    history = list(history)
    places = {
        record.operation.key: record.operation.budget.partition("/")[0]
        for record in history
        if isinstance(record.operation, Reserve)
    }
    found: dict[str, list[Record]] = defaultdict(list)
    for record in history:
        assert isinstance(record.operation, OnReservation)
        found[places[record.operation.key]].append(record)
    return found


# Where each belongs -------------------------------------------------------------------------------


def place(entries: Sequence[Entry], records: Iterable[Record]) -> list[Placed]:
    """Return *records* that have a place, by their places; every entry of theirs is there."""
    index = {entry.seq: number for number, entry in enumerate(entries, start=1)}
    numbers = list(index)
    assert numbers == sorted(numbers), "entries are not listed in the order of their numbers"
    found: list[Placed] = []
    open_ends: list[Record] = []
    nowhere: list[Record] = []
    for record in records:
        match record.decision:
            case Accepted(entry=entry):
                assert entry.seq in index, f"an acknowledged entry is lost: {entry}"
                number = index.pop(entry.seq)
                assert entries[number - 1] == entry
                found.append(Placed(entry=number, after=False, record=record))
            case Refused(why="not_found"):
                nowhere.append(record)
            case Refused(seen=seen):
                number = bisect_right(numbers, seen)
                found.append(Placed(entry=number, after=True, record=record))
            case _:
                open_ends.append(record)
    unclaimed = [(number, entries[number - 1]) for number in index.values()]
    found += _claimed([each for each in unclaimed if each[1].key], open_ends)
    found += _at_once(nowhere, found)
    return sorted(found, key=lambda placed: placed.order)


def _at_once(records: list[Record], placed: list[Placed]) -> list[Placed]:
    """Return the place of refusals that saw no tree: at the moment they were asked."""
    answered = sorted(placed, key=lambda each: each.record.answered)
    moments = [each.record.answered for each in answered]
    latest = list(accumulate((each.order for each in answered), max, initial=(0, False)))
    return [
        Placed(entry=latest[bisect_left(moments, record.invoked)][0], after=True, record=record)
        for record in records
    ]


def _claimed(entries: list[tuple[int, Entry]], records: list[Record]) -> list[Placed]:
    """Return the place of what was done without telling, or told only when asked again."""
    asked: dict[object, deque[Record]] = defaultdict(deque)
    for record in sorted(records, key=lambda record: record.invoked):
        waiting = asked[_named(record.operation)]
        if waiting and waiting[-1].operation == record.operation:
            # Asked again because the first answer was lost: done once, between the first question
            # and the last answer.
            waiting[-1] = waiting[-1]._replace(answered=record.answered)
        else:
            waiting.append(record)
    found: list[Placed] = []
    for number, entry in entries:
        extension = entry.operation if entry.kind == "extend" else ""
        waiting = asked[entry.kind, entry.key, extension]
        assert waiting, f"nobody asked for {entry}, or it was done twice"
        record = waiting.popleft()._replace(decision=None)
        found.append(Placed(entry=number, after=False, record=record))
    return found


def _named(operation: Operation) -> tuple[str, str, str]:
    assert isinstance(operation, OnReservation)
    extension = operation.operation if isinstance(operation, Extend) else ""
    return type(operation).__name__.lower(), operation.key, extension


# Whether it can be so -----------------------------------------------------------------------------


def check_real_time(placed: Sequence[Placed]) -> None:
    """Assert that whatever was answered before something was asked precedes it in the order."""
    answered = sorted(placed, key=lambda each: each.record.answered)
    latest, at = (0, False), 0
    for each in sorted(placed, key=lambda each: each.record.invoked):
        while answered[at].record.answered < each.record.invoked:
            latest, at = max(latest, answered[at].order), at + 1
        # Two refusals may have seen the same commit.
        assert each.order >= latest, f"{each.record} was decided on an older state"


def check_replay(
    ledger: Ledger, tree: str, entries: Sequence[Entry], placed: Sequence[Placed]
) -> None:
    """Assert that the rules, folded over the order of commits, give each answer again."""
    model = SwiftModel()
    for budget in ledger.budgets(tree):
        model.apply(SetLimits(budget.path, fields_of(budget)), 0)
    seen = len(model.entries)
    for each in placed:
        assert each.entry in {seen, seen + 1}, f"{entries[seen]} has no record"
        assert each.entry or each.after
        seen = each.entry
        again = model.apply(each.record.operation, entries[seen - 1].at)
        if each.record.decision is None:
            check_entry(again, entries[seen - 1])
        else:
            assert outline(again) == outline(each.record.decision), each
    assert seen == len(entries) == len(model.entries)


def check_entry(again: Decision, entry: Entry) -> None:
    """Assert that what nobody was told of was done by the rules."""
    assert isinstance(again, Accepted), f"{entry} goes against the rules: {again}"
    same = (again.entry.kind, again.entry.key, again.entry.amounts, again.entry.data)
    assert same == (entry.kind, entry.key, entry.amounts, entry.data)


# What came of it ----------------------------------------------------------------------------------


def counts(history: Iterable[Record]) -> dict[str, int]:
    """Return how many operations were answered how."""
    kinds: dict[str, int] = dict.fromkeys(["Accepted", "Refused", "Repeated", "unknown"], 0)
    for record in history:
        kinds["unknown" if record.decision is None else type(record.decision).__name__] += 1
    return kinds
