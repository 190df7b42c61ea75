"""Several hosts share the books on one PostgreSQL server; hosts are network namespaces.

Skipped where those cannot be had. `EARMARK_FIRE_SECONDS=600` cuts a host off for a minute.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S
from support.ledger_books import check_books, standing
from support.ledger_clients import Clients
from support.ledger_history import check_history
from support.ledger_workers import (
    go,
    in_threads,
    result,
    rush_of_tasks,
    rush_of_threads,
    start_all,
)
from support.network import Network
from support.postgres_programs import NoPostgresError
from support.postgres_server import PostgresServer

#: Longer than the server leaves a lock to a client that says nothing.
CUT_OFF_S = 7 if float(os.environ.get("EARMARK_FIRE_SECONDS", "0")) < 60 else 60


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Four hosts beside this one."""
    with Network(4) as made:
        yield made


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[PostgresServer]:
    """A server that all of them reach."""
    try:
        with PostgresServer(addresses=(network.address,)) as made:
            yield made
    except NoPostgresError as missing:
        pytest.skip(f"no PostgreSQL: {missing}")


def places(network: Network, server: PostgresServer, url: str) -> tuple[str, list[tuple[str, ...]]]:
    """Return *url* as the hosts have to say it, and where programs run on each."""
    away = url.replace(f"@127.0.0.1:{server.port}/", f"@{network.address}:{server.port}/")
    assert away != url
    return away, [host.prefix for host in network.hosts]


def test_four_hosts_and_everybody_else_at_once(network: Network, server: PostgresServer) -> None:
    """64 threads, 64 tasks, 4 x 16 of other processes, 4 x 16 of other hosts: ten get 1.00."""
    url = server.url(schema="rush")
    away, prefixes = places(network, server, url)
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["10.50 usd total"])
        kinds = ("threads", "tasks", "threads", "tasks")
        workers = start_all(
            *(("rush", away, kind, 16, "acme/agent") for kind in kinds),
            *(("rush", url, kind, 16, "acme/agent") for kind in kinds),
            places=prefixes,
        )
        admitted: list[bool] = []

        def tasks() -> None:
            admitted.extend(asyncio.run(rush_of_tasks(ledger, 64, "acme/agent")))

        def threads() -> None:
            admitted.extend(rush_of_threads(ledger, 64, "acme/agent"))

        go(*workers)
        in_threads([tasks, threads])
        for worker in workers:
            admitted += result(worker)
        assert len(admitted) == 256
        assert admitted.count(True) == 10
        assert standing(ledger, "acme") == ("10.5", "0", "10", "0.5")
        check_books(ledger)


@pytest.mark.timeout(2 * LAST_RESORT_S + 3 * CUT_OFF_S)
def test_a_host_is_cut_off_and_comes_back(
    network: Network, server: PostgresServer, tmp_path: Path
) -> None:
    """While a host is cut off the others work on; when it is back, so does it, by itself."""
    url = server.url(schema="cut_off")
    away, prefixes = places(network, server, url)
    lost, cut = network.hosts[0], ["c0"]
    clients = Clients([away], tmp_path / "history", pace_s=0.005)
    with clients, open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["20 usd total"])
        ledger.set_budget("acme/tight", limits=["6 usd total"])
        clients.start(3, prefixes[:3])
        clients.until_answered(ledger.clock.elapsed())
        lost.partition()
        try:
            gone = ledger.clock.elapsed()
            clients.rest(CUT_OFF_S)
            clients.until_answered(gone, clients.threads("c1", "c2"))
            # What was on its way when it was cut off, and nothing more.
            assert all(clients.answers(thread, gone) <= 1 for thread in clients.threads(*cut))
        finally:
            lost.heal()
        clients.until_answered(ledger.clock.elapsed())
        clients.until_accepted(100)
        clients.finish()
        check_history(ledger, clients.history)
