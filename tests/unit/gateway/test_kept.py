"""What providers keep under an id: each token names its own, and nobody else's."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from support.gateway_house import GatewayHouse, gateway_house
from support.upstream_stub import STREAM, Answer, Arrived

RESPONSES = "/v1/responses"
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Name one planet.", "max_output_tokens": 50}
CLAUDE: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "x"}],
}
#: Tokens that a reply counts.
COUNTED = (9000, 40)
INPUT_RATE = Decimal("0.15") / 1_000_000


def reply(name: str, **changes: Any) -> dict[str, Any]:
    """Return a response that its provider keeps."""
    text: dict[str, Any] = {"type": "output_text", "text": "Mars. " * 10, "annotations": []}
    body: dict[str, Any] = {
        "id": name,
        "object": "response",
        "status": "completed",
        "model": "gpt-4o-mini",
        "output": [{"type": "message", "id": "m", "role": "assistant", "content": [text]}],
        "usage": {
            "input_tokens": COUNTED[0],
            "output_tokens": COUNTED[1],
            "total_tokens": sum(COUNTED),
        },
    }
    return {**body, **changes}


def answer_with(name: str, **changes: Any) -> Answer:
    """Return the answer of a response of that id."""
    return Answer(body=json.dumps(reply(name, **changes)).encode())


def asked(
    house: GatewayHouse, token: str | None = None, path: str = RESPONSES, **more: Any
) -> httpx2.Response:
    """Ask with a token, and options beside."""
    with house.client(token) as client:
        return client.post(path, json={**ASK, **more})


@pytest.fixture
def made(house: GatewayHouse) -> GatewayHouse:
    """A house whose token made the response `resp_1`; each further one is called `resp_2`."""
    house.stub.answer(answer_with("resp_1"), answer_with("resp_2"))
    assert asked(house).status_code == 200
    return house


def test_a_response_is_followed_up_within_what_it_holds(made: GatewayHouse) -> None:
    """Its hold has the tokens that the first counted, on top of those of the new request."""
    follows = asked(made, previous_response_id="resp_1")
    alone = asked(made)
    assert (follows.status_code, alone.status_code) == (200, 200)
    holds = [Decimal(each.headers["x-earmark-hold"]) for each in (follows, alone)]
    assert holds[0] - holds[1] == sum(COUNTED) * INPUT_RATE
    assert made.stub.requests[1].json["previous_response_id"] == "resp_1"


@pytest.mark.parametrize(
    "name", ["resp_1", "resp_unknown", "", "x" * 5000, "'; DROP TABLE kept_id; --", "resp_1\u0000"]
)
def test_another_token_s_response_is_as_one_that_is_not(made: GatewayHouse, name: str) -> None:
    """In the words of the API, the same for both, whatever is asked; and nothing is sent."""
    other, count = made.token_for("acme/agent"), len(made.stub.requests)
    replied = asked(made, other, previous_response_id=name)
    words = f"Previous response with id '{name[:100]}' not found."
    assert (replied.status_code, replied.json()["error"]["code"]) == (
        *(400, "previous_response_not_found"),
    )
    assert replied.json()["error"]["message"] == words
    counted = asked(made, other, path="/v1/responses/input_tokens", previous_response_id=name)
    assert counted.json()["error"] == replied.json()["error"]
    with made.client(other) as client:
        if name and len(name) < 100 and name.isprintable():
            for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
                found = client.request(method, f"{RESPONSES}/{name}{suffix}")
                assert found.status_code == 404
                assert found.json()["error"]["message"] == f"Response with id '{name}' not found."
    assert len(made.stub.requests) == count


@pytest.mark.parametrize("odd", [5, ["resp_1"], {"id": "resp_1"}, True])
def test_an_id_is_a_text(made: GatewayHouse, odd: object) -> None:
    """Anything else names nothing, also for the token that made it."""
    assert asked(made, previous_response_id=odd).status_code == 400
    assert len(made.stub.requests) == 1


def test_a_token_reads_removes_and_cancels_its_own(made: GatewayHouse) -> None:
    """For nothing, at the provider that keeps it; a path in an id leads nowhere else."""
    spent = made.spent
    made.stub.answer(Answer(body=b'{"id": "resp_1"}'))
    with made.client() as client:
        for method, path, query in (
            ("GET", "/v1/responses/resp_1", "?include[]=message.output_text.logprobs"),
            ("DELETE", "/v1/responses/resp_1", ""),
            ("POST", "/v1/responses/resp_1/cancel", ""),
        ):
            assert client.request(method, path + query).json() == {"id": "resp_1"}
            sent = made.stub.requests[-1]
            assert (sent.method, sent.path.partition("?")[0]) == (method, path)
        count = len(made.stub.requests)
        for path in ("/v1/responses/..%2Ffiles", "/v1/responses/resp_1%2Finput_items"):
            assert client.get(path).status_code == 404
        assert client.get("/v1/responses/resp_1?key=x").status_code == 400
    assert (len(made.stub.requests), made.spent) == (count, spent)


def test_an_id_that_a_provider_names_twice_stays_its_first_token_s(made: GatewayHouse) -> None:
    """A provider that answers another token with the same id gives nothing away."""
    other = made.token_for("acme/agent")
    made.stub.answer(answer_with("resp_1"))
    assert asked(made, other).status_code == 200
    assert asked(made, other, previous_response_id="resp_1").status_code == 400
    assert asked(made, previous_response_id="resp_1").status_code == 200


@pytest.mark.parametrize(
    ("first", "follow", "changes"),
    [
        ({"truncation": "auto"}, {}, {}),
        ({}, {"model": "gpt-4-turbo"}, {}),
        ({}, {"model": "gpt-4o"}, {}),
        ({}, {}, {"usage": None}),
    ],
    ids=["cut out", "another tokenizer", "an image counts otherwise", "no usage"],
)
def test_what_nobody_counted_is_no_bound(
    first: dict[str, Any], follow: dict[str, Any], changes: dict[str, Any]
) -> None:
    """A follow-up is refused then, unless the window of the model is set."""
    for windows, status in (({}, 400), ({"openai": {"context_window": 20_000}}, 200)):
        with gateway_house(windows=windows) as house:
            house.stub.answer(answer_with("resp_1", **changes))
            assert asked(house, **first).status_code == 200
            found = asked(house, previous_response_id="resp_1", **follow)
            assert found.status_code == status, found.text
            assert len(house.stub.requests) == (2 if status == 200 else 1)


def test_what_is_not_stored_is_not_noted(house: GatewayHouse) -> None:
    """Codex sends `store: false`: its ids name nothing at the provider."""
    house.stub.answer(answer_with("resp_1"))
    assert asked(house, store=False).status_code == 200
    assert asked(house, previous_response_id="resp_1").status_code == 400


def events_of(name: str) -> list[bytes]:
    """Return a response as a stream of events."""
    begun = {"type": "response.created", "response": reply(name, status="in_progress", usage=None)}
    ended = {"type": "response.completed", "response": reply(name)}
    return [
        f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (begun, ended)
    ]


def test_a_streamed_response_is_noted_before_its_end_is_seen(house: GatewayHouse) -> None:
    """Who has read a stream to its end can follow it up; one that broke off can be read at most."""
    house.stub.answer(Answer(headers=STREAM, events=events_of("resp_1")))
    assert asked(house, stream=True).status_code == 200
    house.stub.answer(answer_with("resp_2"))
    follows = asked(house, previous_response_id="resp_1")
    assert follows.status_code == 200
    assert Decimal(follows.headers["x-earmark-hold"]) > sum(COUNTED) * INPUT_RATE
    house.stub.answer(Answer(headers=STREAM, events=events_of("resp_3")[:1], ends="cut"))
    with house.client() as client, pytest.raises(httpx2.HTTPError):
        client.post(RESPONSES, json={**ASK, "stream": True})
    house.stub.answer(answer_with("resp_3"))
    assert asked(house, previous_response_id="resp_3").status_code == 400
    assert house.get("/v1/responses/resp_3").status_code == 200


PART = {"type": "input_file", "file_id": "file-1"}
KEPT: list[tuple[str, dict[str, Any]]] = [
    (RESPONSES, {**ASK, "conversation": "conv_1"}),
    (RESPONSES, {**ASK, "conversation": {"id": "conv_1"}}),
    (RESPONSES, {**ASK, "prompt": {"id": "pmpt_1"}}),
    (RESPONSES, {**ASK, "input": [{"type": "item_reference", "id": "msg_1"}]}),
    (RESPONSES, {**ASK, "input": [{"id": "msg_1"}]}),
    (RESPONSES, {**ASK, "input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}),
    (RESPONSES, {**ASK, "input": [{"role": "user", "content": [PART]}]}),
    (
        RESPONSES,
        {**ASK, "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
    ),
    (
        RESPONSES,
        {**ASK, "input": [{"role": "user", "content": [{"type": "input_new", "file_id": "f"}]}]},
    ),
    (
        RESPONSES,
        {
            **ASK,
            "input": [{"role": "user", "content": [{"type": "input_text", "asset_id": "f"}]}],
        },
    ),
    (RESPONSES, {**ASK, "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}),
    (RESPONSES, {**ASK, "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    (
        RESPONSES,
        {
            **ASK,
            "tools": [
                {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}
            ],
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}
            ],
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "gpt-4o-mini",
            "messages": [{"role": "assistant", "content": "x", "audio": {"id": "audio_1"}}],
        },
    ),
    ("/v1/messages", {**CLAUDE, "container": "container_1"}),
    ("/v1/messages", {**CLAUDE, "container": {"id": "container_1"}}),
    ("/v1/messages", {**CLAUDE, "thread": "thread_1"}),
    (
        "/v1/messages",
        {
            **CLAUDE,
            "messages": [
                {"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}
            ],
        },
    ),
    (
        "/v1/messages",
        {
            **CLAUDE,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
                        {"type": "image", "source": {"type": "base64", "data": ""}},
                    ],
                }
            ],
        },
    ),
    (
        "/v1/messages",
        {
            **CLAUDE,
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                }
            ],
        },
    ),
    (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"parts": [{"text": "x"}]}], "cachedContent": "cachedContents/1"},
    ),
    (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://x.googleapis.com/files/1"}}]}]},
    ),
]
#: With windows set, nothing is refused for want of a bound.
WINDOWS = {name: {"context_window": 100_000} for name in ("openai", "anthropic", "google")}


@pytest.fixture(scope="module")
def wide() -> Iterator[GatewayHouse]:
    """A gateway that bounds all input by the models' windows."""
    with gateway_house(windows=WINDOWS) as opened:
        yield opened


@pytest.mark.parametrize(("path", "body"), KEPT)
def test_what_no_reply_named_is_refused(
    wide: GatewayHouse, path: str, body: dict[str, Any]
) -> None:
    """Files, conversations, caches and stores are made elsewhere: nobody knows whose they are."""
    replied = wide.post(path, body)
    assert replied.status_code == 400
    assert "kept at the provider" in replied.text or "stored prompt" in replied.text
    counts = {
        RESPONSES: "/v1/responses/input_tokens",
        "/v1/messages": "/v1/messages/count_tokens",
        "/v1beta/models/gemini-2.5-flash:generateContent": (
            "/v1beta/models/gemini-2.5-flash:countTokens"
        ),
    }
    if path in counts:
        assert wide.post(counts[path], body).status_code == 400
    assert wide.stub.requests == []


def test_what_is_sent_itself_passes(wide: GatewayHouse) -> None:
    """A file in the request, and a public video, are nobody's."""
    video = {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x", "mimeType": "video/*"}}

    def served(arrived: Arrived) -> Answer:
        del arrived
        return Answer(status=429, body=b"{}")

    wide.stub.answers = served
    body = {"contents": [{"parts": [video, {"text": "x"}]}]}
    assert wide.post("/v1beta/models/gemini-2.5-flash:generateContent", body).status_code == 429
    part = {"type": "input_file", "filename": "x.pdf", "file_data": "data:,x"}
    ask = {**ASK, "input": [{"role": "user", "content": [part]}]}
    assert wide.post(RESPONSES, ask).status_code == 429
    wide.stub.requests.clear()
