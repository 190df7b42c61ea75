"""A heartbeat to test: books, a board, a scripted model and a clock that stands still."""

import asyncio
import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final, Self, TypeVar, cast

from earmark.admission.call import Grant, ModelRequest, Provider, Reply
from earmark.board.board import Board
from earmark.board.task import Task, TaskDraft, TaskStatus
from earmark.config.settings import HeartbeatSettings
from earmark.heartbeat.cycle_report import CycleReport
from earmark.heartbeat.heartbeat import Heartbeat
from earmark.heartbeat.runtime import Runtime
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.nudges.channels.channel import Channel
from earmark.nudges.courier import Courier
from earmark.pricing.book import PriceBook
from earmark.pricing.usage import Usage
from earmark.stores.open import open_ledger
from earmark.testing import Answer, ManualClock, ScriptedProvider
from earmark.testing.scripted import Scripted, ScriptedCall
from earmark.workspace.health import Health, health
from earmark.workspace.task_costs import task_cost
from earmark.workspace.workspace import Workspace, open_workspace
from support.last_resort import LAST_RESORT_S, until
from support.shaky_tables import ShakyTables

T = TypeVar("T")

#: A thousand output tokens are ten cents.
MODEL: Final = "scripted/m"
BOOK: Final = PriceBook({MODEL: {"input_mtok": "0", "output_mtok": "100"}})
#: What the script answers unless a test says otherwise: 0.10 USD.
TEN_CENTS: Final = Answer(usage=Usage.of(input_tokens=100, output_tokens=1000))
#: Bounds are what may be written: 1,000 tokens.
MOST: Final = 1000


def answer(cents: int, **more: Any) -> Answer:
    """Return an answer that costs so many cents."""
    return Answer(usage=Usage.of(input_tokens=100, output_tokens=100 * cents), **more)


class BeatHouse:
    """One heartbeat and all it works on; use as a context manager."""

    def __init__(
        self,
        *script: Scripted,
        url: str = "memory:",
        ledger: Ledger | None = None,
        clock: ManualClock | None = None,
        limits: Iterable[str] = ("1 usd per day",),
        timezone: str = "UTC",
        house: dict[str, Any] | None = None,
        channel: Channel | None = None,
        others: Mapping[str, Provider] | None = None,
        holder: str = "host:1",
        reload_settings: Callable[[], HeartbeatSettings | None] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self._files = ExitStack()
        self._runner = self._files.enter_context(asyncio.Runner())
        # The books of a test that has several heartbeats on them are its own to close.
        self.ledger = ledger or self._files.enter_context(open_ledger(url, clock=self.clock))
        opened = self._files.enter_context(open_workspace(self.ledger))
        self.line = ShakyTables(opened.tables)
        self.workspace = Workspace.over(self.ledger, self.line)
        told = {"agent": "Cloud Lu", "budget": "c8/cloud-lu", "model": MODEL, **settings}
        self.settings = HeartbeatSettings(**told)
        if limits and not self.ledger.store.accounts(self.settings.budget, self.clock.instant()):
            self.ledger.set_budget(self.settings.budget, limits=list(limits), timezone=timezone)
        self.provider = _Watched(
            script or (TEN_CENTS,), book=BOOK, clock=self.clock, default_max_tokens=MOST
        )
        more = house or {}
        if channel is not None:
            courier = Courier(self.workspace.nudges, {channel.name: channel}, self.clock)
            more |= {"courier": courier, "channels": (channel.name,)}
        providers = ChainMap[str, Provider]({"scripted": self.provider})
        if others is not None:
            # Any mapping: it is only read.
            providers.maps.append(cast("MutableMapping[str, Provider]", others))
        self.house = Runtime(providers=providers, **more)
        self.beat = Heartbeat(
            *(self.workspace, self.settings, self.house),
            clock=self.clock,
            holder=holder,
            reload_settings=reload_settings,
        )
        self._started = False

    # The board ------------------------------------------------------------------------------------

    @property
    def board(self) -> Board:
        """The board."""
        return self.workspace.board

    def add(self, title: str = "a task", **fields: Any) -> Task:
        """Put a task on the board."""
        return self.board.add(TaskDraft(title=title, **fields), actor="ann")

    def fill(self, count: int) -> list[Task]:
        """Put so many tasks on the board."""
        return [self.add(f"task {number}") for number in range(count)]

    def status(self, task: Task) -> TaskStatus:
        """Return where a task stands now."""
        return self.board.get(task.id).status

    def cost(self, task: Task) -> Money:
        """Return what a task cost, by the books."""
        return task_cost(self.ledger, self.board.attempts(task.id)).settled

    def when_sent(self, do: Callable[[], object]) -> None:
        """Do this once a call was sent, while it is under way; the first one, unless said again."""
        self.provider.watchers.append(do)

    # The heartbeat --------------------------------------------------------------------------------

    def run(self, work: Any) -> Any:
        """Run a coroutine in the heartbeat's event loop."""
        return self._runner.run(work)

    def start(self, stop: asyncio.Event | None = None) -> Self:
        """Start the heartbeat."""
        self.run(self.beat.start(stop))
        self._started = True
        return self

    def cycle(self, *, after: timedelta | None = None) -> CycleReport:
        """Run one cycle, *after* so much time; start it first where that was not done."""
        if after is not None:
            self.clock.advance(after)
        if not self._started:
            self.start()
        report = self.run(self.beat.cycle())
        assert isinstance(report, CycleReport)
        return report

    def cycles(self, count: int, *, every: timedelta = timedelta(minutes=1)) -> CycleReport:
        """Run so many cycles; return the last one's report."""
        reports = [self.cycle(after=every) for _ in range(count)]
        return reports[-1]

    def pass_time(self, by: timedelta, *, sleepers: int = 0) -> None:
        """Move the clock from another thread; return once so many sleep on it again."""
        moved = threading.Event()

        def move() -> None:
            self.clock.advance(by)
            moved.set()

        self._runner.get_loop().call_soon_threadsafe(move)
        assert moved.wait(LAST_RESORT_S)
        until(lambda: self.clock.sleepers >= sleepers)

    def stop(self) -> None:
        """Stop the heartbeat."""
        self.run(self.beat.stop())
        self._started = False

    def health(self) -> Health:
        """Return what health says of it."""
        return health(self.workspace, agent=self.settings.agent, clock=self.clock)

    # The books ------------------------------------------------------------------------------------

    @property
    def spent(self) -> Money:
        """What is settled on the day's budget."""
        settled = self._day().settled
        assert isinstance(settled, Money)
        return settled

    @property
    def held(self) -> Money:
        """What is in flight on it."""
        held = self._day().held
        assert isinstance(held, Money)
        return held

    def _day(self) -> Any:
        balances = self.ledger.balances(self.settings.budget)
        return next(each for each in balances if (each.unit, each.window) == ("usd", "day"))

    def holds(self) -> list[Reservation]:
        """Return every reservation there is."""
        return self.ledger.holds(state=None)

    def patch(self, name: str) -> dict[str, Any]:
        """Return a budget patch's data."""
        return dict(self.workspace.quilt.get("budget", name).data)

    def nudges(self) -> list[str]:
        """Return the kinds of all nudges in the order they were raised."""
        return [nudge.kind for nudge in self.workspace.nudges.find(most=1000)]

    def kill_switch(self, **data: Any) -> None:
        """Let a sibling write the kill switch."""
        self.workspace.quilt.put("control", "cloud_lu_autonomous", data, author="VS Lu")

    def close(self) -> None:
        """Check that the books add up, and close them."""
        try:
            assert self.ledger.audit().ok
        finally:
            self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Watched(ScriptedProvider):
    """Tells a test when a call was sent: everything else then waits."""

    def __init__(self, script: Iterable[Scripted], **options: Any) -> None:
        super().__init__(script, **options)
        self.watchers: list[Callable[[], object]] = []

    def play(self, *script: Scripted) -> None:
        """Play these lines from now on."""
        self._script = list(script)

    async def perform(self, call: ScriptedCall, request: ModelRequest, grant: Grant) -> Reply:
        """Play the next line, and tell whoever waits for that."""
        playing = asyncio.ensure_future(super().perform(call, request, grant))
        await asyncio.sleep(0)
        if self.watchers:
            # In a thread, as whoever else uses the books.
            await asyncio.to_thread(self.watchers.pop(0))
        try:
            return await playing
        finally:
            playing.cancel()
