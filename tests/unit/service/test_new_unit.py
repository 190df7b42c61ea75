"""A unit that is one row more in the table of units is taken and told by the API and metrics."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from earmark.budget.units import UNITS
from earmark.service.bodies import ReserveBody
from earmark.service.metrics import FRESH_S
from support.service_house import House
from support.units import FRAMES, registered

RESERVE = {"budget": "acme", "amount": "0.5", "key": "k", "units": {"frames": 3}}


@pytest.fixture(autouse=True)
def made_up() -> Iterator[None]:
    """A unit more than there are."""
    with registered(FRAMES):
        yield


def test_the_api_takes_it_and_tells_it(house: House) -> None:
    """A limit of it, a reservation that states it, its extension and settlement, its numbers."""
    house.ok("put", "/v1/budgets/acme", json={"limits": ["5 frames per day"]})
    assert house.ok("post", "/v1/reservations", json=RESERVE)["units"] == {"calls": 1, "frames": 3}
    problem = house.no(429, "post", "/v1/reservations", json={**RESERVE, "key": "other"})
    assert (problem["unit"], problem["available"], problem["requested"]) == ("frames", 2, 3)
    house.ok("post", "/v1/reservations/k/extend", json={"units": {"frames": 1}})
    body = {"amount": "0.4", "units": {"frames": 2}}
    done = house.ok("post", "/v1/reservations/k/settle", json=body)
    assert done["units"] == {"calls": 1, "frames": 2}
    (balance,) = house.ok("get", "/v1/budgets/acme")["balances"]
    assert (balance["unit"], balance["settled"], balance["available"]) == ("frames", 2, 3)
    entries = house.ok("get", "/v1/entries?key=k")["items"]
    assert [each["units"].get("frames") for each in entries] == [3, 1, 2]


def test_its_numbers_are_metrics(house: House) -> None:
    """Under its own name, as those of every other unit."""
    house.budget("acme", "5 frames per day")
    house.workspace.ledger.reserve("acme", units={"frames": 2})
    house.clock.advance(timedelta(seconds=FRESH_S))
    told = house.ask("get", "/metrics").text
    labels = '{budget="acme",unit="frames",window="day"}'
    assert f"budget_limit_frames{labels} 5.0" in told
    assert f"budget_reserved_frames{labels} 2.0" in told
    assert f"budget_spent_frames_total{labels} 0.0" in told


def test_the_schema_lists_what_may_be_stated(house: House) -> None:
    """It is made from the table; a name that is not there is refused with those that are."""
    schema = ReserveBody.model_json_schema()["properties"]["units"]
    assert schema["propertyNames"]["enum"] == [name for name in UNITS if name != "usd"]
    house.budget("acme")
    for unit in ("usd", "miles"):
        problem = house.no(400, "post", "/v1/reservations", json={**RESERVE, "units": {unit: 1}})
        assert "calls or tokens or " in str(problem)
