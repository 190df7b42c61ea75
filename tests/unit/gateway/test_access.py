"""Who may spend by the gateway, on what, and who sees what."""

import json
import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from earmark.clock import NANOS_PER_SECOND
from earmark.money import Money
from earmark.workspace.gateway_access import GatewayAccess
from earmark.workspace.tokens import Tokens
from support.gateway_house import KEYS, GatewayHouse, at_once, gateway_house
from support.last_resort import LAST_RESORT_S
from support.service_house import house as service_house
from support.stub_server import completion, message
from support.upstream_stub import Answer

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY = Answer(body=completion(USAGE, model="gpt-4o-mini"))
#: Headers of which one value counts, beside those of tokens.
CONTROLS = (
    *("idempotency-key", "x-earmark-budget", "x-earmark-at-most", "x-earmark-dry-run"),
    *("x-claude-code-session-id", "session-id", "session_id"),
)
CLAUDE = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 100}


def ask(house: GatewayHouse, path: str = "/v1/chat/completions", **headers: str) -> httpx2.Response:
    """Post without a token but what *headers* hold."""
    with httpx2.Client(base_url=house.url, timeout=LAST_RESORT_S) as client:
        return client.post(path, json=ASK, headers=headers)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"authorization": "Bearer emk_" + "0" * 32 + "_" + "A" * 43},
        {"authorization": "Basic eDp5"},
        {"x-api-key": "sk-something"},
        {"x-goog-api-key": ""},
    ],
)
def test_nothing_is_sent_without_a_token(house: GatewayHouse, header: dict[str, str]) -> None:
    """On this machine neither, and each API's clients are told so in their own form."""
    chat = ask(house, **header)
    assert (chat.status_code, chat.json()["error"]["code"]) == (401, "invalid_api_key")
    messages = ask(house, "/v1/messages", **header)
    assert messages.json()["error"]["type"] == "authentication_error"
    gemini = ask(house, "/v1beta/models/g:generateContent", **header)
    assert gemini.json()["error"]["status"] == "UNAUTHENTICATED"
    with httpx2.Client(base_url=house.url, timeout=LAST_RESORT_S) as client:
        for path in ("/v1/models", "/v1/earmark/balance", "/v1/earmark/statement"):
            assert client.get(path, headers=header).status_code == 401
    assert house.stub.requests == []


def test_a_token_is_taken_where_clients_send_their_keys(house: GatewayHouse) -> None:
    """As a bearer, as Anthropic's key and as Google's; another key beside it goes nowhere."""
    house.stub.answer(REPLY)
    for headers in (
        {"authorization": f"Bearer {house.token}"},
        {"x-api-key": house.token},
        {"x-goog-api-key": house.token},
        {"authorization": f"Bearer {house.token}", "x-api-key": "sk-personal"},
        {"authorization": "Bearer sk-personal", "x-api-key": house.token},
    ):
        assert ask(house, **headers).status_code == 200
    assert "sk-personal" not in str(house.stub.requests)


def test_headers_that_contradict_each_other_are_refused(house: GatewayHouse) -> None:
    """Two values where one counts, and tokens of two holders: nobody knows which of them is meant.

    A value that is sent twice is one.
    """
    other = house.token_for("acme/other")
    own, foreign = (("authorization", f"Bearer {each}") for each in (house.token, other))
    key = ("idempotency-key", "one")
    house.stub.answer(REPLY)
    with httpx2.Client(base_url=house.url, timeout=LAST_RESORT_S) as client:

        def code(*headers: tuple[str, str]) -> str:
            reply = client.post("/v1/chat/completions", json=ASK, headers=headers)
            return "" if reply.status_code == 200 else reply.json()["error"]["code"]

        assert code(own, own, key, key) == ""
        (sent,) = house.stub.requests
        assert [value for name, value in sent.headers if name.lower() == "idempotency-key"] == [
            "one"
        ]
        for headers in (
            (own, foreign),
            (foreign, own),
            (own, ("x-api-key", other)),
            (("x-api-key", house.token), ("x-api-key", other)),
            (own, ("authorization", "Bearer sk-personal")),
            *((own, (name, "1"), (name, "2")) for name in CONTROLS),
        ):
            assert code(*headers) == "repeated_header", headers
    assert len(house.stub.requests) == 1


def test_a_rotated_token_is_one_holder_here(house: GatewayHouse) -> None:
    """One balance, one statement, one name for each Idempotency-Key; then the old one is over."""
    house.stub.answer(REPLY)
    (row,) = house.tokens.all()
    keyed = {"Idempotency-Key": "k"}
    with house.client() as client:
        assert client.post("/v1/chat/completions", json=ASK, headers=keyed).status_code == 200
    _, new = house.tokens.rotate(row.id, "1h")
    with house.client(new) as client:
        repeated = client.post("/v1/chat/completions", json=ASK, headers=keyed)
        assert repeated.status_code == 409
        assert client.post("/v1/chat/completions", json=ASK).status_code == 200
    statements = [house.get("/v1/earmark/statement", each).json() for each in (house.token, new)]
    assert statements[0] == statements[1]
    assert len(statements[0]["calls"]) == 2
    both = {"authorization": f"Bearer {house.token}", "x-api-key": new}
    assert ask(house, **both).status_code == 200
    house.clock.advance(timedelta(hours=1))
    assert house.get("/v1/earmark/balance").status_code == 401
    assert house.get("/v1/earmark/balance", new).status_code == 200


def test_a_token_in_the_url_is_refused(house: GatewayHouse) -> None:
    """As Google's clients once sent it: logs would show it."""
    reply = ask(house, f"/v1beta/models/g:generateContent?key={house.token}")
    assert reply.json()["error"]["details"][0]["reason"] == "TOKEN_IN_URL"
    assert house.token not in reply.text
    listed = house.get(f"/v1/models?key={house.token}")
    assert (listed.status_code, listed.json()["error"]["code"]) == (400, "token_in_url")
    assert house.stub.requests == []


def test_a_token_that_was_revoked_or_is_expired_opens_nothing() -> None:
    """A second after it was revoked, and from its expiry on at once."""
    with gateway_house() as house:
        house.stub.answer(REPLY)
        (row,) = house.tokens.all()
        assert house.get("/v1/earmark/balance").status_code == 200
        house.tokens.revoke(row.id)
        house.clock.advance(timedelta(seconds=2))
        assert house.get("/v1/earmark/balance").status_code == 401
        later = house.clock.instant() + 5 * NANOS_PER_SECOND
        access = GatewayAccess(budget="acme/agent")
        _, secret = house.tokens.create_for_gateway("x", access, later)
        assert house.get("/v1/earmark/balance", secret).status_code == 200
        house.clock.advance(timedelta(seconds=5))
        assert house.get("/v1/earmark/balance", secret).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_host_is_not_answered(house: GatewayHouse, host: str) -> None:
    """A page of another site whose name leads here by DNS reads nothing, whatever it knows."""
    with house.client() as client:
        reply = client.get("/v1/earmark/balance", headers={"host": host})
    assert reply.status_code in {400, 421}


def test_a_token_spends_on_its_own_budget_alone(house: GatewayHouse) -> None:
    """No header and no body leads to another one, and its statement has no other's calls."""
    house.ledger.set_budget("other", limits=["1 usd total"])
    other = house.token_for("other/agent")
    house.stub.answer(REPLY)
    with house.client(other) as client:
        named = {**ASK, "user": "acme/agent", "metadata": {"budget": "acme"}}
        assert client.post("/v1/chat/completions", json=named).status_code == 200
        refused = client.post(
            "/v1/chat/completions", json=ASK, headers={"x-earmark-budget": "acme/agent"}
        )
        assert refused.status_code == 400
        balance = client.get("/v1/earmark/balance").json()
        statement = client.get("/v1/earmark/statement").json()
    assert house.spent == 0
    assert balance["budget"] == "other/agent"
    assert "acme" not in json.dumps([balance, statement])
    assert len(statement["calls"]) == 1
    assert house.get("/v1/earmark/statement").json()["calls"] == []
    sibling = house.token_for("other/agent")
    assert house.get("/v1/earmark/statement", sibling).json()["calls"] == []


def test_a_token_calls_the_providers_and_models_it_names(house: GatewayHouse) -> None:
    """By the provider's name, and by patterns of models."""
    token = house.token_for("acme", providers=("openai",), models=("gpt-4o*",))
    house.stub.answer(REPLY)
    with house.client(token) as client:
        assert client.post("/v1/chat/completions", json=ASK).status_code == 200
        for path, body in (
            ("/v1/chat/completions", {**ASK, "model": "gpt-5"}),
            ("/v1/chat/completions", {**ASK, "model": "openai/gpt-5"}),
            ("/v1/messages", CLAUDE),
            ("/v1/messages/count_tokens", CLAUDE),
        ):
            assert client.post(path, json=body).status_code == 403, path
        headers = {"anthropic-version": "2023-06-01"}
        assert client.get("/v1/models", headers=headers).status_code == 403
    assert len(house.stub.requests) == 1


def test_a_token_holds_no_more_for_a_call_than_it_may(house: GatewayHouse) -> None:
    """Its output is lowered to that, and a request of its own to less; never to more."""
    token = house.token_for("acme", most_per_request=Money("0.0003"))
    house.stub.answer(REPLY)
    with house.client(token) as client:
        reply = client.post("/v1/chat/completions", json=ASK)
        more = client.post("/v1/chat/completions", json=ASK, headers={"x-earmark-at-most": "50.00"})
        less = client.post(
            "/v1/chat/completions", json=ASK, headers={"x-earmark-at-most": "0.0002"}
        )
        none = client.post(
            "/v1/chat/completions", json=ASK, headers={"x-earmark-at-most": "0.00001"}
        )
    for answered, most in ((reply, "0.0003"), (more, "0.0003"), (less, "0.0002")):
        assert answered.status_code == 200
        assert Decimal(answered.headers["x-earmark-hold"]) <= Decimal(most)
    limits = [int(sent.json["max_tokens"]) for sent in house.stub.requests]
    assert limits[0] == limits[1] > limits[2] >= 32
    assert reply.headers["x-earmark-max-tokens"] == str(limits[0])
    assert none.status_code == 402
    assert "per request" in none.json()["error"]["message"]


def test_a_token_of_the_service_spends_nothing_here(house: GatewayHouse) -> None:
    """Not even an admin's: a token spends on the budget that it names."""
    _, secret = house.tokens.create("ops", ["admin"])
    assert ask(house, authorization=f"Bearer {secret}").status_code == 401


def test_a_token_of_the_gateway_opens_nothing_of_the_service() -> None:
    """Neither reads nor writes, and is no first token of it."""
    with service_house() as house:
        tokens = Tokens(house.workspace.tables, house.clock)
        before = len(tokens.of_service())
        _, secret = tokens.create_for_gateway("agent", GatewayAccess(budget="acme"))
        headers = {"authorization": f"Bearer {secret}"}
        for method, path in (("GET", "/v1/budgets"), ("POST", "/v1/reservations")):
            reply = house.client.request(method, path, headers=headers, json={})
            assert reply.status_code == 403, path
        assert len(tokens.of_service()) == before


def test_no_key_is_seen(house: GatewayHouse, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the provider's, in an answer, in the books or in a log."""
    caplog.set_level(logging.DEBUG)
    house.stub.answer(Answer(ends="never_begun"), Answer(status=500), Answer(body=b"no"), REPLY)
    replies = [house.post("/v1/chat/completions", ASK) for _ in range(4)]
    replies.append(house.post("/v1/chat/completions", {**ASK, "tools": [{"type": "odd"}]}))
    replies.append(house.post("/v1/unknown", ASK))
    seen = str([(dict(reply.headers), reply.text) for reply in replies]) + caplog.text
    seen += str(house.ledger.holds("acme", state=None)) + str(house.ledger.entries())
    for secret in (house.token, *KEYS.values(), "Name one planet"):
        assert secret not in seen


def test_a_provider_without_a_key_is_named(house: GatewayHouse) -> None:
    """With the variable that would hold it; nothing is held."""
    with gateway_house(keys={}) as bare:
        reply = bare.post("/v1/messages", CLAUDE)
        assert reply.status_code == 400
        assert "ANTHROPIC_API_KEY" in reply.json()["error"]["message"]
        assert bare.spent == 0
    del house


def test_many_tokens_at_once_keep_apart(house: GatewayHouse) -> None:
    """Each of many holders, at the same time, pays for its own call."""
    house.stub.answer(Answer(body=message({"input_tokens": 1, "output_tokens": 1})))
    tokens = [house.token_for(f"acme/a{n}") for n in range(8)]

    def call(number: int) -> str:
        with house.client(tokens[number]) as client:
            assert client.post("/v1/messages", json=CLAUDE).status_code == 200
            (made,) = client.get("/v1/earmark/statement").json()["calls"]
            return str(made["budget"])

    assert at_once(8, call) == [f"acme/a{n}" for n in range(8)]


def test_a_pattern_with_a_slash_begins_with_the_provider() -> None:
    """What a router calls `openai/gpt-4o-mini` is no model of the provider `openai`."""
    router = {"api": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "OPENAI_API_KEY"}
    rates = {"input_mtok": "1", "output_mtok": "1"}
    prices = {"openrouter/openai/gpt-4o-mini": rates}
    with gateway_house(providers={"openrouter": router}, prices=prices) as house:
        token = house.token_for("acme", models=("openai/*",))
        house.stub.answer(REPLY)
        with house.client(token) as client:
            routed = {**ASK, "model": "openrouter/openai/gpt-4o-mini"}
            assert client.post("/v1/chat/completions", json=routed).status_code == 403
            own = {**ASK, "model": "openai/gpt-4o-mini"}
            assert client.post("/v1/chat/completions", json=own).status_code == 200


def test_a_model_is_priced_by_its_providers_name_for_it() -> None:
    """`openai/openai/m` is sent as `openai/m`, and is not the model `m` with its price."""
    low, high = ({"input_mtok": each, "output_mtok": each} for each in ("1", "100"))
    ask_twice = {**ASK, "model": "openai/openai/m", "max_tokens": 100}
    with gateway_house(prices={"openai/m": low}) as house:
        reply = house.post("/v1/chat/completions", ask_twice)
        assert reply.status_code == 400
        assert "openai/openai/m" in reply.json()["error"]["message"]
        assert house.stub.requests == []
    with gateway_house(prices={"openai/m": low, "openai/openai/m": high}) as house:
        usage = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
        house.stub.answer(Answer(body=completion(usage, model="openai/m")))
        reply = house.post("/v1/chat/completions", ask_twice)
        assert reply.headers["x-earmark-settled"] == "0.0018"
        assert house.stub.requests[0].json["model"] == "openai/m"
    zero = {"input_mtok": "0", "output_mtok": "0"}
    free: dict[str, Any] = {
        "prices": {"openai/openai/m": zero},
        "admission": {"allow_free": ["openai/m"]},
    }
    with gateway_house(**free) as house:
        assert house.post("/v1/chat/completions", ask_twice).status_code == 400
