"""A unit that is one row more in the table of units, at the command line."""

from collections.abc import Iterator

import pytest

from earmark.stores.open import open_ledger
from support.shell import Shell
from support.units import FRAMES, registered


@pytest.fixture(autouse=True)
def made_up() -> Iterator[None]:
    """A unit more than there are."""
    with registered(FRAMES):
        yield


def test_it_is_limited_and_listed(shell: Shell) -> None:
    """A budget's limit of it is set and shown; entries have a column for it where one counts it."""
    shell.ok("budget", "set", "acme", "--limit", "5 frames per day", "--limit", "9 usd per day")
    (budget,) = shell.json("budget", "show", "acme")["budgets"]
    assert budget["limits"] == ["5 frames per day", "9 usd per day"]
    assert "5 frames per day" in shell.ok("budget", "show").out
    assert "frames" not in shell.ok("entries").out.splitlines()[0]
    with open_ledger("sqlite:///earmark.db") as ledger:
        ledger.reserve("acme", 1, units={"frames": 3}, key="k")
    heading, _, row = shell.ok("entries").out.splitlines()
    assert heading.split()[-3:] == ["tokens", "frames", "says"]
    assert row.split()[-3:] == ["1", "1", "3"]
    assert shell.json("entries")["entries"][1]["units"] == {"calls": 1, "frames": 3}
    assert shell.json("holds")["holds"][0]["units"] == {"calls": 1, "frames": 3}
    shell.ok("holds", "settle", "k", "1")
    (budget,) = shell.json("budget", "show", "acme")["budgets"]
    assert [(each["unit"], each["settled"]) for each in budget["balances"]] == [
        ("frames", 3), ("usd", "1"),
    ]  # fmt: skip
    assert shell.json("audit")["ok"]
    shell.ok("budget", "extend", "acme", "2 frames per day", "--until", "1h")
    (budget,) = shell.json("budget", "show", "acme")["budgets"]
    assert budget["balances"][0]["limit"] == 7
