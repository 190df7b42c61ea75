"""The heartbeat: cycle after cycle under one name, for as long as nobody stops it."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from earmark.admission.cancellation import run_to_completion
from earmark.clock import NANOS_PER_SECOND, Clock, parse_duration
from earmark.config.settings import HeartbeatSettings
from earmark.errors import AgentBusy, BudgetExceeded, EarmarkError, StoreError
from earmark.heartbeat.controls import Verdict
from earmark.heartbeat.cycle import Cycle, CycleProgress
from earmark.heartbeat.cycle_report import CycleReport
from earmark.heartbeat.default_limits import set_default_limits
from earmark.heartbeat.leases import Leases
from earmark.heartbeat.nudge_delivery import NudgeDelivery
from earmark.heartbeat.preview import DispatchPreview, preview
from earmark.heartbeat.runtime import Runtime
from earmark.heartbeat.settings_reload import apply_changes, state_with
from earmark.ids import new_run_id
from earmark.stores.tables import Rows
from earmark.workspace.agent_state import AgentState
from earmark.workspace.agents import AgentRow
from earmark.workspace.health import cycles_until_persist
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

#: Waking when a window turns, it is certain to have turned.
_AFTER_THE_TURN_NS: Final = 1_000_000
_MILLISECOND: Final = 1_000_000
#: States that end at an instant of their own, before the next cycle would come.
_END_BY_THEMSELVES: Final = frozenset({"at_cap", "paused", "quiet"})


class Heartbeat:
    """Runs under one agent's name; one event loop uses it.

    `start`, any number of `cycle`, `stop`; or `run`, which does all that until it is told to stop.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: HeartbeatSettings,
        runtime: Runtime,
        *,
        clock: Clock,
        holder: str | None = None,
        on_cycle: Callable[[CycleReport], None] | None = None,
        reload_settings: Callable[[], HeartbeatSettings | None] | None = None,
    ) -> None:
        """Use *workspace* and *runtime*, which stay the caller's to close.

        Args:
            workspace: The books and what stands beside them.
            settings: Of the heartbeat.
            runtime: Providers, stages, channels.
            clock: For every instant and every wait.
            holder: Names this process to others; host, process and a few random digits if None.
            on_cycle: Told of each cycle that ended.
            reload_settings: Called before each cycle; returns changed settings, None without.
        """
        self._workspace = workspace
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._holder = holder or f"{socket.gethostname()}:{os.getpid()}:{new_run_id(clock)[8:]}"
        self._on_cycle = on_cycle
        self._leases = Leases(
            workspace,
            clock,
            agent=settings.agent,
            holder=self._holder,
            lease_ns=parse_duration(settings.lease),
        )
        self._reload_settings = reload_settings
        self._cycle = self._cycle_of(settings)
        self._nudge_delivery = NudgeDelivery(runtime.courier, clock)
        self._interval_ns = parse_duration(settings.interval)
        self._state = AgentState()
        self._cycles_before = 0

    @property
    def state(self) -> AgentState:
        """What it says of itself."""
        return self._state

    @property
    def cycles(self) -> int:
        """How many it has done since it was started."""
        return self._state.cycle_count - self._cycles_before

    @property
    def lost(self) -> bool:
        """Whether another heartbeat was seen to have taken the name."""
        return self._leases.lost is not None

    async def run(self, stop: asyncio.Event) -> None:
        """Do cycles until *stop* is set; then end, or put back, what is under way, and persist.

        The next cycle begins an interval after the one before began, by the monotonic clock; one
        at the cap is followed as soon as the window turns.

        Raises:
            AgentBusy: Another heartbeat runs under the name, or has taken it.
            StoreUnavailable, InvalidPatch: See `start`.
        """
        await self.start(stop)
        try:
            async with self._leases, self._nudge_delivery:
                while not stop.is_set():
                    began = self._clock.elapsed()
                    report = await self.cycle()
                    await self._until_next(began, report, stop)
        finally:
            _, cancelled = await run_to_completion(self.stop())
        if cancelled is not None:
            raise cancelled

    async def start(self, stop: asyncio.Event | None = None) -> None:
        """Take the name, and take over what the books do not know yet; durable.

        Once *stop* is set nothing more is claimed, and what is under way has its grace to end.

        Raises:
            AgentBusy: Another heartbeat runs under the name: says who, until when.
            StoreUnavailable: The store cannot be read or written.
            InvalidPatch: A budget patch from elsewhere says no amount.
        """
        self._cycle.stop = stop or self._cycle.stop
        settings, agents = self._settings, self._workspace.agents
        lease_ns = self._leases.lease_ns
        row = await asyncio.to_thread(agents.acquire, settings.agent, self._holder, lease_ns)
        try:
            self._state = await asyncio.to_thread(self._begun, row)
            self._cycles_before = row.cycles
            await self._report()
        except BaseException:
            await asyncio.to_thread(agents.give_up, settings.agent, self._holder)
            raise

    async def cycle(self) -> CycleReport:
        """Do one cycle; trouble with the store or with a patch from elsewhere is in its report.

        Raises:
            AgentBusy: Another heartbeat has taken the name.
        """
        began = self._clock.elapsed()
        progress = CycleProgress(number=self._state.cycle_count + 1)
        await self._read_settings(progress)
        async with self._leases:
            try:
                await self._cycle.run(progress)
                await self._persist(progress)
            except AgentBusy:
                raise
            except EarmarkError as error:
                progress.errors.append(str(error))
        report = progress.report((self._clock.elapsed() - began) // _MILLISECOND)
        self._state = self._after(progress, report, began)
        await self._publish_report(report)
        return report

    async def stop(self) -> None:
        """Write the patch, say that it stopped, and give up the name; a lost one is left alone."""
        progress = CycleProgress(number=self._state.cycle_count)
        try:
            if self._leases.lost is None:
                await self._persist(progress, now=True)
                self._state = replace(
                    _persisted(self._state, progress), running=False, state="stopped", reason=""
                )
                await self._report()
            await asyncio.to_thread(
                self._workspace.agents.give_up, self._settings.agent, self._holder
            )
        except EarmarkError as error:
            # The books have everything; the name is free when its lease ends.
            _log.warning("the end could not be written: %s", error)

    def simulate(self) -> tuple[Verdict, list[DispatchPreview]]:
        """Return what is in the way, and what a cycle would dispatch now; changes nothing."""
        most = self._settings.max_dispatches
        planned = preview(self._workspace, self._settings, self._runtime, self._clock, most=most)
        return self._cycle.verdict(), planned

    # Its settings ---------------------------------------------------------------------------------

    def _cycle_of(self, settings: HeartbeatSettings) -> Cycle:
        return Cycle(
            self._workspace,
            settings,
            self._runtime,
            leases=self._leases,
            clock=self._clock,
            on_dispatch=self._dispatching,
        )

    async def _read_settings(self, progress: CycleProgress) -> None:
        if self._reload_settings is None:
            return
        try:
            reloaded = await asyncio.to_thread(self._reload_settings)
        except EarmarkError as error:
            progress.errors.append(f"the settings stay as they were: {error}")
            return
        if reloaded is not None:
            self._change(apply_changes(self._settings, reloaded))

    def _change(self, settings: HeartbeatSettings) -> None:
        if settings == self._settings:
            return
        _log.info("the settings have changed")
        stop = self._cycle.stop
        self._settings, self._cycle = settings, self._cycle_of(settings)
        self._cycle.stop = stop
        self._interval_ns = parse_duration(settings.interval)
        self._state = state_with(self._state, settings)

    # Between the cycles ---------------------------------------------------------------------------

    async def _until_next(self, began: int, report: CycleReport, stop: asyncio.Event) -> None:
        waits = [
            asyncio.ensure_future(
                self._clock.sleep(self._wait_ns(began, report) / NANOS_PER_SECOND)
            ),
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._leases.gone.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _wait_ns(self, began: int, report: CycleReport) -> int:
        left = max(0, began + self._interval_ns - self._clock.elapsed())
        if report.resets_at and report.state in _END_BY_THEMSELVES:
            until_reset = report.resets_at - self._clock.instant() + _AFTER_THE_TURN_NS
            # It may have turned since the cycle looked.
            return min(left, max(0, until_reset))
        return left

    # What it says of itself -----------------------------------------------------------------------

    def _begun(self, row: AgentRow) -> AgentState:
        set_default_limits(self._workspace.ledger, self._settings)
        try:
            self._cycle.patches.take_over()
        except BudgetExceeded as refusal:
            # Paused: no cycle dispatches before it is booked.
            _log.warning("a patch from elsewhere is not booked yet: %s", refusal)
        known, day = state_with(row.state, self._settings), self._cycle.patches.today()
        return replace(
            known,
            running=True,
            started_at=self._clock.instant(),
            cycle_count=row.cycles,
            state="idle",
            reason="",
            resets_at=0,
            dispatched=0,
            last_error="",
            # A first start has nothing to close before today.
            last_budget_date=known.last_budget_date or day.date,
            unclosed_since=known.unclosed_since or day.start,
        )

    async def _persist(self, progress: CycleProgress, *, now: bool = False) -> None:
        state = self._state
        patches = self._cycle.patches
        due = not cycles_until_persist(progress.number, state.persisted_cycle, state.persist_every)
        if not (now or due):
            day = await asyncio.to_thread(patches.today)
            due = day.date != state.last_budget_date
        if now or due:
            progress.persisted = await asyncio.to_thread(
                patches.write, progress.number, state.unclosed_since
            )

    def _after(self, progress: CycleProgress, report: CycleReport, began: int) -> AgentState:
        now = self._clock.instant()
        return replace(
            _persisted(self._state, progress),
            cycle_count=report.number,
            last_heartbeat=now,
            next_cycle_at=now + self._wait_ns(began, report),
            state=report.state,
            reason=report.reason,
            resets_at=report.resets_at,
            dispatched=self._state.dispatched + sum(each.taken for each in progress.ended),
            last_error=report.trouble(),
        )

    def _dispatching(self, rows: Rows) -> None:
        state = replace(self._state, state="dispatching", reason="", resets_at=0)
        self._workspace.agents.report_in(rows, state.agent, self._holder, state, state.cycle_count)
        self._state = state

    async def _publish_report(self, report: CycleReport) -> None:
        _log.info("%s", report.line())
        try:
            await self._report()
        except StoreError as error:
            # Health sees by the age of the last report that something is wrong.
            _log.warning("the report could not be written: %s", error)
        await self._nudge_delivery.notify()
        if self._on_cycle is not None:
            self._on_cycle(report)

    async def _report(self) -> None:
        state = self._state
        await asyncio.to_thread(
            self._workspace.agents.report, state.agent, self._holder, state, state.cycle_count
        )


def _persisted(state: AgentState, progress: CycleProgress) -> AgentState:
    done = progress.persisted
    if done is None:
        return state
    return replace(
        state,
        persisted_cycle=progress.number,
        last_persist_at=done.at,
        last_budget_date=done.date,
        patch_name=done.name,
        unclosed_since=done.unclosed_since,
    )
