"""A provider that is asked to count an input which does not fit by its bytes, or is not asked."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import earmark
from earmark.admission.call import Call, CountInput, ModelRequest, Provider, input_counter
from earmark.admission.guard import COUNT_TIMEOUT_S, AsyncGuard, Receipt
from earmark.apis.api import request_table
from earmark.apis.count_margin import DEFAULT_MARGIN, parse_margin
from earmark.apis.dialects import DIALECTS as FORMS
from earmark.apis.options import CountEndpoint
from earmark.clock import SystemClock
from earmark.config.assemble import Providers, no_key, price_book, stages_of
from earmark.config.load import load_settings
from earmark.errors import BudgetExceeded, InvalidUsage, KeyReused
from earmark.heartbeat.controls import GO
from earmark.heartbeat.send_check import SendCheck
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from earmark.provider.server import Server, base_url_of
from support.calls import ask, send
from support.guard_house import BOUND, HandCall, House, all_wait, free
from support.last_resort import LAST_RESORT_S
from support.shell import graph
from support.split_replies import DIALECTS, Content
from support.stub_server import Scene, StubServer

COUNTED: Final[tuple[SpokenApi, ...]] = ("openai-responses", "anthropic", "gemini")
BOOK: Final = PriceBook({"stub/m": {"input_mtok": "1", "output_mtok": "10"}})
#: 3,400 bytes: held at 1 USD a million, 0.0034 and what a template adds.
ENGLISH: Final = "Name one planet. " * 200
#: Less than that, and more than 800 tokens, their margin and 100 tokens of an answer.
LEFT: Final = "0.002 usd total"
#: 800 tokens in, 20 out.
COST: Final = Money("0.001")
PATHS: Final[Mapping[SpokenApi, str]] = {
    "openai-responses": "/responses/input_tokens",
    "anthropic": "/v1/messages/count_tokens",
    "gemini": "/v1beta/models/m:countTokens",
}


def count(api: SpokenApi, tokens: object = 800) -> Scene:
    """Return the scene of a count."""
    endpoint = request_table(api).count
    assert endpoint is not None
    return Scene(body=json.dumps({endpoint.answer: tokens}).encode())


def reply(api: SpokenApi) -> Scene:
    """Return the scene of an answer."""
    content = Content(texts=["Mars."], input_tokens=800, output_tokens=20)
    return Scene(body=json.dumps(DIALECTS[api].body(content)).encode())


def opened(
    api: SpokenApi, url: str, *, margin: int | None = parse_margin(DEFAULT_MARGIN), **more: Any
) -> Provider:
    """Return a provider that counts, unless *margin* is `None`."""
    clock = SystemClock()
    return open_provider(
        "stub", api=api, book=BOOK, clock=clock, base_url=url, count_margin=margin, **more
    )


def spend(
    provider: Provider,
    request: ModelRequest,
    *limits: str,
) -> tuple[Receipt, list[earmark.Balance]]:
    """Make one call on a budget of its own and return what it was booked as."""

    async def once() -> tuple[Receipt, list[earmark.Balance]]:
        async with earmark.open_async("memory:") as ledger:
            await ledger.set_budget("acme", limits=limits)
            try:
                receipt = await AsyncGuard(ledger).spend("acme", provider.call(request), wait=None)
            finally:
                await provider.aclose()
            return receipt, list(await ledger.balances("acme"))

    return asyncio.run(once())


def english(**more: Any) -> ModelRequest:
    """Return a request whose bytes do not fit what is left."""
    return ask("stub/m", ENGLISH, max_tokens=100, **more)


@pytest.mark.parametrize("api", COUNTED)
def test_an_input_that_does_not_fit_by_bytes_is_counted_once_and_sent_as_it_is(
    stub: StubServer, api: SpokenApi
) -> None:
    """Refused without a count; with it the call is not even clamped. To count costs nothing."""
    stub.play(reply(api))
    with pytest.raises(BudgetExceeded):
        spend(opened(api, stub.url, margin=None), english(), LEFT)
    assert stub.requests == []

    stub.play(count(api), reply(api))
    receipt, (balance,) = spend(opened(api, stub.url, api_key="sk-1"), english(), LEFT)
    asked, called = stub.requests
    assert (asked.path, called.path) == (PATHS[api], FORMS[api].path.replace("{model}", "m"))
    assert ENGLISH in json.dumps(asked.body)
    assert "100" not in json.dumps(asked.body)
    assert "100" in json.dumps(called.body)
    assert asked.headers[FORMS[api].key_header] == called.headers[FORMS[api].key_header]
    assert Money("0.001832") < receipt.charge.hold < Money("0.002")
    assert receipt.charge.settled == balance.settled == COST


@pytest.mark.parametrize(
    ("request_", "limits", "margin"),
    [
        (english(), ("0.01 usd total",), 20_000),
        (english(), ("1 usd total", "5000 tokens total"), 20_000),
        (english(), ("0.01 usd total",), None),
        (english(extra_input_tokens=9), ("0.01 usd total",), 20_000),
    ],
    ids=["it fits", "its tokens fit", "not wanted", "more is vouched for"],
)
def test_nobody_is_asked_where_the_bytes_fit(
    stub: StubServer, request_: ModelRequest, limits: tuple[str, ...], margin: int | None
) -> None:
    """One request: the call."""
    stub.play(reply("anthropic"))
    spend(opened("anthropic", stub.url, margin=margin), request_, *limits)
    assert [each.path for each in stub.requests] == ["/v1/messages"]


@pytest.mark.parametrize("counts", [(800, 1), (1, 800)])
def test_of_a_count_that_is_there_twice_the_larger_one_holds(
    stub: StubServer, counts: tuple[int, int]
) -> None:
    """Whichever comes last: the smaller one would hold too little."""
    body = '{{"input_tokens": {}, "input_tokens": {}}}'.format(*counts).encode()
    stub.play(Scene(body=body), reply("anthropic"))
    receipt, _ = spend(opened("anthropic", stub.url), english(), LEFT)
    assert receipt.charge.hold > Money("0.001832")


def test_an_input_is_counted_for_a_limit_of_tokens(stub: StubServer) -> None:
    """There is money enough, and 1,000 tokens."""
    stub.play(count("anthropic"), reply("anthropic"))
    _, balances = spend(
        opened("anthropic", stub.url), english(), "1 usd total", "1000 tokens total"
    )
    assert [each.settled for each in balances] == [COST, 820]


def test_a_number_of_calls_is_no_matter_of_tokens(stub: StubServer) -> None:
    """Where the calls are used up nobody is asked to count."""
    stub.play(count("anthropic"), reply("anthropic"))
    with pytest.raises(BudgetExceeded) as refused:
        spend(opened("anthropic", stub.url), english(), "1 usd total", "0 calls total")
    assert refused.value.unit == "calls"
    assert stub.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
    ],
    ids=["an image", "a server tool", "a tool of the provider's", "a summary"],
)
def test_what_a_count_would_not_hold_is_not_asked_for(
    stub: StubServer, options: Mapping[str, Any]
) -> None:
    """Nothing but text, read once, is bounded by a count: anything else as without."""
    options = dict(options)
    messages = options.pop("messages", [{"role": "user", "content": ENGLISH}])
    book = PriceBook(
        {"stub/m": {"input_mtok": "1", "output_mtok": "10", "web_searches_kcount": "1"}}
    )
    provider = open_provider(
        "stub",
        api="anthropic",
        book=book,
        clock=SystemClock(),
        base_url=stub.play(count("anthropic")).url,
        count_margin=20_000,
    )
    call = provider.call(
        ModelRequest(model="stub/m", messages=messages, options=options, extra_input_tokens=10**6)
    )
    assert input_counter(call) is None


ECHO: Final = "what a server says of a prompt"
FAILED: Final = {
    "words": count("anthropic", ECHO),
    "an error": Scene(status=500),
    "not allowed": Scene(status=403, body=b'{"error": {"type": "permission_error"}}'),
    "no such path": Scene(status=404),
    "moved": Scene(status=307, headers={"location": "http://127.0.0.1:9/"}),
    "no JSON": Scene(body=b"800"),
    "an empty object": Scene(body=b"{}"),
    "no tokens": count("anthropic", 0),
    "a share of one": count("anthropic", 0.5),
    "a dropped connection": Scene(dies="before"),
    "more than the bytes": count("anthropic", 10**6),
}


@pytest.mark.parametrize("scene", FAILED.values(), ids=FAILED)
def test_without_a_count_the_bytes_are_held_and_nothing_is_refused(
    stub: StubServer, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The call is clamped to what its bytes leave, as if nobody had been asked; the log says so."""
    left = "0.0044 usd total"
    stub.play(reply("anthropic"))
    plain, _ = spend(opened("anthropic", stub.url, margin=None), english(), left)
    clamped = stub.requests[0].body
    assert 32 <= clamped["max_tokens"] < 100
    stub.play(scene, reply("anthropic"))
    receipt, _ = spend(opened("anthropic", stub.url), english(), left)
    said = [each.getMessage() for each in caplog.records if each.name.startswith("earmark")]
    assert len(said) == (scene is not FAILED["more than the bytes"])
    assert all(each.startswith("stub/m is bounded by its bytes") for each in said)
    assert not any("planet" in each or ECHO in each for each in said)
    assert [each.path for each in stub.requests] == [PATHS["anthropic"], "/v1/messages"]
    assert stub.requests[1].body == clamped
    assert receipt.charge.hold == plain.charge.hold


def test_a_call_that_fits_neither_way_is_refused_and_holds_nothing(stub: StubServer) -> None:
    """With the numbers of the count, which are nearer the truth."""
    stub.play(count("anthropic", 5000 // 4), reply("anthropic"))
    with pytest.raises(BudgetExceeded) as refused:
        spend(opened("anthropic", stub.url), english(), "0.0005 usd total")
    assert refused.value.requested is not None
    assert refused.value.requested < Money("0.0024")
    assert [each.path for each in stub.requests] == [PATHS["anthropic"]]


@dataclass
class NeverCounted(HandCall):
    """A call whose count does not come."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def count_input(self) -> CountInput:
        """Waits for ever."""
        return self._wait

    async def _wait(self, seconds: float) -> Call:
        assert seconds == COUNT_TIMEOUT_S
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody ends the wait")


async def waiting(house: House, call: NeverCounted) -> "asyncio.Task[Receipt]":
    """Return the task that makes *call*, once it waits for the count; nothing is held."""
    task = asyncio.ensure_future(house.guard.spend("acme", call, wait=None))
    await call.asked.wait()
    await all_wait()
    assert house.held == Money()
    return task


def test_a_count_is_waited_for_no_longer_than_five_seconds() -> None:
    """Then what fits without it is held, and the call is made."""

    async def main() -> tuple[House, NeverCounted, Receipt]:
        house = House("0.001 usd total")
        call = NeverCounted(free, bound=BOUND)
        task = await waiting(house, call)
        house.clock.advance(timedelta(seconds=COUNT_TIMEOUT_S - 1))
        await all_wait()
        assert not task.done()
        house.clock.advance(timedelta(seconds=1))
        return house, call, await asyncio.wait_for(task, LAST_RESORT_S)

    house, call, receipt = asyncio.run(main())
    assert receipt.charge.hold == Money("0.001")
    assert [each.max_output_tokens for each in call.grants] == [900]
    assert house.held == Money()


def test_a_call_cancelled_while_it_is_counted_holds_nothing_and_is_not_sent() -> None:
    """It was neither held nor made, and nothing is left of it in the books."""

    async def main() -> tuple[House, NeverCounted]:
        house, call = House("0.001 usd total"), NeverCounted(free, bound=BOUND)
        task = await waiting(house, call)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return house, call

    house, call = asyncio.run(main())
    assert call.grants == []
    assert house.books.holds(state=None) == []


def test_a_call_under_a_key_that_was_used_is_not_counted(stub: StubServer) -> None:
    """It is another's, and is not made, whatever its input is."""
    stub.play(reply("anthropic"))

    async def twice() -> None:
        async with earmark.open_async("memory:") as ledger:
            await ledger.set_budget("acme", limits=["0.0044 usd total"])
            provider = opened("anthropic", stub.url)
            await ledger.reserve("acme", "0.0044", key="k")
            try:
                with pytest.raises(KeyReused):
                    await AsyncGuard(ledger).spend("acme", provider.call(english()), key="k")
            finally:
                await provider.aclose()

    asyncio.run(twice())
    assert stub.requests == []


def test_a_call_behind_a_gate_is_counted_as_it_is_sent(stub: StubServer) -> None:
    """The heartbeat's gate lets a count pass, and stays around the call."""
    stub.play(count("anthropic"), reply("anthropic"))
    provider = opened("anthropic", stub.url)
    gate = SendCheck(lambda: GO)
    gated = gate(provider.call(english()))

    async def main() -> Call:
        ask_for_it = input_counter(gated)
        assert ask_for_it is not None
        try:
            return await ask_for_it(COUNT_TIMEOUT_S)
        finally:
            await provider.aclose()

    counted = asyncio.run(main())
    assert type(counted) is type(gated)
    assert counted.bound.cost() < gated.bound.cost()


def test_an_api_that_counts_nothing_is_refused_where_it_is_opened() -> None:
    """By name, before any call."""
    with pytest.raises(InvalidUsage, match="API 'openai'"):
        opened("openai", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("api", "base_url", "url"),
    [
        ("anthropic", None, "https://api.anthropic.com/v1/messages/count_tokens"),
        ("anthropic", "http://h/v1", "http://h/v1/messages/count_tokens"),
        ("anthropic", "http://h/x/v1/messages", "http://h/x/v1/messages/count_tokens"),
        ("openai-responses", None, "https://api.openai.com/v1/responses/input_tokens"),
        (
            "openai-responses",
            "https://a.openai.azure.com/openai/responses?api-version=2",
            "https://a.openai.azure.com/openai/responses/input_tokens?api-version=2",
        ),
        (
            "gemini",
            None,
            "https://generativelanguage.googleapis.com/v1beta/models/a%2Fb:countTokens",
        ),
        ("gemini", "http://h/v1/", "http://h/v1/models/a%2Fb:countTokens"),
    ],
)
def test_a_count_is_asked_for_beside_the_calls(
    api: SpokenApi, base_url: str | None, url: str
) -> None:
    """Whatever form the base URL has: a version, a whole path, a query."""
    endpoint = request_table(api).count
    assert isinstance(endpoint, CountEndpoint)
    server = Server(
        provider="stub", dialect=FORMS[api], base_url=base_url_of("stub", base_url, FORMS[api])
    )
    assert server.count_url("a/b", endpoint) == url


CONFIGURED: Final = """
[prices."stub/m"]
input_mtok = "1"
output_mtok = "10"

[providers.stub]
api = "anthropic"
base_url = "{url}"
count_tokens = true
count_margin = "5 %"

[stages.greet]
kind = "model"
model = "stub/m"
prompt = "{{text}}"
max_tokens = 100
"""


def test_a_configured_provider_counts_for_a_run(stub: StubServer, tmp_path: Path) -> None:
    """From `earmark.toml` to the hold: 840 tokens, in a run that its bytes would not fit."""
    file = tmp_path / "earmark.toml"
    file.write_text(CONFIGURED.format(url=stub.play(count("anthropic"), reply("anthropic")).url))
    settings = load_settings(file, environ={})
    providers = Providers(settings, book=price_book(settings), clock=SystemClock(), key=no_key)

    async def run() -> tuple[earmark.Statement, list[earmark.Entry]]:
        async with earmark.open_async("memory:") as ledger:
            await ledger.set_budget("acme", limits=["1 usd total"])
            try:
                statement = await earmark.run_async(
                    graph({"op": "Stage", "id": "greet"}),
                    {"text": ENGLISH},
                    ledger=ledger,
                    under="acme",
                    budget="0.002",
                    stages=stages_of(settings),
                    providers=providers,
                )
            finally:
                await providers.aclose()
            return statement, list(await ledger.entries())

    statement, entries = asyncio.run(run())
    assert (statement.output, statement.spent) == ("Mars.", COST)
    assert [each.path for each in stub.requests] == [PATHS["anthropic"], "/v1/messages"]
    held = [each for each in entries if each.kind == "reserve"]
    assert len(held) == 1
    assert Money("0.00184") < Money.nanos(held[0].amounts.usd) < Money("0.00187")


def test_a_count_outside_the_guard_changes_nothing(stub: StubServer) -> None:
    """A provider whose call is sent as it is asks for no count."""
    stub.play(reply("anthropic"))
    send(opened("anthropic", stub.url), english())
    assert [each.path for each in stub.requests] == ["/v1/messages"]
