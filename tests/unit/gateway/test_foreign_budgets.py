"""What is another holder's is answered as what is not there: nobody can spend, see or guess it."""

from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from support.gateway_house import GatewayHouse, gateway_house
from support.recorded_requests import recorded_requests
from support.stub_server import completion, message
from support.upstream_stub import Answer

ASK: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
}
CLAUDE: Final = {**ASK, "model": "claude-sonnet-4-5", "max_tokens": 9}
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
BETAS: Final = sorted(
    {
        beta.strip()
        for request in recorded_requests()
        for name, value in request.headers.items()
        if name.lower() == "anthropic-beta"
        for beta in value.split(",")
    }
)


@pytest.fixture(scope="module")
def house() -> Iterator[GatewayHouse]:
    """A gateway with two trees of budgets; its own token is of `acme/agent`."""
    with gateway_house("1 usd total") as opened:
        opened.ledger.set_budget("rich", limits=["1000 usd total"])
        opened.ledger.set_budget("rich/secret", limits=["500 usd total"])
        yield opened


def asked(house: GatewayHouse, token: str, **headers: str) -> httpx2.Response:
    """Ask with *token*."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with house.client(token) as client:
        return client.post("/v1/chat/completions", json=ASK, headers=sent)


def test_another_tree_is_as_one_that_is_not(house: GatewayHouse) -> None:
    """The same words, status and headers, for a budget that is there and for one that is not."""
    before = str(house.ledger.balances("rich", tree=True))
    there, nowhere = (
        asked(house, house.token, x_earmark_budget=path) for path in ("rich/secret", "rich/nobody")
    )
    assert there.status_code == nowhere.status_code == 400
    assert there.text.replace("secret", "nobody") == nowhere.text
    assert there.headers.multi_items() == nowhere.headers.multi_items()
    assert str(house.ledger.balances("rich", tree=True)) == before


def test_another_holder_s_call_is_as_one_that_is_not(house: GatewayHouse) -> None:
    """Its Idempotency-Key is free here, its reservation's key opens nothing, it is listed nowhere.

    Neither for another budget's holder nor for one of the same budget.
    """
    first = asked(house, house.token, idempotency_key="the same")
    for other in (house.token_for("rich/secret"), house.token_for("acme/agent")):
        assert asked(house, other, idempotency_key="the same").status_code == 200
        assert asked(house, other, idempotency_key="the same").status_code == 409
        key = first.headers["x-earmark-key"]
        assert asked(house, other, idempotency_key=key).status_code == 200
        seen = [house.get(f"/v1/earmark/{what}", other).text for what in ("statement", "balance")]
        assert key not in "".join(seen)
        guesses = [
            house.get(f"/v1/earmark/statement?after={guess}", other) for guess in (key, key[::-1])
        ]
        assert guesses[0].text == guesses[1].text
        for what in ("balance", "statement"):
            extra = house.get(f"/v1/earmark/{what}", other, **{"x-earmark-budget": "acme/agent"})
            assert key not in extra.text


def test_a_token_that_is_none_is_as_one_that_was(house: GatewayHouse) -> None:
    """Whoever guesses learns nothing: revoked, of the service, half right, or made up."""
    row, revoked = house.tokens.create("gone", ["admin"])
    _, service = house.tokens.create("ops", ["admin"])
    house.tokens.revoke(row.id)
    wrong = house.token[:-1] + ("A" if house.token[-1] != "A" else "B")
    answers = {
        (reply.status_code, reply.text, str(reply.headers.multi_items()))
        for token in (revoked, service, wrong, "emk_" + "0" * 32 + "_" + "A" * 43, "x")
        for reply in (asked(house, token), asked(house, token, x_earmark_budget="rich/secret"))
    }
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


def test_the_betas_of_real_clients_pass(house: GatewayHouse) -> None:
    """Each of them stands in the table of its API, and reaches the provider as it came."""
    assert len(BETAS) > 9
    house.stub.answer(Answer(body=message({"input_tokens": 1, "output_tokens": 1})))
    with house.client() as client:
        for beta in BETAS:
            path = "/v1/messages/count_tokens" if "token-counting" in beta else "/v1/messages"
            ask = {
                name: CLAUDE[name] for name in CLAUDE if "count" not in path or name != "max_tokens"
            }
            reply = client.post(path, json=ask, headers={"anthropic-beta": beta})
            assert reply.status_code == 200, (beta, reply.text)
            assert house.stub.requests[-1].header("anthropic-beta") == beta


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "betas",
    [
        "fast-tomorrow-2027-01-01",
        "effort-2025-11-24,fast-tomorrow-2027-01-01",
        "effort-2025-11-24, FAST-tomorrow-2027-01-01",
        "user-profiles-billing-2026-10-01",
    ],
)
def test_a_beta_that_no_table_lists_is_refused(house: GatewayHouse, path: str, betas: str) -> None:
    """It may alter the price: nothing is sent, and the answer names it."""
    before = len(house.stub.requests)
    ask = {**ASK, "model": "claude-sonnet-4-5"} if "count" in path else CLAUDE
    reply = house.post(path, ask, anthropic_beta=betas)
    assert reply.status_code == 400
    assert betas.rpartition(",")[2].strip() in reply.text
    assert len(house.stub.requests) == before
