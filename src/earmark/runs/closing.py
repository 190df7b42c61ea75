"""The end of a run: its statement, with totals read from the ledger and compared with its lines."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any, cast

from earmark.errors import EarmarkError, NotFound, Refusal
from earmark.ledger.answers import Balance
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.requests import MOST_LISTED
from earmark.money import Money
from earmark.runs.statement import RunStatus, Statement, total
from earmark.runs.statement_line import NOTHING, StatementLine
from earmark.stages.kinds.jsontext import Json, mended

_log = logging.getLogger(__name__)


def status_of(error: BaseException | None) -> RunStatus:
    """Return how a run stands that ended with *error*, or with none."""
    match error:
        case None:
            return RunStatus.OK
        case Refusal():
            return RunStatus.REFUSED
        case asyncio.CancelledError():
            return RunStatus.CANCELLED
        case _:
            return RunStatus.FAILED


def error_json(error: BaseException | None) -> dict[str, Any] | None:
    """Return an error's code, sentence and typed fields as JSON values."""
    match error:
        case None:
            return None
        case EarmarkError():
            facts = {name: _to_json(value) for name, value in error.facts().items()}
            return {**facts, "code": error.code, "message": mended(str(error))}
        case asyncio.CancelledError():
            return {"code": "cancelled", "message": "the run was cancelled"}
        case _:
            # The text of a foreign exception may hold a prompt or a key.
            return {"code": "error", "message": f"the run was ended by {type(error).__name__}"}


async def totals(ledger: AsyncLedger, budget: str) -> tuple[Money, Money]:
    """Return what is settled and what is held on the run's budget; 0 where it was never made.

    Whatever limits the budget has by now, somebody may have changed them while the run went on:
    its reservations say it where its one total limit in USD does not.
    """
    try:
        balances = await ledger.balances(budget)
    except NotFound:
        return NOTHING, NOTHING
    match [each for each in balances if each.unit == "usd"]:
        case [Balance(window="total", settled=Money() as settled, held=Money() as held)]:
            return settled, held
        case _:
            reservations = await ledger.holds(budget, state=None, most=MOST_LISTED)
    return (
        total(each.settled for each in reservations if each.settled is not None),
        total(each.amount for each in reservations if each.state == "open"),
    )


def unaccounted(run_id: str, spent: Money, held: Money, lines: Sequence[StatementLine]) -> Money:
    """Return by how much the ledger's totals exceed the lines'; says so loudly if they do."""
    listed = total(line.settled for line in lines) + total(line.held for line in lines)
    difference = spent + held - listed
    if difference:
        _log.error(
            "run %s: the ledger has %s USD on its budget, its lines account for %s",
            run_id,
            spent + held,
            listed,
        )
    return difference


def carry(
    statement: Statement, failure: BaseException | None, troubles: Sequence[Exception]
) -> None:
    """Give every error at the end of a run its statement; raise the last trouble of a good run."""
    for error in troubles if failure is None else (failure, *troubles):
        vars(error)["statement"] = statement
    if failure is not None:
        for trouble in troubles:
            failure.add_note(f"at the end of run {statement.run_id}: {trouble}")
    elif troubles:
        raise troubles[-1]


def _to_json(value: object) -> Json:
    match value:
        case str():
            return mended(str(value))
        case None | bool() | int() if not isinstance(value, Enum):
            return value
        case datetime():
            return value.isoformat()
        case tuple() | list():
            return [_to_json(each) for each in cast("Sequence[object]", value)]
        case _:
            return mended(str(value))
