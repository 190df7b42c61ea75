"""A gateway before an observed tree: nobody's cap is believed in that does not bind."""

from datetime import timedelta
from typing import Any

import pytest

from earmark.config.assemble import key_from
from earmark.gateway.app import Gateway
from earmark.gateway.command_session import CommandSession
from earmark.gateway.server import running
from earmark.gateway.team_gateway import TeamGateway
from earmark.money import Money
from earmark.stores.open_tables import open_tables
from support.gateway_house import KEYS, GatewayHouse, gateway_house, settings
from support.stub_server import completion
from support.upstream_stub import Answer

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
    "max_tokens": 1000,
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY = Answer(body=completion(USAGE, model="gpt-4o-mini"))


def test_a_token_for_limits_that_bind_spends_nothing_in_an_observed_tree(
    house: GatewayHouse,
) -> None:
    """It is told so, nothing is sent, and it spends again once the limits bind."""
    house.ledger.set_budget("acme", observed=True)
    refused = house.post(CHAT, ASK)
    assert refused.status_code == 403
    assert "--no-observed" in refused.json()["error"]["message"]
    assert (house.stub.requests, house.spent) == ([], 0)
    house.ledger.set_budget("acme/agent", limits=["1 usd total"])
    (limit,) = house.get("/v1/earmark/balance").json()["limits"]
    assert limit["observed"] is True
    house.ledger.set_budget("acme", observed=False)
    house.clock.advance(timedelta(seconds=2))
    house.stub.answer(REPLY)
    assert house.post(CHAT, ASK).status_code == 200


def test_it_goes_over_no_limit_in_a_tree_that_is_observed_this_moment() -> None:
    """Also where the gateway does not know it yet: what would go over is released, not sent."""
    with gateway_house("0.0000001 usd total") as house:
        assert house.post(CHAT, ASK).status_code in {402, 429}
        house.ledger.set_budget("acme", observed=True)
        refused = house.post(CHAT, ASK)
        assert refused.status_code == 403
        assert "observed" in refused.json()["error"]["message"]
        assert (house.stub.requests, house.spent) == ([], 0)
        assert house.ledger.audit().would_refuse == 1, "it was held, and given back"


def test_a_token_that_observes_is_let_in_while_its_tree_is_observed() -> None:
    """It is told which limit would have refused; once limits bind, they bind it, and it is told."""
    with gateway_house("0.0000001 usd total") as house:
        house.ledger.set_budget("acme", observed=True)
        token = house.token_for("acme/watched", mode="observe", models=("gpt-4o-mini",))
        house.stub.answer(REPLY)
        with house.client(token) as client:
            let_in = client.post(CHAT, json=ASK)
            assert let_in.status_code == 200, let_in.text
            assert let_in.headers["x-earmark-observed"] == "true"
            said = let_in.headers["x-earmark-would-refuse"]
            assert said == "too_large, acme, 0.0000001 usd total"
            # Its own terms and what has no price are no limits of the tree.
            assert client.post(CHAT, json={**ASK, "model": "gpt-4o"}).status_code == 403
            unpriced = client.post(CHAT, json={**ASK, "strange_option": 1})
            assert (unpriced.status_code, unpriced.json()["error"]["code"]) == (400, "unpriced")
            balance = client.get("/v1/earmark/balance").json()
            assert (balance["mode"], balance["observed"]) == ("observe", True)
            with TeamGateway(house.url, token) as team:
                statement = team.statement()
                assert statement.observed is True
                assert str(statement.left) == balance["available_usd"] == "-0.0000053"
            house.ledger.set_budget("acme", observed=False)
            house.clock.advance(timedelta(seconds=2))
            refused = client.post(CHAT, json=ASK)
            assert refused.status_code == 402
            assert refused.headers["x-earmark-observed"] == "false"
            assert client.get("/v1/earmark/balance").json()["observed"] is False
        assert len(house.stub.requests) == 1
        assert house.ledger.audit().ok


@pytest.mark.parametrize("dry", [False, True])
def test_a_command_in_an_observed_tree_is_let_in_and_told(*, dry: bool) -> None:
    """Answers say that the tree is observed and which limit would refuse; so does its statement."""
    with gateway_house("0.0000001 usd total") as house:
        house.ledger.set_budget("acme", observed=True)
        session = CommandSession(house.ledger, "acme", Money("1"), actor="Ada", notices=())
        made = Gateway(
            house.ledger,
            session.check_token,
            settings(house.stub.url),
            key=key_from(KEYS),
            tables=open_tables(house.ledger.store),
        )
        house.stub.answer(REPLY)
        with running(made) as house.url, house.client(session.token) as client:
            headers = {"x-earmark-dry-run": "true"} if dry else {}
            reply = client.post(CHAT, json=ASK, headers=headers)
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-earmark-observed"] == "true"
        assert session.statement().to_json()["observed"] is True
        if dry:
            quote = reply.json()
            assert quote["fits"] is True
            assert "0.0000001" in quote["would_refuse"]
            return
        said = reply.headers["x-earmark-would-refuse"]
        assert said == "too_large, acme, 0.0000001 usd total"
        assert len(house.stub.requests) == 1
        assert house.ledger.audit().ok
