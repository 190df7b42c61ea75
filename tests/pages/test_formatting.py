"""Times, amounts and limits as the pages show them."""

import pytest

from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.answers import Balance
from earmark.money import Money
from earmark.service.pages.formatting import LONGEST_JSON, age, bar, moment, pretty, stretch
from earmark.testing import ManualClock

NOW = ManualClock().instant()


def balance(limit: str, settled: str, held: str = "0") -> Balance:
    """Return a balance of a daily limit in USD."""
    most, spent, kept = Money(limit), Money(settled), Money(held)
    return Balance(
        budget="acme",
        unit="usd",
        window="day",
        limit=most,
        settled=spent,
        held=kept,
        available=most - spent - kept,
        starts_at=None,
        resets_at=None,
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"), (1, "1 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"),
        (3600, "1 h ago"), (86_399, "23 h ago"), (86_400, "1 d ago"), (10 * 86_400, "10 d ago"),
        (-5, "in 5 s"), (-1800, "in 30 min"),
    ],
)  # fmt: skip
def test_an_age_is_told_in_its_largest_unit(seconds: int, said: str) -> None:
    """How long ago, in whole units, rounded down; what lies ahead is told so."""
    assert age(NOW - seconds * NANOS_PER_SECOND, NOW) == said


def test_a_moment_is_exact_beside_its_age() -> None:
    """The relative age never stands without the exact instant."""
    found = moment(NOW - 3600 * NANOS_PER_SECOND, NOW)
    assert found is not None
    assert (found.iso, found.exact) == ("2026-11-22T11:00:00Z", "2026-11-22 11:00:00 UTC")
    assert found.age == "1 h ago"


def test_what_has_not_happened_has_no_moment() -> None:
    """The instant 0 is "not yet", not 1970."""
    assert moment(0, NOW) is None


def test_a_stretch_is_never_negative() -> None:
    """A clock that stepped back shows no time, not minus some."""
    assert stretch(-1) == "0 s"


def test_a_bar_has_three_parts() -> None:
    """What is settled and held are thousandths of the limit, and the words say the same."""
    found = bar(balance("0.50", "0.30", "0.10"), NOW)
    assert (found.settled_part, found.held_part, found.percent) == (600, 200, 80)
    assert found.words == ("0.3 settled, 0.1 held, 0.1 available of 0.5 usd per day (80 %)")
    assert found.level == "near"


def test_a_bar_never_leaves_its_frame() -> None:
    """After an overrun the bar is full, and the number says by how much."""
    found = bar(balance("1", "1.50", "0.20"), NOW)
    assert found.settled_part + found.held_part == 1000
    assert (found.percent, found.level, found.available) == (170, "full", "-0.7")


def test_a_limit_of_nothing_is_full() -> None:
    """A limit of 0 leaves nothing, and says so without dividing by it."""
    assert (bar(balance("0", "0"), NOW).percent, bar(balance("0", "0"), NOW).level) == (100, "full")


def test_a_tiny_spend_is_not_rounded_up() -> None:
    """A nano-dollar of ten dollars is shown exactly, and fills nothing."""
    found = bar(balance("10", "0.000000001"), NOW)
    assert (found.settled, found.available, found.settled_part) == (
        "0.000000001", "9.999999999", 0
    )  # fmt: skip


def test_a_long_result_is_cut() -> None:
    """A page shows the beginning of a huge result and knows that it is not all."""
    text, cut = pretty({"response_text": "x" * LONGEST_JSON})
    assert cut
    assert len(text) == LONGEST_JSON


def test_a_small_cost_in_a_result_is_written_out() -> None:
    """Fractions of a cent are decimals on the page, as everywhere."""
    assert '"estimated_usd": 0.000082' in pretty({"cost": {"estimated_usd": 8.2e-05}})[0]
