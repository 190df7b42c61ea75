"""Earmark runs AI agent work under budgets that cannot be overspent.

Each public name is loaded when it is first used, so that `import earmark` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from earmark.admission.charge import Charge
    from earmark.admission.guard import AsyncGuard, Guard
    from earmark.admission.policy import Elastic, Soft, Strict
    from earmark.admission.request import OpenOptions
    from earmark.admission.ticket import AsyncTicket, Ticket
    from earmark.apis.call_bound import CallBound, bound
    from earmark.apis.cost import cost
    from earmark.apis.provider_count import CountRequest, count_request
    from earmark.composition.ast import Composition
    from earmark.composition.parse import parse_composition
    from earmark.errors import (
        BudgetExceeded,
        CallFailed,
        CheckFailed,
        EarmarkError,
        InputError,
        KeyReused,
        NoBudget,
        NotFound,
        Reason,
        Refusal,
        ReservationClosed,
        StageFailed,
        StoreError,
    )
    from earmark.ledger.answers import Balance
    from earmark.ledger.async_ledger import AsyncLedger
    from earmark.ledger.ledger import Ledger
    from earmark.ledger.values import Entry, Reservation
    from earmark.money import Money
    from earmark.pricing.book import PriceBook
    from earmark.pricing.usage import Usage
    from earmark.runs.runner import run, run_async
    from earmark.runs.statement import Statement
    from earmark.stages.kinds.python import Costed, stage
    from earmark.stores.open import open_async_ledger as open_async
    from earmark.stores.open import open_ledger as open  # noqa: A004 - earmark.open() reads best

__version__ = "0.1.0"

#: Where each public name lives, and what it is called there if that differs.
_HOMES: Final = {
    "AsyncGuard": "earmark.admission.guard",
    "AsyncLedger": "earmark.ledger.async_ledger",
    "AsyncTicket": "earmark.admission.ticket",
    "Balance": "earmark.ledger.answers",
    "BudgetExceeded": "earmark.errors",
    "CallBound": "earmark.apis.call_bound",
    "CallFailed": "earmark.errors",
    "Charge": "earmark.admission.charge",
    "CheckFailed": "earmark.errors",
    "Composition": "earmark.composition.ast",
    "Costed": "earmark.stages.kinds.python",
    "CountRequest": "earmark.apis.provider_count",
    "EarmarkError": "earmark.errors",
    "Elastic": "earmark.admission.policy",
    "Entry": "earmark.ledger.values",
    "Guard": "earmark.admission.guard",
    "InputError": "earmark.errors",
    "KeyReused": "earmark.errors",
    "Ledger": "earmark.ledger.ledger",
    "Money": "earmark.money",
    "NoBudget": "earmark.errors",
    "NotFound": "earmark.errors",
    "OpenOptions": "earmark.admission.request",
    "PriceBook": "earmark.pricing.book",
    "Reason": "earmark.errors",
    "Refusal": "earmark.errors",
    "Reservation": "earmark.ledger.values",
    "ReservationClosed": "earmark.errors",
    "Soft": "earmark.admission.policy",
    "StageFailed": "earmark.errors",
    "Statement": "earmark.runs.statement",
    "StoreError": "earmark.errors",
    "Strict": "earmark.admission.policy",
    "Ticket": "earmark.admission.ticket",
    "Usage": "earmark.pricing.usage",
    "bound": "earmark.apis.call_bound",
    "cost": "earmark.apis.cost",
    "count_request": "earmark.apis.provider_count",
    "open": "earmark.stores.open:open_ledger",
    "open_async": "earmark.stores.open:open_async_ledger",
    "parse_composition": "earmark.composition.parse",
    "run": "earmark.runs.runner:run",
    "run_async": "earmark.runs.runner:run_async",
    "stage": "earmark.stages.kinds.python",
}

__all__ = [
    "AsyncGuard",
    "AsyncLedger",
    "AsyncTicket",
    "Balance",
    "BudgetExceeded",
    "CallBound",
    "CallFailed",
    "Charge",
    "CheckFailed",
    "Composition",
    "Costed",
    "CountRequest",
    "EarmarkError",
    "Elastic",
    "Entry",
    "Guard",
    "InputError",
    "KeyReused",
    "Ledger",
    "Money",
    "NoBudget",
    "NotFound",
    "OpenOptions",
    "PriceBook",
    "Reason",
    "Refusal",
    "Reservation",
    "ReservationClosed",
    "Soft",
    "StageFailed",
    "Statement",
    "StoreError",
    "Strict",
    "Ticket",
    "Usage",
    "bound",
    "cost",
    "count_request",
    "open",
    "open_async",
    "parse_composition",
    "run",
    "run_async",
    "stage",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the public names are of all kinds
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'earmark' has no attribute '{name}'")
    module, _, there = home.partition(":")
    value = globals()[name] = getattr(import_module(module), there or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
