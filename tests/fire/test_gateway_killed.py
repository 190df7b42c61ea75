"""Gateways that are killed: books that cover the bill at every moment, and know everything after.

`EARMARK_FIRE_SECONDS=60` kills ten times as often.
"""

import os
import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.dying_gateway import KEY, STEPS, gateway_process
from support.fire_place import booked
from support.last_resort import LAST_RESORT_S, until
from support.ledger_books import DURABLE, STORES
from support.stub_server import chunks
from support.upstream_stub import STREAM, Answer, Arrived, UpstreamStub, cost

LONG: Final = float(os.environ.get("EARMARK_FIRE_SECONDS", "0")) >= 60
ROUNDS: Final = 20 if LONG else 2
CALLERS: Final = 6
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112}
CHAT: Final = chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")
COST: Final = cost(12, 100, rates=("0.15", "0.60"))
ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "stream": True,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Name one planet."}],
}


@dataclass(kw_only=True)
class Fire:
    """A provider with a bill, books that are read at each of its charges, and a token."""

    folder: Path
    store: str
    stub: UpstreamStub
    ledger: Ledger
    token: str
    token_id: str
    cap: Decimal
    short: list[tuple[Decimal, Decimal]] = field(default_factory=list[tuple[Decimal, Decimal]])
    """(charged, booked) whenever the books had less than was charged."""
    owed: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    """What each call was charged, by its Idempotency-Key."""
    whole: int = 0
    """So many calls from now on are answered to their end; the others wait within."""
    step: int = 1
    """Before which event they wait; -1: before the head."""
    gate: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, arrived: Arrived) -> Answer:
        """Charge a call, compare, and answer it as this round wants."""
        name = arrived.header("idempotency-key") or ""
        self.owed[name] = self.owed.get(name, Decimal(0)) + COST
        self.look()
        self.whole -= 1
        waits = {} if self.whole >= 0 else {self.step: self.gate}
        return Answer(headers=STREAM, events=CHAT, cost=COST, waits=waits)

    def look(self) -> None:
        """Compare the books with the bill, which was read before them."""
        bill = sum(self.owed.values(), Decimal(0))
        found = self.spent()
        if found < bill:
            self.short.append((bill, found))

    def spent(self) -> Decimal:
        """What the books count as spent or held."""
        return Decimal(booked(self.ledger)) / 10**9

    def ask(self, url: str, name: str) -> int:
        """Ask for one stream under an Idempotency-Key; 0 where it broke off."""
        headers = {"authorization": f"Bearer {self.token}", "idempotency-key": name}
        try:
            with httpx2.Client(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client:
                return client.post("/v1/chat/completions", json=ASK).status_code
        except httpx2.TransportError:
            return 0

    def crowd(self, url: str, name: str) -> list[threading.Thread]:
        """Start callers that ask again and again until they are cut off, or it is over."""

        def ask(caller: int) -> None:
            number = 0
            while self.ask(url, f"{name}-{caller}-{number}") == 200 and not self.over.is_set():
                number += 1

        threads = [threading.Thread(target=ask, args=(caller,)) for caller in range(CALLERS)]
        for each in threads:
            each.start()
        return threads

    def check(self) -> None:
        """Assert what always holds: each charge was covered, and the cap was not passed."""
        self.look()
        assert self.short == []
        assert sum(self.owed.values(), Decimal(0)) <= self.spent() <= self.cap
        assert max(self.owed.values(), default=COST) == COST, "no call went out twice"
        assert self.ledger.audit().ok

    def settle_by_the_truth(self) -> int:
        """Book for each call that was cut off what it was charged; return how many there were."""
        owed_for = {self.reservation(name): owed for name, owed in self.owed.items()}
        cut = [
            *self.ledger.holds("acme", state="open", most=10_000),
            *self.ledger.holds("acme", state="presumed", most=10_000),
        ]
        for hold in cut:
            self.ledger.settle(hold.key, Money(str(owed_for.get(hold.key, Decimal(0)))))
        assert self.spent() == sum(self.owed.values(), Decimal(0))
        assert self.ledger.audit().ok
        return len(cut)

    def reservation(self, name: str) -> str:
        """Return the key of the reservation of a call, by its Idempotency-Key."""
        whole = f"{self.token_id}\n{name}"
        return f"gateway-{sha256(whole.encode()).hexdigest()[:40]}"


@contextmanager
def fire(folder: Path, store: str, cap: str) -> Generator[Fire]:
    """Open it; nothing is left behind."""
    url = STORES[store](folder)
    with ExitStack() as stack:
        stub, ledger = stack.enter_context(UpstreamStub()), stack.enter_context(open_ledger(url))
        ledger.set_budget("acme", limits=[f"{cap} usd total"])
        with closing(open_tables(ledger.store)) as tables:
            tokens = Tokens(tables, ledger.clock)
            row, token = tokens.create_for_gateway("fire", GatewayAccess(budget="acme/agent"))
        made = Fire(
            folder=folder,
            store=url,
            stub=stub,
            ledger=ledger,
            token=token,
            token_id=row.id,
            cap=Decimal(cap),
        )
        stub.answers = made.answer
        stack.callback(lambda: made.gate.set())  # noqa: PLW0108 - each round has its own
        yield made


@pytest.mark.slow("sqlite")
@pytest.mark.parametrize("store", DURABLE)
def test_two_gateways_on_one_store_are_killed_in_turn(store: str, tmp_path: Path) -> None:
    """In mid-stream and before the head, under a crowd at each: no charge is ever uncovered.

    The other goes on; the one that starts anew knows every call that its predecessor let in.
    """
    with fire(tmp_path, store, "0.05" if not LONG else "0.5") as lit, ExitStack() as stack:
        _, other = stack.enter_context(gateway_process(tmp_path, lit.store, lit.stub.url))
        for number in range(ROUNDS):
            lit.gate, lit.over = threading.Event(), threading.Event()
            lit.step, lit.whole = (1, -1)[number % 2], CALLERS
            with gateway_process(tmp_path, lit.store, lit.stub.url) as (process, url):
                callers = lit.crowd(url, f"a{number}") + lit.crowd(other, f"b{number}")
                # Some were answered, and all of the others are within.
                until(lambda: lit.whole <= -2 * CALLERS)
                process.kill()
                process.wait(LAST_RESORT_S)
                lit.check()
                lit.over.set()
                lit.gate.set()
                for each in callers:
                    each.join(LAST_RESORT_S)
            lit.check()
        with gateway_process(tmp_path, lit.store, lit.stub.url) as (_, url):
            before = len(lit.stub.requests)
            again = {lit.ask(url, name) for name in list(lit.owed)[:: max(1, len(lit.owed) // 9)]}
            assert again == {409}, "what was let in by a killed gateway never goes out again"
            assert len(lit.stub.requests) == before
        assert lit.settle_by_the_truth() >= CALLERS * ROUNDS
    said = (tmp_path / "gateway.err").read_text()
    assert KEY not in said
    assert lit.token not in said


#: What the books and the bill say after each: the state of its reservation, and whether it is owed.
AFTER: Final[Mapping[str, tuple[str, bool]]] = {
    "held, not sent": ("open", False),
    "answered, nothing passed": ("open", True),
    "passed, not settled": ("open", True),
    "settled, not said": ("settled", True),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_gateway_killed_between_two_steps_of_a_call(step: str, tmp_path: Path) -> None:
    """The hold is there before anything is sent, and stays until the truth is in the books."""
    state, owes = AFTER[step]
    with fire(tmp_path, "sqlite", "1") as lit:
        lit.whole = 1
        with gateway_process(tmp_path, lit.store, lit.stub.url, dies_at=step) as (process, url):
            assert lit.ask(url, "call") == 0
            assert process.wait(LAST_RESORT_S) == -9
        assert sum(lit.owed.values(), Decimal(0)) == (COST if owes else 0)
        lit.check()
        hold = lit.ledger.reservation(lit.reservation("call"))
        assert (str(hold.state), hold.budget) == (state, "acme/agent")
        if state == "settled":
            assert lit.spent() == COST
        assert lit.settle_by_the_truth() == (0 if state == "settled" else 1)
