"""Which budget pays for a request, and how many of them a token's clients can make."""

import json
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from earmark.gateway.denied import Denied
from earmark.gateway.payers import named_budget
from support.gateway_house import GatewayHouse, at_once, gateway_house
from support.stub_server import completion
from support.upstream_stub import Answer

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Name one planet."}],
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
REPLY = Answer(body=completion(USAGE, model="gpt-4o-mini"))
COST = "0.0000054"
SESSION = "0b9f2a44-6f2e-4c1e-9a51-3a3f2d6f7c10"


def paid_by(
    house: GatewayHouse, name: str, value: str, token: str | None = None
) -> httpx2.Response:
    """Ask with one header."""
    with house.client(token) as client:
        return client.post(CHAT, json=ASK, headers={name: value})


@pytest.mark.parametrize(
    ("name", "value", "budget"),
    [
        ("x-earmark-budget", "acme/agent/ticket-17", "acme/agent/ticket-17"),
        ("x-earmark-budget", "acme/agent/a/b", "acme/agent/a/b"),
        ("x-claude-code-session-id", SESSION, f"acme/agent/session-{SESSION}"),
        ("session-id", SESSION, f"acme/agent/session-{SESSION}"),
        ("session_id", SESSION, f"acme/agent/session-{SESSION}"),
    ],
)
def test_a_session_is_a_budget_below_the_token_s(
    house: GatewayHouse, name: str, value: str, budget: str
) -> None:
    """It is made by its first call, without limits; those above it bind; and it is written once."""
    house.stub.answer(REPLY)
    for _ in range(2):
        reply = paid_by(house, name, value)
        assert (reply.status_code, reply.headers["x-earmark-budget"]) == (200, budget)
    made = house.ledger.budgets("acme/agent", kind="session")
    assert [(each.path, each.limits) for each in made] == [(budget, ())]
    assert len(house.ledger.entries(budget)) == 1 + 2 * 2, "made once; two calls opened and settled"
    assert house.spent == 2 * Decimal(COST)
    statement = house.get("/v1/earmark/statement").json()
    sums = {"calls": 2, "settled_usd": "0.0000108", "held_usd": "0"}
    assert statement["budgets"] == {budget: sums}
    assert house.get("/v1/earmark/balance").json()["sessions"] == {"made": 1, "last": [budget]}


def test_the_limit_of_the_token_binds_all_its_sessions() -> None:
    """A client with a new session for each call spends no more than one without."""
    with gateway_house("0.0004 usd total") as house:
        house.stub.answer(Answer(body=completion({**USAGE, "completion_tokens": 500})))
        statuses = [paid_by(house, "session-id", f"s{n}").status_code for n in range(4)]
        assert statuses == [200, 402, 402, 402]
        assert house.spent <= Decimal("0.0004")


def test_what_a_request_names_wins_over_its_session(house: GatewayHouse) -> None:
    """And Claude Code's header over Codex's."""
    house.stub.answer(REPLY)
    both = {"session-id": "codex", "x-claude-code-session-id": "claude"}
    first = house.post(CHAT, ASK, **both)
    assert first.headers["x-earmark-budget"] == "acme/agent/session-claude"
    named = {**both, "x-earmark-budget": "acme/agent/x"}
    assert house.post(CHAT, ASK, **named).headers["x-earmark-budget"] == "acme/agent/x"
    assert house.post(CHAT, ASK).headers["x-earmark-budget"] == "acme/agent"
    # The provider hears of the session, and not of the budget.
    sent = house.stub.requests[1]
    assert (sent.header("session-id"), sent.header("x-earmark-budget")) == ("codex", None)


@pytest.mark.parametrize(
    "path",
    [
        *("acme/agent", "acme", "other/x", "acme/agentx", "acme/agent/../other", "acme/agent/."),
        *("acme/agent/", "/acme/agent/x", "acme//agent/x", "acme/agent/a b", "ticket-17", ""),
        *("acme/agent/" + "x" * 65, "acme/agent/" + "x/" * 20 + "x", "acme/agent/x,acme/agent/x"),
        *("acme/agent/x%2Fy", "ACME/agent/x", "acme/agent/x'; DROP TABLE budget; --"),
    ],
)
def test_another_budget_is_refused(house: GatewayHouse, path: str) -> None:
    """One that is not below the token's, or not written as a path is; nothing is made or sent."""
    house.ledger.set_budget("other/x", limits=["1 usd total"])
    before = [each.path for each in house.ledger.budgets()]
    reply = paid_by(house, "x-earmark-budget", path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_budget")
    assert house.stub.requests == []
    assert [each.path for each in house.ledger.budgets()] == before


@pytest.mark.parametrize(
    "text", ["..", "é", "a/b", "x" * 5000, "a b", "\x7f", "a,b", "'; --", "\u202e", "%2e%2e/", "-"]
)
def test_an_odd_session_has_a_plain_name(text: str) -> None:
    """Whatever a client sends is one segment of letters and digits below its token's budget."""
    found = named_budget("acme", {"session-id": text})
    assert found is not None
    own, session = found.split("/")
    assert (own, len(session)) == ("acme", len("session-") + 32)
    assert found == named_budget("acme", {"session-id": text})
    assert found != named_budget("acme", {"session-id": text + "x"})


def test_a_path_without_room_has_no_sessions() -> None:
    """Its calls count on the token's own; a budget that is named there is no path."""
    own = "/".join("x" * 15 for _ in range(16))
    assert named_budget(own, {"session-id": "s"}) is None
    assert named_budget("acme", {"session-id": "  "}) is None
    with pytest.raises(Denied):
        named_budget(own, {"x-earmark-budget": f"{own}/x"})


def test_a_token_has_so_many_sessions_and_no_more() -> None:
    """Beyond them calls count on its own budget and say so; those that it has go on."""
    with gateway_house(gateway={"sessions_per_token": 3}) as house:
        house.stub.answer(REPLY)

        def call(number: int) -> httpx2.Response:
            return paid_by(house, "session-id", f"s{number}")

        replies = at_once(12, call)
        paid = [reply.headers["x-earmark-budget"] for reply in replies]
        full = [reply for reply in replies if "x-earmark-session-limit" in reply.headers]
        assert {reply.status_code for reply in replies} == {200}
        assert (len(full), paid.count("acme/agent")) == (9, 9)
        assert {reply.headers["x-earmark-session-limit"] for reply in full} == {"3"}
        made = [each.path for each in house.ledger.budgets("acme", kind="session")]
        assert len(made) == 3
        named = paid_by(house, "x-earmark-budget", "acme/agent/more")
        assert named.headers["x-earmark-budget"] == "acme/agent"
        again = paid_by(house, "session-id", made[0].partition("session-")[2])
        assert again.headers["x-earmark-budget"] == made[0]
        assert "x-earmark-session-limit" not in again.headers
        # A refusal says it too; another token has its own.
        refused = house.post(CHAT, {**ASK, "messages": "x"}, session_id="new")
        assert (refused.status_code, refused.headers["x-earmark-session-limit"]) == (400, "3")
        other = house.token_for("acme/agent")
        reply = paid_by(house, "session-id", "s", other)
        assert reply.headers["x-earmark-budget"] == "acme/agent/session-s"


def test_a_quote_makes_no_session(house: GatewayHouse) -> None:
    """It says who would pay, and neither makes that budget nor counts it."""
    quote = house.post(CHAT, ASK, session_id="s", x_earmark_dry_run="true").json()
    assert (quote["budget"], quote["fits"]) == ("acme/agent/session-s", True)
    assert house.ledger.budgets("acme", kind="session") == []
    assert house.get("/v1/earmark/balance").json()["sessions"] == {"made": 0, "last": []}
    house.stub.answer(REPLY)
    house.post(CHAT, ASK, session_id="s")
    assert house.get("/v1/earmark/balance").json()["sessions"]["made"] == 1


def test_a_budget_that_somebody_made_pays_with_its_own_limits(house: GatewayHouse) -> None:
    """It takes none of the token's sessions; a run's is the run's alone."""
    house.stub.answer(REPLY)
    house.ledger.set_budget("acme/agent/small", limits=["0.000001 usd total"])
    reply = paid_by(house, "x-earmark-budget", "acme/agent/small")
    assert reply.status_code == 402
    house.ledger.set_budget("acme/agent/run-x", limits=["1 usd total"], kind="run")
    for path in ("acme/agent/run-x", "acme/agent/run-x/y"):
        assert paid_by(house, "x-earmark-budget", path).status_code == 400
    assert house.get("/v1/earmark/balance").json()["sessions"]["made"] == 0
    assert house.spent == 0


def test_tokens_that_share_a_budget_do_not_see_each_other_s_sessions(house: GatewayHouse) -> None:
    """Not where both name the same one either: each has its own calls there, and no other's."""
    house.stub.answer(REPLY)
    other = house.token_for("acme/agent")
    paid_by(house, "session-id", "mine")
    paid_by(house, "session-id", "both")
    paid_by(house, "session-id", "both", other)
    seen = house.get("/v1/earmark/statement", other).json()
    assert list(seen["budgets"]) == ["acme/agent/session-both"]
    assert (len(seen["calls"]), seen["settled_usd"]) == (1, COST)
    balance = house.get("/v1/earmark/balance", other).json()
    assert balance["sessions"] == {"made": 1, "last": ["acme/agent/session-both"]}
    above = house.get("/v1/earmark/statement", house.token_for("acme")).json()
    assert "mine" not in json.dumps([seen, balance, above])
    mine = house.get("/v1/earmark/statement").json()
    assert [each["calls"] for each in mine["budgets"].values()] == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        REPLY,
        Answer(status=500, body=b"{}"),
        Answer(ends="never_begun"),
        Answer(status=302, headers=(("location", "http://127.0.0.1:9/"),)),
    ],
    ids=["reply", "error", "broken", "redirect"],
)
def test_every_answer_to_a_held_call_names_its_reservation(
    house: GatewayHouse, answer: Answer
) -> None:
    """Also where it failed: the key, who paid, what was held, booked and is left."""
    house.stub.answer(answer)
    reply = house.post(CHAT, ASK, session_id="s")
    (hold,) = house.ledger.holds("acme", state=None)
    assert reply.headers["x-earmark-key"] == hold.key
    assert reply.headers["x-earmark-budget"] == hold.budget == "acme/agent/session-s"
    assert reply.headers["x-earmark-hold"] == str(hold.amount)
    assert reply.headers["x-earmark-settled"] == str(hold.settled)
    assert Decimal(reply.headers["x-earmark-available"]) == 100 - house.spent
    for name in ("key", "budget", "hold", "settled", "available"):
        assert len(reply.headers.get_list(f"x-earmark-{name}")) == 1


def test_models_are_read_one_by_one(house: GatewayHouse) -> None:
    """For nothing, in the path of each maker; a token reads those that it may call."""
    house.stub.answer(Answer(body=b'{"id": "m"}'))
    anthropic = {"anthropic-version": "2023-06-01"}
    for path, headers, sent in (
        ("/v1/models/gpt-4o-mini", {}, "/v1/models/gpt-4o-mini"),
        ("/v1/models/openai/ft:gpt-4o:acme::x", {}, "/v1/models/ft%3Agpt-4o%3Aacme%3A%3Ax"),
        ("/v1/models/claude-sonnet-4-5", anthropic, "/v1/models/claude-sonnet-4-5"),
        ("/v1beta/models/gemini-2.5-flash", {}, "/v1beta/models/gemini-2.5-flash"),
    ):
        assert house.get(path, **headers).json() == {"id": "m"}
        assert house.stub.requests[-1].path == sent
    assert house.spent == 0
    count = len(house.stub.requests)
    for path in ("/v1/models/..", "/v1/models/..%2Ffiles", "/v1/models/a/../../files"):
        assert house.get(path).status_code == 404
    token = house.token_for("acme", models=("gpt-4o*",))
    assert house.get("/v1/models/gpt-5", token).status_code == 403
    assert len(house.stub.requests) == count
