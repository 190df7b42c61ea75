"""A service with a gateway beside it on one socket, before a provider that is a stub."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI

from earmark.config.assemble import key_from
from earmark.config.settings import ServiceSettings
from earmark.gateway.app import Gateway
from earmark.gateway.metric_families import families
from earmark.gateway.server import mountable
from earmark.ledger.ledger import Ledger
from earmark.service.app import create_app
from earmark.service.server import connection_limits
from earmark.serving.listening import listen, serve_in_thread, url_of
from earmark.serving.mounted import MountedApp
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from earmark.workspace.workspace import open_workspace
from support.gateway_house import BUDGET, KEYS, settings
from support.last_resort import LAST_RESORT_S
from support.upstream_stub import UpstreamStub


@dataclass(kw_only=True)
class MountedHouse:
    """Both, and tokens of each."""

    url: str
    stub: UpstreamStub
    ledger: Ledger
    service: FastAPI
    admin: str
    """A token of the service."""
    token: str
    """A token of the gateway."""

    def ask(self, method: str, path: str, token: str = "", **given: Any) -> httpx2.Response:
        """Send one request, with a token if it is given."""
        headers = given.pop("headers", {})
        if token:
            headers = {"authorization": f"Bearer {token}", **headers}
        with httpx2.Client(base_url=self.url, timeout=LAST_RESORT_S) as client:
            return client.request(method, path, headers=headers, **given)


@contextmanager
def mounted_house(*, service: Any = None, gateway: Any = None) -> Generator[MountedHouse]:
    """Serve both, each with settings of its own."""
    clock = ManualClock()
    with (
        UpstreamStub() as stub,
        open_ledger("memory:", clock=clock) as ledger,
        open_workspace(ledger) as workspace,
    ):
        ledger.set_budget("acme", limits=["100 usd total"])
        tokens = Tokens(workspace.tables, clock)
        made = Gateway(
            ledger,
            tokens.check,
            settings(stub.url, gateway=gateway or {}),
            key=key_from(KEYS),
            tables=workspace.tables,
        )
        own = ServiceSettings.model_validate(service or {})
        app = create_app(
            workspace, settings=own, clock=clock, more_metrics=lambda: families(made.metrics)
        )
        mounted = mountable(made)
        both, listener = MountedApp(app, mounted, clock), listen("127.0.0.1", 0)
        with serve_in_thread(listener, both, connection_limits(own).widest(mounted.limits)):
            yield MountedHouse(
                url=url_of(listener),
                stub=stub,
                ledger=ledger,
                service=app,
                admin=tokens.create("admin", ["admin"])[1],
                token=tokens.create_for_gateway("agent", GatewayAccess(budget=BUDGET))[1],
            )
