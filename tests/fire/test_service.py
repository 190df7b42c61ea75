"""The service as a process: killed, told to end, cut off from its store, backed up in use."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import httpx2
import pytest

from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S, until
from support.ledger_books import DURABLE, STORES, check_books
from support.postgres_session import recycle
from support.served import Served, earmark
from support.tcp_proxy import TcpProxy


@pytest.fixture(params=DURABLE)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the books are kept."""
    yield STORES[request.param](tmp_path)
    recycle(tmp_path)


def reserve(client: httpx2.Client, key: str) -> Any:
    """Reserve 1 USD under *key*, as often as it takes, as a client does that is not told."""
    body, headers = {"budget": "acme", "amount": "1"}, {"Idempotency-Key": key}
    pause = threading.Event()
    for _ in range(6000):
        try:
            answer = client.post("/v1/reservations", json=body, headers=headers)
        except httpx2.HTTPError:
            pause.wait(0.05)
            continue
        if answer.status_code == 201:
            return answer.json()
        assert answer.status_code in {409, 503}, answer.text
        pause.wait(0.1)
    raise AssertionError("nobody answered")


def test_what_is_sent_again_after_a_kill_is_done_once(store: str, tmp_path: Path) -> None:
    """Killed with SIGKILL amid keyed requests: each key has one reservation."""
    keys = [f"call-{number}" for number in range(200)]
    with Served(store, tmp_path) as served, served.client() as client:
        with ThreadPoolExecutor(6) as threads:
            waiting = [threads.submit(reserve, client, key) for key in keys]
            until(lambda: sum(each.done() for each in waiting) >= 60)
            served.kill()
            served.start()
            answers = [each.result() for each in waiting]
        assert len({answer["key"] for answer in answers}) == len(keys)
        # Again, some of them: nothing new.
        again = [reserve(client, key)["key"] for key in keys[:10]]
        assert again == [answer["key"] for answer in answers[:10]]
    with open_ledger(store) as ledger:
        assert sorted(each.key for each in ledger.holds()) == sorted(a["key"] for a in answers)
        check_books(ledger)


def test_told_to_end_it_answers_what_is_under_way(store: str, tmp_path: Path) -> None:
    """SIGTERM: a stream is ended, a request in progress is answered, and the exit code is 0."""
    with Served(store, tmp_path) as served, ThreadPoolExecutor(2) as threads:
        wanted = {"budget": "acme", "amount": "1000"}
        held = served.ask("post", "/v1/reservations", json=wanted).json()
        waits = threads.submit(
            served.ask,
            "post",
            "/v1/reservations",
            json={**wanted, "wait": "60s"},
            headers={"Idempotency-Key": "waits"},
        )
        listens = threading.Event()
        streams = threads.submit(listen, served, listens)
        assert listens.wait(LAST_RESORT_S)
        until(lambda: is_being_answered(served, "waits"))
        with closing(httpx2.Client(base_url=served.url)) as early:
            assert early.get("/livez").status_code == 200
            ends = threading.Thread(target=served.terminate)
            ends.start()
            with open_ledger(store) as ledger:
                ledger.release(held["key"])
            ends.join()
        assert served.process.returncode == 0
        assert waits.result().status_code == 201
        assert streams.result() >= 1
        assert "Traceback" not in served.said.read_text()
        with pytest.raises(httpx2.HTTPError):
            served.ask("get", "/livez")


def is_being_answered(served: Served, key: str) -> bool:
    """Return whether the service has begun to answer the request under that key."""
    other = {"budget": "acme", "amount": "1000"}
    answer = served.ask("post", "/v1/reservations", json=other, headers={"Idempotency-Key": key})
    return answer.json()["code"] == "key_reused"


def listen(served: Served, listens: threading.Event) -> int:
    """Listen until the stream ends; return how many pieces came."""
    pieces = 0
    with served.client() as client, client.stream("GET", "/v1/events") as stream:
        for _ in stream.iter_bytes():
            listens.set()
            pieces += 1
    return pieces


def test_events_arrive_from_another_process(store: str, tmp_path: Path) -> None:
    """A task added by a command is heard by who listens to the service."""
    with (
        Served(store, tmp_path) as served,
        served.client() as client,
        client.stream("GET", "/v1/events") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == ": here"
        added = earmark(tmp_path, "task", "add", "think", "--store", store, "--json")
        assert added.returncode == 0, added.stderr
        said = next(line for line in lines if line.startswith("data: "))
    assert json.loads(said.removeprefix("data: "))["move"] == "added"


def test_a_server_that_is_gone_is_told_and_comes_back(tmp_path: Path) -> None:
    """Cut off from PostgreSQL: alive, not ready, never healthy, and ready again by itself."""
    url = STORES["postgres"](tmp_path)
    place = urlsplit(url)
    assert place.hostname is not None
    with (
        TcpProxy((place.hostname, place.port or 5432)) as proxy,
        Served(proxy.via(url), tmp_path) as served,
        served.client() as client,
    ):
        assert client.get("/readyz").status_code == 200
        assert client.get("/health").status_code == 200
        proxy.freeze()
        proxy.cut()
        until(lambda: client.get("/readyz").status_code == 503)
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "fail")
        assert client.get("/livez").status_code == 200
        proxy.thaw()
        until(lambda: client.get("/readyz").status_code == 200)
        assert reserve(client, "after")["state"] == "open"
    recycle(tmp_path)


def test_a_file_that_cannot_be_written_is_told_and_comes_back(tmp_path: Path) -> None:
    """Another program keeps the file locked: read, but not ready; ready when it lets go."""
    store = STORES["sqlite"](tmp_path)
    with Served(store, tmp_path) as served, served.client() as client:
        assert client.get("/readyz").status_code == 200
        with closing(apsw.Connection(store.removeprefix("sqlite:///"))) as other:
            other.set_busy_timeout(600_000)
            other.execute("BEGIN IMMEDIATE")  # pyright: ignore[reportUnknownMemberType]
            until(lambda: client.get("/readyz").status_code == 503)
            assert client.get("/health").status_code == 503
            assert client.get("/v1/tasks").status_code == 200, "it can be read"
            other.execute("ROLLBACK")  # pyright: ignore[reportUnknownMemberType]
        until(lambda: client.get("/readyz").status_code == 200)


def test_a_backup_of_books_in_use_is_good(store: str, tmp_path: Path) -> None:
    """Copies are made while a process writes: each is what its own entries say."""
    stop = threading.Event()

    def write(served: Served) -> None:
        with served.client() as client:
            for number in range(100_000):
                if stop.is_set():
                    return
                body = {"budget": "acme", "amount": "1", "key": f"k{number}"}
                client.post("/v1/reservations", json=body).raise_for_status()
                client.post(f"/v1/reservations/k{number}/settle", json={"amount": "0.001"})

    seen: list[int] = []
    with Served(store, tmp_path) as served, ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write, served)]
        for number in range(2):
            have = seen[-1] if seen else 20
            until(
                lambda n=have: len(served.ask("get", "/v1/entries?limit=1000").json()["items"]) > n
            )
            made = earmark(tmp_path, "backup", f"copy-{number}.db", "--store", store, "--json")
            assert made.returncode == 0, made.stderr
            seen.append(json.loads(made.stdout)["entries"])
        stop.set()
        for each in writers:
            each.result()
    for number, entries in enumerate(seen):
        with open_ledger(f"sqlite:///{tmp_path}/copy-{number}.db") as copy:
            assert len(copy.entries(most=10**6)) >= entries
            check_books(copy)
    assert 20 < seen[0] < seen[1]
