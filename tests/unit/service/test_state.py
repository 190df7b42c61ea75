"""`/livez`, `/readyz`, `/health`: what is true now, cheaply, and without secrets."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from earmark.service.readiness import FRESH_S, WRITE_EVERY_S
from earmark.stores.tables import Rows
from earmark.workspace.agent_state import AgentState
from support.service_house import House, house

HEALTH = "application/health+json"


def test_the_process_lives_whatever_the_store_does(house: House) -> None:
    """Live is not ready: without a store, nobody restarts the process for it."""
    house.line.down = True
    answer = house.ask("get", "/livez", scope=None)
    assert (answer.status_code, answer.json()) == (200, {"status": "pass"})
    assert answer.headers["content-type"] == HEALTH


def test_a_store_that_is_read_and_written_is_ready(tmp_path: Path) -> None:
    """Both were tried."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened:
        answer = opened.ask("get", "/readyz", scope=None)
        assert (answer.status_code, answer.headers["content-type"]) == (200, HEALTH)
        checks = {"store:read", "store:swept", "store:time", "store:written"}
        assert set(answer.json()["checks"]) == checks
        sql = "SELECT at FROM {schema}.request WHERE \"key\" = 'probe'"
        assert (
            opened.workspace.tables.read(lambda rows: rows.run(sql))[0][0] == opened.clock.instant()
        )


def test_a_store_that_closed_is_not_ready_and_never_healthy(tmp_path: Path) -> None:
    """503 as soon as an answer may be half a second old; health fails with it."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened:
        assert opened.ask("get", "/health").status_code == 200
        opened.workspace.ledger.store.close()
        opened.clock.advance(timedelta(seconds=FRESH_S))
        for path in ("/readyz", "/health"):
            answer = opened.ask("get", path, scope=None)
            assert (answer.status_code, answer.json()["status"]) == (503, "fail")
            assert str(tmp_path) not in answer.text


def test_a_clock_that_is_wrong_is_not_ready(tmp_path: Path) -> None:
    """Set while the service runs, or behind what is booked: both say by how much."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened:

        def check() -> tuple[int, str, str]:
            opened.clock.advance(timedelta(seconds=FRESH_S))
            answer = opened.ask("get", "/readyz", scope=None)
            first = answer.json()["checks"].get("store", [{}])[0]
            return answer.status_code, first.get("code", ""), first.get("output", "")

        opened.clock.step(timedelta(seconds=301))
        assert check()[:2] == (503, "clock_stepped")
        assert "the clock was set 301 s ahead" in check()[2]
        opened.clock.step(timedelta(seconds=-301))
        assert check() == (200, "", "")
        opened.clock.set(opened.clock.now + timedelta(days=1))
        opened.workspace.ledger.set_budget("acme", limits=["1 usd per day"])
        opened.clock.set(opened.clock.now - timedelta(days=1))
        status, code, said = check()
        assert (status, code) == (503, "entries_ahead")
        assert said.startswith("the last entry is 86399 s ahead of this machine's clock")


def test_a_file_that_was_moved_away_is_gone(tmp_path: Path) -> None:
    """Whoever has it open can go on writing to it, and nobody will find that: not ready."""
    file = tmp_path / "books.db"
    with house(f"sqlite:///{file}") as opened:
        for away, status in ((True, 503), (False, 200)):
            source, target = (file, tmp_path / "away") if away else (tmp_path / "away", file)
            assert opened.ask("get", "/readyz", scope=None).status_code == (200 if away else 503)
            source.rename(target)
            opened.clock.advance(timedelta(seconds=FRESH_S))
            assert opened.ask("get", "/readyz", scope=None).status_code == status
        file.rename(tmp_path / "old")
        (tmp_path / "other").write_bytes((tmp_path / "old").read_bytes())
        (tmp_path / "other").rename(file)
        opened.clock.advance(timedelta(seconds=FRESH_S))
        assert opened.ask("get", "/health").status_code == 503, "another's copy"
        (tmp_path / "old").rename(file)


def test_health_is_never_older_than_half_a_second(house: House) -> None:
    """What changed is seen when that is over, and not looked at again before."""
    house.budget()
    first = house.ok("get", "/health")
    house.workspace.agents.acquire("Cloud Lu", "host:1", 10**12)
    assert house.ok("get", "/health") == first
    house.clock.advance(timedelta(seconds=FRESH_S))
    later = house.ok("get", "/health")
    assert later["as_of"] == "2026-11-22T12:00:00.500000Z"
    assert later["heartbeat"] != first["heartbeat"]


def beat(opened: House, state: AgentState) -> None:
    """Let a heartbeat report."""
    opened.workspace.agents.acquire("Cloud Lu", "host:1", 60_000_000_000)
    opened.workspace.agents.report("Cloud Lu", "host:1", state, state.cycle_count)
    opened.clock.advance(timedelta(seconds=FRESH_S))


def test_health_has_the_seeds_blocks_and_a_status_that_a_probe_understands(house: House) -> None:
    """At the cap it is 200 and `warn`; a heartbeat that died is 503 and `fail`."""
    house.budget("c8/cloud-lu", "1 usd per day")
    state: dict[str, Any] = {
        "agent": "Cloud Lu", "budget": "c8/cloud-lu", "running": True, "cycle_count": 7,
        "last_heartbeat": house.clock.instant(), "interval_s": 1800.0, "persist_every": 10,
        "started_at": house.clock.instant(),
    }  # fmt: skip
    beat(house, AgentState(**state, state="idle"))
    fine = house.ask("get", "/health")
    assert (fine.status_code, fine.json()["status"]) == (200, "pass")
    ledger = house.workspace.ledger
    ledger.settle(ledger.reserve("c8/cloud-lu", "1").key, "1")
    beat(house, AgentState(**state, state="at_cap", reason="spent"))
    capped = house.ask("get", "/health")
    document = capped.json()
    assert (capped.status_code, document["status"]) == (200, "warn")
    assert document["heartbeat"]["cycle_count"] == 7
    assert {"daily_spend", "daily_cap", "utilization_percent", "remaining"} <= set(
        document["budget"]
    )
    assert {"persist_interval", "cycles_until_persist"} <= set(document["persistence"])
    house.clock.advance(timedelta(hours=2))
    dead = house.ask("get", "/health")
    assert (dead.status_code, dead.json()["status"]) == (503, "fail")


def test_a_store_that_does_not_answer_is_gone(house: House) -> None:
    """Two seconds are waited for it, once for all who ask; the process itself goes on answering."""
    may_go_on, holds = threading.Event(), threading.Event()

    def hold(_: Rows) -> None:
        holds.set()
        may_go_on.wait()

    with ThreadPoolExecutor(4) as threads:
        held = threads.submit(house.workspace.tables.write, "board", hold)
        holds.wait()
        asked = [
            threads.submit(house.ask, "get", path, scope=None) for path in ("/readyz", "/health")
        ]
        assert house.ask("get", "/livez", scope=None).status_code == 200
        answers = [each.result() for each in asked]
        may_go_on.set()
        held.result()
    assert {each.status_code for each in answers} == {503}
    assert {each.json()["status"] for each in answers} == {"fail"}
    house.clock.advance(timedelta(seconds=FRESH_S))
    assert house.ask("get", "/readyz", scope=None).status_code == 200


def test_the_store_is_not_written_for_every_question(tmp_path: Path) -> None:
    """Every commit makes every other process look: it is tried each five seconds."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened:
        sql = "SELECT at FROM {schema}.request WHERE \"key\" = 'probe'"
        written: list[int] = []
        for _ in range(2 * WRITE_EVERY_S * 2):
            assert opened.ask("get", "/readyz", scope=None).status_code == 200
            written.append(opened.workspace.tables.read(lambda rows: rows.run(sql))[0][0])
            opened.clock.advance(timedelta(seconds=FRESH_S))
        assert len(set(written)) == 2
