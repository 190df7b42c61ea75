"""Budgets as the service lists them: in pages, and without the thousands that belong to runs."""

# ruff: noqa: S608 - statements are put together from constants of this folder

import json
import re
from typing import Final

from earmark.budget.budget import Budget
from earmark.budget.path import parse_path
from earmark.errors import NotFound
from earmark.heartbeat.desk import Desk
from earmark.ledger.answers import Balance, balance
from earmark.stores.tables import Rows

_OF_A_RUN: Final = re.compile(r"(^|/)run-[0-9a-f]{16}$")
_HEX: Final = "0123456789abcdef"


def sql_of_a_run(path: str) -> str:
    """Return the condition that the column *path* names the budget of a run, for every database."""
    # Without its digits nothing is left of a number; there is no pattern that all of them know.
    digits = f"substr({path}, length({path}) - 15)"
    for digit in _HEX:
        digits = f"replace({digits}, '{digit}', '')"
    named = f"substr('/' || {path}, length({path}) - 19, 5) = '/run-'"
    return f"(length({path}) >= 20 AND {named} AND {digits} = '')"


_IN_MEMORY: Final = "memory:"
_PAGE: Final = (
    "SELECT body FROM {schema}.budget"
    " WHERE path > ? AND (path = ? OR path >= ? AND path < ?)"
    f" AND (1 = ? OR NOT {sql_of_a_run('path')})"
    " ORDER BY path LIMIT ?"
)


def is_of_a_run(path: str) -> bool:
    """Return whether the budget at *path* is one that a run opened for itself."""
    return _OF_A_RUN.search(path) is not None


def find_budgets(
    desk: Desk, *, prefix: str = "", after: str = "", most: int = 1_000_000, runs: bool = False
) -> list[Budget]:
    """Return a page of the budgets at or below *prefix*, by path.

    Args:
        desk: Where they are.
        prefix: Only at or below this path; all where empty.
        after: The path of the last budget of the page before.
        most: How many at most.
        runs: Also those of runs.

    Raises:
        InvalidPath: *prefix* is no path.
    """
    wanted = parse_path(prefix) if prefix else ""
    if desk.ledger.store.url == _IN_MEMORY:
        found = [each for each in desk.ledger.budgets(wanted or None) if each.path > after]
        return [each for each in found if runs or not is_of_a_run(each.path)][:most]
    # '0' follows '/'.
    low, high = (f"{wanted}/", f"{wanted}0") if wanted else ("", "\x7f")
    given = (after, wanted, low, high, int(runs), most)
    return desk.tables.read(lambda rows: _budgets(rows, _PAGE, given))


def get_budget(desk: Desk, path: str) -> Budget:
    """Return the budget at exactly *path*.

    Raises:
        NotFound: None stands there.
        InvalidPath: *path* is none.
    """
    found = desk.ledger.store.budget(parse_path(path))
    if found is None:
        raise NotFound(kind="budget", name=path, hint="an admin's PUT of this path makes it")
    return found


def balances_of(desk: Desk, budget: Budget) -> list[Balance]:
    """Return each limit of *budget* in its current interval."""
    now = desk.ledger.clock.instant()
    paused = budget.is_paused(now) is not None
    accounts = desk.ledger.store.accounts(budget.path, now)
    return [balance(each, paused=paused) for each in accounts if each.line.budget == budget.path]


def _budgets(rows: Rows, sql: str, given: tuple[object, ...]) -> list[Budget]:
    return [Budget.from_json(json.loads(body)) for (body,) in rows.run(sql, *given)]
