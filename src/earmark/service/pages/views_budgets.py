"""Budgets as the pages show them: the tree with its bars, and one budget with its limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.budget.budget import Budget
from earmark.budget.fields import PLAIN_FIELDS, show_plain
from earmark.budget.limit import show_amount
from earmark.budget.path import ancestors
from earmark.ledger.answers import Balance
from earmark.ledger.details import read_details, remarks
from earmark.ledger.values import CLOSING, Entry, Reservation
from earmark.service.pages.formatting import Bar, DisplayedTime, bar, moment
from earmark.service.pages.views_burn import Chart, chart
from earmark.workspace.resources.books import BudgetStanding, data_of

#: Finds the budget at exactly a path.
Find = Callable[[str], Budget | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseView:
    """Why everything below a budget is refused."""

    by: str
    reason: str
    until: DisplayedTime | None
    budget: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetNode:
    """One budget of the tree."""

    path: str
    depth: int
    bars: tuple[Bar, ...]
    pause: PauseView | None
    inherited: bool
    """Whether a budget above it is what is paused."""
    plain: tuple[tuple[str, str], ...]
    """Its plain fields that are not at their default: what each is called, and the value."""
    observed: str
    """The root above it, if its tree is observed, so that its limits do not bind; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """The page of all budgets."""

    nodes: tuple[BudgetNode, ...]
    runs: bool
    """Whether the budgets of runs are shown, too."""
    next_page: str
    """The address of the page after this one; empty where there is none."""
    first_page: str
    """The address of the first page; empty where this is it."""

    @property
    def summary(self) -> str:
        """What is paused, as one sentence."""
        paused = [node.path for node in self.nodes if node.pause and not node.inherited]
        return f"Paused: {', '.join(paused)}" if paused else f"{len(self.nodes)} budgets"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One limit with its bar and its chart."""

    bar: Bar
    chart: Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """The page of one budget."""

    path: str
    above: tuple[str, ...]
    plain: tuple[tuple[str, str], ...]
    """Its plain fields that have a value: what each is called, and the value."""
    observed: str
    """As of a `BudgetNode`."""
    pause: PauseView | None
    inherited: bool
    limits: tuple[LimitView, ...]
    extensions: tuple[str, ...]
    limit_names: tuple[str, ...]
    holds: Sequence[Reservation]
    entries: Sequence[Entry]
    key: str
    """The one reservation whose entries are shown; empty for all."""
    below: tuple[str, ...]
    form_key: str

    @property
    def summary(self) -> str:
        """How its limits stand, as one sentence."""
        facts = "; ".join(limit.bar.words for limit in self.limits) or "no limits"
        observed = "Observed: no limit binds. " if self.observed else ""
        return f"{'Paused. ' if self.pause else ''}{observed}{facts}"


# The tree -----------------------------------------------------------------------------------------


def tree_view(
    shelves: Sequence[BudgetStanding],
    find: Find,
    now: int,
    *,
    runs: bool,
    next_page: str,
    first_page: str,
) -> TreeView:
    """Return the page of *shelves*; *find* looks for the budgets above them."""
    nodes = tuple(_node(each, find, now) for each in shelves)
    return TreeView(nodes=nodes, runs=runs, next_page=next_page, first_page=first_page)


def _node(each: BudgetStanding, find: Find, now: int) -> BudgetNode:
    path = each.budget.path
    pause = pause_of(path, find, now)
    return BudgetNode(
        path=path,
        depth=min(3, path.count("/")),
        bars=tuple(bar(balance, now) for balance in each.balances),
        pause=pause,
        inherited=pause is not None and pause.budget != path,
        plain=_plain(each.budget, at_default=False),
        observed=_observed_by(path, find),
    )


def pause_of(path: str, find: Find, now: int) -> PauseView | None:
    """Return the pause that refuses what *path* reserves: the one nearest the root."""
    for each in reversed(ancestors(path)):
        budget = find(each)
        pause = budget.is_paused(now) if budget is not None else None
        if pause is not None:
            until = moment(pause.until, now) if pause.until else None
            return PauseView(by=pause.actor, reason=pause.reason, until=until, budget=each)
    return None


def _observed_by(path: str, find: Find) -> str:
    root = find(path.partition("/")[0])
    return root.path if root is not None and root.observed else ""


# One budget ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """All that the page is made of."""

    shelf: BudgetStanding
    find: Find
    below: Sequence[Budget]
    window: Sequence[Entry]
    """Entries of its longest window, in order."""
    latest: Sequence[Entry]
    holds: Sequence[Reservation]
    key: str
    form_key: str
    """Names the extension that the page's form may make, so that sent twice it adds once."""


def budget_view(facts: BudgetFacts, now: int) -> BudgetView:
    """Return the page of one budget."""
    budget = facts.shelf.budget
    pause = pause_of(budget.path, facts.find, now)
    return BudgetView(
        path=budget.path,
        above=ancestors(budget.path)[:0:-1],
        plain=_plain(budget, at_default=True),
        observed=_observed_by(budget.path, facts.find),
        pause=pause,
        inherited=pause is not None and pause.budget != budget.path,
        limits=tuple(_limit(each, facts.window, now) for each in facts.shelf.balances),
        extensions=_extensions(budget, now),
        limit_names=tuple(limit.describe() for limit in budget.limits),
        holds=facts.holds,
        entries=facts.latest,
        key=facts.key,
        below=tuple(each.path for each in facts.below if each.path != budget.path),
        form_key=facts.form_key,
    )


def _plain(budget: Budget, *, at_default: bool) -> tuple[tuple[str, str], ...]:
    values = [(each, each.of(budget)) for each in PLAIN_FIELDS]
    return tuple(
        (field.label.capitalize(), show_plain(value))
        for field, value in values
        if value != field.default or (at_default and value)
    )


def _extensions(budget: Budget, now: int) -> tuple[str, ...]:
    return tuple(
        f"{each.limit} more until {_exact(each.until, now)}"
        + (f", by {each.actor}" if each.actor else "")
        + (f": {each.reason}" if each.reason else "")
        for each in budget.extensions
        if now < each.until
    )


def _exact(instant: int, now: int) -> str:
    found = moment(instant, now)
    return found.exact if found else ""


def _limit(balance: Balance, window: Sequence[Entry], now: int) -> LimitView:
    return LimitView(bar=bar(balance, now), chart=chart(balance, window, now))


def amount_of_entry(entry: Entry) -> str:
    """Return what an operation on a reservation was about; empty for one on a budget."""
    if entry.kind not in {"reserve", "extend", "settle", "presume", "release"}:
        return ""
    others = [f"{number} {unit}" for unit, number in entry.amounts.counts]
    return ", ".join([f"{show_amount('usd', entry.amounts.usd)} USD", *others])


def remarks_on_entry(entry: Entry) -> str:
    """Return what a settlement knows of its model and cost, and what a change of a budget made."""
    if entry.kind in CLOSING:
        return "; ".join(remarks(read_details(entry.data)))
    made: Mapping[str, Any] = data_of(entry) if entry.kind == "limit" else {}
    limits = [", ".join(made["limits"]) or "no limits"] if "limits" in made else []
    plain = [
        f"{field.label} {show_plain(made[field.name])}"
        for field in PLAIN_FIELDS
        if made.get(field.name, field.default) != field.default
    ]
    return "; ".join([*limits, *plain])
