"""The burn-down of a limit as a page shows it: a picture, its forecast in words, and a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from earmark.budget.limit import show_amount
from earmark.clock import END_OF_TIME, from_datetime
from earmark.ledger.answers import Balance
from earmark.ledger.values import Entry
from earmark.service.pages.burn_down import Forecast, Point, WindowState, forecast, points, slices
from earmark.service.pages.formatting import DisplayedTime, amount_of, moment, stretch

#: The chart's own coordinates; the page stretches them.
WIDTH: Final = 1000
HEIGHT: Final = 300
#: Digits of a forecast that mean something.
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A stretch of the window, for the table beside the chart."""

    until: DisplayedTime | None
    settled: str
    held: str
    left: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The burn-down of one limit."""

    id: str
    name: str
    top: str
    """What stands at the top of the chart: the limit."""
    begins: DisplayedTime | None
    ends: DisplayedTime | None
    """None for a limit that never turns."""
    left: str
    """The path of the line: what is left after what is settled."""
    area: str
    ahead: str
    """The path of the forecast; empty where there is none."""
    now: int
    even: bool
    """Whether the line of even spending is drawn."""
    words: str
    """The forecast as a sentence."""
    slices: tuple[Slice, ...]


def chart(balance: Balance, window: Sequence[Entry], now: int) -> Chart:
    """Return the burn-down of one limit, from *window*: entries in order, older ones among them."""
    start = from_datetime(balance.starts_at) if balance.starts_at else 0
    own = [entry for entry in window if entry.at >= start]
    state = _state(balance, start, now)
    drawn = points(state, own)
    ahead = forecast(state, own)
    scale = _Scale(state, start or drawn[1].at)
    drawn = [Point(max(p.at, scale.begin), p.settled, p.held) for p in drawn]
    line = _steps(scale, drawn)
    return Chart(
        id=f"burn-{balance.unit}-{balance.window}",
        name=balance.describe(),
        top=f"{balance.limit} {balance.unit}",
        begins=moment(scale.begin, now),
        ends=moment(state.end, now) if state.end < END_OF_TIME else None,
        left=line,
        area=f"{line}V{HEIGHT}H{scale.x(drawn[0].at)}Z",
        ahead=_ahead(scale, state, ahead),
        now=scale.x(now),
        even=state.end < END_OF_TIME,
        words=forecast_words(state, ahead),
        slices=tuple(_slice(state, p, now) for p in slices(state, drawn)),
    )


def forecast_words(state: WindowState, ahead: Forecast) -> str:
    """Return the forecast as a sentence that says what it is made from."""
    if state.limit <= state.settled + state.held:
        return "Nothing is left of this limit, so there is nothing to forecast."
    if ahead.kind == "none":
        return "Nothing was settled in this window yet: no forecast."
    basis = (
        f"a straight line through {stretch(ahead.over_ns)} with {ahead.entries:,}"
        f" settlement{'' if ahead.entries == 1 else 's'}; a forecast, not a promise"
    )
    if ahead.kind == "used_up":
        used = moment(ahead.at, state.now)
        when = f"{used.exact} ({used.age})" if used else "now"
        return f"At this rate the limit is used up about {when}: {basis}."
    if state.end >= END_OF_TIME:
        return f"At this rate the limit lasts for years: {basis}."
    left = f"{show_amount(state.unit, _about(ahead.left))} {state.unit}"
    return f"At this rate about {left} will be left when the window ends: {basis}."


def _about(amount: int) -> int:
    """Return *amount* with no more digits than a forecast has."""
    step = 10 ** max(0, len(str(amount)) - _DIGITS)
    return amount // step * step


class _Scale:
    """From instants and amounts to the chart's coordinates."""

    def __init__(self, state: WindowState, begin: int) -> None:
        self.begin = begin
        endless = state.end >= END_OF_TIME
        # A limit that never turns is drawn with as much room ahead as lies behind.
        self.end = 2 * state.now - begin if endless else state.end
        self._span = max(1, self.end - begin)
        self.limit = state.limit

    def x(self, instant: int) -> int:
        """Return the place of an instant."""
        return max(0, min(WIDTH, (instant - self.begin) * WIDTH // self._span))

    def y(self, left: int) -> int:
        """Return the place of what is left; after an overrun, the bottom."""
        return HEIGHT - max(0, min(HEIGHT, left * HEIGHT // max(1, self.limit)))


def _state(balance: Balance, start: int, now: int) -> WindowState:
    return WindowState(
        unit=balance.unit,
        limit=amount_of(balance.limit),
        settled=amount_of(balance.settled),
        held=amount_of(balance.held),
        start=start,
        end=from_datetime(balance.resets_at) if balance.resets_at else END_OF_TIME,
        now=now,
    )


def _steps(scale: _Scale, drawn: Sequence[Point]) -> str:
    """Return the line as horizontal and vertical steps: between entries nothing changes."""
    limit = scale.limit
    first, *rest = drawn
    steps = [f"M{scale.x(first.at)} {scale.y(limit - first.settled)}"]
    steps += [f"H{scale.x(p.at)}V{scale.y(limit - p.settled)}" for p in rest]
    return "".join(steps)


def _ahead(scale: _Scale, state: WindowState, ahead: Forecast) -> str:
    left = state.limit - state.settled
    begin = f"M{scale.x(state.now)} {scale.y(left)}"
    if ahead.kind == "used_up":
        return f"{begin}L{scale.x(ahead.at)} {HEIGHT}"
    if ahead.kind == "lasts":
        return f"{begin}L{scale.x(scale.end)} {scale.y(ahead.left)}"
    return ""


def _slice(state: WindowState, point: Point, now: int) -> Slice:
    def show(amount: int) -> str:
        return f"{show_amount(state.unit, amount)} {state.unit}"

    left = state.limit - point.settled - point.held
    return Slice(
        until=moment(point.at, now),
        settled=show(point.settled),
        held=show(point.held),
        left=show(left),
    )
