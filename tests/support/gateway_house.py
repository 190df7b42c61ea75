"""A gateway on a free port, before a provider that is a stub, with a token of a budget."""

import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx2

from earmark.clock import SystemClock
from earmark.config.assemble import key_from
from earmark.config.settings import Settings
from earmark.gateway.app import Gateway
from earmark.gateway.server import running
from earmark.ledger.committer import DirectCommitter
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Store
from earmark.stores.memory import MemoryStore
from earmark.stores.open_tables import open_tables
from earmark.testing import ManualClock
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.last_resort import LAST_RESORT_S
from support.upstream_stub import UpstreamStub

BUDGET = "acme/agent"
#: Keys of the providers, which must be seen nowhere else.
KEYS: Mapping[str, str] = {
    "OPENAI_API_KEY": "sk-the-providers-own",
    "ANTHROPIC_API_KEY": "sk-ant-the-providers-own",
    "GEMINI_API_KEY": "AIza-the-providers-own",
}


@dataclass(kw_only=True)
class GatewayHouse:
    """All of it, and somebody who asks."""

    url: str
    stub: UpstreamStub
    ledger: Ledger
    clock: Any
    """Of the ledger and the tokens; it stands still."""
    tokens: Tokens
    token: str

    def token_for(self, budget: str, **access: Any) -> str:
        """Return another token, of *budget*."""
        made = GatewayAccess(budget=budget, **access)
        find = self.ledger.store.budget
        return self.tokens.create_for_gateway("more", made, budget_at=find)[1]

    @contextmanager
    def client(self, token: str | None = None) -> Generator[httpx2.Client]:
        """Give a client with a token."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        with httpx2.Client(base_url=self.url, headers=headers, timeout=LAST_RESORT_S) as client:
            yield client

    def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """Post *body*, JSON or bytes, with the token."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "content-type": "application/json",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        with self.client() as client:
            return client.post(path, content=data, headers=sent)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
        """Get *path*, with the token."""
        with self.client(token) as client:
            return client.get(path, headers=headers)

    @property
    def spent(self) -> Decimal:
        """What is settled and held on the budget."""
        (balance,) = self.ledger.balances("acme")
        return Decimal(str(balance.settled)) + Decimal(str(balance.held))


def settings(stub_url: str, **more: Any) -> Settings:
    """Return the settings of a gateway whose providers are all the stub, by the makers' names."""
    windows = more.pop("windows", {})
    providers: dict[str, Any] = {
        "openai": {"api": "openai", "base_url": f"{stub_url}/v1", "api_key_env": "OPENAI_API_KEY"},
        "anthropic": {
            "api": "anthropic",
            "base_url": stub_url,
            "api_key_env": "ANTHROPIC_API_KEY",
        },
        "google": {"api": "gemini", "base_url": stub_url, "api_key_env": "GEMINI_API_KEY"},
        **more.pop("providers", {}),
    }
    for name, window in windows.items():
        providers[name] = {**providers[name], **window}
    return Settings.model_validate({"providers": providers, **more})


@contextmanager
def gateway_house(
    limit: str = "100 usd total",
    *,
    keys: Mapping[str, str] = KEYS,
    wait: str | None = None,
    store: Store | None = None,
    **more: Any,
) -> Generator[GatewayHouse]:
    """Open it; the budget `acme` has *limit*, and calls *wait* in line by the machine's clock."""
    clock = SystemClock() if wait else ManualClock()
    own = {"gateway": {"wait": wait}} if wait else {}
    kept = MemoryStore() if store is None else store
    with (
        UpstreamStub() as stub,
        Ledger(kept, DirectCommitter(kept, clock), clock) as ledger,
    ):
        ledger.set_budget("acme", limits=[limit])
        tables = open_tables(ledger.store)
        tokens = Tokens(tables, clock)
        _, secret = tokens.create_for_gateway("tests", GatewayAccess(budget=BUDGET))
        made = Gateway(
            ledger,
            tokens.check,
            settings(stub.url, **own, **more),
            key=key_from(keys),
            tables=tables,
        )
        with running(made) as url:
            yield GatewayHouse(
                url=url, stub=stub, ledger=ledger, clock=clock, tokens=tokens, token=secret
            )


def at_once(count: int, work: Any) -> list[Any]:
    """Return what *work* gives in so many threads at once."""
    found: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait(LAST_RESORT_S)
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(LAST_RESORT_S)
    return found
