"""What the gateways let a crowd spend, and what they have forgotten after a kill -9.

The bill of the provider is the truth: a dollar for each call that reached it.
"""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Event
from time import perf_counter_ns
from typing import Final

from benchmarks.gateway_load import PATIENCE_S, Answers, Door, ask, get_json
from benchmarks.gateway_subjects import Subject
from benchmarks.gateway_upstream import MODEL, TOKENS
from benchmarks.peer_places import forget_all
from earmark.clock import NANOS_PER_SECOND

CROWD: Final = 64
LIMIT_USD: Final = 10
FINISHED: Final = 50
RUNNING: Final = 40
_AMPLE_USD: Final = 1_000
#: A crowd is let go once each of it was let through or turned away, or nothing happens any more.
_STILL_NS: Final = 3 * NANOS_PER_SECOND


def body_of(*, stream: bool = False) -> bytes:
    """Return a request that costs a dollar."""
    words = [{"role": "user", "content": "Name one planet."}]
    asked = {"model": MODEL, "max_tokens": TOKENS, "messages": words, "stream": stream}
    return json.dumps(asked, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What a crowd of calls at once came to."""

    spent_usd: int
    """By the provider's bill."""
    served: int
    refused: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What was billed before a kill, and what the books say of it after a restart."""

    billed_usd: int
    booked_usd: Decimal

    @property
    def forgotten_usd(self) -> Decimal:
        """What the books no longer know; 0 where they hold more than was billed."""
        return max(self.billed_usd - self.booked_usd, Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overspend:
    """What one gateway did with money."""

    crowd: Crowd
    finished: Killed
    """Killed right after calls that had ended."""
    running: Killed
    """Killed while calls were under way."""


class Bill:
    """The provider's side."""

    def __init__(self, upstream: str) -> None:
        self._door = Door(url=upstream)

    @property
    def calls(self) -> int:
        """How many calls came: so many dollars."""
        return int(get_json(self._door, "/bill")["calls"])

    def tell(self, **told: float) -> None:
        """Tell the provider what to do; see `gateway_upstream`."""
        get_json(self._door, "/control", told)


def overspend(subject: Subject, folder: Path, upstream: str, redis: str) -> Overspend:
    """Return what *subject* lets a crowd spend, and what it forgets when it is killed."""
    bill = Bill(upstream)
    crowd = _crowd(subject, _fresh(subject, folder / "crowd", upstream, LIMIT_USD, redis), bill)
    ground = _fresh(subject, folder / "killed", upstream, _AMPLE_USD, redis)
    with subject.started(ground) as door:
        bill.tell(calls=0)
        ask(door.url, door.request(body_of()), connections=10, each=FINISHED // 10)
    # It was killed as the block ended: no signal that it could have heard.
    with subject.started(ground) as door:
        booked = _booked(subject, door)
        finished = Killed(billed_usd=bill.calls, booked_usd=booked)
        bill.tell(holds=True)
        wanted = bill.calls + RUNNING
        killed = _killed_at(wanted, bill, door)
        ask(door.url, door.request(body_of()), connections=RUNNING, between=killed)
    bill.tell(holds=False)
    with subject.started(ground) as door:
        since = _booked(subject, door) - booked
        running = Killed(billed_usd=bill.calls - finished.billed_usd, booked_usd=since)
    return Overspend(crowd=crowd, finished=finished, running=running)


def _fresh(subject: Subject, folder: Path, upstream: str, usd: int, redis: str) -> Path:
    ground = folder.with_name(f"{subject.name.lower()}-{folder.name}")
    ground.mkdir(parents=True)
    if redis:
        forget_all(redis)
    subject.write(ground, upstream, usd, redis)
    return ground


def _crowd(subject: Subject, ground: Path, bill: Bill) -> Crowd:
    with subject.started(ground) as door:
        bill.tell(holds=True, calls=0)
        released = _released(bill)
        answers = ask(door.url, door.request(body_of()), connections=CROWD, between=released)
        bill.tell(holds=False)
    refused = sum(many for status, many in answers.statuses.items() if 400 <= status < 500)
    return Crowd(
        spent_usd=bill.calls,
        served=answers.done,
        refused=refused,
        failed=CROWD - answers.done - refused,
    )


def _released(bill: Bill) -> Callable[[Answers], bool]:
    """Return what lets the provider answer once the whole crowd is decided on."""
    seen, since, done = -1, perf_counter_ns(), False

    def between(answers: Answers) -> bool:
        nonlocal seen, since, done
        if not done:
            now, decided = perf_counter_ns(), bill.calls + answers.count
            if decided != seen:
                seen, since = decided, now
            if decided >= CROWD or now - since > _STILL_NS:
                bill.tell(holds=False)
                done = True
        return False

    return between


def _killed_at(calls: int, bill: Bill, door: Door) -> Callable[[Answers], bool]:
    """Return what kills a gateway once so many calls reached the provider, or no more come."""
    seen, since = -1, perf_counter_ns()

    def between(_: Answers) -> bool:
        nonlocal seen, since
        now, reached = perf_counter_ns(), bill.calls
        if reached != seen:
            seen, since = reached, now
        if reached >= calls or now - since > _STILL_NS:
            os.kill(door.pid, signal.SIGKILL)
            return True
        return False

    return between


def _booked(subject: Subject, door: Door) -> Decimal:
    """Return what the books say once what they would let go of is gone, and one more call ended."""
    if subject.forgets_after_s:
        Event().wait(min(subject.forgets_after_s, PATIENCE_S))
    ask(door.url, door.request(body_of()), connections=1)
    if subject.forgets_after_s:
        Event().wait(min(subject.forgets_after_s, PATIENCE_S))
    return subject.spent(door)
