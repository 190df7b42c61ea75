"""The latest of the books: a store lists entries upwards, a page shows them from the end back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Alert, Entry

T = TypeVar("T", Entry, Alert)

#: How many of a store's last entries are looked through for those of one budget.
FARTHEST: Final = 100_000


def latest_entries(ledger: Ledger, path: str, most: int, since: int = 0) -> list[Entry]:
    """Return the last *most* entries at or below *path*, in order, none older than *since*.

    Where a budget is used rarely and others often, only the store's last entries are looked at.
    """
    heads = ledger.store.heads()
    last = heads.get(path.partition("/")[0], heads.get("", 0))
    read = ledger.store.entries
    return _latest(lambda query: read(replace(query, budget=path)), last, most, since)


def latest_alerts(ledger: Ledger, most: int) -> list[Alert]:
    """Return the last *most* thresholds that were crossed on any budget, in order."""
    last = max(ledger.store.heads().values(), default=0)
    return _latest(ledger.store.alerts, last, most, 0)


def _latest(read: Callable[[Filter], list[T]], last: int, most: int, since: int) -> list[T]:
    reach = most
    while True:
        found = read(Filter(after=max(0, last - reach), most=reach))
        enough = len(found) >= most or (bool(found) and found[0].at < since)
        if enough or reach >= min(last, FARTHEST):
            return [each for each in found[-most:] if each.at >= since]
        reach = min(FARTHEST, reach * 8)
