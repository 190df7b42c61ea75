"""From the fields of a form to what the workspace takes; a wrong one raises an `InputError`."""

from collections.abc import Mapping
from typing import Any, Final

from earmark.board.task import CompositionWork, ModelWork, Priority, Quality, TaskDraft, TaskWork
from earmark.clock import Clock, from_datetime
from earmark.composition.document import load
from earmark.errors import InvalidComposition, InvalidTask
from earmark.workspace.time_expressions import parse_not_past

COMPOSITION: Final = "composition"
_HUNDRED: Final = 100


def draft_of(form: Mapping[str, str], clock: Clock) -> TaskDraft:
    """Return the task that was typed.

    Raises:
        InvalidTask: A number, a priority or JSON is none.
        InvalidDuration: The moment it is due is none.
    """
    due = form.get("due", "").strip()
    return TaskDraft(
        title=form.get("title", "").strip(),
        description=form.get("description", ""),
        type=form.get("type", "").strip() or "consult",
        priority=_priority(form.get("priority", "P2")),
        labels=_words(form.get("labels", "")),
        destructive=bool(form.get("destructive")),
        assignee=form.get("assignee", "").strip(),
        work=_work(form),
        needs=tuple(form.get("needs", "").replace(",", " ").split()),
        max_attempts=_whole(form.get("max_attempts", "").strip() or "3", "number of attempts"),
        due_at=from_datetime(parse_not_past(due, clock)) if due else 0,
    )


def quality_of(form: Mapping[str, str], *, actor: str, now: int) -> Quality:
    """Return what a person says of a result.

    Raises:
        InvalidTask: It is not a share from 0 to 100 %, or it says neither pass nor fail.
    """
    overall = _whole(form.get("overall", "").strip().removesuffix("%").strip(), "share")
    if not 0 <= overall <= _HUNDRED:
        raise InvalidTask(text=str(overall), want="0 to 100 %", kind="share")
    verdict = form.get("verdict", "")
    if verdict not in {"pass", "fail"}:
        raise InvalidTask(text=verdict, want="pass or fail", kind="verdict")
    return Quality(
        overall=overall,
        passed=verdict == "pass",
        graded_by=actor,
        graded_at=now,
        note=form.get("note", "").strip(),
    )


def _work(form: Mapping[str, str]) -> TaskWork:
    if form.get("kind") == COMPOSITION:
        return CompositionWork(
            graph=_table(form.get("graph", "")),
            input=_json(form.get("input", "").strip() or "null", "input"),
            budget=form.get("budget", "").strip(),
        )
    tokens = form.get("max_tokens", "").strip()
    return ModelWork(
        model=form.get("model", "").strip(),
        prompt=form.get("prompt", ""),
        system=form.get("system", ""),
        max_tokens=_whole(tokens, "number of tokens") if tokens else None,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _priority(text: str) -> Priority:
    try:
        return Priority[text.strip().upper()]
    except KeyError:
        raise InvalidTask(text=text, want="P0, P1, P2 or P3", kind="priority") from None


def _whole(text: str, kind: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 18):  # noqa: PLR2004 - in 64 bits
        raise InvalidTask(text=text[:60], want="a whole number", kind=kind)
    return int(digits)


def _table(text: str) -> Mapping[str, Any]:
    found = _json(text, "composition")
    if not isinstance(found, dict):
        raise InvalidTask(text=text[:60], want="the JSON object of a graph", kind="composition")
    return found  # pyright: ignore[reportUnknownVariableType] - JSON


def _json(text: str, kind: str) -> Any:  # noqa: ANN401 - JSON of any kind
    try:
        return load(text)
    except InvalidComposition as error:
        where = f" at {error.place}" if error.place else ""
        raise InvalidTask(text=text[:60], want=f"JSON: {error.detail}{where}", kind=kind) from None
