"""Many tickets at once: what is held and spent never passes a limit, and a dead one is presumed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.admission.guard import AsyncGuard, Guard
from earmark.admission.policy import Elastic, Policy, Strict
from earmark.admission.ticket import AsyncTicket
from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import DURABLE, STORES, check_books
from support.tickets import BODY, BOOK

LIMIT: Final = Money("0.01")
#: How a call may go on: tokens of a stream, then how it ends.
CALLS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1000), max_size=4),
        st.sampled_from(["settle", "presume", "release", "fail", "leave", "die"]),
    ),
    min_size=1,
    max_size=24,
)


def within(ledger: Ledger) -> None:
    """Assert that nothing is held or spent beyond the limit."""
    (balance,) = ledger.balances("acme")
    assert balance.settled + balance.held <= LIMIT  # type: ignore[operator]


#: By how much a hold grows, and the most output that comes at once.
STEP: Final = 50


def pieces(ticket: AsyncTicket, tokens: list[int]) -> Iterator[int]:
    """Yield how a stream goes on until it has produced *tokens*, within what was asked for."""
    most, came = ticket.max_output_tokens or 0, 0
    for count in tokens:
        while came < (count := min(count, most)):
            came = min(came + STEP, count)
            yield came
        yield count


async def one(guard: AsyncGuard, ledger: Ledger, tokens: list[int], end: str) -> None:
    """Open a ticket, stream into it, end it; check the books between any two steps."""
    body = {**BODY, "stream": True}
    try:
        async with guard.open("acme", body, provider="test", wait=None) as ticket:
            within(ledger)
            for count in pieces(ticket, tokens):
                await asyncio.sleep(0)
                await ticket.produced(count)
                within(ledger)
            match end:
                case "settle":
                    await ticket.settle(ticket.hold)
                case "presume":
                    await ticket.presume()
                case "release" if not any(tokens):
                    await ticket.release()
                case "fail":
                    await ticket.fail(429)
                case "die":
                    _ = 1 // 0
                case _:
                    pass
    except (BudgetExceeded, ZeroDivisionError):
        pass
    within(ledger)


@settings(max_examples=60)
@given(calls=CALLS, policy=st.sampled_from([Strict(), Elastic(step=STEP)]))
def test_whatever_tickets_do_at_once_the_limit_holds_at_every_step(
    calls: list[tuple[list[int], str]], policy: Policy
) -> None:
    """Held and spent together never pass the limit, and in the end nothing is held."""

    async def main() -> None:
        with open_ledger("memory:", clock=ManualClock()) as ledger:
            ledger.set_budget("acme", limits=[f"{LIMIT} usd per day"])
            guard = Guard(ledger.as_async(), book=BOOK, policy=policy)
            await asyncio.gather(*(one(guard, ledger, *call) for call in calls))
            assert ledger.holds() == []
            check_books(ledger)

    asyncio.run(main())


@pytest.mark.parametrize("store", STORES)
def test_threads_share_a_guard_and_none_passes_the_limit(
    store: str, tmp_path: Path, clock: ManualClock
) -> None:
    """Of 64 threads that each want a tenth of the limit at once, exactly ten are let in."""
    with open_ledger(STORES[store](tmp_path), clock=clock) as ledger:
        ledger.set_budget("acme", limits=[f"{LIMIT} usd per day"])
        guard = Guard(ledger)

        def call(_: int) -> bool:
            try:
                with guard.open("acme", up_to="0.001", wait="10s") as ticket:
                    ticket.settle("0.001")
            except BudgetExceeded:
                return False
            return True

        with ThreadPoolExecutor(64) as pool:
            let_in = list(pool.map(call, range(64)))
        assert sum(let_in) == 10
        assert ledger.balances("acme")[0].settled == LIMIT
        assert ledger.turns.waiting == 0
        check_books(ledger)


#: Opens a ticket, says so, and waits to be killed.
_SENDER: Final = """
import sys
import earmark
with earmark.open(sys.argv[1]) as ledger:
    with earmark.Guard(ledger).open("acme", up_to="0.004", key="call", timeout="5min"):
        print("sent", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("store", DURABLE)
def test_a_process_killed_between_open_and_settle_leaves_its_hold_until_it_is_presumed(
    store: str, tmp_path: Path
) -> None:
    """A `kill -9` frees nothing: the hold counts until its deadline, then it is spent."""
    url = STORES[store](tmp_path)
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=[f"{LIMIT} usd total"])
    command = [sys.executable, "-c", _SENDER, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sender:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "sent\n"
        sender.kill()
    with open_ledger(url) as ledger:
        hold = ledger.reservation("call")
        assert (hold.state, hold.amount) == ("open", Money("0.004"))
        assert hold.deadline - hold.opened_at == timedelta(minutes=6)
    with open_ledger(url, clock=ManualClock(hold.deadline + timedelta(seconds=1))) as ledger:
        hold = ledger.reservation("call")
        assert (hold.state, hold.settled) == ("presumed", Money("0.004"))
        ledger.settle("call", "0.001")
        check_books(ledger)
