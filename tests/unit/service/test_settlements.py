"""Settlements over HTTP: what is kept with them, and what nobody knows the cost of."""

from typing import Any

from support.service_house import House

DETAILS: dict[str, Any] = {
    "model": "m",
    "request_id": "req_1",
    "usage": {"input_tokens": 3},
    "unknown": ["usage.thoughts = 7"],
    "share": 1.5,
}


def reserve(house: House) -> str:
    """Hold 1 usd and return where the reservation is."""
    house.budget("acme", "10 usd per day")
    body = {"budget": "acme", "amount": "1", "key": "call/1"}
    house.ok("post", "/v1/reservations", json=body)
    return "/v1/reservations/call/1"


def test_details_come_back_wherever_the_cost_is(house: House) -> None:
    """With the settlement, the reservation, its place in a list, and its entry."""
    at = reserve(house)
    done = house.ok("post", f"{at}/settle", json={"amount": "2", "details": DETAILS})
    assert (done["state"], done["overrun"], done["details"]) == ("settled", "1", DETAILS)
    assert house.ok("get", at) == done
    assert house.ok("get", "/v1/reservations?state=settled")["items"] == [done]
    assert house.ok("get", "/v1/entries?key=call/1")["items"][-1]["data"] == DETAILS


def test_what_is_known_is_presumed_and_only_raised(house: House) -> None:
    """The larger of the hold and what is known; once under an Idempotency-Key."""
    at = reserve(house)
    first = house.ok("post", f"{at}/presume", json={"known": "0.4", "details": DETAILS})
    assert (first["state"], first["settled"], first["details"]) == ("presumed", "1", DETAILS)
    for _ in range(2):
        raised = house.ask("post", f"{at}/presume", json={"known": "1.75"}, key="once")
        assert (raised.status_code, raised.json()["settled"]) == (200, "1.75")
    assert house.ok("post", f"{at}/presume", json={})["settled"] == "1.75"
    kinds = [each["kind"] for each in house.ok("get", "/v1/entries?key=call/1")["items"]]
    assert kinds == ["reserve", "presume", "presume"]
    house.ok("post", f"{at}/settle", json={"amount": "0.1"})
    assert house.no(409, "post", f"{at}/presume", json={})["code"] == "reservation_closed"


def test_details_that_no_store_keeps_are_refused(house: House) -> None:
    """Too many characters, a NUL, no object: the reservation stays open."""
    at = reserve(house)
    for wrong in ({"a": "x" * 4096}, {"a": "\0"}, ["a"], "a"):
        house.no(400, "post", f"{at}/settle", json={"amount": "1", "details": wrong})
        house.no(400, "post", f"{at}/presume", json={"details": wrong})
    assert house.ok("get", at)["state"] == "open"
