"""What readers of a store see, as JSON: written down beside a store that is kept as a fixture."""

import asyncio
import json
from contextlib import closing
from typing import Any

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.clock import Clock, iso
from earmark.ledger.ledger import Ledger
from earmark.nudges.nudges import Nudges
from earmark.quilt.quilt import Quilt
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Tables
from earmark.workspace.tokens import Tokens
from support.journals import open_journal

Facts = dict[str, Any]


def facts(url: str, clock: Clock) -> Facts:
    """Return what the books at *url*, and all beside them, say at *clock*'s instant."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        found = {**_books(ledger), **_beside(tables, clock), "runs": asyncio.run(_runs(url))}
    return json.loads(json.dumps(found))


def _books(ledger: Ledger) -> Facts:
    budgets = ledger.budgets()
    return {
        "budgets": [budget.to_json() for budget in budgets],
        "balances": [
            [each.budget, each.unit, each.window, *map(str, (each.limit, each.settled, each.held)),
             str(each.starts_at), str(each.resets_at), each.paused]
            for budget in budgets
            for each in ledger.balances(budget.path)
        ],
        "reservations": [
            [each.key, each.budget, each.state, _amounts(each.asked), _amounts(each.hold),
             each.actual and _amounts(each.actual), json.loads(each.labels or "{}"),
             iso(each.opened), iso(each.expires), each.closed and iso(each.closed)]
            for each in ledger.holds(state=None)
        ],
        "entries": [
            [each.seq, each.kind, each.key, each.budget, _amounts(each.amounts), each.prior,
             iso(each.at)]
            for each in ledger.entries()
        ],
        "alerts": [
            [each.id, str(each.limit), str(each.settled), iso(each.at)] for each in ledger.alerts()
        ],
    }  # fmt: skip


def _beside(tables: Tables, clock: Clock) -> Facts:
    board, nudges, quilt = Board(tables, clock), Nudges(tables, clock), Quilt(tables, clock)
    tasks, raised = board.find(TaskFilter()), nudges.find()
    return {
        "tasks": [
            [task.number, task.title, task.status, task.labels, task.approval, task.attempts,
             task.waiting, task.agent, task.model, task.result, task.error,
             task.quality and task.quality.overall, task.version]
            for task in tasks
        ],
        "attempts": [
            [task.number, each.number, each.key, each.run_id, each.budget, each.outcome]
            for task in tasks
            for each in board.attempts(task.id)
        ],
        "events": [
            [each.number, each.actor, each.move, each.status, each.note]
            for each in board.events(0)
        ],
        "nudges": [
            [each.number, each.id, each.kind, each.budget, each.title, each.acked_by,
             *[(d.channel, d.state, d.tries) for d in nudges.deliveries(each.id)]]
            for each in raised
        ],
        "patches": [
            [each.type, each.name, each.version, each.data, each.author]
            for patch in quilt.find()
            for each in quilt.history(patch.type, patch.name)
        ],
        "tokens": [
            [each.id, each.name, each.scopes, bool(each.revoked_at)]
            for each in Tokens(tables, clock).all()
        ],
    }  # fmt: skip


async def _runs(url: str) -> list[Any]:
    journal = open_journal(url)
    try:
        found = [await journal.get(each.run_id) for each in await journal.runs()]
    finally:
        await journal.aclose()
    return [
        [run.run_id, run.composition.to_json(), run.input, run.budget, str(run.limit), run.status,
         run.statement and _statement(run.statement),
         [(line.path, line.attempt, line.outcome, line.key, line.state, str(line.settled))
          for line in run.lines]]
        for run in sorted(found, key=lambda each: each.run_id)
    ]  # fmt: skip


def _statement(statement: Any) -> list[Any]:
    return [statement.output, *map(str, (statement.spent, statement.held, statement.unaccounted))]


def _amounts(amounts: Any) -> list[int | None]:
    return [amounts.usd, amounts.calls, amounts.tokens]
