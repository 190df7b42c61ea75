"""A service to ask in the same process: an application on a workspace, a token of each scope."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from earmark.board.rules import DESTRUCTIVE
from earmark.config.settings import ServiceSettings
from earmark.errors import StoreUnavailable
from earmark.service.app import create_app
from earmark.service.context import Service
from earmark.stores.open import open_ledger
from earmark.stores.tables import Rows, Tables
from earmark.testing import ManualClock
from earmark.workspace.tokens import SCOPES
from earmark.workspace.workspace import Workspace, open_workspace
from support.shaky_tables import ShakyTables

T = TypeVar("T")

URL = "http://127.0.0.1:8321"


class Line(ShakyTables):
    """A line to the tables that can also fail just once."""

    def __init__(self, tables: Tables) -> None:
        super().__init__(tables)
        self.fails_next = ""
        """The next write under this lock does not arrive."""
        self.complaint: StoreUnavailable | None = None
        """What is raised while it is down."""

    def write(self, lock: str, work: Callable[[Rows], T]) -> T:
        """Write, unless it is the one that fails."""
        if lock == self.fails_next:
            self.fails_next = ""
            raise StoreUnavailable(store=self.name, detail="the line broke")
        return super().write(lock, work)

    def read(self, work: Callable[[Rows], T]) -> T:
        """Read, or complain."""
        if self.down and self.complaint is not None:
            raise self.complaint
        return super().read(work)


@dataclass
class House:
    """A service and those who may ask it."""

    app: FastAPI
    client: TestClient
    workspace: Workspace
    clock: ManualClock
    line: Line
    """Between the service and its tables."""
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    """A token by its scope."""

    @property
    def service(self) -> Service:
        """What its routes share."""
        found: Service = self.app.state.service
        return found

    def ask(
        self,
        method: str,
        path: str,
        *,
        scope: str | None = "admin",
        key: str | None = None,
        headers: dict[str, str] | None = None,
        **given: Any,
    ) -> Response:
        """Send a request with the token of *scope*, or none, under the Idempotency-Key *key*."""
        told = dict(headers or {})
        if scope is not None:
            told["Authorization"] = f"Bearer {self.secrets[scope]}"
        if key is not None:
            told["Idempotency-Key"] = key
        return self.client.request(method, path, headers=told, **given)

    def ok(self, method: str, path: str, **given: Any) -> Any:
        """Send a request that is to succeed, and return its JSON."""
        answer = self.ask(method, path, **given)
        assert answer.is_success, answer.text
        return answer.json()

    def no(self, status: int, method: str, path: str, **given: Any) -> Any:
        """Send a request that is to fail with *status*, and return the problem document."""
        answer = self.ask(method, path, **given)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"] == f"urn:earmark:problem:{problem['code']}"
        return problem

    def budget(self, path: str = "acme", *limits: str) -> None:
        """Make a budget, of 10 USD a day unless told."""
        self.workspace.ledger.set_budget(path, limits=limits or ["10 usd per day"])


#: To make an application takes a tenth of a second: one does for all services of usual settings.
_usual: list[FastAPI] = []


@contextmanager
def application(
    workspace: Workspace, settings: ServiceSettings, clock: ManualClock
) -> Generator[FastAPI]:
    """Give an application on *workspace*; a service that had it before gets it back."""
    if settings != ServiceSettings() or not _usual:
        app = create_app(workspace, settings=settings, clock=clock)
        if settings == ServiceSettings():
            _usual.append(app)
        yield app
        return
    (app,) = _usual
    before = app.state.service
    app.state.service = Service.on(workspace, settings, clock, agent=None, approval_for=DESTRUCTIVE)
    yield app
    app.state.service = before


@contextmanager
def house(
    url: str = "memory:", *, clock: ManualClock | None = None, **settings: Any
) -> Generator[House]:
    """Give a service on the books at *url*."""
    clock = clock or ManualClock()
    with open_ledger(url, clock=clock) as ledger, open_workspace(ledger) as steady:
        line = Line(steady.tables)
        workspace = Workspace.over(ledger, line)
        with (
            application(workspace, ServiceSettings(**settings), clock) as app,
            TestClient(app, base_url=URL) as client,
        ):
            opened = House(app, client, workspace, clock, line)
            for scope in SCOPES:
                _, opened.secrets[scope] = opened.service.tokens.create(f"a {scope}er", [scope])
            yield opened
