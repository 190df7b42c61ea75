"""Runs a composition under a budget of its own, and says what it cost, however it ended.

    parse → check → plan → the run's budget → engine → statement

Nothing is called before everything was checked. A run is a child budget, so each hold touches the
run and every budget above it.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack

from earmark.admission.call import Provider
from earmark.admission.guard import DEFAULT_TIMEOUT, DEFAULT_WAIT, Guard
from earmark.admission.policy import STRICT, Policy
from earmark.budget.path import ancestors, parse_path
from earmark.clock import NANOS_PER_SECOND, Clock, parse_duration
from earmark.composition.ast import Composition
from earmark.composition.check import check_input
from earmark.errors import (
    BudgetExceeded,
    EarmarkError,
    InvalidConfig,
    NotFound,
    Reason,
    Refusal,
)
from earmark.ids import new_run_id
from earmark.ledger.answers import Balance
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.money import AmountLike, Money
from earmark.run.attempts import StageAttempts, Terms
from earmark.run.engine import Engine, Order
from earmark.run.engines.local import LocalEngine
from earmark.run.events import OnEvent, RunEnded, RunStarted
from earmark.run.journal import Journal, MemoryJournal, RunRecord, Scribe
from earmark.run.line import NOTHING
from earmark.run.prepare import AnyStage, library_of, prepare, read_graph
from earmark.run.statement import Statement, Status, total
from earmark.stage.kinds.jsontext import Json
from earmark.stage.kinds.kind import Tools

DEFAULT_CONCURRENCY: Final = 16
