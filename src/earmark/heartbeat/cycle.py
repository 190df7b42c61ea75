"""One cycle: controls, what is due, what fits, dispatches, grades, nudges, the patch."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from earmark.admission.cancellation import run_to_completion
from earmark.board.task import ModelWork, Task, TaskStatus
from earmark.clock import Clock
from earmark.config.settings import HeartbeatSettings
from earmark.errors import BudgetExceeded, EarmarkError, InvalidConfig, NoBudget, StoreError
from earmark.heartbeat.affordability import is_final, least_refusal, refusals
from earmark.heartbeat.budget_patches import BudgetPatches, Persisted
from earmark.heartbeat.controls import GO, Controls, Verdict
from earmark.heartbeat.cycle_report import CycleReport
from earmark.heartbeat.dispatch import Dispatcher
from earmark.heartbeat.dispatch_end import DispatchEnd, refusal_verdict
from earmark.heartbeat.grade import Grader
from earmark.heartbeat.leases import Leases
from earmark.heartbeat.preview import needs_of
from earmark.heartbeat.recovery import recover
from earmark.heartbeat.runtime import WHOLE_ANSWER, Runtime
from earmark.ledger.amounts import nothing
from earmark.ledger.values import Amounts
from earmark.nudges.collect import collect
from earmark.stores.tables import Rows
from earmark.workspace.agent_state import HeartbeatState
from earmark.workspace.approvals import request_pending_approvals
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

#: So many ready tasks are asked whether one of them fits.
MOST_LOOKED_AT: Final = 50
#: Claims in one cycle: what is put back leaves its place to another, but not for ever.
MOST_ROUNDS: Final = 10


@dataclass(slots=True, kw_only=True)
class CycleProgress:
    """What a cycle has done so far; whole also where it broke off."""

    number: int
    verdict: Verdict = GO
    recovered: list[str] = field(default_factory=list[str])
    ended: list[DispatchEnd] = field(default_factory=list[DispatchEnd])
    graded: int = 0
    nudged: int = 0
    persisted: Persisted | None = None
    errors: list[str] = field(default_factory=list[str])

    def report(self, duration_ms: int) -> CycleReport:
        """Return it as it is told."""
        return CycleReport(
            number=self.number,
            state=self._state,
            reason=self.verdict.reason,
            resets_at=self.verdict.resets_at,
            recovered=tuple(self.recovered),
            dispatched=tuple(each.report for each in self.ended),
            graded=self.graded,
            nudged=self.nudged,
            persisted=self.persisted.name if self.persisted else "",
            errors=tuple(self.errors),
            duration_ms=duration_ms,
        )

    @property
    def _state(self) -> HeartbeatState:
        return self.verdict.state or ("error" if self.errors else "idle")


class _Outlook(NamedTuple):
    """What the next ready tasks can expect of the budget."""

    any_ready: bool = True
    verdict: Verdict = GO
    """What is in the way of all that may fit at some time."""
    hopeless: frozenset[str] = frozenset()
    """Questions to models that can never fit: dispatched, they fail."""
    oversized: frozenset[str] = frozenset()
    """Compositions that name a larger budget than can ever be: they may cost less."""
    unable: frozenset[str] = frozenset()
    """Questions to providers without a key: dispatched, they are put back with the reason."""


class Cycle:
    """Does one cycle after the other for a heartbeat."""

    def __init__(
        self,
        workspace: Workspace,
        settings: HeartbeatSettings,
        runtime: Runtime,
        *,
        leases: Leases,
        clock: Clock,
        on_dispatch: Callable[[Rows], None],
    ) -> None:
        """Work on *workspace*; *on_dispatch* writes in the transaction of a cycle's first claim."""
        self._on_dispatch = on_dispatch
        self._workspace = workspace
        self._settings = settings
        self._runtime = runtime
        self._leases = leases
        self._clock = clock
        self._controls = Controls(
            workspace,
            clock,
            agent=settings.agent,
            budget=settings.budget,
            quiet_hours=settings.quiet_hours,
        )
        self._dispatcher = Dispatcher(
            workspace, settings, runtime, controls=self._controls, leases=leases, clock=clock
        )
        self._grader = Grader(
            workspace,
            settings,
            runtime,
            compositions=self._dispatcher.compositions,
            permission=self._controls.read,
            clock=clock,
        )
        self.patches = BudgetPatches(workspace, clock, agent=settings.agent, budget=settings.budget)
        self._unable: dict[int, tuple[str, str]] = {}
        """By number, tasks that were put back as nothing here can do them: the id, and why."""
        self.stop = asyncio.Event()
        """Set: nothing more is claimed, and what is under way has its grace to end."""

    async def run(self, progress: CycleProgress) -> None:
        """Do one cycle, except for the patch; *progress* says how far it came.

        Raises:
            AgentBusy: Another heartbeat has the name.
            StoreError: The store is away; what is done is done, and the rest comes next time.
        """
        await self._leases.renew()
        progress.recovered += [_describe_recovered(task) for task in await self._recovered()]
        progress.nudged += await self._collected()
        progress.verdict = await self._allowed()
        if progress.verdict.ok:
            await self._rounds(progress)
        if not self.stop.is_set() and progress.verdict.state in {"", "at_cap"}:
            await self._graded(progress)
        progress.nudged += await self._collected()
        if progress.verdict.ok:
            progress.verdict = await asyncio.to_thread(self._waiting_unable)

    def _waiting_unable(self) -> Verdict:
        """Return what keeps tasks waiting that nothing here can do, if there still are some."""
        for number, (task_id, why) in list(self._unable.items()):
            if self._workspace.board.get(task_id).status is TaskStatus.PENDING:
                return Verdict(state="error", reason=why)
            del self._unable[number]
        return GO

    async def _graded(self, progress: CycleProgress) -> None:
        # Dispatches take minutes: somebody may have stopped the agent meanwhile.
        verdict = await asyncio.to_thread(self._controls.read)
        if not verdict.ok:
            progress.verdict = verdict
            return
        graded, wrong = await self._grader.grade_completed()
        progress.graded += graded
        progress.errors += wrong
        progress.verdict = self._grader.blocked_by or progress.verdict

    def verdict(self) -> Verdict:
        """Return what is in the way of dispatching now; changes nothing."""
        verdict = self._controls.read()
        return verdict if not verdict.ok else self._outlook().verdict

    async def _recovered(self) -> list[Task]:
        # Deadlines come first: they decide what the trail of a lost task says.
        await asyncio.to_thread(self._workspace.ledger.sweep)
        return await asyncio.to_thread(
            recover,
            self._workspace,
            agent=self._settings.agent,
            channels=tuple(self._runtime.channels),
        )

    async def _collected(self) -> int:
        workspace, channels = self._workspace, self._runtime.channels
        raised = await asyncio.to_thread(collect, workspace.ledger, workspace.nudges, channels)
        return raised + await asyncio.to_thread(request_pending_approvals, workspace, channels)

    async def _allowed(self) -> Verdict:
        verdict = await asyncio.to_thread(self._controls.read)
        if not verdict.ok:
            return verdict
        try:
            await asyncio.to_thread(self.patches.take_over)
        except StoreError:
            raise
        except EarmarkError as error:
            # What was spent elsewhere is not booked yet: what is left is not known.
            return Verdict(state="error", reason=str(error))
        return GO

    # Dispatching ----------------------------------------------------------------------------------

    async def _rounds(self, progress: CycleProgress) -> None:
        left = self._settings.max_dispatches
        for _ in range(MOST_ROUNDS):
            if not left or self.stop.is_set():
                return
            outlook = await asyncio.to_thread(self._outlook)
            only = outlook.unable or outlook.hopeless
            # What nothing here can do is claimed first, to be put back, and then what can never
            # fit, to fail: they take no place of others.
            free = bool(outlook.unable) or self._runtime.policy is WHOLE_ANSWER
            most = len(only) if only and free else left
            if not only and not outlook.verdict.ok:
                only = outlook.oversized
                if not only:
                    progress.verdict = outlook.verdict
                    return
            also = None if progress.ended else self._on_dispatch
            tasks = await self._claimed(most, only, also=also) if outlook.any_ready else []
            if not tasks:
                return
            found = await self._all_of(tasks)
            progress.ended += found
            self._unable |= {
                task.number: (task.id, each.unable)
                for task, each in zip(tasks, found, strict=True)
                if each.unable
            }
            left -= sum(each.taken for each in found)
            progress.verdict = _worst(progress.ended)
            if progress.verdict.state not in {"", "at_cap"}:
                return

    async def _claimed(
        self, most: int, only: Collection[str], *, also: Callable[[Rows], None] | None
    ) -> list[Task]:
        claim = partial(
            self._workspace.board.claim,
            self._settings.agent,
            most,
            lease_ns=self._leases.lease_ns,
            only=only or None,
            without=self._unable,
            also=also,
        )
        return await asyncio.to_thread(claim)

    def _outlook(self) -> "_Outlook":
        ready = self._workspace.board.ready(
            self._settings.agent, MOST_LOOKED_AT, without=self._unable
        )
        if not ready:
            return _Outlook(any_ready=False)
        needs = needs_of(ready, self._settings, self._runtime)
        amounts = [nothing() if isinstance(need, EarmarkError) else need for need in needs]
        found = refusals(self._workspace.ledger, self._clock, self._settings.budget, amounts)
        others: list[tuple[Amounts, BudgetExceeded | None]] = []
        asks: set[str] = set()
        compositions: set[str] = set()
        unable: set[str] = set()
        for task, need, refusal in zip(ready, needs, found, strict=True):
            if isinstance(refusal, NoBudget):
                return _Outlook(verdict=Verdict(state="error", reason=str(refusal)))
            if isinstance(need, EarmarkError):
                if isinstance(need, InvalidConfig):
                    unable.add(task.id)
                else:
                    # A dispatch will say why it cannot go.
                    others.append((nothing(), None))
                continue
            if refusal is None or not is_final(refusal):
                others.append((need, refusal))
            elif isinstance(task.work, ModelWork):
                asks.add(task.id)
            else:
                compositions.add(task.id)
        least = least_refusal(others)
        return _Outlook(
            verdict=GO if least is None else refusal_verdict(least),
            hopeless=frozenset(asks),
            oversized=frozenset(compositions),
            unable=frozenset(unable),
        )

    async def _all_of(self, tasks: list[Task]) -> list[DispatchEnd]:
        """Dispatch *tasks* at once; return what became of each."""
        running = [
            asyncio.create_task(self._dispatcher.dispatch(task), name=f"task {task.number}")
            for task in tasks
        ]
        done = asyncio.ensure_future(asyncio.wait(running))
        try:
            await self._until(done)
        finally:
            # Stopped, or done with its grace: each books what it knows before it ends.
            for each in running:
                each.cancel()
            _, cancelled = await run_to_completion(_settled(done))
        if cancelled is not None:
            raise cancelled
        return [each.result() for each in running]

    async def _until(self, done: "asyncio.Future[Any]") -> None:
        """Return when all is done; or, once it was told to stop, when the grace is over."""
        stopped = asyncio.ensure_future(self.stop.wait())
        grace: asyncio.Future[None] | None = None
        try:
            await asyncio.wait((done, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                grace = asyncio.ensure_future(
                    self._clock.sleep(self._settings.grace.total_seconds())
                )
                await asyncio.wait((done, grace), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if grace is not None:
                grace.cancel()


async def _settled(done: "asyncio.Future[Any]") -> None:
    await asyncio.wait((done,))


def _worst(found: list[DispatchEnd]) -> Verdict:
    """Return what was in the way of some, the kind first that nothing but a person ends."""
    verdicts = [each.verdict for each in found if not each.verdict.ok]
    return max(verdicts, key=lambda verdict: verdict.state != "at_cap", default=GO)


def _describe_recovered(task: Task) -> str:
    became = {
        TaskStatus.PENDING: "is pending again",
        TaskStatus.UNKNOWN: "is unknown: a person decides",
    }
    return f"recovered '{task.title}', which {became.get(task.status, f'is {task.status}')}"
