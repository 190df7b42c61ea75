"""Parameters that several routes take: names in paths and queries, pages of the books."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import Depends, Path, Query
from pydantic import AwareDatetime

from earmark.clock import Clock, from_datetime
from earmark.errors import InvalidDuration
from earmark.ledger.store import Filter
from earmark.service.bodies import PATH
from earmark.service.paging import USUAL, Cursor, LimitParam, after_number

#: What a database keeps: no control characters.
NAME: Final = r"^[^\x00-\x1f\x7f]{1,500}$"

KeyParam = Annotated[str, Path(pattern=NAME, max_length=255)]
NameParam = Annotated[str, Path(pattern=NAME, max_length=500)]
OptionalQuery = Annotated[str | None, Query(pattern=NAME, max_length=500)]
BudgetPathParam = Annotated[str, Path(pattern=PATH, max_length=255, examples=["acme/research"])]
BudgetFilter = Annotated[
    str | None, Query(pattern=PATH, max_length=255, description="At or below this budget.")
]
Since = Annotated[AwareDatetime | None, Query(description="Then or later.")]
Until = Annotated[AwareDatetime | None, Query(description="Before then.")]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list of the books is asked for."""

    filter: Filter
    """One item more than the page has, so that it is known whether there is another page."""
    limit: int


async def _books_query(
    budget: BudgetFilter = None,
    since: Since = None,
    until: Until = None,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> ListQuery:
    query = Filter(
        budget=budget,
        since=_instant(since),
        until=_instant(until),
        after=after_number(cursor),
        most=limit + 1,
        complete=True,
    )
    return ListQuery(query, limit)


#: A page of a list of the books: of which budget, from when until when, after which item.
BooksQuery = Annotated[ListQuery, Depends(_books_query)]


def check_not_past(moment: datetime, clock: Clock) -> datetime:
    """Return *moment* if it is not past.

    Raises:
        InvalidDuration: It is, or no ledger counts so far.
    """
    if from_datetime(moment) <= clock.instant():
        want = "one that is not past"
        raise InvalidDuration(text=moment.isoformat(), want=want, kind="moment")
    return moment


def _instant(moment: datetime | None) -> int | None:
    return None if moment is None else from_datetime(moment)
