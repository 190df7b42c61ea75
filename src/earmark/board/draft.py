"""What may be put on the board: drafts are checked here, at the edge, and nowhere after."""

import re
from typing import Final

import msgspec
from msgspec.structs import replace

from earmark.board.task import (
    LONGEST_LABEL,
    LONGEST_NAME,
    LONGEST_TITLE,
    MOST_ATTEMPTS,
    MOST_LABELS,
    MOST_NEEDS,
    MOST_TOKENS,
    TYPE_PATTERN,
    CompositionWork,
    ModelWork,
    TaskDraft,
    TaskWork,
)
from earmark.board.text import is_text, shown, to_json
from earmark.composition.parse import parse_composition
from earmark.errors import InvalidAmount, InvalidTask
from earmark.money import USD_PATTERN, Money

#: Bytes of UTF-8.
LARGEST_DESCRIPTION: Final = 256 * 1024
LARGEST_PROMPT: Final = 4 * 1024 * 1024
_LATEST: Final = (1 << 63) - 1

_USD: Final = re.compile(USD_PATTERN.removesuffix("$"))
_TYPE: Final = re.compile(TYPE_PATTERN)
_MODEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}/[^\s\x00-\x1f\x7f]{1,200}")


def checked(draft: TaskDraft) -> TaskDraft:
    """Return *draft* as it is kept: of the right types, spaces around its title gone.

    Raises:
        InvalidTask: Something of it cannot be on the board; says what to give.
        InvalidComposition: Its graph is none.
        InvalidAmount: Its budget is no amount of USD.
    """
    typed = _typed(draft)
    kept = replace(typed, title=typed.title.strip(), labels=tuple(dict.fromkeys(typed.labels)))
    _check_texts(kept)
    _check_numbers(kept)
    _check_work(kept.work)
    return kept


def checked_name(name: str, kind: str) -> str:
    """Return the name of an agent, a person or a key if it is one; raises `InvalidTask`."""
    if not (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise _invalid(name, kind, f"1 to {LONGEST_NAME} printable characters")
    return name


def _typed(draft: TaskDraft) -> TaskDraft:
    try:
        return msgspec.convert(msgspec.to_builtins(draft), TaskDraft)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        raise _invalid(str(error), "task", "values of the types that a Draft has") from None


def _check_texts(draft: TaskDraft) -> None:
    if not (0 < len(draft.title) <= LONGEST_TITLE and draft.title.isprintable()):
        raise _invalid(draft.title, "title", f"1 to {LONGEST_TITLE} printable characters")
    _check_size(draft.description, "description", LARGEST_DESCRIPTION)
    if not _TYPE.fullmatch(draft.type):
        want = "a name such as code_gen: small letters, digits and '_', at most 64"
        raise _invalid(draft.type, "type", want)
    for label in draft.labels:
        _check_label(label)
    if len(draft.labels) > MOST_LABELS:
        raise _invalid(f"{len(draft.labels)} labels", "task", f"at most {MOST_LABELS} of them")
    if draft.assignee:
        checked_name(draft.assignee, "assignee")


def _check_label(label: str) -> None:
    # Without quotes and backslashes, a label looks the same wherever it is written.
    if not (0 < len(label) <= LONGEST_LABEL and label.isprintable()) or set(label) & {'"', "\\"}:
        want = f"1 to {LONGEST_LABEL} printable characters without quotes and backslashes"
        raise _invalid(label, "label", want)


def _check_numbers(draft: TaskDraft) -> None:
    if not 1 <= draft.max_attempts <= MOST_ATTEMPTS:
        raise _invalid(draft.max_attempts, "number of attempts", f"1 to {MOST_ATTEMPTS}")
    if not 0 <= draft.due_at <= _LATEST:
        raise _invalid(draft.due_at, "moment", "nanoseconds since 1970, in 63 bits")
    if len(draft.needs) > MOST_NEEDS:
        raise _invalid(f"{len(draft.needs)} needs", "task", f"at most {MOST_NEEDS} of them")


def _check_work(work: TaskWork) -> None:
    match work:
        case ModelWork():
            _check_model_work(work)
        case CompositionWork():
            parse_composition(to_json(work.graph, "composition"))
            to_json(work.input, "input")
            _check_budget(work.budget)


def _check_budget(budget: str) -> None:
    Money(budget)
    # Which reads more than a schema tells clients to send: "1e3", "+1".
    if not _USD.fullmatch(budget):
        want = "US dollars in plain digits, such as '0.25', at most nine after the point"
        raise InvalidAmount(text=repr(shown(budget)), want=want)


def _check_model_work(work: ModelWork) -> None:
    if work.model and not _MODEL.fullmatch(work.model):
        raise _invalid(work.model, "model", "provider/model, such as local/smollm2-135m")
    _check_size(work.prompt, "prompt", LARGEST_PROMPT)
    _check_size(work.system, "system text", LARGEST_PROMPT)
    if work.max_tokens is not None and not 1 <= work.max_tokens <= MOST_TOKENS:
        raise _invalid(work.max_tokens, "number of tokens", f"1 to {MOST_TOKENS:,}")


def _check_size(text: str, kind: str, most: int) -> None:
    if not is_text(text):
        raise _invalid(text, kind, "text without NUL and half characters")
    if len(text.encode()) > most:
        raise _invalid(text, kind, f"at most {most // 1024:,} KiB of text")


def _invalid(given: object, kind: str, want: str) -> InvalidTask:
    return InvalidTask(text=shown(str(given)), want=want, kind=kind)
