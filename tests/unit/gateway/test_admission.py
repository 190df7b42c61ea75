"""What does not fit is clamped, waited for and refused, in a form that stops each client."""

import json
import threading
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from support.gateway_house import GatewayHouse, at_once, gateway_house
from support.last_resort import LAST_RESORT_S
from support.stub_server import completion, message
from support.upstream_stub import Answer, Arrived, cost

ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}
CLAUDE = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 100}
RATES = ("0.15", "0.60")
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY = Answer(body=completion(USAGE, model="gpt-4o-mini"))


def dearest(arrived: Arrived) -> Answer:
    """Answer with all the output that was asked for, and bill it."""
    limit = int(arrived.json["max_tokens"])
    usage = {"prompt_tokens": 12, "completion_tokens": limit, "total_tokens": 12 + limit}
    return Answer(body=completion(usage, model="gpt-4o-mini"), cost=cost(12, limit, rates=RATES))


def test_sixty_four_calls_at_once_pass_no_cap() -> None:
    """On a cap that ten fit: the provider's own bill stays within it, and the books within both."""
    one = cost(12, 1000, rates=RATES)
    with gateway_house(f"{one * 10 + one / 2} usd total", wait="0.2s") as house:
        house.stub.answers = dearest

        def call(number: int) -> httpx2.Response:
            del number
            return house.post("/v1/chat/completions", {**ASK, "max_tokens": 1000})

        replies = at_once(64, call)
        statuses = {reply.status_code for reply in replies}
        assert statuses <= {200, 402, 429}
        assert 200 in statuses
        served = [reply for reply in replies if reply.status_code == 200]
        assert len(house.stub.requests) == len(served), "a refused call is not sent"
        assert house.stub.bill <= one * 10 + one / 2
        assert house.stub.bill == house.spent
        assert house.stub.bill > one * 9, "what there was is used"
        assert house.ledger.audit().ok


def test_what_does_not_fit_is_clamped_and_said() -> None:
    """The request goes with the limit that fits; the answer says which, and what is left."""
    with gateway_house("0.0004 usd total") as house:
        house.stub.answer(REPLY)
        reply = house.post("/v1/chat/completions", ASK)
        (sent,) = house.stub.requests
        assert int(reply.headers["x-earmark-max-tokens"]) == sent.json["max_tokens"] < 1024
        assert Decimal(reply.headers["x-earmark-hold"]) <= Decimal("0.0004")
        assert reply.headers["x-earmark-settled"] == "0.0000054"
        assert reply.headers["x-earmark-available"] == "0.0003946"
        (hold,) = house.ledger.holds("acme", state=None)
        assert reply.headers["x-earmark-key"] == hold.key


REFUSALS = [
    pytest.param("/v1/chat/completions", ASK, "python", 402, "insufficient_quota", id="chat"),
    pytest.param("/v1/messages", CLAUDE, "claude-cli/2", 402, "billing_error", id="messages"),
    pytest.param("/v1/messages", CLAUDE, "litellm/1", 400, "billing_error", id="aider"),
    pytest.param(
        "/v1/responses", {"model": "gpt-4o-mini", "input": "x"}, "codex_cli_rs/1", 429,
        "usage_limit_reached", id="codex",
    ),
    pytest.param(
        "/v1/responses", {"model": "gpt-4o-mini", "input": "x"}, "python", 402,
        "insufficient_quota", id="responses",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "client", "status", "kind"), REFUSALS)
def test_a_refusal_has_the_form_of_its_client(
    path: str, body: dict[str, Any], client: str, status: int, kind: str
) -> None:
    """Nothing is sent, nothing is held, and no client asks again."""
    with gateway_house("0.00001 usd total") as house:
        reply = house.post(path, body, user_agent=client)
        assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
        assert reply.headers["x-should-retry"] == "false"
        assert "retry-after" not in reply.headers
        if status == 402 and kind == "insufficient_quota":
            assert '(insufficient credits, "code":402)' in reply.json()["error"]["message"]
        assert house.stub.requests == []
        assert house.spent == 0


def test_gemini_is_refused_in_its_form() -> None:
    """With the status of its own API."""
    with gateway_house("0.0000001 usd total") as house:
        body = {"contents": [{"parts": [{"text": "hi"}]}]}
        reply = house.post("/v1beta/models/gemini-2.5-flash:generateContent", body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (402, 402)
        assert house.stub.requests == []


def test_who_is_held_up_by_others_waits_and_is_told_to_ask_again() -> None:
    """It is served once they are settled; where that takes too long, it is to ask again soon."""
    limit = f"{cost(300, 1024, rates=RATES)} usd total"
    with gateway_house(limit, wait="0.1s") as house:
        gate = threading.Event()
        house.stub.answers = lambda _: Answer(body=REPLY.body, waits={-1: gate})
        first = threading.Thread(target=house.post, args=("/v1/chat/completions", ASK))
        first.start()
        house.stub.wait_for_request()
        held = house.post("/v1/chat/completions", ASK)
        assert held.status_code == 429
        assert (held.headers["retry-after"], held.headers["x-should-retry"]) == ("2", "true")
        gate.set()
        first.join(LAST_RESORT_S)
        assert house.post("/v1/chat/completions", ASK).status_code == 200
    with gateway_house(limit, wait="10min") as house:
        gate = threading.Event()
        house.stub.answer(Answer(body=REPLY.body, waits={-1: gate}), REPLY)
        replies: list[Any] = []
        threads = [
            threading.Thread(target=lambda: replies.append(house.post("/v1/chat/completions", ASK)))
            for _ in range(2)
        ]
        for each in threads:
            each.start()
        house.stub.wait_for_request()
        gate.set()
        for each in threads:
            each.join(LAST_RESORT_S)
        assert [reply.status_code for reply in replies] == [200, 200]


def test_what_nothing_bounds_is_refused_by_its_place(house: GatewayHouse) -> None:
    """An option that no table lists, a beta that alters the price, a model without a price."""
    odd = house.post("/v1/chat/completions", {**ASK, "turbo": True})
    assert (odd.status_code, odd.json()["error"]["code"]) == (400, "unpriced")
    assert "turbo" in odd.json()["error"]["message"]
    beta = house.post("/v1/messages", CLAUDE, anthropic_beta="turbo-2027-01-01")
    assert beta.status_code == 400
    assert "turbo-2027-01-01" in beta.json()["error"]["message"]
    model = house.post("/v1/chat/completions", {**ASK, "model": "nobody-knows"})
    assert model.status_code == 400
    claude = house.post("/v1/messages", {**CLAUDE, "turbo": 1}, user_agent="claude-cli/2.1")
    assert claude.status_code == 402, "Claude Code asks six times after a 400"
    assert house.stub.requests == []


def test_a_quote_holds_and_sends_nothing() -> None:
    """It says what would be held, the clamp, and why it would not fit."""
    with gateway_house("0.0004 usd total") as house:
        quote = house.post("/v1/chat/completions", ASK, x_earmark_dry_run="true").json()
        assert quote["fits"]
        assert quote["clamped_to"] == quote["max_output_tokens"] < 1024
        assert Decimal(quote["hold"]) <= Decimal("0.0004") == Decimal(quote["available"])
        house.ledger.pause("acme")
        paused = house.post("/v1/chat/completions", ASK, x_earmark_dry_run="true").json()
        assert (paused["fits"], paused["reason"]) == (False, "paused")
        wrong = house.post("/v1/chat/completions", ASK, x_earmark_dry_run="maybe")
        assert wrong.status_code == 400
        assert house.stub.requests == []
        assert house.ledger.holds("acme", state=None) == []
    with gateway_house("0.00001 usd total") as house:
        quote = house.post("/v1/chat/completions", ASK, x_earmark_dry_run="true").json()
        assert (quote["fits"], quote["reason"]) == (False, "too_large")
        lost = house.token_for("nobody")
        with house.client(lost) as client:
            reply = client.post(
                "/v1/chat/completions", json=ASK, headers={"x-earmark-dry-run": "true"}
            )
        assert reply.status_code == 402


def test_a_named_request_goes_to_its_provider_once(house: GatewayHouse) -> None:
    """What was admitted under an Idempotency-Key is not sent again, whatever became of it."""
    house.stub.answer(Answer(status=500, body=b"{}"), REPLY)
    first = house.post("/v1/chat/completions", ASK, idempotency_key="k-1")
    again = house.post("/v1/chat/completions", ASK, idempotency_key="k-1")
    other = house.post("/v1/chat/completions", {**ASK, "n": 2}, idempotency_key="k-1")
    assert first.status_code == 500
    for repeat in (again, other):
        assert repeat.status_code == 409
        assert repeat.headers["x-should-retry"] == "false"
        assert repeat.headers["x-earmark-state"] == "presumed"
        assert repeat.headers["x-earmark-key"] == first.headers["x-earmark-key"]
    assert len(house.stub.requests) == 1
    with house.client(house.token_for("acme/agent")) as client:
        mine = client.post("/v1/chat/completions", json=ASK, headers={"idempotency-key": "k-1"})
    assert mine.status_code == 200, "another token's key is another one"


def test_a_named_request_under_way_is_not_sent_again(house: GatewayHouse) -> None:
    """Two at the same time: one is sent."""
    gate = threading.Event()
    house.stub.answer(Answer(body=REPLY.body, waits={-1: gate}))
    first = threading.Thread(
        target=lambda: house.post("/v1/chat/completions", ASK, idempotency_key="k")
    )
    first.start()
    house.stub.wait_for_request()
    again = house.post("/v1/chat/completions", ASK, idempotency_key="k")
    gate.set()
    first.join(LAST_RESORT_S)
    assert (again.status_code, again.headers["x-earmark-state"]) == (409, "open")
    assert len(house.stub.requests) == 1


def test_a_named_request_that_was_refused_asks_anew() -> None:
    """A refusal is not kept."""
    with gateway_house("0.00001 usd total") as house:
        house.stub.answer(REPLY)
        assert house.post("/v1/chat/completions", ASK, idempotency_key="k").status_code == 402
        house.ledger.set_budget("acme", limits=["1 usd total"])
        assert house.post("/v1/chat/completions", ASK, idempotency_key="k").status_code == 200


def test_a_provider_that_cannot_be_reached_costs_nothing(house: GatewayHouse) -> None:
    """No connection was made: the hold comes back. One that breaks off may have cost it all."""
    house.stub.answer(Answer(ends="never_begun"))
    broken = house.post("/v1/chat/completions", ASK)
    assert broken.status_code == 502
    assert [hold.state for hold in house.ledger.holds("acme", state=None)] == ["presumed"]
    nobody = {"api": "openai", "base_url": "http://127.0.0.1:9/v1"}
    with gateway_house(providers={"nobody": nobody}, prices=_PRICES) as lost:
        reply = lost.post("/v1/chat/completions", {**ASK, "model": "nobody/m"})
        assert (reply.status_code, lost.spent) == (502, 0)


_PRICES = {"nobody/m": {"input_mtok": "1", "output_mtok": "1"}}


def test_the_default_provider_of_an_api_is_asked(house: GatewayHouse) -> None:
    """Where a model's name begins with no provider."""
    local = {"api": "openai", "base_url": f"{house.stub.url}/v1", "default": True}
    prices = {"local/m": {"input_mtok": "1", "output_mtok": "1"}}
    with gateway_house(providers={"local": local}, prices=prices) as other:
        house.stub.answer(Answer(body=completion(USAGE, model="m")))
        reply = other.post("/v1/chat/completions", {**ASK, "model": "m"})
        assert reply.status_code == 200, reply.text
        assert house.stub.requests[0].header("authorization") is None
        (hold,) = other.ledger.holds("acme", state=None)
        assert json.loads(hold.labels)["model"] == "local/m"


def test_a_provider_counts_what_does_not_fit_by_its_bytes() -> None:
    """Its count, with its margin, takes the place of the bytes; nothing is held meanwhile."""
    counting = {"anthropic": {"count_tokens": True}}
    ask = {**CLAUDE, "messages": [{"role": "user", "content": "word " * 2000}]}
    reply = Answer(
        body=message({"input_tokens": 2000, "output_tokens": 5}, model="claude-sonnet-4-5")
    )

    def answered(arrived: Arrived) -> Answer:
        if arrived.path.endswith("/count_tokens"):
            return Answer(body=b'{"input_tokens": 2000}')
        return reply

    with gateway_house("0.012 usd total") as house:
        house.stub.answers = answered
        assert house.post("/v1/messages", ask).status_code == 402
        assert house.stub.requests == []
    with gateway_house("0.012 usd total", windows=counting) as house:
        house.stub.answers = answered
        done = house.post("/v1/messages", ask)
        assert done.status_code == 200, done.text
        assert [each.path for each in house.stub.requests] == [
            "/v1/messages/count_tokens",
            "/v1/messages",
        ]
