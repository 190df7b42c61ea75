"""Tokens of the gateway over HTTP: made, rotated and revoked by admins; each secret seen once."""

from datetime import timedelta
from typing import Any

from earmark.money import Money
from earmark.stores.tables import Rows
from earmark.workspace.gateway_access import GatewayAccess
from support.service_house import House

BODY: dict[str, Any] = {
    "name": "agent",
    "budget": "acme/agent",
    "models": ["gpt-4o*"],
    "most_per_request": "0.5",
    "may_bound": True,
    "tier": "flex",
    "refusal_status": 403,
}


def kept(house: House) -> str:
    """Return all that the service's tables hold of tokens and of answers."""

    def read(rows: Rows) -> list[Any]:
        tables = ("token", "token_secret", "request")
        return [rows.run(f"SELECT * FROM {{schema}}.{each}") for each in tables]  # noqa: S608

    return str(house.workspace.tables.read(read))


def test_a_token_is_made_listed_rotated_and_revoked(shared: House) -> None:
    """As the command line does it."""
    made = shared.ok("post", "/v1/tokens", json=BODY)
    secret = made.pop("token")
    row = shared.service.tokens.check(secret)
    assert row is not None
    assert row.access == GatewayAccess(
        budget="acme/agent", models=("gpt-4o*",), most_per_request=Money("0.5"),
        may_bound=True, tier="flex", refusal_status=403,
    )  # fmt: skip
    at = f"/v1/tokens/{row.id}"
    assert shared.ok("get", at) == made
    assert made in shared.ok("get", "/v1/tokens", params={"limit": 1000})["items"]
    rotated = shared.ok("post", f"{at}/rotate", json={"overlap": "10min"})
    assert rotated["id"] == row.id
    assert shared.service.tokens.check(rotated["token"]) is not None
    assert shared.service.tokens.check(secret) is not None
    shared.clock.advance(timedelta(minutes=10))
    assert shared.service.tokens.check(secret) is None
    assert shared.ok("post", f"{at}/revoke")["revoked_at"] is not None
    assert shared.service.tokens.check(rotated["token"]) is None
    assert shared.no(409, "post", f"{at}/rotate", json={})["code"] == "token_refused"


def test_a_secret_is_in_one_answer_and_in_nothing_that_is_kept(shared: House) -> None:
    """Under a key too: sent again, the request is answered without it and makes no other."""
    before = len(shared.service.tokens.all())
    made = shared.ok("post", "/v1/tokens", key="make", json=BODY)
    again = shared.ask("post", "/v1/tokens", key="make", json=BODY)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**made, "token": None}
    rotating = f"/v1/tokens/{made['id']}/rotate"
    rotated = shared.ok("post", rotating, key="turn", json={})
    assert shared.ok("post", rotating, key="turn", json={}) == {**rotated, "token": None}
    assert len(shared.service.tokens.all()) == before + 1
    text = kept(shared) + str(shared.ok("get", "/v1/tokens", params={"limit": 1000}))
    for secret in (made["token"], rotated["token"]):
        assert shared.service.tokens.check(secret) is not None
        assert secret[37:] not in text


def test_a_token_observes_in_an_observed_tree(shared: House) -> None:
    """Refused before its root is observed, and made after under the same key; else it enforces."""
    body = {**BODY, "budget": "watched/agent", "mode": "observe"}
    shared.budget("watched")
    refused = shared.no(409, "post", "/v1/tokens", key="watch", json=body)
    assert "`earmark budget set watched --observed`" in refused["detail"]
    shared.workspace.ledger.set_budget("watched", observed=True)
    made = shared.ok("post", "/v1/tokens", key="watch", json=body)
    row = shared.service.tokens.get(made["id"])
    assert made["mode"] == shared.ok("get", f"/v1/tokens/{row.id}")["mode"] == "observe"
    assert row.access is not None
    assert row.access.mode == "observe"
    assert shared.ok("post", "/v1/tokens", json=BODY)["mode"] == "enforce"


def test_a_token_of_the_service_is_none_here(shared: House) -> None:
    """An admin over HTTP neither sees, turns nor ends who may use the service itself."""
    row, secret = shared.service.tokens.create("ops", ["admin"])
    listed = shared.ok("get", "/v1/tokens", params={"limit": 1000})["items"]
    assert row.id not in {each["id"] for each in listed}
    shared.no(404, "get", f"/v1/tokens/{row.id}")
    shared.no(404, "post", f"/v1/tokens/{row.id}/rotate", json={})
    shared.no(404, "post", f"/v1/tokens/{row.id}/revoke")
    assert shared.service.tokens.check(secret) == row


def test_what_is_no_token_is_not_made(shared: House) -> None:
    """A name, an amount, a status, a moment or a member that cannot be."""
    before = len(shared.service.tokens.all())
    for wrong in (
        {"name": "a\nb"},
        {"most_per_request": "0"},
        {"refusal_status": 200},
        {"mode": "later"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"budget": "/"},
        {"scopes": ["admin"]},
    ):
        assert shared.ask("post", "/v1/tokens", json={**BODY, **wrong}).status_code in {400, 422}
    assert len(shared.service.tokens.all()) == before


def test_tokens_have_pages(shared: House) -> None:
    """Each is on one page, in the order of creation."""
    made = [shared.ok("post", "/v1/tokens", json=BODY)["id"] for _ in range(3)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = shared.ok("get", "/v1/tokens", params=params)
        found += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == sorted(found)
    assert found[-3:] == made
