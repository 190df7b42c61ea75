"""Every API that is spoken, against a server that answers in its form: asked, answered, billed."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import earmark
from earmark.admission.call import ModelRequest, Reply
from earmark.clock import SystemClock
from earmark.config.assemble import Providers, key_from, price_book, stages_of
from earmark.config.load import load_settings
from earmark.errors import CallFailed, InvalidConfig
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from earmark.runs.statement import Statement
from earmark.testing import ManualClock
from support.calls import ask, grant, send
from support.shell import graph
from support.split_replies import DIALECTS, Content, Split
from support.stub_server import Scene, StubServer, completion

APIS: tuple[SpokenApi, ...] = ("openai", "openai-responses", "anthropic", "gemini")
BOOK = PriceBook({"stub/m": {"input_mtok": "1", "output_mtok": "10"}})
#: 100 tokens in, 20 out.
CONTENT = Content(
    texts=[
        "Grüße ",
    ],
    input_tokens=100,
    output_tokens=20,
)
COST = Money("0.0003")

MESSAGES: Sequence[Mapping[str, Any]] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "and now?"},
)
WRITTEN: Mapping[SpokenApi, tuple[str, Mapping[str, Any]]] = {
    "openai": (
        "/chat/completions",
        {"model": "m", "messages": list(MESSAGES), "max_tokens": 42, "temperature": 0},
    ),
    "openai-responses": (
        "/responses",
        {"model": "m", "input": list(MESSAGES), "max_output_tokens": 42, "temperature": 0},
    ),
    "anthropic": (
        "/v1/messages",
        {
            "model": "m",
            "system": "Be brief.",
            "messages": list(MESSAGES[1:]),
            "max_tokens": 42,
            "temperature": 0,
        },
    ),
    "gemini": (
        "/v1beta/models/m:generateContent",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "hello"}]},
                {"role": "model", "parts": [{"text": "hi"}]},
                {"role": "user", "parts": [{"text": "and now?"}]},
            ],
            "generationConfig": {"temperature": 0, "maxOutputTokens": 42},
        },
    ),
}
OPTIONS: Mapping[SpokenApi, Mapping[str, Any]] = {
    **{api: {"temperature": 0} for api in APIS},
    "gemini": {"generationConfig": {"temperature": 0}},
}


def whole(api: SpokenApi, content: Content = CONTENT) -> Scene:
    """Return the scene of a whole reply."""
    return Scene(body=json.dumps(DIALECTS[api].body(content)).encode())


def events(api: SpokenApi, content: Content = CONTENT) -> list[bytes]:
    """Return the events of the same reply."""
    found: list[bytes] = []
    for name, data in DIALECTS[api].events(content, Split()):
        head = f"event: {name}\n" if name else ""
        text = data if isinstance(data, str) else json.dumps(data)
        found.append(f"{head}data: {text}\n\n".encode())
    return found


def answer(stub: StubServer, api: SpokenApi, scene: Scene, **request: Any) -> Reply:
    """Play one scene for one call."""
    opened = open_provider(
        "stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.play(scene).url
    )
    return send(opened, ask("stub/m", **request))


@pytest.mark.parametrize("api", APIS)
def test_a_request_is_written_in_the_apis_form(stub: StubServer, api: SpokenApi) -> None:
    """Roles, the system prompt, options and the granted tokens stand where the API reads them."""
    request = ModelRequest(model="stub/m", messages=MESSAGES, max_tokens=500, options=OPTIONS[api])
    stub.play(whole(api))
    opened = open_provider("stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.url)
    send(opened, request, grant(42))
    (received,) = stub.requests
    assert (received.path, received.body) == WRITTEN[api]


@pytest.mark.parametrize("api", APIS)
def test_messages_added_after_a_call_was_bounded_are_not_sent(
    stub: StubServer, api: SpokenApi
) -> None:
    """A call waits for its budget, and an agent loop goes on with the same list."""
    message = {"role": "user", "content": "hello"}
    conversation = [message]
    opened = open_provider(
        "stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.play(whole(api)).url
    )

    async def main() -> None:
        asked = ModelRequest(model="stub/m", messages=conversation, max_tokens=42)
        call = opened.call(asked)
        conversation.append({"role": "user", "content": "more"})
        message["content"] = "longer"
        await call.send(grant())
        await opened.aclose()

    asyncio.run(main())
    sent = json.dumps(stub.requests[0].body)
    assert [word in sent for word in ("hello", "more", "longer")] == [True, False, False]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_its_text_and_its_exact_cost(
    stub: StubServer,
    api: SpokenApi,
    stream: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Whole or streamed, with reasoning that is no part of the text."""
    content = Content(texts=["Grüße 🎉"], reasoning="hm", input_tokens=100, output_tokens=20)
    scene = Scene(events=events(api, content)) if stream else whole(api, content)
    reply = answer(stub, api, scene, stream=stream)
    assert (reply.value, reply.cost, reply.note) == ("Grüße 🎉", COST, "")
    assert reply.finish in {"stop", "completed", "end_turn", "STOP"}
    assert reply.model is not None
    assert reply.model.startswith("m")
    assert reply.request_id
    if stream and api != "gemini":
        assert stub.requests[0].body["stream"] is True


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_given_as_the_api_sent_it(
    stub: StubServer,
    api: SpokenApi,
    stream: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """What is more than text is kept as it came, billed as the rest."""
    content = Content(
        texts=["ok"], tools=[("look_up", {"a": 1})], input_tokens=100, output_tokens=20
    )
    scene = Scene(events=events(api, content)) if stream else whole(api, content)
    reply = answer(stub, api, scene, stream=stream)
    assert "look_up" in json.dumps(reply.value)
    assert reply.cost == COST


@pytest.mark.parametrize("api", APIS)
def test_a_stream_that_ends_early_is_of_unknown_cost(stub: StubServer, api: SpokenApi) -> None:
    """Cut after any number of events, cleanly or not: what came until then is not the bill."""
    sent = events(api)
    # What follows an answer that is whole: the usage chunk and [DONE], `message_stop`.
    sent = sent[: len(sent) - {"openai": 2, "anthropic": 1}.get(api, 0)]
    for count in range(len(sent)):
        for dies in ("never", "midway"):
            with pytest.raises(CallFailed) as raised:
                answer(stub, api, Scene(events=sent[:count], dies=dies), stream=True)
            assert (raised.value.billed, raised.value.cost) == ("unknown", None)


ERRORS: Mapping[SpokenApi, tuple[str, Any]] = {
    "openai": ("", {"error": {"message": "secret", "code": "overloaded"}}),
    "openai-responses": (
        "response.failed",
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "overloaded", "message": "secret"}},
        },
    ),
    "anthropic": (
        "error",
        {"type": "error", "error": {"type": "overloaded", "message": "secret"}},
    ),
    "gemini": ("", {"error": {"code": 503, "status": "overloaded", "message": "secret"}}),
}


@pytest.mark.parametrize("api", APIS)
def test_an_error_in_a_stream_is_named_by_its_code(stub: StubServer, api: SpokenApi) -> None:
    """The provider broke off: the cost is unknown, its message is not passed on."""
    name, data = ERRORS[api]
    head = f"event: {name}\n" if name else ""
    last = f"{head}data: {json.dumps(data)}\n\n".encode()
    with pytest.raises(CallFailed, match=r"broke off its reply.*overloaded") as raised:
        answer(stub, api, Scene(events=[*events(api)[:2], last]), stream=True)
    assert raised.value.billed == "unknown"
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("openai-responses", {"status": "failed", "output": [], "error": {"code": "x"}}),
        ("openai-responses", {"status": "in_progress", "output": []}),
        ("openai-responses", {"output": []}),
        ("openai-responses", {"status": "completed"}),
        ("gemini", {"promptFeedback": {"blockReason": "SAFETY"}}),
        ("gemini", {"candidates": []}),
        ("anthropic", {"content": []}),
        ("openai", {"choices": []}),
    ],
)
def test_a_body_that_is_no_reply_is_billed_by_its_usage(
    stub: StubServer, api: SpokenApi, body: Mapping[str, Any]
) -> None:
    """Failed, blocked or of another form: of unknown cost, unless it says what it cost."""
    with pytest.raises(CallFailed) as raised:
        answer(stub, api, Scene(body=json.dumps(body).encode()))
    assert raised.value.billed == "unknown"
    usage = {
        key: value
        for key, value in DIALECTS[api].body(CONTENT).items()
        if key in {"usage", "usageMetadata"}
    }
    with pytest.raises(CallFailed) as raised:
        answer(stub, api, Scene(body=json.dumps({**body, **usage}).encode()))
    assert (raised.value.billed, raised.value.cost) == ("yes", COST)


def test_several_answers_are_asked_only_of_apis_that_give_them(stub: StubServer) -> None:
    """The Responses and Messages APIs give one; Gemini's counts are all there at Google alone."""
    for api in ("openai-responses", "anthropic"):
        with pytest.raises(InvalidConfig, match="one reply"):
            answer(stub, api, whole(api), choices=2)
    two = Content(texts=["a", "b"], input_tokens=100, output_tokens=20)
    reply = answer(stub, "gemini", whole("gemini", two), choices=2)
    assert stub.requests[0].body["generationConfig"]["candidateCount"] == 2
    assert (reply.value, reply.cost) == (["a", "b"], None)


@pytest.mark.parametrize(
    ("api", "options", "named"),
    [
        ("openai-responses", {"max_output_tokens": 9}, "max_output_tokens"),
        ("openai-responses", {"background": True}, "background"),
        ("gemini", {"generationConfig": {"maxOutputTokens": 9}}, "maxOutputTokens"),
        ("gemini", {"generationConfig": {"candidateCount": 9}}, "candidateCount"),
        ("gemini", {"extra_body": {"contents": []}}, "contents"),
    ],
)
def test_options_cannot_undo_the_bound(
    stub: StubServer, api: SpokenApi, options: Mapping[str, Any], named: str
) -> None:
    """An option that the bound depends on is refused before anything is sent."""
    with pytest.raises(InvalidConfig, match=named):
        answer(stub, api, whole(api), options=options)
    assert stub.requests == []


def test_a_call_costs_what_the_model_costs_when_it_is_sent(stub: StubServer) -> None:
    """Bounded before DeepSeek's peak and sent in it, after a wait, it is billed at the peak's rate.

    Source: genai-prices 0.2.3, deepseek-v4-flash: twice the price from 01:00 UTC.
    """
    clock = ManualClock(datetime(2026, 11, 30, 0, 59, 50, tzinfo=UTC))
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    stub.play(Scene(body=completion(usage, model="deepseek-v4-flash")))
    opened = open_provider(
        "deepseek", api="openai", book=PriceBook(), clock=clock, base_url=stub.url
    )
    call = opened.call(ask("deepseek/deepseek-v4-flash"))
    clock.advance(timedelta(seconds=30))

    async def wait_and_send() -> Reply:
        reply = await call.send(grant())
        await opened.aclose()
        return reply

    assert asyncio.run(wait_and_send()).cost == Money("0.0015")


def test_what_a_provider_says_it_billed_counts_from_its_own_host(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenRouter's own bill lowers a cost, and that of nobody who bears its name does."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    usage = {"prompt_tokens": 694, "completion_tokens": 3154, "cost": 0.01, "total_tokens": 3848}
    book = PriceBook({"openrouter/m": {"input_mtok": "1", "output_mtok": "10"}})
    costs: list[Money | None] = []
    for base_url in ("http://openrouter.ai/api/v1", f"{stub.url}/v1"):
        stub.play(Scene(body=completion(usage)))
        opened = open_provider(
            "openrouter", api="openai", book=book, clock=SystemClock(), base_url=base_url
        )
        costs.append(send(opened, ask("openrouter/m")).cost)
    assert costs == [Money("0.01"), Money("0.032234")]


@pytest.mark.parametrize("api", APIS)
def test_a_configured_stage_asks_any_api(
    stub: StubServer, api: SpokenApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `earmark.toml` to the statement: the API is one word, the cost is exact."""
    monkeypatch.setenv("STUB_KEY", "sk-1")
    file = tmp_path / "earmark.toml"
    file.write_text(CONFIGURED.format(api=api, url=stub.play(whole(api)).url))
    settings = load_settings(file, environ={})
    providers = Providers(
        settings, book=price_book(settings), clock=SystemClock(), key=key_from(os.environ)
    )

    async def run() -> Statement:
        async with earmark.open_async("memory:") as ledger:
            await ledger.set_budget("acme", limits=["1 usd total"])
            try:
                return await earmark.run_async(
                    graph({"op": "Stage", "id": "greet"}),
                    {"name": "you"},
                    ledger=ledger,
                    under="acme",
                    budget="0.50",
                    stages=stages_of(settings),
                    providers=providers,
                )
            finally:
                await providers.aclose()

    statement = asyncio.run(run())
    assert (statement.output, statement.spent) == ("Grüße ", COST)
    (received,) = stub.requests
    assert "sk-1" in " ".join(received.headers.values())


def test_only_a_stream_that_shows_its_reasoning_lets_its_hold_grow() -> None:
    """What is hidden is billed all the same, so that the most of it is held from the start."""

    async def streams(model: str) -> bool:
        provider = open_provider(
            "openai", api="openai", book=PriceBook(), clock=SystemClock(), api_key="sk-1"
        )
        try:
            return provider.call(ask(model, stream=True, max_tokens=100)).streams
        finally:
            await provider.aclose()

    shown = {model: asyncio.run(streams(f"openai/{model}")) for model in ("gpt-4o", "gpt-5")}
    assert shown == {"gpt-4o": True, "gpt-5": False}


CONFIGURED = """
[prices."stub/m"]
input_mtok = "1"
output_mtok = "10"

[providers.stub]
api = "{api}"
base_url = "{url}"
api_key_env = "STUB_KEY"

[stages.greet]
kind = "model"
model = "stub/m"
prompt = "Say hello to {{name}}."
max_tokens = 100
"""
