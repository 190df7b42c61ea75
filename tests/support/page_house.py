"""A service with its pages, a board with a task in every state, and somebody who looks at it."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Self

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from msgspec import structs

from earmark.board.rules import DESTRUCTIVE
from earmark.board.task import Priority, Quality, Task, TaskDraft, TaskStatus
from earmark.config.settings import ServiceSettings
from earmark.runs.journal import RunRecord
from earmark.runs.journals import open_ledger_journal
from earmark.runs.statement import Statement
from earmark.runs.statement_line import StatementLine
from earmark.service.app import create_app
from earmark.service.context import Service
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.agent_state import AgentState
from earmark.workspace.tokens import Tokens
from earmark.workspace.workspace import Workspace, open_workspace
from support.page_reader import Page, read_page

BUDGET = "c8/cloud-lu"
AGENT = "Cloud Lu"
MODEL = "anthropic/claude-sonnet-4-20250514"
#: What a page must never do more with than show it.
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>&amp;"
LEASE = 60_000_000_000
#: The usage and the cost of the task that the first requirements show.
RESULT = {
    "cost": {"input_tokens": 163, "output_tokens": 3025, "estimated_usd": 0.045864},
    "model": "claude-sonnet-4-20250514",
    "status": "success",
    "transport": "anthropic_api",
    "latency_ms": 40215,
    "response_text": "I'll implement it.\n\n<bom>\nfile.py\n</bom>",
}


@dataclass
class Visitor:
    """A browser without a screen."""

    client: TestClient
    csrf: str = ""
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    def log_in(self, token: str, back: str = "/") -> Response:
        """Send the login form; keep the session's CSRF token as a page of it has it."""
        answer = self.client.post("/login", data={"token": token, "next": back})
        if answer.status_code == 303:
            self.csrf = self.read("/").field("csrf")["value"]
        return answer

    def get(self, address: str) -> Response:
        """Ask for a page as a browser does."""
        return self.client.get(address, headers={"accept": "text/html"})

    def read(self, address: str, status: int = 200) -> Page:
        """Return a page that is as it should be."""
        answer = self.get(address)
        assert answer.status_code == status, answer.text
        return self.checked(answer)

    def checked(self, answer: Response) -> Page:
        """Return the page of an answer, in which nothing is wrong."""
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = read_page(answer.text)
        assert page.faults == []
        return page

    def send(self, address: str, *, csrf: str | None = None, **fields: str) -> Response:
        """Send a form of the session, or one with another CSRF token."""
        token = self.csrf if csrf is None else csrf
        return self.client.post(address, data={"csrf": token, **fields})


class PageHouse:
    """One workspace, its service, and the hands that work on it."""

    def __init__(self, workspace: Workspace, clock: ManualClock, settings: ServiceSettings) -> None:
        self.workspace = workspace
        self.clock = clock
        self.tokens = Tokens(workspace.tables, clock)
        self.app = _app_of(workspace, clock, settings)
        workspace.ledger.set_budget("c8", limits=["10 usd per day"])
        workspace.ledger.set_budget(BUDGET, limits=["0.50 usd per 30min", "3 calls per 30min"])

    def token(self, scope: str, name: str = "AG Lu") -> str:
        """Return a new token."""
        return self.tokens.create(name, [scope])[1]

    def visitor(self, scope: str = "", name: str = "AG Lu", host: str = "127.0.0.1") -> Visitor:
        """Return somebody who is logged in with *scope*; with an empty one, somebody who is not."""
        client = TestClient(self.app, base_url=f"http://{host}:8321", follow_redirects=False)
        visitor = Visitor(client)
        if scope:
            assert visitor.log_in(self.token(scope, name)).status_code == 303
        return visitor

    def add(self, title: str = "[SELF-10] Persistent budget tracker", **more: object) -> Task:
        """Put a task on the board."""
        draft = TaskDraft(title=title, **more)  # pyright: ignore[reportArgumentType] - a test's own words
        return self.workspace.board.add(draft, actor="Carlos")

    def beat(self, state: str = "idle", reason: str = "", name: str = AGENT) -> Self:
        """Let a heartbeat say how it is."""
        now = self.clock.instant()
        self.workspace.agents.acquire(name, "host:1", LEASE)
        said = AgentState(
            agent=name,
            budget=BUDGET,
            model=MODEL,
            running=True,
            cycle_count=48,
            last_heartbeat=now,
            next_cycle_at=now + 30 * LEASE,
            interval_s=1800,
            state=state,  # pyright: ignore[reportArgumentType] - a test's own words
            reason=reason,
        )
        self.workspace.agents.report(name, "host:1", said, 48)
        return self

    def claimed(self, **more: Any) -> Task:
        """Return a task that an agent has; no other is pending before it."""
        task = self.add(priority=Priority.P0, **more)
        (found,) = self.workspace.board.claim(AGENT, 1, lease_ns=LEASE)
        assert found.id == task.id, "the board was empty of others"
        return found

    def running(self, **more: object) -> Task:
        """Return a task that a model works on, with its hold in the books."""
        task = self.claimed(**more)
        key = f"task-{task.id}-1"
        self.workspace.board.start(task, model=MODEL, key=key, budget=BUDGET)
        self.workspace.ledger.reserve(BUDGET, "0.10", key=key)
        return self.workspace.board.get(task.id)

    def completed(self, **more: object) -> Task:
        """Return a task that the model answered, settled in the books."""
        task = self.running(**more)
        self.workspace.ledger.settle(f"task-{task.id}-1", "0.045864")
        return self.workspace.board.complete(
            task.id, 1, AGENT, RESULT, input_tokens=163, output_tokens=3025
        )

    def in_state(self, status: TaskStatus) -> Task:
        """Return a task in that state."""
        board = self.workspace.board

        def decide(task: Task, name: str) -> Task:
            return board.decide(task.id, name, actor="Carlos")

        ways: dict[TaskStatus, Callable[[], Task]] = {
            TaskStatus.PENDING: self.add,
            TaskStatus.CLAIMED: self.claimed,
            TaskStatus.RUNNING: self.running,
            TaskStatus.COMPLETED: self.completed,
            TaskStatus.FAILED: lambda: board.fail(
                self.running().id, 1, AGENT, "the provider said 500"
            ),
            TaskStatus.UNKNOWN: lambda: board.unknown(self.running().id, 1, AGENT, "no reply came"),
            TaskStatus.GRADED: lambda: self.graded(65),
            TaskStatus.ACCEPTED: lambda: decide(self.completed(), "accept"),
            TaskStatus.REJECTED: lambda: decide(self.completed(), "reject"),
            TaskStatus.CANCELLED: lambda: decide(self.add(), "cancel"),
        }
        return ways[status]()

    def graded(self, overall: int, note: str = "no tests") -> Task:
        """Return a task that somebody looked at; it passes from 80 % on."""
        quality = Quality(
            overall=overall,
            passed=overall >= 80,
            graded_by="VS Lu",
            graded_at=self.clock.instant(),
            note=note,
        )
        return self.workspace.board.grade(self.completed().id, quality, actor="VS Lu")

    def write_run(
        self, run: RunRecord, lines: Sequence[StatementLine] = (), end: Statement | None = None
    ) -> None:
        """Write a run into the journal beside the books."""

        async def write() -> None:
            journal = open_ledger_journal(self.workspace.ledger.store)
            await journal.start(run)
            numbered = [structs.replace(line, number=n) for n, line in enumerate(lines, start=1)]
            await journal.record(run.run_id, numbered)
            if end is not None:
                await journal.finish(end)
            await journal.aclose()

        asyncio.run(write())

    def later(self, minutes: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(minutes=minutes))


@cache
def _apps() -> dict[str, FastAPI]:
    return {}


def _app_of(workspace: Workspace, clock: ManualClock, settings: ServiceSettings) -> FastAPI:
    """Return the application on *workspace*: one for all tests, for building one takes its time.

    Whatever belongs to one service is in the application's state, and that is made anew.
    """
    known = _apps()
    key = repr(settings)
    if key not in known:
        known[key] = create_app(workspace, settings=settings, clock=clock)
    known[key].state.service = Service.on(
        workspace, settings, clock, agent=None, approval_for=DESTRUCTIVE
    )
    return known[key]


@contextmanager
def page_house(store: str = "memory:", **settings: object) -> Generator[PageHouse]:
    """Open a service on *store*, closed with the block; usually with open reads."""
    settings = {"open_reads": True, **settings}
    clock = ManualClock()
    with open_ledger(store, clock=clock) as ledger, open_workspace(ledger) as workspace:
        opened = PageHouse(workspace, clock, ServiceSettings(**settings))  # pyright: ignore[reportArgumentType]
        try:
            yield opened
        finally:
            opened.app.state.service.close()
