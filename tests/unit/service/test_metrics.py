"""Metrics: what the ledger says, in names that stay, with counters that no restart sets back."""

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families  # pyright: ignore[reportUnknownVariableType]
from prometheus_client.parser import text_string_to_metric_families

from earmark.ledger.store import Store
from earmark.money import Money
from earmark.service import metrics
from earmark.service.metrics import FRESH_S
from earmark.stores.tables import Rows, Tables
from earmark.stores.totals import Totals, read_totals
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.ledger_books import STORES
from support.postgres_session import recycle
from support.service_house import House, house

Samples = dict[tuple[str, ...], float]


@pytest.fixture(params=list(STORES))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the books are kept."""
    yield STORES[request.param](tmp_path)
    recycle(tmp_path)


def samples(opened: House) -> Samples:
    """Return every sample by its name and the values of its labels."""
    opened.clock.advance(timedelta(seconds=FRESH_S))
    answer = opened.ask("get", "/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_every_name_is_there(house: House) -> None:
    """The names that dashboards and alerts rely on, with their types."""
    house.budget("acme", "10 usd per day", "3 calls per day")
    answer = house.ask("get", "/metrics")
    types = {each.name: each.type for each in text_string_to_metric_families(answer.text)}
    assert (
        types.items()
        >= {
            "budget_spent_usd": "counter",
            "budget_reserved_usd": "gauge",
            "budget_limit_usd": "gauge",
            "budget_remaining_usd": "gauge",
            "budget_requests_denied": "counter",
            "budget_overdraft_usd": "counter",
            "budget_reservations_expired": "counter",
            "budget_settle_lag_seconds": "gauge",
            "budget_window_reset_timestamp_seconds": "gauge",
            "budget_alerts_pending": "gauge",
            "budget_limit_calls": "gauge",
        }.items()
    )
    accepts = {"Accept": "application/openmetrics-text; version=1.0.0"}
    opened = house.ask("get", "/metrics", headers=accepts)
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert {each.name for each in open_families(opened.text)} == set(types)


def test_the_numbers_are_the_ledgers(url: str) -> None:
    """On every store: spent, held, left, over the hold, too late, the age of the oldest hold."""
    with house(url) as opened:
        ledger = opened.workspace.ledger
        opened.budget("acme", "10 usd per day", "20 calls per day")
        opened.budget("acme/a", "5 usd total")
        run = "acme/a/run-0123456789abcdef"
        opened.workspace.ledger.set_budget(run, limits=["1 usd total"], kind="run")
        ledger.reserve("acme/a", "1", key="late", deadline="1min")
        ledger.settle(ledger.reserve("acme/a", "1").key, "1.25")
        ledger.settle(ledger.reserve("acme/a/run-0123456789abcdef", "0.5").key, "0.75")
        opened.clock.advance(timedelta(minutes=2))
        ledger.presume("late", known="1.5")
        ledger.reserve("acme", "2")
        opened.clock.advance(timedelta(seconds=9))
        for amount in ("11", "9.9"):
            opened.ask("post", "/v1/reservations", json={"budget": "acme", "amount": amount})
        found = samples(opened)
    day, total = ("acme", "usd", "day"), ("acme/a", "usd", "total")
    assert found["budget_limit_usd", *day] == 10
    assert found["budget_settled_usd", *day] == 3.5, "with what is presumed"
    assert found["budget_spent_usd_total", *day] == 2, "without it"
    assert found["budget_reserved_usd", *day] == 2
    assert found["budget_remaining_usd", *day] == 4.5
    assert found["budget_spent_usd_total", *total] == 2
    assert found["budget_remaining_usd", *total] == 1.5
    assert found["budget_reserved_calls", "acme", "calls", "day"] == 1
    assert found["budget_spent_calls_total", "acme", "calls", "day"] == 2
    assert found["budget_overdraft_usd_total", "acme"] == 0.5
    assert found["budget_overdraft_usd_total", "acme/a"] == 0.5
    assert found["budget_reservations_expired_total", "acme/a"] == 1
    assert found["budget_settle_lag_seconds", "acme"] == 10
    assert found["budget_settle_lag_seconds", "acme/a"] == 0
    assert found["budget_requests_denied_total", "too_large"] == 1
    assert found["budget_requests_denied_total", "exhausted"] == 1
    reset = found["budget_window_reset_timestamp_seconds", *day]
    assert reset == 1_795_392_000
    assert ("budget_window_reset_timestamp_seconds", *total) not in found
    assert not [name for name in found if any("run-" in part for part in name)]


def test_what_an_observed_tree_let_in_is_counted(url: str) -> None:
    """On every store: that it is observed, and what its limits would have refused."""
    with house(url) as opened:
        ledger = opened.workspace.ledger
        ledger.set_budget("acme", limits=["2 usd total"], observed=True)
        opened.budget("acme/a", "5 usd total")
        opened.budget("other", "5 usd total")
        for key, amount in (("fits", "1"), ("over", "3.5")):
            ledger.reserve("acme/a", amount, key=key)
        ledger.extend("over", "0.25", deadline="1h")
        found = samples(opened)
    assert (found["budget_observed", "acme"], found["budget_observed", "other"]) == (1, 0)
    for path in ("acme", "acme/a"):
        assert found["budget_would_refuse_operations_total", path] == 2
        assert found["budget_would_refuse_usd_total", path] == 3.75
    assert found["budget_would_refuse_usd_total", "other"] == 0


def test_what_another_zone_counts_again_is_counted_once(url: str) -> None:
    """A change of zone, and one that counts back, begin accounts; what was spent stays the same."""
    with house(url) as opened:
        ledger = opened.workspace.ledger
        opened.budget("acme", "100 usd per day", "100 usd per hour")
        ledger.reserve("acme", "8", key="late", deadline="1min")
        ledger.settle(ledger.reserve("acme", "1").key, "2")
        ledger.reserve("acme", "4", key="held")
        opened.clock.advance(timedelta(minutes=2))
        day = ("acme", "usd", "day")
        seen = [samples(opened)["budget_spent_usd_total", *day]]
        for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
            ledger.set_budget("acme", timezone=zone)
            seen.append(samples(opened)["budget_spent_usd_total", *day])
        assert seen == [2, 2, 2, 2]
        ledger.settle("held", "3")
        ledger.settle("late", "0.5")
        ledger.settle(ledger.reserve("acme", "1").key, "1")
        limits = ["100 usd per day", "100 usd per week", "100 usd per hour"]
        ledger.set_budget("acme", limits=limits, timezone="Asia/Tokyo", count_back=True)
        ledger.set_budget("acme", timezone="UTC")
        found = samples(opened)
        for window in ("day", "week", "hour"):
            assert found["budget_spent_usd_total", "acme", "usd", window] == 6.5


def counters(found: Samples) -> Samples:
    """Return the counters that come from the books."""
    own = "budget_requests_denied_total"
    return {name: v for name, v in found.items() if name[0].endswith("_total") and name[0] != own}


def test_counters_never_fall(tmp_path: Path) -> None:
    """Not when a presumed cost is corrected down, not at midnight, not over a restart."""
    url, clock = f"sqlite:///{tmp_path}/books.db", ManualClock()
    seen: list[Samples] = []

    @contextmanager
    def service() -> Generator[House]:
        with house(url, clock=clock) as opened:
            yield opened
            seen.append(counters(samples(opened)))

    with service() as opened:
        opened.budget("acme", "10 usd per day")
        opened.workspace.ledger.settle(opened.workspace.ledger.reserve("acme", "1").key, "0.5")
        opened.workspace.ledger.reserve("acme", "2", key="late", deadline="1s")
        clock.advance(timedelta(seconds=2))
        seen.append(counters(samples(opened)))
    with service() as opened:
        opened.workspace.ledger.settle("late", "0.25")
    with service() as opened:
        clock.advance(timedelta(days=1))
        opened.workspace.ledger.reserve("acme", "1", key="again", deadline="1s")
        clock.advance(timedelta(seconds=2))
        opened.workspace.ledger.release("again")
    day = ("budget_spent_usd_total", "acme", "usd", "day")
    assert [each[day] for each in seen] == [0.5, 0.5, 0.75, 0.75]
    for before, after in itertools.pairwise(seen):
        assert all(after[name] >= value for name, value in before.items())
    assert seen[-1]["budget_reservations_expired_total", "acme"] == 2


def test_a_sum_of_many_is_the_balances_own(house: House) -> None:
    """A hundred reservations on two levels: the metric is what `balances` says."""
    house.budget("acme", "1000 usd per day")
    house.budget("acme/a", "1000 usd per day")
    ledger = house.workspace.ledger
    for number in range(100):
        key = ledger.reserve("acme/a" if number % 2 else "acme", "1").key
        if number % 3:
            ledger.settle(key, Money.nanos(number * 1_000_001))
    found = samples(house)
    for path in ("acme", "acme/a"):
        (balance,) = ledger.balances(path)
        assert found["budget_settled_usd", path, "usd", "day"] == float(str(balance.settled))
        assert found["budget_spent_usd_total", path, "usd", "day"] == float(str(balance.settled))
        assert found["budget_reserved_usd", path, "usd", "day"] == float(str(balance.held))


def test_nobody_waits_while_metrics_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the one reader of a file: tokens are checked by it."""
    begun, answered, replies = Event(), Event(), [False]

    def read_long(store: Store, tables: Tables) -> Totals:
        def read(_rows: Rows) -> None:
            begun.set()
            replies[0] = answered.wait(LAST_RESORT_S)

        tables.read(read)
        return read_totals(store, tables)

    monkeypatch.setitem(vars(metrics), "read_totals", read_long)
    with house(f"sqlite:///{tmp_path}/books.db") as opened:
        scrape = Thread(target=samples, args=(opened,))
        scrape.start()
        assert begun.wait(LAST_RESORT_S)
        assert opened.ask("get", "/v1/budgets").is_success
        answered.set()
        scrape.join(LAST_RESORT_S)
    assert replies == [True]


def test_metrics_of_a_store_that_is_gone_are_none(tmp_path: Path) -> None:
    """503, and never the numbers of before."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened:
        samples(opened)
        opened.workspace.ledger.store.close()
        opened.clock.advance(timedelta(seconds=FRESH_S))
        opened.no(503, "get", "/metrics")
