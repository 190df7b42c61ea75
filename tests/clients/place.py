"""Where clients are tried: a provider that keeps its own bill, a gateway before it, its books.

Between client and gateway stands a proxy that sees each request and each piece of an answer. At
each of these moments, and at each request that reaches the provider, the books are read and set
against the bill.
"""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from earmark.ledger.values import Reservation
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.gateway_process import GatewayProcess
from support.last_resort import LAST_RESORT_S, until
from support.served import EARMARK, environment
from support.tcp_proxy import Side, TcpProxy
from support.upstream_stub import Answer, Arrived, UpstreamStub, cost
from tests.clients.replies import (
    PIECES,
    Asked,
    Reply,
    asked_by,
    body_of,
    error_of,
    events_of,
    headers_of,
)

#: What the provider bills, in USD per million tokens in and out.
RATES: Final[Mapping[str, tuple[str, str]]] = {
    "claude-opus-5-5": ("4", "20"),
    "claude-opus-4-5": ("5", "25"),
    "claude-sonnet-4-5": ("3", "15"),
    "claude-haiku-4-5": ("1", "5"),
    "gpt-6.2-sol": ("1.25", "10"),
    "gpt-4o": ("2.50", "10"),
    "gpt-4-turbo": ("10", "30"),
    "gemini-2.5-flash": ("0.30", "2.50"),
    "gemini-2.5-pro": ("1.25", "10"),
}
#: What answers instead, dearer than what is asked for, and no dearer than a call's whole hold.
_DEARER: Final = {
    "openai": "gpt-4-turbo",
    "openai-responses": "gpt-4-turbo",
    "anthropic": "claude-opus-4-5",
    "gemini": "gemini-2.5-pro",
}
TOKENS: Final = (10, 50)
_FEW_TOKENS: Final = 20
_LONG_TEXT: Final = ("One ", "word " * 150, "three.")
_KEYS: Final = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2", "GEMINI_API_KEY": "sk-3"}
_POST: Final = re.compile(rb"POST (\S+) HTTP/1.1\r\n")
_STATUS: Final = re.compile(rb"HTTP/1.1 (\d{3}) ")
_MESSAGE: Final = re.compile(rb'"message":\s*("(?:[^"\\]|\\.)*")')
_FREE: Final = (b"count_tokens", b"input_tokens", b":countTokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the provider does with one request."""

    status: int = 200
    halts: bool = False
    """In mid-stream it waits for the gate."""
    steps: bool = False
    """Before its head and before each event it waits until the books were read."""
    cut: bool = False
    """The stream breaks off in its middle."""
    lie: Literal["", "small usage", "no usage", "another model", "wrong length", "no JSON"] = ""
    billed: bool = True


class Scene:
    """One client in one situation: what it was seen to do, what it was billed, what was booked."""

    def __init__(self, place: "Place", budget: str, cap: str, token: str) -> None:
        self.place = place
        self.budget = budget
        self.cap = Decimal(cap)
        self.token = token
        self.plan: Callable[[int, Asked], Plan] = lambda _number, _asked: Plan()
        self.bills: list[Decimal] = []
        """What each request that the provider answered is billed."""
        self.arrived = 0
        """Requests for a reply that reached the provider."""
        self.attempts = 0
        """Those that the client sent."""
        self.statuses: list[int] = []
        self.answers = b""
        """What the client was sent, as it was sent."""
        self.midway = threading.Event()
        """Set once the client was sent the first words of a reply."""
        self.gate = threading.Event()
        """Set to let a halted stream go on."""
        self.wrong: list[str] = []
        """Where the books were below the bill, or beyond the cap."""
        self.orphans: frozenset[str] = frozenset()
        """Holds whose gateway was killed."""
        self.samples = 0
        self._lock = threading.Lock()

    @property
    def bill(self) -> Decimal:
        """What was billed until now."""
        return sum(self.bills, Decimal(0))

    def check(self) -> None:
        """Read the books; note where they do not cover the bill, or pass the cap."""
        bill = self.bill  # first: what is billed meanwhile was held before
        settled, held = self.place.books(self.budget)
        self.samples += 1
        if settled + held < bill:
            self.wrong.append(f"billed {bill}, settled {settled}, held {held}")
        if settled + held > self.cap:
            self.wrong.append(f"settled {settled} and held {held} beyond the cap {self.cap}")

    def answer(self, arrived: Arrived) -> Answer:
        """Decide what the provider answers, and bill it."""
        asked = asked_by(arrived)
        if asked is None:
            body: dict[str, Any] = {
                "data": [],
                "object": "list",
                "has_more": False,
                "input_tokens": 10,
            }
            return Answer(body=json.dumps(body).encode())
        plan = self.plan(self.arrived, asked)
        self.arrived += 1
        found, bill = _answer(asked, plan, self)
        if plan.billed:
            self.bills.append(bill)
        self.check()
        return found

    def passing(self, side: Side, piece: bytes) -> None:
        """See what passes between the client and the gateway."""
        with self._lock:
            if side == "client":
                post = _POST.match(piece)
                self.attempts += post is not None and not any(f in post[1] for f in _FREE)
            else:
                self.answers += piece
                self.statuses += [int(found) for found in _STATUS.findall(piece)]
                if b"One " in piece:
                    self.midway.set()
        self.check()

    def refusal(self) -> str:
        """Return the sentence of the last error that the client was sent."""
        found = _MESSAGE.findall(self.answers)
        return json.loads(found[-1]).partition(" (insufficient credits")[0] if found else ""

    def wait_until_midway(self, ended: Callable[[], bool]) -> bool:
        """Return whether the client was sent first words; not where it *ended* before."""
        until(lambda: self.midway.is_set() or ended())
        return self.midway.is_set()

    def kill_gateway(self) -> None:
        """Kill the gateway, read the books, and start it anew."""
        self.place.gateway.kill()
        self.orphans = frozenset(each.key for each in self.place.holds(self.budget, "open"))
        self.check()
        self.place.gateway.start()

    def close(self) -> int:
        """Let all calls end, and settle by the bill what is presumed; return how many were.

        Afterwards the books are what was billed, or `wrong` says why not.
        """
        self.gate.set()
        until(lambda: self._open() <= self.orphans)
        self.check()
        left = self._not_settled()
        unresolved = [
            each for state in ("open", "presumed") for each in self.place.holds(self.budget, state)
        ]
        if len(left) > len(unresolved):
            self.wrong.append(f"{len(left)} bills are left for {len(unresolved)} holds")
        for hold in unresolved:
            self.place.settle(hold.key, left.pop() if left else Decimal(0))
        settled, held = self.place.books(self.budget)
        if (settled, held) != (self.bill, 0):
            self.wrong.append(f"in the end settled {settled}, held {held}, billed {self.bill}")
        return len(unresolved)

    def _open(self) -> frozenset[str]:
        return frozenset(each.key for each in self.place.holds(self.budget, "open"))

    def _not_settled(self) -> list[Decimal]:
        """Return the bills that nothing was settled at."""
        left = list(self.bills)
        for hold in self.place.holds(self.budget, "settled"):
            assert hold.actual is not None
            amount = Decimal(hold.actual.usd) / 10**9
            if amount in left:
                left.remove(amount)
            elif amount:
                self.wrong.append(f"settled {amount}, which was not billed")
        return left


class Place:
    """All of it, in a folder; used by one client at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scenes = 0
        self._settled_by_hand = False
        self.stub = UpstreamStub()
        self.stub.answers = self._answer
        (folder / "earmark.toml").write_text(_config(self.stub.url), "utf-8")
        store = f"sqlite:///{folder}/books.db"
        self.ledger = open_ledger(store)
        self._tables = open_tables(self.ledger.store)
        self._tokens = Tokens(self._tables, self.ledger.clock)
        self.gateway = GatewayProcess(folder, _KEYS)
        self.scene = Scene(self, "none", "0", "")

    def open_scene(self, cap: str) -> Scene:
        """Begin anew with *cap* USD and another token."""
        self._scenes += 1
        budget = f"scene-{self._scenes}"
        self.ledger.set_budget(budget, limits=[f"{cap} usd total"])
        access = GatewayAccess(budget=f"{budget}/client")
        _, token = self._tokens.create_for_gateway(budget, access)
        self.scene = Scene(self, budget, cap, token)
        return self.scene

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self._proxy.address[1]}"

    def books(self, budget: str) -> tuple[Decimal, Decimal]:
        """Return what is settled and what is held."""
        (balance,) = self.ledger.balances(budget)
        return Decimal(str(balance.settled)), Decimal(str(balance.held))

    def holds(self, budget: str, state: Any) -> list[Reservation]:
        """Return the reservations in *state*."""
        return list(self.ledger.holds(budget, state=state))

    def settle(self, key: str, amount: Decimal) -> None:
        """Book what a call really cost, as its operator does; by hand the first time."""
        if self._settled_by_hand:
            self.ledger.settle(key, str(amount))
            return
        self._settled_by_hand = True
        command = [*EARMARK, "--config", "earmark.toml", "holds", "settle", key]
        command += [str(amount), "--yes"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LAST_RESORT_S,
        )
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> Self:
        self.stub.__enter__()
        self.gateway.start()
        self._proxy = TcpProxy(("127.0.0.1", self.gateway.port))
        self._proxy.judge = self._judge
        self._proxy.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.scene.gate.set()
        self._proxy.close()
        self.gateway.kill()
        self.stub.__exit__(kind, error, traceback)
        self._tables.close()
        self.ledger.close()

    def _answer(self, arrived: Arrived) -> Answer:
        return self.scene.answer(arrived)

    def _judge(self, side: Side, piece: bytes) -> None:
        self.scene.passing(side, piece)


def _answer(asked: Asked, plan: Plan, scene: Scene) -> tuple[Answer, Decimal]:
    """Return what the provider answers, and what that costs."""
    if plan.status != 200:
        headers = (("content-type", "application/json"), ("retry-after-ms", "1"))
        found = Answer(status=plan.status, body=error_of(asked.api, plan.status), headers=headers)
        return found, _cost(asked.model, TOKENS[1])
    model, tokens, pieces = asked.model, min(TOKENS[1], asked.most_tokens), PIECES
    told: tuple[int, int] | None = (TOKENS[0], tokens)
    match plan.lie:
        case "small usage":
            pieces, tokens, told = _LONG_TEXT, min(151, asked.most_tokens), (TOKENS[0], 1)
        case "no usage":
            told = None
        case "another model":
            model, tokens = _DEARER[asked.api], min(_FEW_TOKENS, asked.most_tokens)
            told = (TOKENS[0], tokens)
        case _:
            pass
    bill = _cost(model, tokens)
    reply = Reply(pieces=pieces, tokens=told, model=model)
    if plan.lie in {"wrong length", "no JSON"} or not asked.stream:
        return _whole(asked, reply, plan), bill
    return _streamed(asked, reply, plan, scene), bill


def _whole(asked: Asked, reply: Reply, plan: Plan) -> Answer:
    body = body_of(asked, reply)
    if plan.lie == "no JSON":
        return Answer(body=b"<html>nobody is here</html>")
    return Answer(body=body, length=len(body) + 100 if plan.lie == "wrong length" else None)


def _streamed(asked: Asked, reply: Reply, plan: Plan, scene: Scene) -> Answer:
    events = events_of(asked, reply)
    middle = next(number for number, each in enumerate(events) if b"One " in each) + 1
    waits: Mapping[int, threading.Event] = {}
    if plan.halts:
        waits = {middle: scene.gate}
    elif plan.steps:
        waits = {number: _Read(scene) for number in range(-1, len(events))}
    return Answer(
        headers=headers_of(asked),
        events=events[:middle] if plan.cut else events,
        ends="cut" if plan.cut else "whole",
        waits=waits,
    )


class _Read(threading.Event):
    """Is set once the books were read a few times after somebody first waited for it."""

    _TIMES: Final = 5

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene
        self._times = 0

    def is_set(self) -> bool:
        """Read the books."""
        self._scene.check()
        self._times += 1
        if self._times >= self._TIMES:
            self.set()
        return super().is_set()


def _cost(model: str, tokens_out: int) -> Decimal:
    return cost(TOKENS[0], tokens_out, rates=RATES[model])


def usual_cost(model: str) -> Decimal:
    """Return what an honest reply costs."""
    return _cost(model, TOKENS[1])


def _config(url: str) -> str:
    named = {
        "openai": ("openai", f"{url}/v1", "OPENAI_API_KEY"),
        "anthropic": ("anthropic", url, "ANTHROPIC_API_KEY"),
        "google": ("gemini", url, "GEMINI_API_KEY"),
    }
    providers = "".join(
        f'[providers.{name}]\napi = "{api}"\nbase_url = "{base}"\napi_key_env = "{key}"\n'
        for name, (api, base, key) in named.items()
    )
    inside, out = RATES["gpt-6.2-sol"]
    return (
        '[store]\nurl = "sqlite:///books.db"\n'
        f'{providers}[prices."openai/gpt-6.2-sol"]\n'
        f'input_mtok = "{inside}"\noutput_mtok = "{out}"\n'
    )
