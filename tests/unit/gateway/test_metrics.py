"""What a gateway counts: by token and model, bounded, and without a look into the books."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from earmark.admission.charge import Charge
from earmark.gateway.metric_families import families, written
from earmark.gateway.metrics import MOST_PAIRS, OTHER, GatewayMetrics, RequestRecord
from earmark.money import Money
from earmark.stores.memory import MemoryStore
from earmark.testing import ManualClock
from support.gateway_house import GatewayHouse, gateway_house
from support.last_resort import LAST_RESORT_S
from support.stub_server import chunks, completion
from support.upstream_stub import STREAM, Answer

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
CHAT = chunks(["Ma", "rs"], USAGE, model="gpt-4o-mini")
PATH = "/v1/chat/completions"
Samples = dict[tuple[str, ...], Decimal]


def scraped(house: GatewayHouse) -> Samples:
    """Return all samples, each by its name and labels but for the token."""
    _, reader = house.tokens.create("prometheus", ["read"])
    reply = house.get("/metrics", reader)
    assert reply.status_code == 200, reply.text
    found: Samples = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name != "token"]
            key = (sample.name, *labels)
            found[key] = found.get(key, Decimal(0)) + Decimal(str(sample.value))
    return found


def test_requests_are_counted_by_what_became_of_them(house: GatewayHouse) -> None:
    """Settled, released, presumed; refused by the reason; the settled in whole nano-USD."""
    model = "openai/gpt-4o-mini"
    answers = [
        Answer(body=completion(USAGE, model="gpt-4o-mini")),
        Answer(status=400, body=b'{"error": {"message": "no"}}'),
        Answer(body=b"what"),
        Answer(headers=STREAM, events=CHAT),
    ]
    house.stub.answer(*answers)
    for _ in answers[:-1]:
        house.post(PATH, ASK)
    passed = house.post(PATH, {**ASK, "stream": True, "stream_options": {"include_usage": True}})
    assert house.post(PATH, {**ASK, "model": "no-such"}).status_code == 400
    assert house.get("/v1/models", "nobody").status_code == 401
    found = scraped(house)
    assert {key[1:]: n for key, n in found.items() if key[0] == "gateway_requests_total"} == {
        (model, "settled", ""): 2,
        (model, "released", ""): 1,
        (model, "presumed", ""): 1,
        ("", "refused", "unpriced"): 1,
        ("", "refused", "invalid_api_key"): 1,
    }
    (balance,) = house.ledger.balances("acme")
    assert isinstance(balance.settled, Money)
    assert found["gateway_settled_nano_usd_total", model] == balance.settled.in_nanos
    assert found["gateway_streamed_bytes_total",] == len(passed.content)
    assert ("gateway_held_seconds_total", model) in found


def test_a_refusal_of_the_budget_is_counted_under_the_model() -> None:
    """It was priced, and nothing was held."""
    with gateway_house("0 usd total") as house:
        assert house.post(PATH, ASK).status_code == 402
        labels = ("gateway_requests_total", "openai/gpt-4o-mini", "refused", "too_large")
        assert scraped(house)[labels] == 1


def test_streams_and_waiting_clients_are_counted_while_they_last() -> None:
    """One stream holds all that there is, and another client waits for it."""
    gate = threading.Event()
    with gateway_house("0.0007 usd total", wait="10min") as house:
        house.stub.answer(Answer(headers=STREAM, events=CHAT, waits={1: gate}))
        with house.client() as client, client.stream("POST", PATH, json={**ASK, "stream": True}):
            behind = threading.Thread(target=house.post, args=(PATH, {**ASK, "stream": True}))
            behind.start()
            wakes, found = threading.Event(), scraped(house)
            for _ in range(round(LAST_RESORT_S / 0.01)):
                found = scraped(house)
                if found["gateway_waiting_clients",] and found["gateway_streams",]:
                    break
                wakes.wait(0.01)
            assert (found["gateway_waiting_clients",], found["gateway_streams",]) == (1, 1)
            gate.set()
            behind.join(LAST_RESORT_S)
        found = scraped(house)
        assert (found["gateway_waiting_clients",], found["gateway_streams",]) == (0, 0)


def test_only_who_may_read_at_the_service_sees_them(house: GatewayHouse) -> None:
    """Nobody without a token, and no token of the gateway, not even its own."""
    with httpx2.Client(base_url=house.url, timeout=LAST_RESORT_S) as anybody:
        assert anybody.get("/metrics").status_code == 401
    assert house.get("/metrics").status_code == 401
    row, reader = house.tokens.create("prometheus", ["read"])
    assert house.get("/metrics", reader).status_code == 200
    house.tokens.revoke(row.id)
    house.clock.advance(timedelta(seconds=2))
    assert house.get("/metrics", reader).status_code == 401


class Unread(MemoryStore):
    """Books that nobody may read once they are closed to it."""

    sealed = False

    def __getattribute__(self, name: str) -> Any:
        """Return what is asked for, unless all is sealed."""
        assert name == "sealed" or not self.sealed, f"a scrape asks the store for {name}"
        return super().__getattribute__(name)


def test_a_scrape_does_not_read_the_books() -> None:
    """However many budgets are in them."""
    store = Unread()
    with gateway_house(store=store) as house:
        _, reader = house.tokens.create("prometheus", ["read"])
        assert house.get("/metrics", reader).status_code == 200
        store.sealed = True
        again = house.get("/metrics", reader).status_code
        store.sealed = False
        assert again == 200


@dataclass
class Booked:
    """A call that ended."""

    charge: Charge


def test_names_beyond_the_first_so_many_are_one() -> None:
    """Whatever clients send, there are so many lines; nothing is lost of the sums."""
    metrics = GatewayMetrics(ManualClock())
    charge = Charge(
        key="k", budget="a", hold=Money("1"), settled=Money("0.000000001"), overrun=Money(),
        state="settled",
    )  # fmt: skip
    for number in range(5_000):
        record = RequestRecord(token=f"t{number % 300}", model=f"m{number % 211}")
        record.ticket = Booked(charge)  # pyright: ignore[reportAttributeAccessIssue] - as much as is read
        metrics.ended(record)
    assert len(metrics.requests) <= MOST_PAIRS + 1
    assert sum(metrics.requests.values()) == sum(metrics.settled.values()) == 5_000
    assert any(OTHER in labels for labels in metrics.requests)
    assert len(written(metrics, "")[0]) < 1 << 19
    assert {family.name for family in families(metrics)} >= {"gateway_requests"}


def test_what_is_settled_is_exact_in_whole_nano_usd() -> None:
    """A sum of floats would have lost the last ones."""
    metrics = GatewayMetrics(ManualClock())
    for text in ("1000000.000000001", "0.1", "0.2"):
        charge = Charge(
            key="k", budget="a", hold=Money(text), settled=Money(text), overrun=Money(),
            state="settled",
        )  # fmt: skip
        record = RequestRecord("t", "m")
        record.ticket = Booked(charge)  # pyright: ignore[reportAttributeAccessIssue] - as above
        metrics.ended(record)
    assert metrics.settled["t", "m"] == 1_000_000_300_000_001
    line = 'gateway_settled_nano_usd_total{model="m",token="t"}'
    (said,) = [each for each in written(metrics, "")[0].decode().splitlines() if line in each]
    assert Decimal(said.split()[-1]) == pytest.approx(1_000_000_300_000_001, abs=0)
