"""Who looks at results: a command, or a composition; what passes may be accepted without a person.

Nothing that nobody looked at is given a quality: such a task stays `completed`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from earmark.admission.call import Grant
from earmark.board.listing import TaskFilter
from earmark.board.moves import Accept, Reject
from earmark.board.task import CompositionWork, Quality, Task, TaskStatus
from earmark.clock import Clock
from earmark.config.settings import GradeSettings, HeartbeatSettings
from earmark.errors import EarmarkError, InvalidFile, StoreError, TaskRefused
from earmark.heartbeat.composition_dispatch import CompositionDispatcher
from earmark.heartbeat.controls import Verdict
from earmark.heartbeat.runtime import Runtime
from earmark.heartbeat.send_check import Permission, SendCheck
from earmark.ids import new_run_id
from earmark.money import Money
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.process import process_stage
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

#: So many tasks are looked at in one cycle.
MOST: Final = 20
#: A task that its grader fails on so often is left to a person, until the next start.
MOST_FAILURES: Final = 3
_LARGEST: Final = 100
_LARGEST_OUTPUT: Final = 1 << 20


class Grader:
    """Grades and accepts what one agent completed, as far as its settings say so."""

    def __init__(
        self,
        workspace: Workspace,
        settings: HeartbeatSettings,
        runtime: Runtime,
        *,
        compositions: CompositionDispatcher,
        permission: Permission,
        clock: Clock,
    ) -> None:
        """Use *compositions* to run compositions, whose calls *permission* allows or not."""
        self._workspace = workspace
        self._settings = settings
        self._runtime = runtime
        self._compositions = compositions
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._permission = permission
        self._send_check = SendCheck(permission)

    @property
    def blocked_by(self) -> Verdict | None:
        """What stopped the last look at results before its end."""
        return self._send_check.blocked_by

    async def grade_completed(self) -> tuple[int, list[str]]:
        """Grade what is completed and take what passes; return how many, and what went wrong.

        Raises:
            StoreError: The board or the books could not be read or written.
        """
        graded, wrong = 0, list[str]()
        self._send_check = SendCheck(self._permission)
        for task in await self._ungraded():
            try:
                graded += await self._graded(task)
            except StoreError:
                raise
            except (EarmarkError, ValueError) as error:
                if self.blocked_by is not None:
                    # No failure of the grader's: the task is looked at when the agent may act.
                    return graded, wrong
                wrong.append(self._failed(task, error))
        await self._take()
        return graded, wrong

    async def _ungraded(self) -> list[Task]:
        if self._settings.grade is None:
            return []
        found = await self._find(TaskStatus.COMPLETED)
        return [task for task in found if self._failures.get(task.id, 0) < MOST_FAILURES]

    async def _graded(self, task: Task) -> bool:
        assert self._settings.grade is not None, "only then is anything ungraded"
        quality = await self._quality(task, self._settings.grade)
        board, agent = self._workspace.board, self._settings.agent
        return await _unless_moved(partial(board.grade, task.id, quality, actor=agent))

    async def _quality(self, task: Task, grade: GradeSettings) -> Quality:
        if grade.command is not None:
            value = await self._by_command(grade.command, grade, task)
            by = f"command {grade.command[0].rpartition('/')[2]}"
        else:
            assert grade.composition is not None, "one of the two is given"
            graph = await asyncio.to_thread(_read, self._runtime.folder / grade.composition)
            run_id = new_run_id(self._clock)
            statement = await self._compositions.run(
                graph, task_json(task), str(grade.budget), run_id, self._send_check
            )
            value, by = statement.output, f"composition {grade.composition}, run {run_id}"
        return quality_of(value, by=by, at=self._clock.instant())

    async def _by_command(self, argv: tuple[str, ...], grade: GradeSettings, task: Task) -> object:
        stage = process_stage(
            "grade",
            argv,
            timeout=grade.timeout.total_seconds(),
            output_limit_bytes=_LARGEST_OUTPUT,
            directory=self._runtime.folder,
        )
        grant = Grant(
            max_output_tokens=None,
            timeout_s=grade.timeout.total_seconds(),
            available=Money(),
            produced=_nothing_streams,
        )
        # Not through the guard: a program of one's own costs nothing.
        return (await stage.call(task_json(task), Tools()).send(grant)).value

    async def _take(self) -> None:
        """Accept what the settings let pass, and reject what failed where passing is asked."""
        board, agent, policy = self._workspace.board, self._settings.agent, self._settings.accept
        if policy == "person":
            return
        for task in await self._find(TaskStatus.GRADED):
            passed = policy == "completed" or (task.quality is not None and task.quality.passed)
            name, note = Accept.name if passed else Reject.name, f"policy: {policy}"
            await _unless_moved(partial(board.decide, task.id, name, actor=agent, note=note))
        if policy == "completed" and self._settings.grade is None:
            for task in await self._find(TaskStatus.COMPLETED):
                note = "policy: completed"
                await _unless_moved(
                    partial(board.decide, task.id, Accept.name, actor=agent, note=note)
                )

    async def _find(self, status: TaskStatus) -> list[Task]:
        task_filter = TaskFilter(status=frozenset({status}), agent=self._settings.agent, most=MOST)
        return await asyncio.to_thread(self._workspace.board.find, task_filter)

    def _failed(self, task: Task, error: Exception) -> str:
        self._failures[task.id] = self._failures.get(task.id, 0) + 1
        _log.warning("task %s is not graded: %s", task.id, error)
        return f"grading of '{task.title}' failed: {error}"


def task_json(task: Task) -> dict[str, Any]:
    """Return a task as its grader sees it."""
    work = task.work
    work_json: dict[str, Any] = (
        {"graph": dict(work.graph), "input": work.input}
        if isinstance(work, CompositionWork)
        else {"model": work.model, "prompt": work.prompt, "system": work.system}
    )
    return {
        "id": task.id,
        "number": task.number,
        "title": task.title,
        "series": task.series,
        "description": task.description,
        "type": task.type,
        "priority": task.priority.name,
        "labels": list(task.labels),
        "work": work_json,
        "result": None if task.result is None else dict(task.result),
    }


def quality_of(value: object, *, by: str, at: int) -> Quality:
    """Return what a grader answered as a quality.

    Raises:
        ValueError: It is not `{"overall": 0-100, "passed": true or false, "note": "text"}`.
    """
    answer: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    overall, passed, note = answer.get("overall"), answer.get("passed"), answer.get("note", "")
    if not (
        isinstance(overall, int)
        and not isinstance(overall, bool)
        and 0 <= overall <= _LARGEST
        and isinstance(passed, bool)
        and isinstance(note, str)
    ):
        want = '{"overall": 0 to 100, "passed": true or false, "note": "text"}'
        raise ValueError(f"{by} answered {answer!r:.80}, not {want}")
    return Quality(overall=overall, passed=passed, graded_by=by, graded_at=at, note=note)


async def _unless_moved(decide: Callable[[], object]) -> bool:
    """Do it, unless another caller has decided about the task meanwhile; return whether it was."""
    try:
        await asyncio.to_thread(decide)
    except TaskRefused:
        return False
    return True


async def _nothing_streams(_: int) -> None:
    """A program does not say how far it is."""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidFile(path=str(file), detail=str(error)) from None
