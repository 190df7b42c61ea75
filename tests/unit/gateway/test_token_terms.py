"""What a token says of its requests: whether they may bound themselves, a tier, a status."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from earmark.money import Money
from support.gateway_house import GatewayHouse, gateway_house
from support.stub_server import completion
from support.upstream_stub import STREAM, Answer, event

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY = Answer(body=completion(USAGE, model="gpt-4o-mini", service_tier="default"))
COST = "0.0000054"
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}
STRANGE = {**ASK, "dream": {"depth": 3}}
CLAUDE = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 100}
AT_MOST = {"x-earmark-at-most": "0.25"}
IMAGE = {"model": "gpt-image-1", "prompt": "one planet"}


@pytest.fixture
def trusted(house: GatewayHouse) -> Iterator[httpx2.Client]:
    """Somebody whose token may bound its requests."""
    with house.client(house.token_for("acme/trusted", may_bound=True)) as client:
        yield client


def code(reply: httpx2.Response) -> tuple[int, str]:
    """Return how a chat request was refused."""
    return reply.status_code, reply.json()["error"]["code"]


def holds(house: GatewayHouse, path: str = "acme/trusted") -> list[tuple[str, str, str]]:
    """Return the state, hold and settled amount of each call."""
    found = house.ledger.holds(path, state=None)
    return [(str(each.state), str(each.amount), str(each.settled)) for each in found]


def test_what_bounds_itself_passes_unchanged(house: GatewayHouse, trusted: httpx2.Client) -> None:
    """Byte for byte, held at what it says and settled by its reply; a quote says the same."""
    house.stub.answer(REPLY)
    sent = b'{ "dream":{"depth" : 3.0},\n"model":"gpt-4o-mini","messages":[] }'
    quote = trusted.post(CHAT, content=sent, headers={**AT_MOST, "x-earmark-dry-run": "true"})
    assert (quote.json()["hold"], quote.json()["clamped_to"]) == ("0.25", None)
    reply = trusted.post(CHAT, content=sent, headers=AT_MOST)
    assert reply.status_code == 200
    assert (reply.headers["x-earmark-hold"], reply.headers["x-earmark-settled"]) == ("0.25", COST)
    (arrived,) = house.stub.requests
    assert arrived.body == sent
    renamed = trusted.post(CHAT, json={**STRANGE, "model": "openai/gpt-4o-mini"}, headers=AT_MOST)
    assert renamed.status_code == 200
    assert house.stub.requests[1].json == STRANGE
    assert holds(house) == [("settled", "0.25", COST)] * 2


@pytest.mark.parametrize(
    "more",
    [{"web_search_options": {}}, {"model": "gpt-4o-search-preview"}, {"enable_search": True}],
)
def test_searches_that_no_reply_counts_are_presumed(
    house: GatewayHouse, trusted: httpx2.Client, more: dict[str, Any]
) -> None:
    """Chat Completions bills them beside the tokens that its usage has; no search, no doubt."""
    body: dict[str, Any] = {**STRANGE, **more}
    house.stub.answer(Answer(body=completion(USAGE, model=body["model"])))
    assert trusted.post(CHAT, json=body, headers=AT_MOST).status_code == 200
    unasked = {**STRANGE, "enable_search": False}
    house.stub.answer(REPLY)
    assert trusted.post(CHAT, json=unasked, headers=AT_MOST).status_code == 200
    assert holds(house) == [("presumed", "0.25", "0.25"), ("settled", "0.25", COST)]


def test_a_reply_that_does_not_say_its_cost_is_presumed(
    house: GatewayHouse, trusted: httpx2.Client
) -> None:
    """A whole one and a stream, of a model with a price or without one; the client gets it all."""
    events = (event({"id": "1", "choices": []}), event("[DONE]"))
    house.stub.answer(
        Answer(body=completion(None, model="gpt-4o-mini")),
        Answer(events=events, headers=STREAM),
        Answer(events=events, headers=STREAM),
    )
    streamed = {**STRANGE, "stream": True}
    for body in (STRANGE, streamed, {**streamed, "model": "nobody-s-model"}):
        reply = trusted.post(CHAT, json=body, headers=AT_MOST)
        assert reply.status_code == 200
        if body.get("stream"):
            assert reply.content == b"".join(events)
    assert holds(house) == [("presumed", "0.25", "0.25")] * 3


def test_only_a_token_that_may_bounds_its_requests(
    house: GatewayHouse, trusted: httpx2.Client
) -> None:
    """And only with the header: else it is refused as ever, and told what to give."""
    with house.client() as client:
        for asked in (
            client.post(CHAT, json=STRANGE, headers=AT_MOST),
            trusted.post(CHAT, json=STRANGE),
        ):
            assert code(asked) == (400, "unpriced")
            words = asked.json()["error"]["message"]
            assert "dream" in words
            assert "x-earmark-at-most" in words
            assert "--may-bound" in words
        assert code(client.post("/v1/images/edits", json=IMAGE, headers=AT_MOST)) == (
            404,
            "unpriced",
        )
        assert code(trusted.post("/v1/images/edits", json=IMAGE)) == (404, "unpriced")
    assert house.stub.requests == []
    assert house.spent == 0


def test_a_bound_is_above_nothing_and_below_the_tokens_most(
    house: GatewayHouse, trusted: httpx2.Client
) -> None:
    """A request of nothing would pass for nothing; one of more than its token's most is refused."""
    for amount in ("0", "0.0", "-1", "1e400", "x"):
        reply = trusted.post(CHAT, json=STRANGE, headers={"x-earmark-at-most": amount})
        assert reply.status_code == 400, amount
    token = house.token_for("acme/most", may_bound=True, most_per_request=Money("0.2"))
    with house.client(token) as client:
        reply = client.post(CHAT, json=STRANGE, headers=AT_MOST)
        assert code(reply) == (402, "budget_exceeded")
        assert "per request" in reply.text
    over = trusted.post(CHAT, json=STRANGE, headers={"x-earmark-at-most": "100.01"})
    assert over.status_code == 402
    assert house.stub.requests == []


def test_on_a_known_bound_the_header_only_clamps(
    house: GatewayHouse, trusted: httpx2.Client
) -> None:
    """What a table bounds is held by the table, whatever the request says of itself."""
    house.stub.answer(REPLY)
    clamped = trusted.post(CHAT, json=ASK, headers={"x-earmark-at-most": "0.0003"})
    assert int(clamped.headers["x-earmark-max-tokens"]) == house.stub.requests[0].json["max_tokens"]
    refused = trusted.post(CHAT, json=ASK, headers={"x-earmark-at-most": "0.000001"})
    assert refused.status_code == 402
    large = trusted.post(CHAT, json=ASK, headers={"x-earmark-at-most": "90"})
    assert Decimal(large.headers["x-earmark-hold"]) < Decimal("0.01")
    assert len(house.stub.requests) == 2


def test_a_path_that_is_not_listed_is_presumed_in_full(
    house: GatewayHouse, trusted: httpx2.Client
) -> None:
    """It passes below its provider's address, and no usage in its reply is believed."""
    house.stub.answer(REPLY, Answer(events=(event("a"),), headers=STREAM), Answer(status=400))
    for _ in range(2):
        reply = trusted.post("/v1/images/edits", json=IMAGE, headers=AT_MOST)
        assert (reply.status_code, reply.headers["x-earmark-hold"]) == (200, "0.25")
    rejected = trusted.post("/v1/images/edits", json=IMAGE, headers=AT_MOST)
    assert rejected.status_code == 400
    assert [each.path for each in house.stub.requests] == ["/v1/images/edits"] * 3
    assert {each.header("authorization") for each in house.stub.requests} == {
        "Bearer sk-the-providers-own"
    }
    assert json.loads(house.stub.requests[0].body) == IMAGE
    assert holds(house)[:2] == [("presumed", "0.25", "0.25")] * 2
    token = house.token_for("acme", may_bound=True, models=("gpt-4o*",))
    with house.client(token) as client:
        other = client.post("/v1/images/edits", json=IMAGE, headers=AT_MOST)
        assert code(other) == (403, "not_allowed")


def test_a_word_with_a_hyphen_is_no_id(house: GatewayHouse, trusted: httpx2.Client) -> None:
    """Nor is the name of a model: only what has the form of a provider's id is refused."""
    house.stub.answer(REPLY)
    body = {**IMAGE, "prompt": "file-sharing", "input": "run-down", "style": ["message-board"]}
    body["required"] = ["file_path"]  # a parameter of a tool
    assert trusted.post("/v1/images/edits", json=body, headers=AT_MOST).status_code == 200
    assert house.stub.requests[0].json["prompt"] == "file-sharing"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses/resp_1/cancel", IMAGE),
        ("/v1/files", IMAGE),
        ("/v1/fine_tuning/jobs", IMAGE),
        ("/v1/messages/batches", {**IMAGE, "model": "claude-sonnet-4-5"}),
        ("/v1/threads/runs", IMAGE),
        ("/v1/images/../files", IMAGE),
        ("/v1/images/%2e%2e/files", IMAGE),
        *((f"/v1/{each}", IMAGE) for each in ("auth-tokens", "keys", "apikeys", "service_account")),
        *((f"/v1/{each}", IMAGE) for each in ("libraries", "indexes", "chat/deferred-completion")),
        *((f"/v1/{each}", IMAGE) for each in ("video/generations", "async/images", "fine-tunes")),
        ("/v1beta/interactions", {**IMAGE, "model": "gemini-2.5-flash"}),
        ("/v1/images/edits?x=1", IMAGE),
        ("/v1//images", IMAGE),
        ("/v2/images", IMAGE),
        ("/v1/earmark/other", IMAGE),
        ("/v1/images/edits", {**IMAGE, "images": [{"file_id": "file-1"}]}),
        ("/v1/images/edits", {**IMAGE, "previous_response_id": "resp_1"}),
        ("/v1/images/edits", {**IMAGE, "FILE_ID": "x"}),
        ("/v1/images/edits", {**IMAGE, "input": ["resp_68a1b2c3d4e5"]}),
        ("/v1/images/edits", {**IMAGE, "image": "file-Ab3dEf6h"}),
        ("/v1/images/edits", {**IMAGE, "reference_images": ["file-abc"]}),
        ("/v1/images/edits", {**IMAGE, "reference_images": [["a", "resp_68a1b2c3d4e5"]]}),
        ("/v1/images/edits", {**IMAGE, "prompt": {"ID": "pmpt_1"}}),
        ("/v1/images/edits", {**IMAGE, "models": ["dear"]}),
        ("/v1/images/edits", {**IMAGE, "fallbacks": ["dear"]}),
        ("/v1/images/edits", {**IMAGE, "background": True}),
        ("/v1/images/edits", {"prompt": "no model"}),
        ("/v1/images/edits", [IMAGE]),
    ],
)
def test_what_may_be_kept_at_the_provider_is_refused_there(
    house: GatewayHouse, trusted: httpx2.Client, path: str, body: Any
) -> None:
    """Whatever a bound says, an id may be another token's; other forms of a path are none."""
    # The path as it is written, which the client would tidy up.
    url = httpx2.URL(house.url).copy_with(raw_path=path.encode())
    reply = trusted.post(url, json=body, headers=AT_MOST)
    assert reply.status_code in {400, 404}
    assert house.stub.requests == []
    assert holds(house) == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/responses", {"previous_response_id": "resp_1"}),
        ("/v1/responses", {"conversation": "conv_1"}),
        ("/v1/responses", {"conversation": {"id": "conv_1"}}),
        ("/v1/responses", {"prompt": {"id": "pmpt_1"}}),
        ("/v1/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("/v1/messages", {"container": "container_1"}),
        (CHAT, {"messages": [{"role": "user", "content": [{"file": {"file_id": "file-1"}}]}]}),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ],
)
def test_no_bound_leads_to_what_another_token_keeps(
    house: GatewayHouse, trusted: httpx2.Client, path: str, more: Any
) -> None:
    """An id is no matter of money: it stays refused where a request bounds itself."""
    body = {**STRANGE, "max_tokens": 100, **more}
    reply = trusted.post(path, json=body, headers=AT_MOST)
    assert reply.status_code in {400, 404}
    assert house.stub.requests == []
    calls = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    spoken = [{"role": "assistant", "tool_calls": [calls]}, {"role": "tool", "tool_call_id": "1"}]
    house.stub.answer(REPLY)
    own = trusted.post(CHAT, json={**STRANGE, "messages": spoken}, headers=AT_MOST)
    assert own.status_code == 200


def test_a_tier_is_added_where_a_request_names_none(house: GatewayHouse) -> None:
    """Nothing else of the body changes, and what a request names itself stands."""
    house.stub.answer(REPLY)
    with house.client(house.token_for("acme/tier", tier="priority")) as client:
        assert client.post(CHAT, json=ASK).status_code == 200
        assert client.post(CHAT, json={**ASK, "service_tier": None}).status_code == 200
        assert client.post(CHAT, json={**ASK, "service_tier": "default"}).status_code == 200
    sent = [each.json for each in house.stub.requests]
    assert [each["service_tier"] for each in sent] == ["priority", "priority", "default"]
    assert {**ASK, "service_tier": "priority"}.items() <= sent[0].items()
    with house.client(house.token_for("acme/tier", tier="batch")) as client:
        assert code(client.post(CHAT, json=ASK)) == (400, "unpriced")


def test_a_tier_is_refused_where_no_request_can_name_it(house: GatewayHouse) -> None:
    """A call at another tier than the token's is none that it is for."""
    with house.client(house.token_for("acme/tier", tier="priority")) as client:
        embedded = client.post(
            "/v1/embeddings", json={"model": "text-embedding-3-small", "input": "x"}
        )
        assert code(embedded) == (400, "not_allowed")
        path = "/v1beta/models/gemini-2.5-flash:generateContent"
        assert client.post(path, json={"contents": []}).status_code == 400
    assert house.stub.requests == []
    assert house.spent == 0


@pytest.mark.parametrize("status", [402, 403, 429, 400])
def test_a_budget_refuses_with_the_tokens_status(status: int) -> None:
    """Of every API, and for every client in place of its own form; what else is refused is not."""
    with gateway_house("0.0000001 usd total") as house:
        token = house.token_for("acme/agent", refusal_status=status)
        bare = house.token_for("nowhere", refusal_status=status)
        with house.client(token) as client:
            for path, body, agent in (
                (CHAT, ASK, "x"),
                ("/v1/messages", CLAUDE, "claude-cli/2.1"),
                ("/v1/messages", CLAUDE, "litellm/1.81"),
                ("/v1/responses", {"model": "gpt-4o-mini", "input": "x"}, "codex_cli_rs/0.171"),
            ):
                reply = client.post(path, json=body, headers={"user-agent": agent})
                assert reply.status_code == status, (path, agent)
                assert reply.headers["x-should-retry"] == "false"
                assert "acme" in reply.json()["error"]["message"]
            assert code(client.post(CHAT, json=STRANGE)) == (400, "unpriced")
            assert client.post("/v1/files", json={}).status_code == 404
        with house.client(bare) as client:
            assert client.post(CHAT, json=ASK).status_code == status
        codex = {"user-agent": "codex_cli_rs/0.171"}
        with house.client() as client:
            unset = client.post(
                "/v1/responses", json={"model": "gpt-4o-mini", "input": "x"}, headers=codex
            )
            assert unset.json()["error"]["type"] == "usage_limit_reached"
        assert house.stub.requests == []


def test_what_is_held_by_others_is_asked_again_whatever_the_status() -> None:
    """A client that could go on soon is not told that it cannot."""
    with gateway_house("0.001 usd total", wait="0.1s") as house:
        house.ledger.reserve("acme", "0.001")
        with house.client(house.token_for("acme/held", refusal_status=403)) as client:
            reply = client.post(CHAT, json=ASK)
        assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "true")
