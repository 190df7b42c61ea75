"""Budgets: a named owner at a path, with its limits, time zone, alerts, pause and extensions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final, TypeVar

from earmark.budget.fields import LONGEST_NOTE, PLAIN_FIELDS, BudgetKind, PlainFields
from earmark.budget.limit import Limit
from earmark.budget.path import parse_path
from earmark.budget.window import Interval, Window
from earmark.clock import END_OF_TIME, Instant
from earmark.errors import InvalidLimit, UnknownField
from earmark.errors.inputs import shown
from earmark.money import LARGEST_LIMIT_NANOS

T = TypeVar("T")

MOST_LIMITS: Final = 32
MOST_ALERTS: Final = 16
MOST_EXTENSIONS: Final = 256
#: Alert thresholds are parts per million of a limit.
PPM: Final = 1_000_000
#: A threshold may lie above the limit, where overruns are, but not above ten times it.
HIGHEST_ALERT: Final = 10 * PPM
#: 80 % and 100 % of each limit.
DEFAULT_ALERTS: Final = (800_000, 1_000_000)

_ALERT_WANT: Final = "a share of the limit above 0 and at most 10, such as 0.8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who paused a budget, why, and until when; every reserve under it is refused."""

    actor: str
    reason: str
    until: Instant | None = None
    """The instant it ends by itself; `None`: when somebody resumes it."""

    def __post_init__(self) -> None:
        check_note(self.actor, self.reason)

    def holds(self, at: int) -> bool:
        """Return whether it is in force at the instant *at*."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """An amount added for a while to the limit of the same unit and window."""

    limit: Limit
    actor: str
    reason: str
    until: Instant
    """The instant from which it no longer counts."""

    def __post_init__(self) -> None:
        check_note(self.actor, self.reason)

    def adds_to(self, limit: Limit, at: int) -> bool:
        """Return whether it adds to *limit* at the instant *at*."""
        return self.limit.same_window(limit) and at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(PlainFields):
    """A named owner of limits; without any limit it only groups the budgets below it.

    The midnights of its time zone cut the windows of its limits.
    """

    path: str
    limits: tuple[Limit, ...] = ()
    alerts: tuple[int, ...] = DEFAULT_ALERTS
    """Thresholds in parts per million of each limit, ascending."""
    paused: Pause | None = None
    extensions: tuple[Extension, ...] = ()
    kind: BudgetKind = "budget"

    def __post_init__(self) -> None:
        parse_path(self.path)
        for field in PLAIN_FIELDS:
            field.check_place(field.read(field.of(self)), self.path)
        check_limits(self.limits)
        if list(self.alerts) != sorted(set(self.alerts)):
            raise InvalidLimit(
                text=str(self.alerts), want="ascending thresholds", kind="list of alerts"
            )
        for alert in self.alerts:
            _check_alert(alert, f"{alert} ppm")
        _check_count(len(self.alerts), MOST_ALERTS, "alerts")
        _check_count(len(self.extensions), MOST_EXTENSIONS, "extensions")

    def effective(self, limit: Limit, at: int) -> int:
        """Return what *limit* amounts to at the instant *at*, with the live extensions."""
        added = sum(e.limit.amount for e in self.extensions if e.adds_to(limit, at))
        return min(limit.amount + added, LARGEST_LIMIT_NANOS)

    def is_paused(self, at: int) -> Pause | None:
        """Return the pause in force at the instant *at*, if there is one."""
        return self.paused if self.paused is not None and self.paused.holds(at) else None

    def unchanged_around(self, at: int) -> Interval:
        """Return the stretch of time around the instant *at* in which no pause or extension ends.

        It begins with such an end too: a clock may step back over it, and then it is still ahead.
        """
        ends = [extension.until for extension in self.extensions]
        if self.paused is not None and self.paused.until is not None:
            ends.append(self.paused.until)
        start = max((end for end in ends if end <= at), default=0)
        return Interval(start, min((end for end in ends if end > at), default=END_OF_TIME))

    def to_json(self) -> dict[str, Any]:
        """Return it as text and whole numbers; instants are nanoseconds since the epoch.

        A plain field at its default is left out, but for those that always were written.
        """
        plain = ((each, each.of(self)) for each in PLAIN_FIELDS)
        return {
            "path": self.path,
            "limits": [str(limit) for limit in self.limits],
            **{each.name: value for each, value in plain if each.is_kept(value)},
            "alerts": list(self.alerts),
            "paused": None if self.paused is None else _pause_json(self.paused),
            "extensions": [_extension_json(e) for e in self.extensions],
            "kind": self.kind,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Budget":
        """Return the budget that `to_json` wrote; a plain field that is not there has its default.

        Raises:
            UnknownField: It has a member of a newer program, which would be lost with the next
                write and may decide what this program would decide otherwise.
            InvalidLimit, InvalidAmount, InvalidPath: A value is not one `to_json` writes.
        """
        unknown = body.keys() - _MEMBERS
        if unknown:
            raise UnknownField(budget=body["path"], field=shown(min(unknown)))
        paused = body["paused"]
        plain: dict[str, Any] = {f.name: body.get(f.name, f.default) for f in PLAIN_FIELDS}
        return cls(
            path=body["path"],
            limits=tuple(Limit.parse(text) for text in body["limits"]),
            **plain,
            alerts=tuple(body["alerts"]),
            paused=None if paused is None else _pause(paused),
            extensions=tuple(_extension(e) for e in body["extensions"]),
            kind=body["kind"],
        )


_MEMBERS: Final = {each.name for each in fields(Budget)}


def parse_alerts(shares: Iterable[float | str | Decimal]) -> tuple[int, ...]:
    """Return thresholds given as shares of a limit (0.8 is 80 %) in parts per million, ascending.

    Raises:
        InvalidLimit: A share is not above 0 and at most 10, or is finer than a millionth.
    """
    return tuple(sorted({_ppm(share) for share in listed(shares, "alerts", "[0.8, 1.0]")}))


def listed(values: Iterable[T], noun: str, example: str) -> list[T]:
    """Return what is in the list *values*, which is no single text.

    Raises:
        InvalidLimit: It is a text or no list at all; *noun* names what it should list.
    """
    found: object = values  # untyped callers
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        want = f"several, such as {example}"
        raise InvalidLimit(text=shown(values), want=want, kind=f"list of {noun}")
    return list(values)


def check_limits(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Return *limits* if one budget can have them all.

    Raises:
        InvalidLimit: Two have the same unit and window, or there are more than 32.
    """
    _check_count(len(limits), MOST_LIMITS, "limits")
    seen: dict[tuple[str, Window], Limit] = {}
    for limit in limits:
        first = seen.setdefault((limit.unit, limit.window), limit)
        if first is not limit:
            text = f"{first}, {limit}"
            want = "one limit per unit and window"
            raise InvalidLimit(text=text, want=want, kind="list of limits")
    return limits


def _ppm(share: float | str | Decimal) -> int:
    try:
        text = "NaN" if isinstance(share, bool) else shown(share)
        parts = Decimal(text if text.isascii() else "NaN") * PPM
    except ArithmeticError:
        parts = Decimal("NaN")
    if not parts.is_finite() or not 0 < parts <= HIGHEST_ALERT:
        raise InvalidLimit(text=shown(share), want=_ALERT_WANT, kind="alert threshold")
    if parts != int(parts):
        want = "at most six digits after the point"
        raise InvalidLimit(text=shown(share), want=want, kind="alert threshold")
    return int(parts)


def _check_alert(parts: int, text: str) -> None:
    if isinstance(parts, bool) or not 0 < parts <= HIGHEST_ALERT:
        raise InvalidLimit(text=text, want=_ALERT_WANT, kind="alert threshold")


def _check_count(count: int, most: int, noun: str) -> None:
    if count > most:
        raise InvalidLimit(text=f"{count} {noun}", want=f"at most {most}", kind=f"list of {noun}")


def check_note(actor: str, reason: str) -> None:
    """Refuse an *actor* or a *reason* of more than 1,000 characters as `InvalidLimit`."""
    for text in (actor, reason):
        if not isinstance(text, str) or len(text) > LONGEST_NOTE:  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            want = f"text of at most {LONGEST_NOTE} characters"
            raise InvalidLimit(text=shown(text), want=want, kind="actor or reason")


def _pause_json(pause: Pause) -> dict[str, Any]:
    return {"actor": pause.actor, "reason": pause.reason, "until": pause.until}


def _pause(body: Mapping[str, Any]) -> Pause:
    return Pause(actor=body["actor"], reason=body["reason"], until=body["until"])


def _extension_json(extension: Extension) -> dict[str, Any]:
    return {
        "limit": str(extension.limit),
        "actor": extension.actor,
        "reason": extension.reason,
        "until": extension.until,
    }


def _extension(body: Mapping[str, Any]) -> Extension:
    return Extension(
        limit=Limit.parse(body["limit"]),
        actor=body["actor"],
        reason=body["reason"],
        until=body["until"],
    )
