"""Cut short at any step, in any way: nothing is held that nobody can name, and work is booked."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.call import Grant, Reply
from earmark.admission.guard import Guard
from earmark.admission.policy import Elastic
from earmark.admission.ticket import AsyncTicket
from earmark.clock import Clock
from earmark.errors import KeyReused, NotFound, ReservationClosed
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.committer import Committer, DirectCommitter, GroupCommitter
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Store
from earmark.ledger.values import Decision, Operation
from earmark.money import Money
from earmark.stores.memory import MemoryStore
from earmark.stores.open import open_async_ledger
from earmark.testing import ManualClock
from support.cancelling import HOWS, How, all_committed, cut_at
from support.guard_house import HandCall
from support.ledger_books import STORES, check_books
from support.tickets import BODY, BOOK

#: What may have become of work that was cut short: it never came to be, or how it was booked.
NEVER = ""


@dataclass(frozen=True)
class Scenario:
    """Work to cut short, and what may be in the books under its name afterwards."""

    work: Callable[[AsyncLedger, str], Coroutine[Any, Any, Any]]
    ends: set[str]
    before: Callable[[AsyncLedger, str], Awaitable[Any]] | None = None


async def reserve_nameless(ledger: AsyncLedger, name: str) -> None:
    """Reserve without a key, and release at once."""
    hold = await ledger.reserve("acme", "0.1", labels={"name": name})
    ledger.sync.release(hold.key)


async def reserve_named(ledger: AsyncLedger, name: str) -> None:
    """Reserve under a key."""
    await ledger.reserve("acme", 1, key=name)


async def in_line(ledger: AsyncLedger, name: str) -> None:
    """Wait for what another holds, until it comes back; then release."""
    asyncio.get_running_loop().create_task(free_when_waited_for(ledger, name))
    hold = await ledger.reserve("acme/line", 1, wait="1h", labels={"name": name})
    ledger.sync.release(hold.key)


async def fill_the_line(ledger: AsyncLedger, name: str) -> None:
    """Leave nothing for whoever comes next."""
    await ledger.reserve("acme/line", 1, key=f"before {name}")


async def free_when_waited_for(ledger: AsyncLedger, name: str) -> None:
    """Give back what is held before *name* once that waits."""
    try:
        while not ledger.turns.waiting:  # noqa: ASYNC110 - the queue wakes its waiters only
            await asyncio.sleep(0)
    finally:
        ledger.sync.release(f"before {name}")


async def spend(ledger: AsyncLedger, name: str) -> None:
    """Enter a block, grow it, settle, leave it."""
    async with ledger.spend("acme", 1, key=name) as block:
        await asyncio.sleep(0)
        await block.extend("0.1")
        block.settle("0.05")
        await asyncio.sleep(0)


async def spend_nameless(ledger: AsyncLedger, name: str) -> None:
    """The same without a key of the caller's."""
    async with ledger.spend("acme", 1, labels={"name": name}) as block:
        await asyncio.sleep(0)
        block.settle("0.05")


async def opened(ledger: AsyncLedger, name: str) -> None:
    """Reserve *name* for what follows."""
    await ledger.reserve("acme", 1, key=name)


async def extend(ledger: AsyncLedger, name: str) -> None:
    """Grow a reservation that its caller knows."""
    await ledger.extend(name, "0.1")


async def settle(ledger: AsyncLedger, name: str) -> None:
    """Settle a reservation that its caller knows."""
    await ledger.settle(name, "0.05")


async def slow(_: Grant) -> Reply:
    """Answer after a few steps."""
    for _step in range(3):
        await asyncio.sleep(0)
    return Reply(value="ok", cost=Money("0.05"))


async def guarded(ledger: AsyncLedger, name: str) -> None:
    """Make a call through the guard."""
    await Guard(ledger).spend("acme", HandCall(slow), key=name)


async def guarded_nameless(ledger: AsyncLedger, name: str) -> None:
    """The same without a key of the caller's."""
    await Guard(ledger).spend("acme", HandCall(slow), labels={"name": name})


async def ticket_block(ledger: AsyncLedger, name: str) -> None:
    """Open a stream's ticket as a block, let its hold grow, settle it inside."""
    body = {**BODY, "stream": True}
    guard = Guard(ledger, book=BOOK, policy=Elastic(step=100))
    async with guard.open("acme", body, provider="test", key=name) as ticket:
        await asyncio.sleep(0)
        await ticket.produced(1000)
        await asyncio.sleep(0)
        await ticket.settle("0.05")
        await asyncio.sleep(0)


async def ticket_left(ledger: AsyncLedger, name: str) -> None:
    """Leave a block without an end."""
    async with Guard(ledger).open("acme", up_to=1, labels={"name": name}):
        await asyncio.sleep(0)


async def ticket_in_line(ledger: AsyncLedger, name: str) -> None:
    """Wait for what another holds; the ticket is never sent."""
    asyncio.get_running_loop().create_task(free_when_waited_for(ledger, name))
    async with Guard(ledger).open("acme/line", up_to=1, labels={"name": name}) as ticket:
        await ticket.release()


async def ticket_released(ledger: AsyncLedger, name: str) -> None:
    """Open a ticket by itself, and give it back."""
    ticket = await Guard(ledger).open("acme", up_to=1, labels={"name": name})
    ledger.sync.release(ticket.key)
    await ticket.release()


async def settle_ticket(_: AsyncLedger, name: str) -> None:
    """Settle a ticket that was opened before anything was cut."""
    await TICKETS[name].settle("0.05")


async def ticket_opened(ledger: AsyncLedger, name: str) -> None:
    """Open the ticket *name* for what follows."""
    TICKETS[name] = await Guard(ledger).open("acme", up_to=1, key=name)


TICKETS: dict[str, AsyncTicket] = {}


async def spend_anothers(ledger: AsyncLedger, name: str) -> None:
    """Try to enter a block under a key that another uses."""
    with suppress(KeyReused):
        await spend(ledger, name)


async def guard_anothers(ledger: AsyncLedger, name: str) -> None:
    """Try to make a call under a key that another uses."""
    with suppress(KeyReused):
        await guarded(ledger, name)


SCENARIOS = {
    "reserve, no key": Scenario(reserve_nameless, {NEVER, "released"}),
    "reserve, a key": Scenario(reserve_named, {NEVER, "open"}),
    "reserve in line": Scenario(in_line, {NEVER, "released"}, fill_the_line),
    "spend": Scenario(spend, {NEVER, "released", "presumed", "settled"}),
    "spend, no key": Scenario(spend_nameless, {NEVER, "released", "presumed", "settled"}),
    "extend": Scenario(extend, {"open"}, opened),
    "settle": Scenario(settle, {"open", "settled"}, opened),
    "guard": Scenario(guarded, {NEVER, "released", "presumed", "settled"}),
    "guard, no key": Scenario(guarded_nameless, {NEVER, "released", "presumed", "settled"}),
    "ticket": Scenario(ticket_block, {NEVER, "released", "presumed", "settled"}),
    "ticket, no end": Scenario(ticket_left, {NEVER, "released", "presumed"}),
    "ticket in line": Scenario(ticket_in_line, {NEVER, "released", "presumed"}, fill_the_line),
    "ticket, released": Scenario(ticket_released, {NEVER, "released"}),
    "ticket, settled": Scenario(settle_ticket, {"settled"}, ticket_opened),
    "spend, another's key": Scenario(spend_anothers, {"open"}, opened),
    "guard, another's key": Scenario(guard_anothers, {"open"}, opened),
}


async def state_of(ledger: AsyncLedger, name: str) -> str:
    """Return what became of the reservation whose key, or label, is *name*."""
    await all_committed(ledger)
    for hold in await ledger.holds(state=None, most=100_000):
        if hold.key == name or f'"name": "{name}"' in hold.labels:
            return hold.state
    return NEVER


async def cut_everywhere(ledger: AsyncLedger, scenario: Scenario, how: How) -> set[str]:
    """Cut the scenario's work at each of its steps; return what became of it."""
    ends: set[str] = set()
    step, reached = 0, True
    while reached:
        step += 1
        name = f"{how} {step}"
        if scenario.before is not None:
            await scenario.before(ledger, name)
        reached = await cut_at(scenario.work(ledger, name), step, how)
        ends.add(await state_of(ledger, name))
        assert {hold.key for hold in await ledger.holds()} <= {name, f"before {name}"}
        for key in (name, f"before {name}"):
            with suppress(NotFound, ReservationClosed):
                await ledger.release(key)
    return ends


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("store", STORES)
def test_cut_short_at_any_step_it_leaves_no_hold_that_nobody_can_name(
    store: str, scenario: Scenario, tmp_path: Path, clock: ManualClock
) -> None:
    """Whatever it was doing, and however it is cut: it never was, or it is released or booked."""

    async def main() -> None:
        async with open_async_ledger(STORES[store](tmp_path), clock=clock) as ledger:
            await ledger.set_budget("acme", limits=["100 usd per day"])
            await ledger.set_budget("acme/line", limits=["1 usd per day"])
            for how in HOWS:
                assert await cut_everywhere(ledger, scenario, how) <= scenario.ends, how
            check_books(ledger.sync)

    asyncio.run(main())


class Interrupted(MemoryStore):
    """Books whose caller is interrupted, as by Ctrl-C, once they have done the next batch."""

    armed = False

    def apply(self, batch: Sequence[Operation], now: int) -> list[Decision]:
        """Apply the batch; the caller does not hear of it."""
        decisions = super().apply(batch, now)
        if self.armed and batch:
            self.armed = False
            signal.raise_signal(signal.SIGINT)
        return decisions


def reserve_in_a_thread(ledger: Ledger) -> None:
    """Reserve without a key."""
    ledger.reserve("acme", 1)


def enter_in_a_thread(ledger: Ledger) -> None:
    """Enter a block under a key."""
    with ledger.spend("acme", 1, key="block"):
        pytest.fail("the block was entered")


def open_in_a_thread(ledger: Ledger) -> None:
    """Open a ticket under a key."""
    Guard(ledger).open("acme", up_to=1, key="ticket")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("act", [reserve_in_a_thread, enter_in_a_thread, open_in_a_thread])
@pytest.mark.parametrize("committer", [DirectCommitter, GroupCommitter])
def test_an_interrupt_leaves_no_hold_that_nobody_can_name(
    act: Callable[[Ledger], None],
    committer: Callable[[Store, Clock], Committer],
    clock: ManualClock,
) -> None:
    """Ctrl-C after the commit and before its answer: what was opened is released."""
    store = Interrupted()
    ledger = Ledger(store, committer(store, clock), clock)
    ledger.set_budget("acme", limits=["10 usd per day"])
    store.armed = True
    with pytest.raises(KeyboardInterrupt):
        act(ledger)
    assert [hold.state for hold in ledger.holds(state=None)] == ["released"]
    ledger.reserve("acme", 10)
    ledger.close()
