"""Events: everybody hears what happens, once and in order, for the price of one look."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earmark.board.task import TaskDraft
from earmark.errors import StoreUnavailable
from earmark.nudges.nudges import Nudge, Nudges
from earmark.runs.journal_tables import TablesJournal
from earmark.service import event_streams
from earmark.service.change_feed import Change
from earmark.service.event_streams import (
    HELLO,
    MOST_REPLAYED,
    MOST_WAITING,
    EventStream,
    EventStreams,
)
from earmark.workspace.workspace import Workspace
from support.last_resort import LAST_RESORT_S
from support.service_house import House, house
from support.written_runs import line, record, statement_of


@pytest.fixture
def workspace(house: House) -> Workspace:
    """A workspace with one budget."""
    house.budget()
    return house.workspace


def add(workspace: Workspace, *titles: str) -> None:
    """Put tasks on the board."""
    for title in titles:
        workspace.board.add(TaskDraft(title=title), actor="me")


async def sse_stream(stream: AsyncGenerator[bytes], count: int) -> list[tuple[str, Any]]:
    """Return the next *count* events of a stream: their kind and what they say."""
    found: list[tuple[str, Any]] = []
    async with asyncio.timeout(LAST_RESORT_S):
        async for said in stream:
            if said.startswith(b":"):
                continue
            fields = dict(each.split(": ", 1) for each in said.decode().strip().splitlines())
            found.append((fields["event"], json.loads(fields["data"])))
            if len(found) == count:
                break
    return found


def with_live(workspace: Workspace, scenario: Callable[[EventStreams], Awaitable[None]]) -> None:
    """Run *scenario* with a live loop that looks a hundred times a second."""

    async def run() -> None:
        live = EventStreams(workspace, poll_every_s=0.01)
        await scenario(live)
        live.close()
        assert live.streams == 0
        assert not [
            each for each in asyncio.all_tasks() if each.get_name() == "earmark event streams"
        ]

    asyncio.run(run())


async def opened(live: EventStreams, after: int | None = None) -> AsyncGenerator[bytes]:
    """Return a stream that has begun: what happens from now on is heard."""
    stream = live.sse_stream(after)
    assert await anext(stream) == HELLO
    return stream


def test_everybody_hears_everything_once_and_in_order(workspace: Workspace) -> None:
    """Two hundred streams, three tasks: the same three events in each."""

    async def scenario(live: EventStreams) -> None:
        streams = [await opened(live) for _ in range(200)]
        heard = [asyncio.ensure_future(sse_stream(each, 3)) for each in streams]
        assert live.streams == 200
        await asyncio.to_thread(add, workspace, "a", "b", "c")
        for each in await asyncio.gather(*heard):
            assert [(kind, data["number"]) for kind, data in each] == [
                ("task", 1), ("task", 2), ("task", 3),
            ]  # fmt: skip
        for stream in streams:
            await stream.aclose()

    with_live(workspace, scenario)


def test_each_kind_of_thing_is_told(workspace: Workspace) -> None:
    """A task moved, a nudge raised, an agent reporting, an entry booked."""

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live)) as stream:
            hears = asyncio.ensure_future(sse_stream(stream, 4))
            await asyncio.to_thread(add, workspace, "a")
            await asyncio.to_thread(
                workspace.nudges.raise_, "paused", id="n", budget="acme", title="paused", data={}
            )
            await asyncio.to_thread(workspace.agents.acquire, "Cloud Lu", "host:1", 10**9)
            await asyncio.to_thread(workspace.ledger.reserve, "acme", "1")
            found = dict(await hears)
        assert found["task"]["move"] == "added"
        assert found["nudge"]["title"] == "paused"
        assert found["agent"] == {"name": "Cloud Lu"}
        assert found["ledger"] == {"trees": None}

    with_live(workspace, scenario)


def test_what_no_number_counts_is_told_too(tmp_path: Path) -> None:
    """A nudge on its way and acknowledged, a switch that was thrown, a run that ended."""
    with house(f"sqlite:///{tmp_path}/books.db") as opened_:
        workspace = opened_.workspace
        journal = TablesJournal(workspace.tables)
        workspace.nudges.raise_("paused", id="n", title="paused", data={}, channels=["chat"])
        workspace.agents.acquire("Cloud Lu", "host:1", 10**9)
        asyncio.run(journal.start(record("r")))

        async def scenario(live: EventStreams) -> None:
            async with aclosing(await opened(live)) as stream:
                for do, told_of in (
                    (lambda: workspace.nudges.lease("chat", lambda _: 1), ("outbox", {"id": "n"})),
                    (lambda: workspace.nudges.ack("n", "me"), ("outbox", {"id": "n"})),
                    (lambda: workspace.quilt.put("x", SWITCH, {}, author="me"), ("agent", AGENT)),
                    (lambda: asyncio.run(journal.record("r", [line(1)])), ("run", RUN)),
                    (lambda: asyncio.run(journal.finish(statement_of("r"))), ("run", RUN)),
                ):
                    await asyncio.to_thread(do)
                    assert await sse_stream(stream, 1) == [told_of]

        with_live(workspace, scenario)


AGENT = {"name": "Cloud Lu"}
RUN = {"run_id": "r"}
SWITCH = "cloud_lu_autonomous"


def test_a_listener_goes_on_where_it_was(workspace: Workspace) -> None:
    """After a break it names the last number it has, and misses and repeats nothing."""
    add(workspace, "a", "b", "c")

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live, after=1)) as stream:
            hears = asyncio.ensure_future(sse_stream(stream, 4))
            await asyncio.to_thread(add, workspace, "d", "e")
            assert [data["number"] for _, data in await hears] == [2, 3, 4, 5]

    with_live(workspace, scenario)


def test_a_listener_who_missed_too_much_is_told_to_look_again(workspace: Workspace) -> None:
    """One event instead of thousands, and from then on each."""
    board = workspace.board
    (first,) = [board.add(TaskDraft(title="a"), actor="me")]
    sql = (
        "INSERT INTO {schema}.task_event"
        " (number, task_id, at, actor, move, status, note, operation)"
        " VALUES (?, ?, 0, 'me', 'noted', 'pending', '', ?)"
    )

    def fill(rows: Any) -> None:
        for number in range(2, MOST_REPLAYED + 3):
            rows.run(sql, number, first.id, f"op-{number}")

    workspace.tables.write("board", fill)

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live, after=1)) as stream:
            hears = asyncio.ensure_future(sse_stream(stream, 2))
            await asyncio.to_thread(add, workspace, "b")
            (reset, last), (task, data) = await hears
        assert (reset, last) == ("reset", {"after": MOST_REPLAYED + 2})
        assert (task, data["number"]) == ("task", MOST_REPLAYED + 3)

    with_live(workspace, scenario)


def test_nobody_looks_when_nobody_listens(workspace: Workspace) -> None:
    """The loop begins with the first stream, ends with the last, and can begin again."""

    async def scenario(live: EventStreams) -> None:
        for title in "ab":
            async with aclosing(await opened(live)) as stream:
                hears = asyncio.ensure_future(sse_stream(stream, 1))
                await asyncio.to_thread(add, workspace, title)
                ((_, data),) = await hears
                assert data["move"] == "added"
            assert live._loop is None  # pyright: ignore[reportPrivateUsage]

    with_live(workspace, scenario)


def test_streams_end_when_the_service_does(workspace: Workspace) -> None:
    """Those that are open, and those that come later."""

    async def scenario(live: EventStreams) -> None:
        stream = await opened(live)
        hears = asyncio.ensure_future(sse_stream(stream, 1))
        live.close()
        assert await hears == []
        assert await sse_stream(await opened(live), 1) == []

    with_live(workspace, scenario)


def test_a_reader_that_does_not_keep_up_is_let_go() -> None:
    """It costs the memory of a thousand events and no more; what it has is in order."""

    async def scenario() -> None:
        stream = EventStream()
        for number in range(1, MOST_WAITING + 500):
            stream.put(Change.of("task", {"number": number}, number))
        found: list[int] = []
        while (happening := await stream.next(1)) is not None:
            found.append(happening.number)
        assert found == list(range(1, MOST_WAITING + 2))

    asyncio.run(scenario())


def test_what_two_looks_found_is_told_once() -> None:
    """The past and the present overlap where a listener comes while something happens."""

    async def scenario() -> None:
        stream = EventStream()
        for number in (4, 5, 5, 4, 6):
            stream.put(Change.of("task", {"number": number}, number))
        stream.put(Change.of("agent", {"name": "a"}))
        stream.put(Change.of("agent", {"name": "a"}))
        stream.end()
        found: list[tuple[str, int]] = []
        while (happening := await stream.next(1)) is not None:
            found.append((happening.kind, happening.number))
        assert found == [("task", 4), ("task", 5), ("task", 6), ("agent", 0), ("agent", 0)]

    asyncio.run(scenario())


def test_a_silent_stream_is_kept_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment now and then; it is no event."""
    monkeypatch.setitem(vars(event_streams), "PING_S", 0.02)

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live)) as stream, asyncio.timeout(LAST_RESORT_S):
            assert await anext(stream) == b": ping\n\n"

    with_live(workspace, scenario)


def test_the_loop_goes_on_when_the_store_comes_back(house: House) -> None:
    """While it is away nothing is told; afterwards everything that happened is."""

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live)) as stream:
            hears = asyncio.ensure_future(sse_stream(stream, 2))
            await asyncio.to_thread(add, house.workspace, "a")
            house.line.down = True
            # Each look is a step of the loop's own.
            while not live._trouble:  # noqa: ASYNC110 # pyright: ignore[reportPrivateUsage]
                await asyncio.sleep(0.005)
            house.line.down = False
            await asyncio.to_thread(add, house.workspace, "b")
            assert [data["number"] for _, data in await hears] == [1, 2]

    with_live(house.workspace, scenario)


class Failing(Nudges):
    """Nudges that cannot be read twice, once something is on the board."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace.tables, workspace.ledger.clock)
        self.board = workspace.board
        self.fails = [StoreUnavailable(store="s", detail="gone"), KeyError("nobody foresaw it")]

    def find(self, **wanted: Any) -> list[Nudge]:
        """Fail, or return nudges."""
        if self.board.last_event() and self.fails:
            raise self.fails.pop()
        return super().find(**wanted)


def test_a_look_that_breaks_off_loses_nothing(workspace: Workspace) -> None:
    """The board was looked at and the nudges could not be: the task is told by the next look."""
    nudges = Failing(workspace)

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live)) as stream:
            hears = asyncio.ensure_future(sse_stream(stream, 1))
            await asyncio.to_thread(add, workspace, "a")
            ((kind, data),) = await hears
            assert (kind, data["number"], nudges.fails) == ("task", 1, [])

    with_live(replace(workspace, nudges=nudges), scenario)


def test_a_past_that_cannot_be_read_ends_the_stream(house: House) -> None:
    """It is ended, and not broken off by an error: whoever listens connects again."""

    async def scenario(live: EventStreams) -> None:
        async with aclosing(await opened(live)):
            house.line.down = True
            async with aclosing(live.sse_stream(after=0)) as late, asyncio.timeout(LAST_RESORT_S):
                assert [said async for said in late] == [HELLO]
            house.line.down = False

    with_live(house.workspace, scenario)


def test_a_service_has_so_many_listeners(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come later, so that there is room for other requests."""
    monkeypatch.setitem(vars(event_streams), "MOST_STREAMS", 0)
    answer = house.ask("get", "/v1/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.json()["code"] == "too_many"


def test_the_api_replays_what_was_missed(house: House) -> None:
    """`Last-Event-ID` goes before `after`; the stream ends with the service."""
    add(house.workspace, "a", "b", "c")
    house.service.event_streams.close()
    answer = house.ask("get", "/v1/events?after=0")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert "event:" not in answer.text, "a service that ends has nothing more to tell"
    for wrong in ("x", "-1", str(1 << 64), "1.5"):
        house.no(400, "get", "/v1/events", headers={"Last-Event-ID": wrong})
    house.no(400, "get", "/v1/events?after=-1")
