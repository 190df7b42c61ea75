"""One attempt at one stage, and how what the books say of it becomes a line."""

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from earmark.admission.guard import Charge
from earmark.clock import Clock
from earmark.composition.types import NType
from earmark.errors import CallFailed, Refusal, StageFailed
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.pricing.bound import Bound, ModelBound
from earmark.pricing.usage import Usage
from earmark.runs.statement_line import NOTHING, LineOutcome, StatementLine
from earmark.stages.kinds.jsontext import mended
from earmark.stages.kinds.kind import StageKind

#: A reservation's key shows its path where that keeps it short enough for the ledger.
_LONGEST_READABLE: Final = 200
_DIGEST_CHARS: Final = 32


class Leaf(Struct, frozen=True, kw_only=True, gc=False):
    """A stage at its place in the graph: all that an attempt needs to know of it."""

    path: str
    kind: StageKind
    name: str
    stage_id: str
    config: Mapping[str, Any] | None
    input_type: NType
    """The type of its input; tells under which field a bare value goes."""
    output_type: NType
    """The type of its output."""
    pure: bool
    free: bool
    """It cannot cost anything, so the ledger is not asked."""


class BookedAttempt(Struct, frozen=True, kw_only=True, gc=False):
    """What the books say of an attempt; of one that made no reservation, nothing."""

    key: str = ""
    state: str = ""
    hold: Money = NOTHING
    settled: Money = NOTHING
    overrun: Money = NOTHING
    usage: Usage | None = None
    unknown: tuple[str, ...] = ()
    model: str | None = None
    request_id: str | None = None
    clamped_to: int | None = None
    waited_ns: int = 0
    note: str = ""


class StageAttempt:
    """An attempt under way."""

    __slots__ = (
        "_clock", "_ended", "_run_id", "_started", "_started_at",
        "bound", "leaf", "line_number", "number",
    )  # fmt: skip

    def __init__(self, leaf: Leaf, number: int, run_id: str, clock: Clock) -> None:
        self.leaf = leaf
        self.number = number
        self.bound: Bound | None = None
        """Set when the guard is asked."""
        self.line_number = 0
        """The number of its line among the run's, once it has one."""
        self._ended: int | None = None
        self._run_id = run_id
        self._clock = clock
        self._started_at = clock.instant()
        self._started = clock.elapsed()

    @property
    def key(self) -> str:
        """The key of its reservation: the same for the same attempt of the same run."""
        key = f"{self._run_id}:{self.leaf.path or '/'}#{self.number}"
        if len(key) <= _LONGEST_READABLE and key.isprintable():
            return key
        return f"{self._run_id}:{self._short_path}#{self.number}"

    @property
    def labels(self) -> dict[str, str]:
        """What is kept with its reservation, so that the books tell what it was for."""
        path = self.leaf.path or "/"
        place = path if len(path) <= _LONGEST_READABLE else self._short_path
        labels = {"run": self._run_id, "path": place, "stage": self.leaf.name[:_LONGEST_READABLE]}
        if isinstance(self.bound, ModelBound):
            labels["model"] = self.bound.price.name[:_LONGEST_READABLE]
        return labels

    def ending(
        self, failure: BaseException | None, booked: BookedAttempt | None = None
    ) -> StatementLine:
        """Return its line, as it ended with *failure* or without one."""
        match failure:
            case None:
                return self.line(LineOutcome.OK, booked)
            case asyncio.CancelledError():
                return self.line(LineOutcome.CANCELLED, booked)
            case Refusal():
                return self.line(LineOutcome.REFUSED, booked, detail=str(failure))
            case CallFailed():
                return self.line(LineOutcome.FAILED, booked, detail=failure.detail)
            case _:
                return self.line(LineOutcome.FAILED, booked, detail=str(failure))

    def line(
        self, outcome: LineOutcome, booked: BookedAttempt | None = None, *, detail: str = ""
    ) -> StatementLine:
        """Return its line; it ended when this was first asked for."""
        leaf, bound = self.leaf, self.bound
        detail = mended(detail)
        ended = self._clock.elapsed() if self._ended is None else self._ended
        self._ended = ended
        if booked is None or not booked.key:
            return StatementLine(
                path=leaf.path,
                stage=leaf.name,
                stage_id=leaf.stage_id,
                number=self.line_number,
                attempt=self.number,
                outcome=outcome,
                started_at=self._started_at,
                duration_ns=ended - self._started,
                detail=detail,
                note="" if booked is None else mended(booked.note),
            )
        return StatementLine(
            path=leaf.path,
            stage=leaf.name,
            stage_id=leaf.stage_id,
            number=self.line_number,
            attempt=self.number,
            outcome=outcome,
            started_at=self._started_at,
            duration_ns=ended - self._started,
            waited_ns=booked.waited_ns,
            key=booked.key,
            state=booked.state,
            hold=booked.hold,
            settled=booked.settled,
            overrun=booked.overrun,
            usage=booked.usage,
            unknown=tuple(map(mended, booked.unknown)),
            model=None if booked.model is None else mended(booked.model),
            request_id=None if booked.request_id is None else mended(booked.request_id),
            price=bound.price if isinstance(bound, ModelBound) else None,
            clamped_to=booked.clamped_to,
            detail=detail,
            # Why it failed says it better than why its cost is not known.
            note="" if detail else mended(booked.note),
        )

    def failed(self, failure: CallFailed) -> StageFailed:
        """Return what the run is told of a call that failed."""
        return StageFailed(
            stage=self.leaf.name,
            path=self.leaf.path or "/",
            attempt=self.number,
            detail=mended(failure.detail),
            retryable=failure.retryable,
        )

    @property
    def _short_path(self) -> str:
        digest = sha256(self.leaf.path.encode(errors="surrogatepass"))
        return digest.hexdigest()[:_DIGEST_CHARS]


def of_charge(charge: Charge) -> BookedAttempt:
    """Return what the guard booked."""
    return BookedAttempt(
        key=charge.key,
        state=charge.state,
        hold=charge.hold,
        settled=charge.settled,
        overrun=charge.overrun,
        usage=charge.usage,
        unknown=charge.unknown,
        model=charge.model,
        request_id=charge.request_id,
        clamped_to=charge.clamped_to,
        waited_ns=charge.waited_ns,
        note=charge.note,
    )


def of_reservation(reservation: Reservation) -> BookedAttempt:
    """Return what the ledger says of a reservation."""
    return BookedAttempt(
        key=reservation.key,
        state=reservation.state,
        hold=reservation.amount,
        settled=reservation.settled or NOTHING,
        overrun=reservation.overrun,
    )
