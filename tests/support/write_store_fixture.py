"""Writes a store of each kind with something of everything in it, to be kept as a fixture.

Run once for each version that is landed, on that version's tree, from the root of the project:

    PYTHONPATH=tests:. python -m support.write_store_fixture tests/fixtures/stores/COMMIT

It leaves a compressed SQLite file, a PostgreSQL dump that needs no program to be loaded, and what
the readers of each said. Commit the folder; never write it anew.
"""

import asyncio
import gzip
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import apsw

from earmark.board.board import Board
from earmark.board.task import CompositionWork, ModelWork, TaskDraft, TaskStatus
from earmark.composition.ast import Composition, Sequential, Stage
from earmark.errors import BudgetExceeded, StageFailed
from earmark.ledger.ledger import Ledger
from earmark.nudges.channels.channel import DeliveryFailed
from earmark.nudges.collect import collect
from earmark.nudges.courier import Courier
from earmark.runs.runner import run
from earmark.stages.kinds.python import stage
from earmark.stores.open import open_ledger
from earmark.stores.postgres_url import PostgresUrl
from earmark.testing import ManualClock
from earmark.workspace.agent_state import AgentState
from support.board_books import AGENT, in_state
from support.journals import open_journal
from support.nudge_books import Received
from support.postgres_server import PostgresServer
from support.service_house import House, house
from support.store_facts import facts
from support.store_fixtures import (
    ANSWERED_KEY,
    ANSWERED_REQUEST,
    FIXTURE_TOKEN,
    KINDS,
    TOKEN_NUMBER,
    TOKEN_SECRET,
    StoreFixture,
)
from support.written_runs import line, record

BEGINNING: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
GRAPH: Final = Composition(description="two", root=Sequential((Stage("work"), Stage("work"))))


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@stage(name="work", cost="0.05")
async def broken(value: Any) -> Any:
    """Fail."""
    raise ValueError(f"no {value}")


def write(url: str, clock: ManualClock) -> None:
    """Write something of everything to the new store at *url*; nothing is open in the end."""
    with open_ledger(url, clock=clock) as ledger:
        _write_books(ledger, clock)
        _write_runs(ledger)
    asyncio.run(_write_cut_off_run(url))
    with house(url, clock=clock) as service:
        _write_beside(service, clock)
        _write_token(service)
        headers = {"Authorization": f"Bearer {FIXTURE_TOKEN}"}
        answer = service.ask(
            "post",
            "/v1/reservations",
            scope=None,
            key=ANSWERED_KEY,
            json=ANSWERED_REQUEST,
            headers=headers,
        )
        assert answer.status_code == 201, answer.text


def _write_books(ledger: Ledger, clock: ManualClock) -> None:
    ledger.set_budget(
        "acme", limits=["10 usd per day", "500 calls total"], timezone="Europe/Berlin",
        alerts=[0.5, 0.8, 1], actor="ann", reason="a day's work",
    )  # fmt: skip
    ledger.set_budget("acme/team", limits=["40 usd per month"])
    ledger.set_budget("acme/counted", limits=["9000 tokens per 30min"])
    ledger.set_budget("acme/team/agent-7", limits=["3 usd per hour"], timezone="Asia/Kolkata")
    ledger.set_budget("globex", limits=["5 usd total"], alerts=[0.1])
    ledger.set_budget("globex/paused", limits=["1 usd per day"])
    ledger.set_budget("globex/until", limits=["1 usd per day"])
    ledger.set_budget("lowered", limits=["2 usd per week"])
    ledger.set_budget("raised", limits=["1 usd total"])
    agent = "acme/team/agent-7"
    ledger.extend_budget(
        "acme", "5 usd per day", until=clock.now + timedelta(days=30), actor="ann", key="more"
    )
    ledger.extend_budget("acme/team", "9 usd per month", until=clock.now + timedelta(minutes=1))
    ledger.reserve(agent, 1, key="settled", units={"tokens": 1200}, labels={"é": "\n\\N"})
    ledger.settle("settled", "0.123456789", units={"tokens": 900})
    ledger.reserve("acme/counted", "0.1", key="counted", units={"tokens": 5000})
    ledger.reserve("acme", "0.5", key="overrun", units={"calls": 2})
    ledger.settle("overrun", "1.75", units={"calls": 3})
    ledger.release(ledger.reserve("acme/team", 1, key="released").key)
    ledger.reserve(agent, "0.25", key="presumed", deadline="1min")
    ledger.presume(ledger.reserve("globex", "0.75", key="lost").key)
    ledger.presume(ledger.reserve(agent, "0.5", key="corrected").key)
    ledger.settle("corrected", "0.2")
    _write_details(ledger, clock)
    ledger.presume(ledger.reserve("globex", 1, key="forgiven").key)
    ledger.release("forgiven")
    clock.advance(timedelta(minutes=2))
    ledger.reserve(agent, "0.5", key="open", deadline="10h", units={"tokens": 100})
    ledger.reserve("acme", 1, key="extended", deadline="20h")
    ledger.extend("extended", "0.5", units={"calls": 0}, operation="extension-1")
    ledger.settle(ledger.reserve("lowered", "1.5", key="much").key, "1.5")
    ledger.set_budget("lowered", limits=["1 usd per week"], actor="bob", reason="too much")
    ledger.settle(ledger.reserve("raised", 1, key="all").key, 1)
    ledger.set_budget("raised", limits=["4 usd total"])
    ledger.pause("globex/paused", actor="bob", reason="tea 'quoted' \\ \t")
    ledger.pause("globex/until", until=clock.now + timedelta(days=2))
    ledger.pause("lowered")
    ledger.resume("lowered", actor="bob")
    with suppress(BudgetExceeded):
        ledger.reserve("globex", 100, key="refused")


def _write_details(ledger: Ledger, clock: ManualClock) -> None:
    """Write details of calls, a known part of a presumed cost, and deadlines that were moved."""
    details = {"model": "gpt-4o-mini", "request_id": "req_é", "usage": {"input_tokens": 12}}
    ledger.set_budget("initech", limits=["9 usd total"])
    ledger.reserve("initech", "0.1", key="told", deadline="1h")
    ledger.settle("told", "0.01", details=details)
    ledger.reserve("initech", "0.1", key="known", deadline="1h")
    ledger.presume("known", known="0.2", details={"model": "m", "unknown": ["audio_tokens"]})
    ledger.reserve("initech", "0.1", key="moved", deadline="1h")
    ledger.extend("moved", "0.05", deadline=clock.now + timedelta(days=20))
    ledger.extend("moved", deadline=clock.now + timedelta(days=30))


def _write_runs(ledger: Ledger) -> None:
    value = {"text": "é\x00"}
    run(GRAPH, value, ledger=ledger, under="acme/team", budget="1", stages=[work], run_id="good")
    with suppress(StageFailed):
        run(GRAPH, value, ledger=ledger, under="acme", budget="1", stages=[broken], run_id="bad")


async def _write_cut_off_run(url: str) -> None:
    journal = open_journal(url)
    await journal.start(record("cut"))
    await journal.record("cut", [line(1), line(2, key="open", state="open")])
    await journal.aclose()


def _write_beside(service: House, clock: ManualClock) -> None:
    workspace = service.workspace
    board = workspace.board
    states = [each for each in TaskStatus if each not in {TaskStatus.PENDING, TaskStatus.CLAIMED}]
    tasks = {status: in_state(board, status) for status in states}
    board.decide(tasks[TaskStatus.FAILED].id, "retry", actor="ann", note="once more")
    (again,) = board.claim(AGENT, 1, lease_ns=10**9)
    board.start(again, model="local/tiny", run_id="good", budget="acme/team/run-good")
    in_state(board, TaskStatus.CLAIMED)
    _write_waiting(board, str(tasks[TaskStatus.COMPLETED].id))
    workspace.quilt.put("fact", "ünïcode", {"v": 1, "é": "\x00"}, author="Cloud Lu")
    workspace.quilt.put("fact", "ünïcode", {"v": 2}, author="AG Lu", expected=1)
    workspace.agents.acquire(AGENT, "host:1", 10**9)
    workspace.agents.report(AGENT, "host:1", AgentState(agent=AGENT, cycle_count=3), 3)
    raised = collect(workspace.ledger, workspace.nudges, ["good", "bad"])
    assert raised > 3
    bad = Received(name="bad", failures=[DeliveryFailed("HTTP 503")])
    asyncio.run(Courier(workspace.nudges, {"good": Received(), "bad": bad}, clock).deliver_due())
    workspace.nudges.ack(workspace.nudges.find()[0].id, "ann")


def _write_waiting(board: Board, needs: str) -> None:
    board.add(TaskDraft(title="[A-1] waits", needs=(needs,), labels=("ü b", "ops")), actor="ann")
    model = ModelWork(model="anthropic/claude-x", prompt="say é", max_tokens=5)
    board.add(
        TaskDraft(title="asks first", work=model, destructive=True, labels=("ops",)),
        actor="ann",
        key="task-1",
    )
    graph = CompositionWork(graph=json.loads(GRAPH.to_json()), input={"é": 1}, budget="0.5")
    board.add(TaskDraft(title="graph", work=graph), actor="bob")


def _write_token(service: House) -> None:
    """Make a token that tests know: a row as `Tokens.create` writes it."""
    number = TOKEN_NUMBER
    id_ = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
    digest = sha256(TOKEN_SECRET.encode()).hexdigest()
    service.workspace.tables.write(
        "token",
        lambda rows: rows.run(
            "INSERT INTO {schema}.token (id, name, digest, scopes, created_at, expires_at,"
            " revoked_at) VALUES (?, 'fixture', ?, 'read spend', 1, 0, 0)",
            id_,
            digest,
        ),
    )
    tokens = service.service.tokens
    tokens.revoke(tokens.create("revoked", ["read"])[0].id)


def _dump(server: PostgresServer, url: str) -> str:
    """Return the schema of *url* as statements, its name as `{schema}`."""
    from support.postgres_programs import programs

    place = PostgresUrl.parse(url)
    options = ["--inserts", "--no-owner", "--no-privileges", f"--schema={place.schema}"]
    command = [str(programs() / "pg_dump"), *options, place.conninfo]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [
        each for each in text.splitlines()
        if each and not each.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_config"))
    ]  # fmt: skip
    assert server.password not in text
    text = "\n".join(lines) + "\n"
    return text.replace(f'"{place.schema}"', "{schema}").replace(place.schema, "{schema}")


def _write(fixture: StoreFixture, url: str) -> None:
    clock = ManualClock(BEGINNING)
    write(url, clock)
    said = {"at": clock.now.isoformat(), "facts": facts(url, clock)}
    text = json.dumps(said, indent=1, ensure_ascii=False)
    fixture.facts_file.write_text(text + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    """Write all stores to *folder*, which must not exist."""
    folder.mkdir(parents=True)
    sqlite, postgres = (StoreFixture(folder, kind) for kind in KINDS)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "books.db"
        _write(sqlite, f"sqlite:///{file}")
        with apsw.Connection(str(file)) as connection:
            connection.pragma("wal_checkpoint(truncate)")  # pyright: ignore[reportUnknownMemberType]
        sqlite.file.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    with PostgresServer() as server:
        url = server.url(schema="kept_schema")
        _write(postgres, url)
        postgres.file.write_text(_dump(server, url), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
