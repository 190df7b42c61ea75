"""The server and the proxy that the tests of the PostgreSQL store stand on."""

import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import cast

import psycopg
import pytest

from support.last_resort import LAST_RESORT_S
from support.network import Network
from support.pgbouncer import PgBouncer
from support.postgres_server import Mode, PostgresServer, Server
from support.postgres_session import fresh_url
from support.tcp_proxy import TcpProxy, cut_by_chance, cut_the_answer_to


@pytest.fixture
def proxy(doomed_postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A proxy in front of the server that may be killed."""
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as made:
        yield made


@pytest.fixture
def url(doomed_postgres: PostgresServer) -> str:
    """That server's URL as libpq takes it."""
    return doomed_postgres.url(schema="x").partition("?")[0]


#: Every server answers this with one letter.
SSL_REQUEST = bytes.fromhex("00000008 04d2162f")


def one(connection: psycopg.Connection, statement: str) -> object:
    """Return the one value that *statement* selects."""
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_folder_has_its_schema(tmp_path: Path) -> None:
    """The same folder has the same schema, another one another."""
    assert fresh_url(tmp_path) == fresh_url(tmp_path)
    assert fresh_url(tmp_path) != fresh_url(tmp_path / "other")


def test_the_server_is_safe(postgres: Server) -> None:
    """Tests run on a server that keeps what it acknowledges, and its user is nobody special."""
    with postgres.connect() as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert one(connection, f"SHOW {name}") == "on"
    with psycopg.connect(postgres.url(schema="x").partition("?")[0]) as connection:
        assert one(connection, "SHOW is_superuser") == "off" or not postgres.own


@pytest.mark.parametrize("how", ["smart", "fast", "immediate", "kill"])
def test_it_comes_back(doomed_postgres: PostgresServer, url: str, how: str) -> None:
    """However the server was ended, it starts again on its port and has what was committed."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS n")
        if how != "smart":
            # A smart stop waits for its clients.
            end(doomed_postgres, how)
    if how == "smart":
        end(doomed_postgres, how)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    doomed_postgres.start()
    with psycopg.connect(url) as connection:
        assert one(connection, "SELECT n FROM kept") == 7


def end(server: PostgresServer, how: str) -> None:
    """End *server* in one of its ways."""
    if how == "kill":
        server.kill()
    else:
        server.stop(cast("Mode", how))


STRANDED = """
import sys
from support.network import Network
from support.pgbouncer import PgBouncer
from support.postgres_server import PostgresServer
server = PostgresServer()
print(server.folder, server.pid, server.keeper, flush=True)
sys.stdin.read()
"""


def test_no_orphan_is_left() -> None:
    """Whoever started a server and is killed by SIGKILL leaves neither processes nor files."""
    with subprocess.Popen(
        [sys.executable, "-c", STRANDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        folder, *pids = process.stdout.readline().split()
        watched = [os.pidfd_open(int(pid)) for pid in pids]
        assert Path(folder).exists()
        process.kill()
    for watch in watched:
        assert select.select([watch], [], [], LAST_RESORT_S)[0], "it still runs"
        os.close(watch)
    assert not Path(folder).exists()


def test_backends_can_be_told_apart(doomed_postgres: PostgresServer, url: str) -> None:
    """A test finds the process that serves its connection, and can kill it alone."""
    with psycopg.connect(url, application_name="mine") as connection:
        (pid,) = doomed_postgres.backends("mine")
        assert pid == connection.info.backend_pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            one(connection, "SELECT 1")
    # The server restarts itself after such a death, on its own.
    doomed_postgres.until_ready()


def test_an_answer_is_cut_off(proxy: TcpProxy, url: str) -> None:
    """The server has committed what the client was never told of."""
    with psycopg.connect(proxy.via(url), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS secret")
        proxy.judge = cut_the_answer_to(b"secret")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("CREATE TABLE secret AS SELECT 7 AS n")
    with psycopg.connect(proxy.via(url)) as connection:
        assert one(connection, "SELECT n FROM secret") == 7
    assert proxy.cuts == 1


def test_a_request_is_torn(proxy: TcpProxy, url: str) -> None:
    """What was cut off before its end is not carried out."""
    with psycopg.connect(proxy.via(url), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS torn")
        proxy.judge = lambda side, piece: len(piece) - 1 if side == "client" else None
        with pytest.raises(psycopg.OperationalError):
            connection.execute("CREATE TABLE torn AS SELECT 7 AS n")
    proxy.judge = None
    with psycopg.connect(proxy.via(url)) as connection:
        assert one(connection, "SELECT to_regclass('torn')") is None


def test_chance_cuts_now_and_then(proxy: TcpProxy, url: str) -> None:
    """By chance some connections are cut, and the others are not."""
    proxy.judge = cut_by_chance(random.Random(1), one_in=20)
    done = 0
    for _ in range(30):
        with suppress(psycopg.OperationalError), psycopg.connect(proxy.via(url)) as connection:
            assert one(connection, "SELECT 7") == 7
            done += 1
    assert 0 < done < 30
    assert 0 < proxy.cuts < 31


def test_a_frozen_line_says_nothing(proxy: TcpProxy, url: str) -> None:
    """While frozen nothing comes through and nothing breaks; thawed, it goes on."""
    with psycopg.connect(proxy.via(url)) as connection:
        proxy.freeze()
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(one(connection, "SELECT 7")))
        asking.start()
        with socket.create_connection(proxy.address, timeout=0.3) as caller:
            caller.sendall(SSL_REQUEST)
            with pytest.raises(TimeoutError):
                caller.recv(1)
        assert answers == []
        proxy.thaw()
        asking.join(LAST_RESORT_S)
        assert answers == [7]
        assert proxy.cut() >= 1
        with pytest.raises(psycopg.OperationalError):
            one(connection, "SELECT 7")


def test_a_pool_gives_transactions_to_any_connection(
    doomed_postgres: PostgresServer, url: str
) -> None:
    """Behind pgbouncer eight clients share two connections of the server."""
    with PgBouncer(doomed_postgres, pool=2) as pool, ExitStack() as stack:
        clients = [stack.enter_context(psycopg.connect(pool.via(url))) for _ in range(8)]
        served: set[object] = set()
        for client in clients:
            served.add(one(client, "SELECT pg_backend_pid()"))
            client.commit()
        assert len(served) <= 2


ASKING = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for line in sys.stdin:
        print(connection.execute("SELECT inet_client_addr()").fetchone()[0], flush=True)
"""


def test_a_host_is_lost_and_comes_back() -> None:
    """A host's questions are not answered while it is cut off, and are once it is back."""
    with Network(2) as network, PostgresServer(addresses=(network.address,)) as server:
        url = server.url(schema="x").partition("?")[0].replace("127.0.0.1", network.address)
        host = network.hosts[1]
        with subprocess.Popen(
            [*host.prefix, sys.executable, "-c", ASKING, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline().decode().strip() == host.address
            host.partition()
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 1)[0] == []
            host.heal()
            assert process.stdout.readline().decode().strip() == host.address
