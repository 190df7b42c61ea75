"""Prices that change by the time of day, or on a date."""

from datetime import UTC, datetime, timedelta

import pytest

from earmark.clock import NANOS_PER_SECOND, from_datetime
from earmark.money import Money
from earmark.pricing.book import LONGEST_CALL_NS, PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price
from earmark.pricing.usage import Usage

BOOK = PriceBook()
MODEL = "deepseek/deepseek-v4-flash"
#: Its peak is from 01:00 to 04:00 and from 06:00 to 10:00 UTC, at twice the price.
JUST_BEFORE = datetime(2026, 11, 22, 0, 59, 50, tzinfo=UTC)
USED = Usage.of(input_tokens=1000, output_tokens=100_000)


def price(at: datetime, within_ns: int = LONGEST_CALL_NS) -> Price:
    """Return the price pinned at a moment."""
    return BOOK.resolve(MODEL, at=from_datetime(at), within_ns=within_ns)


def bound(pinned: Price) -> ModelBound:
    """Return the bound of a call of a thousand tokens in and a hundred thousand out."""
    return ModelBound(price=pinned, input_tokens=1000, max_output_tokens=100_000)


def test_a_call_that_may_reach_the_peak_is_bounded_at_its_price() -> None:
    """Bounded at 00:59:50, sent at 01:00:20: it is held at the peak's price and costs it (B20)."""
    held = bound(price(JUST_BEFORE))
    sent = price(JUST_BEFORE + timedelta(seconds=30))
    assert held.price.cost(USED) == Money("0.06015")
    assert held.cost() == sent.cost(USED) == Money("0.1203")
    assert Price.from_json(held.price.to_json()) == held.price
    assert bound(Price.from_json(held.price.to_json())).cost() == held.cost()


@pytest.mark.parametrize(
    ("at", "within_s", "cost"),
    [
        ((0, 59), 59, "0.06015"),  # over before the peak begins
        ((0, 59), 60, "0.1203"),
        ((3, 59), 3600, "0.1203"),  # begun in the peak
        ((4, 0), 3600, "0.06015"),  # over before the next
        ((4, 0), 3 * 3600, "0.1203"),
        ((23, 30), 2 * 3600, "0.1203"),  # past midnight
        ((23, 30), 24 * 3600, "0.1203"),
    ],
)
def test_the_dearest_price_until_the_end_bounds_the_call(
    at: tuple[int, int], within_s: int, cost: str
) -> None:
    """Neither a peak that is over nor one that comes too late makes it dearer."""
    moment = datetime(2026, 11, 22, *at, tzinfo=UTC)
    pinned = price(moment, within_ns=within_s * NANOS_PER_SECOND)
    assert bound(pinned).cost() == Money(cost)


def test_a_price_that_begins_on_a_date_bounds_the_evening_before() -> None:
    """A dearer price from midnight on bounds a call that may last until then."""
    evening = datetime(2026, 8, 16, 23, 30, tzinfo=UTC)
    usual = bound(price(evening, within_ns=60 * NANOS_PER_SECOND))
    late = bound(price(evening))
    assert usual.cost() < late.cost()
    assert late.cost() == price(evening + timedelta(hours=1)).cost(USED)


def test_a_price_without_a_schedule_is_one_price() -> None:
    """Nothing is later where nothing changes."""
    pinned = BOOK.resolve("openai/gpt-4o", at=from_datetime(JUST_BEFORE))
    assert pinned.later == ()
    assert "later" not in pinned.to_json()
