"""One task is given away: begun on the board, paid through the guard, ended by what is known.

    controls → attempt written → hold → controls and lease once more → call → settled → result

A crash between any two steps leaves a trail that `recover` reads.
"""

import asyncio
import logging
from typing import Final

from earmark.admission.cancellation import run_to_completion
from earmark.admission.charge import Receipt
from earmark.admission.guard import DEFAULT_WAIT, Guard
from earmark.board.task import Attempt, CompositionWork, ModelWork, Priority, Task
from earmark.clock import Clock, parse_duration
from earmark.config.settings import HeartbeatSettings
from earmark.errors import (
    BudgetExceeded,
    CallFailed,
    EarmarkError,
    InvalidConfig,
    KeyReused,
    NoBudget,
    ReservationClosed,
    StoreError,
    TaskMoved,
    TaskRefused,
)
from earmark.heartbeat.attempt_writer import AttemptWriter
from earmark.heartbeat.composition_dispatch import CompositionDispatcher
from earmark.heartbeat.controls import GO, Controls, Verdict
from earmark.heartbeat.dispatch_end import DispatchEnd, FailureWriter, dispatch_end, seconds
from earmark.heartbeat.leases import Leases
from earmark.heartbeat.model_task import failed_result, model_result, request_of
from earmark.heartbeat.runtime import Runtime
from earmark.heartbeat.send_check import SendCheck
from earmark.stages.kinds.model import provider_of
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

_STOPPED: Final = Verdict(reason="the heartbeat was stopped before anything was sent")


class Dispatcher:
    """Gives tasks to models and compositions, on the budget of one agent."""

    def __init__(
        self,
        workspace: Workspace,
        settings: HeartbeatSettings,
        runtime: Runtime,
        *,
        controls: Controls,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._workspace = workspace
        self._settings = settings
        self._runtime = runtime
        self._controls = controls
        self._leases = leases
        interval_ns = parse_duration(settings.interval)
        self._wait_s = seconds(min(parse_duration(DEFAULT_WAIT), interval_ns))
        self._attempt_writer = AttemptWriter(workspace.board, clock, settings.agent)
        self._ends = FailureWriter(
            workspace,
            self._attempt_writer,
            clock,
            interval_ns=interval_ns,
            channels=runtime.channels,
        )
        self._urgent: set[str] = set()
        """Tasks under way of which a person was told that they run."""
        self._guard = Guard(workspace.ledger.as_async(), policy=runtime.policy, clock=clock)
        self.compositions = CompositionDispatcher(
            workspace,
            settings,
            runtime,
            attempt_writer=self._attempt_writer,
            ends=self._ends,
            permission=self._check_while_sending,
            clock=clock,
        )
        """Runs compositions; also those that grade."""

    async def dispatch(self, task: Task) -> DispatchEnd:
        """Give away one claimed task, and tell the board how that ended.

        A cancellation ends it: what is under way is booked, and the task is put back or unknown.
        What the board cannot be told comes out when its lease ends.
        """
        self._leases.tasks.add(task.id)
        try:
            return await self._dispatch(task)
        except (TaskMoved, TaskRefused, KeyReused, ReservationClosed, StoreError) as error:
            _log.warning("task %s is out of hand: %s", task.id, error)
            wrong = Verdict(state="error", reason=str(error))
            return dispatch_end(task, "lost", str(error), verdict=wrong if _is_store(error) else GO)
        finally:
            self._leases.tasks.discard(task.id)
            self._urgent.discard(task.id)

    async def _dispatch(self, task: Task) -> DispatchEnd:
        verdict = await asyncio.to_thread(self._controls.read)
        if not verdict.ok:
            return await self._ends.park_unsent(task, verdict, began=False)
        match task.work:
            case ModelWork():
                return await self._to_model(task, task.work)
            case CompositionWork():
                return await self.compositions.dispatch(task, task.work)

    def _nudge_urgent(self, task: Task) -> None:
        self._workspace.nudges.raise_(
            "urgent",
            id=f"task/{task.id}/p0",
            budget=self._settings.budget,
            title=f"P0 task runs: {task.title}",
            data={"task": task.id, "title": task.title, "agent": self._settings.agent},
            channels=self._runtime.channels,
        )

    # To a model -----------------------------------------------------------------------------------

    async def _to_model(self, task: Task, work: ModelWork) -> DispatchEnd:
        model = work.model or self._settings.model
        # To the end: an attempt that was written and that nobody knows of could not be put back.
        attempt, cancelled = await run_to_completion(
            self._attempt_writer.begin_model(task, model=model, budget=self._settings.budget)
        )
        if cancelled is not None:
            return await self._ends.park_unsent(task, _STOPPED)
        return await self._tried(task, work, attempt)

    async def _tried(self, task: Task, work: ModelWork, attempt: Attempt) -> DispatchEnd:
        send_check = SendCheck(lambda: self._send_permission(task))
        try:
            receipt = await self._paid(task, work, attempt, send_check)
        except (KeyReused, ReservationClosed, StoreError):
            raise
        except EarmarkError as error:
            if send_check.blocked_by is not None:
                return await self._ends.park_unsent(task, send_check.blocked_by)
            return await self._handle_failure(task, attempt, error)
        except asyncio.CancelledError:
            return (await run_to_completion(self._ends.interrupt(task, attempt)))[0]
        return (await run_to_completion(self._answered(task, attempt, receipt)))[0]

    async def _paid(
        self, task: Task, work: ModelWork, attempt: Attempt, send_check: SendCheck
    ) -> Receipt:
        provider = provider_of(attempt.model, self._runtime.providers)
        within_s = self._wait_s + self._settings.task_timeout.total_seconds()
        request = request_of(task, work, attempt.model, within_s=within_s)
        return await self._guard.spend(
            attempt.budget,
            send_check(provider.call(request)),
            key=attempt.key,
            wait=self._wait_s,
            timeout=self._settings.task_timeout,
            labels={"task": task.id, "agent": self._settings.agent},
        )

    def _send_permission(self, task: Task) -> Verdict:
        """Return whether a call of *task*, whose budget is held by now, may be sent."""
        verdict = self._controls.read()
        if not verdict.ok:
            return verdict
        if not self._leases.holds(task.id):
            return Verdict(state="error", reason="the task was taken back")
        if task.priority is Priority.P0 and task.id not in self._urgent:
            self._nudge_urgent(task)
            self._urgent.add(task.id)
        return GO

    def _check_while_sending(self, task: Task) -> Verdict:
        verdict = self._send_permission(task)
        # What was begun goes on into the quiet hours: cut off, it would be paid for twice.
        return GO if verdict.state == "quiet" else verdict

    async def _handle_failure(
        self, task: Task, attempt: Attempt, error: EarmarkError
    ) -> DispatchEnd:
        match error:
            case BudgetExceeded():
                return await self._ends.refused(task, attempt, error)
            case NoBudget():
                # The heartbeat's own budget: other tasks would fare no better.
                return await self._ends.park_unsent(task, Verdict(state="error", reason=str(error)))
            case InvalidConfig():
                return await self._ends.unable(task, str(error))
            case CallFailed():
                return await self._failed(task, attempt, error)
            case _:
                return await self._ends.failed(task, attempt, str(error), retry_at=None)

    async def _failed(self, task: Task, attempt: Attempt, failure: CallFailed) -> DispatchEnd:
        why = str(failure)
        if failure.billed == "unknown" and failure.status is None:
            return await self._ends.unknown(task, attempt, why)
        if failure.billed == "no" and failure.retryable:
            return await self._ends.reschedule(task, attempt, why, failure.retry_after)
        retry_at = self._attempt_writer.retry_at(attempt, failure.retry_after)
        return await self._ends.failed(
            task,
            attempt,
            why,
            retry_at=retry_at if failure.retryable else None,
            result=failed_result(attempt.model, self._transport(attempt.model), failure.charge),
        )

    async def _answered(self, task: Task, attempt: Attempt, receipt: Receipt) -> DispatchEnd:
        result = model_result(
            attempt.model, self._transport(attempt.model), receipt.reply, receipt.charge
        )
        usage = receipt.reply.usage
        known = (
            (None, None)
            if usage is None
            else (usage.get("input_tokens"), usage.get("output_tokens"))
        )
        await self._attempt_writer.complete(attempt, result, known)
        return dispatch_end(task, "completed", cost_usd=str(receipt.charge.settled))

    def _transport(self, model: str) -> str:
        provider = model.partition("/")[0]
        return self._runtime.transports.get(provider, provider)


def _is_store(error: Exception) -> bool:
    return isinstance(error, StoreError)
