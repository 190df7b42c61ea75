"""Pages: every item once, in order, whatever the size of the page; strange cursors are refused."""

import asyncio
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.journals import open_journal
from support.ledger_books import DURABLE, STORES
from support.postgres_session import recycle
from support.service_house import House, house
from support.unfinished_writer import until_looked, writing
from support.written_runs import line, record, statement_of


def everything(service: House, path: str, limit: int) -> list[Any]:
    """Return all items of a list, page by page."""
    found: list[Any] = []
    cursor = ""
    while True:
        joined = "&" if "?" in path else "?"
        page = service.ok("get", f"{path}{joined}limit={limit}{cursor}")
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = f"&cursor={page['next']}"


def fill(service: House) -> None:
    """Put seven of each thing in the workspace."""
    for number in range(7):
        service.budget(f"acme/b{number}")
        service.workspace.ledger.reserve(f"acme/b{number}", "1", key=f"r{number}")
        service.ok("post", "/v1/tasks", json={"title": f"t{number}"})
        service.workspace.quilt.put("note", f"n{number}", {}, author="me")
        service.workspace.nudges.raise_("paused", id=f"p{number}", title="x", data={})


NAMES = {
    "/v1/budgets": ("path", [f"acme/b{number}" for number in range(7)]),
    "/v1/budgets?prefix=acme&runs=true": ("path", [f"acme/b{number}" for number in range(7)]),
    "/v1/reservations": ("key", [f"r{number}" for number in range(7)]),
    "/v1/entries": ("seq", list(range(1, 15))),
    "/v1/tasks": ("number", list(range(1, 8))),
    "/v1/tasks?newest=true": ("number", list(range(7, 0, -1))),
    "/v1/nudges": ("number", list(range(1, 8))),
}


@pytest.fixture(scope="module", params=DURABLE)
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service on a store that lasts, with seven of each thing."""
    folder: Path = tmp_path_factory.mktemp("books")
    with house(STORES[request.param](folder)) as opened:
        fill(opened)
        yield opened
    recycle(folder)


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
@pytest.mark.parametrize("path", NAMES)
def test_every_item_comes_once_and_in_order(full: House, path: str, limit: int) -> None:
    """Pages of one, of three, of exactly all, and one that has room for more."""
    name, expected = NAMES[path]
    assert [each[name] for each in everything(full, path, limit)] == expected


def test_only_budgets_of_runs_are_left_out(full: House) -> None:
    """Those that runs and sessions opened; whoever takes such a name is listed, on every store."""
    kept = [
        "dry-run-0123456789abcdef", "run-12345", "x/run-of-the-mill-days", "run-0123456789abcdef",
    ]  # fmt: skip
    of_runs = ["run-nightly", "x/exec-0123456789abcdef", "x/y/run-ffffffffffffffff"]
    for path in kept:
        full.budget(f"names/{path}")
    for path, kind in zip(of_runs, ("run", "session", "run"), strict=True):
        full.workspace.ledger.set_budget(f"names/{path}", kind=kind)
    listed = {each["path"] for each in everything(full, "/v1/budgets?prefix=names", 4)}
    assert listed == {f"names/{path}" for path in kept}
    every = {each["path"] for each in everything(full, "/v1/budgets?prefix=names&runs=true", 4)}
    assert every - listed == {f"names/{path}" for path in of_runs}
    full.clock.advance(timedelta(seconds=2))
    metrics = full.ask("get", "/metrics").text
    assert all(f'budget="names/{path}"' in metrics for path in kept)
    assert not any(f'budget="names/{path}"' in metrics for path in of_runs)


def test_patches_come_by_type_and_name(full: House) -> None:
    """Also those that the nudges are; a prefix means the name's beginning."""
    names = [f"n{number}" for number in range(7)]
    assert [each["name"] for each in everything(full, "/v1/patches?type=note", 2)] == names
    assert len(everything(full, "/v1/patches", 3)) == 14
    assert [e["name"] for e in everything(full, "/v1/patches?type=note&prefix=n3", 5)] == ["n3"]


def test_runs_come_newest_first(full: House) -> None:
    """Those of one moment too; each with its statement, or the lines it has so far."""
    moments = {"00000000000000a1": 1, "00000000000000a2": 5, "00000000000000a3": 5}

    async def write() -> None:
        journal = open_journal(full.workspace.ledger.store.url)
        for run_id, at in moments.items():
            await journal.start(record(run_id, at))
            await journal.record(run_id, [line(1)])
        await journal.finish(statement_of("00000000000000a1", line(1), line(2)))
        await journal.aclose()

    asyncio.run(write())
    found = everything(full, "/v1/runs", 1)
    assert [each["run_id"][-2:] for each in found] == ["a3", "a2", "a1"]
    assert [each["status"] for each in found] == ["running", "running", "ok"]
    schemas = full.ok("get", "/openapi.json", scope=None)["components"]["schemas"]
    named = schemas["RunStatement"]["properties"].keys()
    answered = {run_id: full.ok("get", f"/v1/runs/{run_id}") for run_id in moments}
    assert all(each.keys() == named for each in answered.values())
    ended = answered["00000000000000a1"]
    statement = statement_of("00000000000000a1").to_json()
    totals = ("spent", "held", "presumed", "overrun", "unaccounted", "output", "error", "ended_at")
    assert [ended[name] for name in totals] == [statement[name] for name in totals]
    assert [each["spent"] for each in answered.values()] == [ended["spent"], None, None]
    lines = [len(full.ok("get", f"/v1/runs/{run_id}")["lines"]) for run_id in moments]
    assert lines == [2, 1, 1]


def forged(text: str) -> str:
    """Return a cursor that says *text*."""
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


CURSORS = [
    "!", "x", forged("{}"), forged("null"), forged("true"), forged("1.5"), forged("-1"),
    forged(str(1 << 64)), forged("[1, 2]"), forged('["\\u0000", "a"]'), forged('["\\ud800", ""]'),
    forged("[" * 5000), forged("9" * 1400),
]  # fmt: skip


@pytest.mark.parametrize("path", [*NAMES, "/v1/patches", "/v1/runs", "/v1/alerts"])
def test_a_cursor_of_another_list_is_bad_input(shared: House, path: str) -> None:
    """Whatever it says, it is 400, never the service's own failure."""
    joined = "&" if "?" in path else "?"
    for cursor in CURSORS:
        shared.no(400, "get", f"{path}{joined}cursor={cursor[:2000]}")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5", ""])
def test_a_page_has_from_one_to_a_thousand_items(shared: House, limit: str) -> None:
    """Anything else is bad input."""
    shared.no(400, "get", f"/v1/tasks?limit={limit}")


def test_no_page_goes_beyond_what_is_still_being_written(tmp_path: Path) -> None:
    """One tree has taken a number and not committed; another commits the next one, meanwhile."""
    url = STORES["postgres"](tmp_path)
    with house(url) as opened:
        for path in ("slow", "quick"):
            opened.budget(path)
        before = [each["seq"] for each in opened.ok("get", "/v1/entries")["items"]]
        with writing(url, "slow") as (slow, number), ThreadPoolExecutor(1) as threads:
            later = opened.workspace.ledger.reserve("quick", "1").seq
            of_one = opened.ok("get", "/v1/entries?budget=quick")["items"]
            assert of_one[-1]["seq"] == later, "one tree is complete by itself"
            waits = threads.submit(opened.ok, "get", "/v1/entries")
            until_looked(tmp_path, waits)
            slow.commit()
            found = [each["seq"] for each in waits.result()["items"]]
        assert found == [*before, number, later]
    recycle(tmp_path)
