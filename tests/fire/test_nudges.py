"""Nudges under fire: receivers that are down, processes that are killed, lines that are cut."""

import asyncio
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from earmark.clock import SystemClock
from earmark.nudges.channels.webhook import WebhookChannel
from earmark.nudges.courier import Courier, Delivered
from earmark.stores.postgres_url import PostgresUrl
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S, until
from support.ledger_books import STORES
from support.ledger_workers import SHARED, go, kill, result, start_all
from support.nudge_books import Outbox, open_outbox
from support.nudge_workers import PROGRAMS
from support.postgres_server import PostgresServer
from support.tcp_proxy import Judge, Side, TcpProxy
from support.webhook_receiver import SECRET, Receiver

TENTHS = [tenth / 10 for tenth in range(1, 11)]
#: In parts per million of the limit.
ALL_TENTHS = [100_000 * tenth for tenth in range(1, 11)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with Receiver() as started:
        yield started


def courier(outbox: Outbox, receiver: Receiver, clock: ManualClock) -> Courier:
    """Return a courier to *receiver*."""
    hook = WebhookChannel("hook", receiver.url, SECRET, clock=clock)
    return Courier(outbox.nudges, {"hook": hook}, clock)


def deliver(which: Courier) -> Delivered:
    """Run one round."""
    return asyncio.run(which.deliver_due())


# The other side is down ---------------------------------------------------------------------------


@pytest.mark.parametrize("store", SHARED)
def test_a_webhook_down_for_an_hour_loses_nothing(
    store: str, tmp_path: Path, receiver: Receiver
) -> None:
    """While the webhook is gone all nudges wait; when it is back each arrives once, signed."""
    clock = ManualClock()
    with open_outbox(STORES[store](tmp_path), clock) as outbox:
        outbox.ledger.set_budget("c8", limits=["10 usd per day"], alerts=TENTHS)
        carrier = courier(outbox, receiver, clock)
        port = receiver.port
        receiver.stop()
        for _ in range(10):
            outbox.spend("c8", "1")
            assert outbox.collect("hook") == 1
            for _ in range(3):
                assert deliver(carrier).delivered == 0
                clock.advance(timedelta(minutes=2))
        assert outbox.nudges.pending() == 10
        receiver.start(port)
        for _ in range(30):
            assert deliver(carrier).failed == 0
            clock.advance(timedelta(minutes=2))
        assert outbox.nudges.pending() == 0
        assert sorted(receiver.ids()) == sorted(outbox.ids())
        assert all(post.signed for post in receiver.posts)
        assert {each.state for each in outbox.nudges.deliveries(outbox.ids()[0])} == {"delivered"}


@pytest.mark.parametrize("store", SHARED)
def test_a_courier_killed_before_its_note_delivers_again(
    store: str, tmp_path: Path, receiver: Receiver
) -> None:
    """Killed between the webhook's acceptance and its note: the same event, with the same id."""
    url, clock = STORES[store](tmp_path), ManualClock(datetime.now(UTC))
    with open_outbox(url, clock) as outbox:
        outbox.ledger.set_budget("c8", limits=["10 usd per day"])
        outbox.spend("c8", "8")
        outbox.collect("hook")
        receiver.holds = threading.Event()
        (worker,) = start_all(("deliver", url, receiver.url), file=PROGRAMS)
        go(worker)
        assert receiver.arrived.wait(LAST_RESORT_S)
        kill(worker)
        receiver.holds.set()
        carrier = courier(outbox, receiver, clock)
        assert deliver(carrier) == Delivered()
        clock.advance(timedelta(minutes=2))
        assert deliver(carrier) == Delivered(delivered=1)
        assert deliver(carrier) == Delivered()
    first, second = receiver.posts
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.signed
    assert second.signed


# Processes are killed -----------------------------------------------------------------------------


@pytest.mark.parametrize("store", SHARED)
def test_processes_that_die_nudge_once(store: str, tmp_path: Path) -> None:
    """Four processes spend and collect at once, some killed and restarted: one nudge for each."""
    url, dice = STORES[store](tmp_path), random.Random(4)
    with open_outbox(url, SystemClock()) as outbox:
        outbox.ledger.set_budget("c8", limits=["2 usd total"], alerts=TENTHS)
        program = ("spend_and_collect", url, "c8/agent", "0.01")
        *workers, one, two, three = start_all(*[program] * 7, file=PROGRAMS)
        go(*workers)
        for spare in (one, two, three):
            wanted = len(outbox.ledger.entries(most=1000)) + dice.randint(1, 40)
            until(lambda n=wanted: len(outbox.ledger.entries(most=1000)) >= n)
            kill(workers.pop(0))
            go(spare)
            workers.append(spare)
        for worker in workers:
            result(worker)
        # What a killed one held counts until somebody knows: here, that nothing was spent.
        for hold in outbox.ledger.holds("c8"):
            outbox.ledger.release(hold.key)
        while outbox.ledger.balances("c8")[0].available:
            outbox.spend("c8/agent", "0.01")
        outbox.collect("hook")
        check_told_once(outbox, ALL_TENTHS)


def check_told_once(outbox: Outbox, thresholds: list[int]) -> None:
    """Assert one nudge, one patch in one version and one delivery for each threshold."""
    alerts = outbox.ledger.alerts()
    assert [alert.threshold for alert in alerts] == thresholds
    assert outbox.ids() == [alert.id for alert in alerts]
    patches = outbox.quilt.find("sibling_nudge", most=1000)
    assert sorted(patch.name for patch in patches) == sorted(outbox.ids())
    assert {patch.version for patch in patches} == {1}
    assert outbox.nudges.pending() == len(alerts)


@pytest.mark.parametrize("store", SHARED)
def test_a_new_window_is_told_anew_by_many(store: str, tmp_path: Path) -> None:
    """The processes of two days raise two nudges for one threshold: one for each day."""
    url, today = STORES[store](tmp_path), ManualClock(datetime.now(UTC))
    tomorrow = ManualClock(today.now + timedelta(days=1))
    for clock in (today, tomorrow):
        with open_outbox(url, clock) as outbox, open_outbox(url, clock) as other:
            outbox.ledger.set_budget("c8", limits=["1 usd per day"])
            outbox.spend("c8", "0.7")
            other.spend("c8", "0.15")
            assert outbox.collect() + other.collect() == 1
    with open_outbox(url, tomorrow) as outbox:
        alerts = outbox.ledger.alerts()
        assert outbox.ids() == [alert.id for alert in alerts]
        assert len({alert.start for alert in alerts}) == 2


# The line is cut ----------------------------------------------------------------------------------


@pytest.fixture
def proxy(doomed_postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A line to the server that can be cut."""
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as made:
        yield made


def cut_the_commit_of(request: bytes, *, after: bool) -> Judge:
    """Cut the COMMIT that follows *request*, before it is whole, or *after* it was carried out."""
    seen, asked, done = threading.Event(), threading.Event(), threading.Event()

    def judge(side: Side, piece: bytes) -> int | None:
        if done.is_set():
            return None
        if side == "server":
            if not asked.is_set():
                return None
            done.set()
            return 0
        if request in piece:
            seen.set()
        if seen.is_set() and b"COMMIT" in piece:
            if after:
                asked.set()
                return None
            done.set()
            return len(piece) - 1
        return None

    return judge


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_commit_is_one_nudge(
    doomed_postgres: PostgresServer, proxy: TcpProxy, tmp_path: Path, when: str
) -> None:
    """Cut off before the commit, or between it and its answer: raised once, and counted."""
    url = doomed_postgres.url(schema=f"nudges_{tmp_path.name.lower()}"[:63])
    with open_outbox(proxy.via(url), SystemClock()) as outbox:
        outbox.ledger.set_budget("c8", limits=["1 usd per day"], alerts=TENTHS)
        outbox.spend("c8", "1")
        proxy.judge = cut_the_commit_of(b"nudge_mark (tree", after=when == "after")
        assert outbox.collect("hook") == 10
        assert proxy.cuts == 1
        check_told_once(outbox, ALL_TENTHS)
        assert outbox.collect("hook") == 0


def test_a_late_commit_of_another_tree_is_told(tmp_path: Path) -> None:
    """An entry committed after later ones of other trees, as only a server can, is not missed."""
    url, clock = STORES["postgres"](tmp_path), ManualClock()
    place = PostgresUrl.parse(url)
    with open_outbox(url, clock) as outbox:
        for tree in ("acme", "c8"):
            outbox.ledger.set_budget(tree, limits=["1 usd per day"])
        assert outbox.collect() == 0
        with psycopg.connect(place.conninfo) as slow:
            slow.execute(_PAUSE_OF_ACME.replace("{s}", place.schema).encode(), (clock.instant(),))
            outbox.spend("c8", "0.85")
            assert outbox.collect() == 1
            slow.commit()
        first, second = outbox.ledger.entries("acme")[-1], outbox.ledger.entries("c8")[-1]
        assert first.seq < second.seq
        assert outbox.collect() == 1
        assert outbox.kinds() == ["threshold", "paused"]
        assert outbox.collect() == 0


#: What a pause writes, by a client that is slow to commit.
_PAUSE_OF_ACME = """
WITH locked AS (
    UPDATE {s}.tree SET last = nextval('{s}.entry_seq'), entries = entries + 1
    WHERE name = 'acme' RETURNING last
)
INSERT INTO {s}.entry (seq, at, kind, "key", budget, usd, calls, tokens, prior, data)
SELECT last, %s, 'pause', 'slow', 'acme', 0, 0, NULL, 0,
    '{"actor": "", "reason": "", "until": null}'
FROM locked
"""
