"""What several routes are given: names in paths and queries, moments that lie ahead."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AwareDatetime

from earmark.clock import Clock, from_datetime
from earmark.errors import InvalidDuration
from earmark.service.models import PATH

#: What a database keeps: no control characters.
NAME: Final = r"^[^\x00-\x1f\x7f]{1,500}$"

Key = Annotated[str, Path(pattern=NAME, max_length=255)]
Name = Annotated[str, Path(pattern=NAME, max_length=500)]
Word = Annotated[str | None, Query(pattern=NAME, max_length=500)]
BudgetPath = Annotated[str, Path(pattern=PATH, max_length=255, examples=["acme/research"])]
OnBudget = Annotated[
    str | None, Query(pattern=PATH, max_length=255, description="At or below this budget.")
]
Since = Annotated[AwareDatetime | None, Query(description="Then or later.")]
Until = Annotated[AwareDatetime | None, Query(description="Before then.")]


def still_ahead(moment: datetime, clock: Clock) -> datetime:
    """Return *moment* if it is not past.

    Raises:
        InvalidDuration: It is, or no ledger counts so far.
    """
    if from_datetime(moment) <= clock.instant():
        want = "one that is not past"
        raise InvalidDuration(text=moment.isoformat(), want=want, kind="moment")
    return moment


def instant(moment: datetime | None) -> int | None:
    """Return *moment* as nanoseconds since the epoch; None for None."""
    return None if moment is None else from_datetime(moment)
