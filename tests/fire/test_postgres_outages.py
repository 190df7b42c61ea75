"""One thing at a time goes wrong between a ledger and its PostgreSQL server."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from earmark.errors import KeyReused
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from support.fire_nemesis import Nemesis
from support.last_resort import LAST_RESORT_S
from support.ledger_books import check_books, standing
from support.ledger_clients import PROGRAMS, Clients
from support.ledger_history import check_history
from support.ledger_workers import go, kill, start_all
from support.postgres_server import PostgresServer
from support.tcp_proxy import Judge, TcpProxy, cut_the_answer_to, cut_within


@pytest.fixture
def proxy(doomed_postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A line to the server that can be cut and frozen."""
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as made:
        yield made


@pytest.fixture
def url(doomed_postgres: PostgresServer, tmp_path: Path) -> str:
    """Books with 20.00 for `acme`, on the server that may be killed."""
    url = doomed_postgres.url(schema=f"outage_{tmp_path.name.lower()}"[:63])
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["20 usd total"])
        ledger.set_budget("acme/tight", limits=["6 usd total"])
    return url


# The answer is lost ------------------------------------------------------------------------------

ASKED: dict[str, Callable[[Ledger], object]] = {
    "reserve": lambda ledger: ledger.reserve("acme", "2.00", key="k2").amount,
    "extend": lambda ledger: ledger.extend("k1", "0.25", operation="x1").amount,
    "settle": lambda ledger: ledger.settle("k1", "0.50").settled,
    "release": lambda ledger: ledger.release("k1").state,
    "limit": lambda ledger: ledger.set_budget("acme/k1", limits=["7 usd total"]).path,
}
ANSWERS = {"reserve": "2", "extend": "1.25", "settle": "0.5", "release": "released"}


@pytest.mark.parametrize("cut", [cut_the_answer_to, cut_within])
@pytest.mark.parametrize("asked", ASKED)
def test_what_was_cut_off_is_done_once(
    asked: str, cut: Callable[[bytes], Judge], url: str, proxy: TcpProxy
) -> None:
    """Cut off before the request is whole or between COMMIT and its answer: the true answer."""
    with open_ledger(proxy.via(url)) as ledger:
        ledger.reserve("acme", "1.00", key="k1")
        before = len(ledger.entries())
        proxy.judge = cut(b"k2" if asked == "reserve" else b"k1")
        assert str(ASKED[asked](ledger)) == ANSWERS.get(asked, "acme/k1")
        assert proxy.cuts == 1
        kinds = [entry.kind for entry in ledger.entries()[before:]]
        assert kinds == [asked]
        check_books(ledger)


@pytest.mark.parametrize("cut", [cut_the_answer_to, cut_within])
@pytest.mark.parametrize("alone", [True, False])
def test_a_block_is_entered_on_the_hold_whose_answer_was_cut_off(
    cut: Callable[[bytes], Judge], url: str, proxy: TcpProxy, *, alone: bool
) -> None:
    """Asked again on a new connection, the hold is still this entry's; a second entry's it is not.

    Also where another process has written to the tree meanwhile, so that more has to be read.
    """
    with open_ledger(proxy.via(url)) as ledger, open_ledger(url) as other:
        ledger.reserve("acme", "1.00", key="k1")
        if not alone:
            other.reserve("acme", "1.00", key="k2")
        proxy.judge = cut(b"mine")
        with ledger.spend("acme", "1.00", key="mine") as spend:
            assert not spend.hold.repeated
            with pytest.raises(KeyReused), other.spend("acme", "1.00", key="mine"):
                pytest.fail("the block ran on another's hold")
            spend.settle("0.25")
        assert proxy.cuts == 1
        proxy.judge = cut(b"k3")
        assert not ledger.reserve("acme", "1.00", key="k3").repeated
        assert ledger.reserve("acme", "1.00", key="k3").repeated
        assert [entry.kind for entry in ledger.entries(key="mine")] == ["reserve", "settle"]
        check_books(ledger)


# A lock is not given back ------------------------------------------------------------------------


def test_a_stopped_holder_of_a_lock_is_passed(url: str) -> None:
    """A client that stands still with a tree locked loses its lock; the others go on by then."""
    (holder,) = start_all(("hold_lock", url, "acme"), file=PROGRAMS)
    holder.send_signal(signal.SIGSTOP)
    try:
        with open_ledger(url) as ledger:
            ledger.reserve("acme", "1.00")
            assert Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            check_books(ledger)
    finally:
        kill(holder)


def test_a_stopped_backend_holds_up_and_breaks_nothing(url: str) -> None:
    """While the server's own process stands still with a lock all wait; then all are answered."""
    (holder,) = start_all(("hold_lock", url, "acme"), file=PROGRAMS)
    go(holder)
    assert holder.stdout is not None
    backend = int(holder.stdout.readline())
    os.kill(backend, signal.SIGSTOP)
    try:
        with open_ledger(url) as ledger:
            held, asking = asked_meanwhile(ledger)
            assert held == []
            kill(holder)
            os.kill(backend, signal.SIGCONT)
            asking.join(LAST_RESORT_S)
            assert len(held) == 1
            assert standing(ledger, "acme") == ("20", "0", "1", "19")
            check_books(ledger)
    finally:
        with suppress(ProcessLookupError):
            os.kill(backend, signal.SIGCONT)


def asked_meanwhile(ledger: Ledger) -> tuple[list[str], threading.Thread]:
    """Reserve in a thread; return the keys it got until now, and the thread."""
    held: list[str] = []
    asking = threading.Thread(target=lambda: held.append(ledger.reserve("acme", "1.00").key))
    asking.start()
    asking.join(0.5)
    return held, asking


# Somebody dies ------------------------------------------------------------------------------------


def test_clients_work_on_by_themselves(
    url: str, doomed_postgres: PostgresServer, proxy: TcpProxy, tmp_path: Path
) -> None:
    """After each kind of death all clients go on, untold; all they were told is in the books."""
    clients = Clients([url, proxy.via(url)], tmp_path / "history")
    nemesis = Nemesis(doomed_postgres, proxy, clients, random.Random(1), 0.5)
    with clients, open_ledger(url) as ledger:
        clients.start(2)
        for blow in nemesis.blows:
            nemesis.strike(blow)
            doomed_postgres.until_ready()
            clients.until_answered(ledger.clock.elapsed())
        clients.until_accepted(100)
        assert clients.finish() == 0, "a caller was told that the store cannot be had"
        check_history(ledger, clients.history)


def test_an_operation_outlasts_a_restart(url: str, doomed_postgres: PostgresServer) -> None:
    """What is asked while the server is down is done, untold, when it is back in time."""
    with open_ledger(url) as ledger:
        doomed_postgres.stop("fast")
        held, asking = asked_meanwhile(ledger)
        assert held == []
        doomed_postgres.start()
        asking.join(LAST_RESORT_S)
        assert len(held) == 1
        check_books(ledger)
