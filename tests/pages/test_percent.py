"""A share of a limit is one number on the command line, the pages and in health: rounded down."""

import pytest

from earmark.budget.share import percent, percent_to_hundredths, threshold_percent
from earmark.cli.budget import _used
from earmark.service.pages.formatting import bar
from support.page_house import page_house


@pytest.mark.parametrize(
    ("settled", "limit", "whole", "hundredths"),
    [
        ("2.60", "3", 86, 86.66), ("2.9999", "3", 99, 99.99), ("3", "3", 100, 100.0),
        ("0.0001", "3", 0, 0.0), ("0", "3", 0, 0.0), ("4", "3", 133, 133.33),
    ],
)  # fmt: skip
def test_each_place_shows_the_same_share(
    settled: str, limit: str, whole: int, hundredths: float
) -> None:
    """100 % is shown when all is used and not before; over it, what it is."""
    with page_house() as house:
        ledger = house.workspace.ledger
        ledger.set_budget("c8", limits=[f"{limit} usd per day"])
        if settled != "0":
            ledger.settle(ledger.reserve("c8", "0.00001").key, settled)
        (balance,) = ledger.balances("c8")
        assert _used(balance) == f"{whole} %"
        assert bar(balance, house.clock.instant()).percent == whole
        assert f" {whole} % · resets" in house.visitor().read("/budgets").text
        head = {"Authorization": f"Bearer {house.token('read')}"}
        house.beat()
        health = house.visitor().client.get("/health", headers=head).json()
        assert health["budget"]["utilization_percent"] == hundredths


def test_shares_of_nothing_and_thresholds() -> None:
    """Of a limit of 0 all is used; a threshold is shown as it was set."""
    assert (percent(0, 0), percent_to_hundredths(0, 0)) == (100, 100.0)
    assert [threshold_percent(each) for each in (800_000, 995_000, 333_333)] == [80, 99.5, 33.3333]
