"""Every API that is spoken, against a server that answers in its form: asked, answered, billed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from earmark.admission.call import ModelRequest, Reply
from earmark.clock import SystemClock
from earmark.errors import CallFailed, InvalidConfig
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import Api, open_provider
from support.calls import ask, grant, send
from support.split_replies import DIALECTS, Content, Split
from support.stub_server import Scene, StubServer

APIS: tuple[Api, ...] = ("openai", "openai-responses", "anthropic", "gemini")
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
WRITTEN: Mapping[Api, tuple[str, Mapping[str, Any]]] = {
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
        "/models/m:generateContent",
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
OPTIONS: Mapping[Api, Mapping[str, Any]] = {
    **{api: {"temperature": 0} for api in APIS},
    "gemini": {"generationConfig": {"temperature": 0}},
}


def whole(api: Api, content: Content = CONTENT) -> Scene:
    """Return the scene of a whole reply."""
    return Scene(body=json.dumps(DIALECTS[api].body(content)).encode())


def events(api: Api, content: Content = CONTENT) -> list[bytes]:
    """Return the events of the same reply."""
    found: list[bytes] = []
    for name, data in DIALECTS[api].events(content, Split()):
        head = f"event: {name}\n" if name else ""
        text = data if isinstance(data, str) else json.dumps(data)
        found.append(f"{head}data: {text}\n\n".encode())
    return found


def answer(stub: StubServer, api: Api, scene: Scene, **request: Any) -> Reply:
    """Play one scene for one call."""
    opened = open_provider(
        "stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.play(scene).url
    )
    return send(opened, ask("stub/m", **request))


@pytest.mark.parametrize("api", APIS)
def test_a_request_is_written_in_the_apis_form(stub: StubServer, api: Api) -> None:
    """Roles, the system prompt, options and the granted tokens stand where the API reads them."""
    request = ModelRequest(model="stub/m", messages=MESSAGES, max_tokens=500, options=OPTIONS[api])
    stub.play(whole(api))
    opened = open_provider("stub", api=api, book=BOOK, clock=SystemClock(), base_url=stub.url)
    send(opened, request, grant(42))
    (received,) = stub.requests
    assert (received.path, received.body) == WRITTEN[api]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_its_text_and_its_exact_cost(
    stub: StubServer,
    api: Api,
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
    api: Api,
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
def test_a_stream_that_ends_early_is_of_unknown_cost(stub: StubServer, api: Api) -> None:
    """Cut after any number of events, cleanly or not: what came until then is not the bill."""
    sent = events(api)
    # What follows an answer that is whole: the usage chunk and [DONE], `message_stop`.
    sent = sent[: len(sent) - {"openai": 2, "anthropic": 1}.get(api, 0)]
    for count in range(len(sent)):
        for dies in ("never", "midway"):
            with pytest.raises(CallFailed) as raised:
                answer(stub, api, Scene(events=sent[:count], dies=dies), stream=True)
            assert (raised.value.billed, raised.value.cost) == ("unknown", None)


ERRORS: Mapping[Api, tuple[str, Any]] = {
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
def test_an_error_in_a_stream_is_named_by_its_code(stub: StubServer, api: Api) -> None:
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
    stub: StubServer, api: Api, body: Mapping[str, Any]
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
    stub: StubServer, api: Api, options: Mapping[str, Any], named: str
) -> None:
    """An option that the bound depends on is refused before anything is sent."""
    with pytest.raises(InvalidConfig, match=named):
        answer(stub, api, whole(api), options=options)
    assert stub.requests == []
