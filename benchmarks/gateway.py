"""Gateways side by side: what each adds to a call, how many calls it passes, what it forgets.

All are asked by the same client, before the same provider, on the same machine, and in turn: each
round measures every one of them once. What Earmark adds is set against a commit of the same round,
and its rate against the same program's at an endpoint that holds nothing, the ceiling of its code.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from benchmarks.figure import Figure, Target, at_least, at_most, micros, per_s
from benchmarks.folded import folded
from benchmarks.gateway_load import Door, ask, cpu_ns, memory
from benchmarks.gateway_overspend import CROWD, LIMIT_USD, Bill, Overspend, body_of, overspend
from benchmarks.gateway_subjects import INSTALLED, OURS, PEERS, Subject
from benchmarks.gateway_upstream import FREE
from benchmarks.peer_places import DURABLE, redis_program, redis_server
from benchmarks.served import process
from benchmarks.settings import NotHereError, Settings, tell
from benchmarks.steady import Steady, drift_figure, steady
from earmark.clock import NANOS_PER_SECOND

AREA: Final = "gateway"
DIRECT: Final = "direct"
PASSED: Final = "Earmark without a budget"
_CONNECTIONS: Final = 32
_WARM: Final = 20
_ADDED_NS: Final = 1_500_000
_WANTED: Final = 750
_AMPLE_USD: Final = 10_000_000
#: Streams at a time, and their chunks in the short and in the long ones; a chunk each 2 ms.
_STREAMS: Final = 8
_CHUNKS: Final = (10, 210)
_PAUSE_S: Final = 0.002
#: Of the many streams at once.
_SLOW_CHUNKS: Final = 50
_SLOW_S: Final = 0.1
#: What the endpoint that holds nothing counts.
_FREE_BODY: Final = b'{"model":"gpt-4o-mini","input":[{"role":"user","content":"A planet."}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one gateway did in one round."""

    p50_ns: int
    """Of a request on one connection."""
    rate: float
    """Successes per second on 32 connections."""
    cpu_ns: float
    """Of its process, for a request on 32 connections."""
    chunk_ns: float
    """Of its process, for a chunk of a stream."""
    failed: int
    """Requests that had no success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What all of them did, in turn, and a commit of the same round."""

    speeds: Mapping[str, Speed]
    commit_ns: float


@dataclass(slots=True)
class Field:
    """The gateways that are here, and why others are not."""

    upstream: str
    redis: str
    subjects: list[Subject] = field(default_factory=list[Subject])
    missing: dict[str, str] = field(default_factory=dict[str, str])


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the gateways."""
    with ExitStack() as stack:
        upstream = stack.enter_context(process("-m", "benchmarks.gateway_upstream")).url
        here = _field(settings, upstream, stack)
        rounds = _rounds(here, settings)
        money = _money(here, settings)
        many = _many_streams(here, settings)
    return [*_speed_figures(here, rounds), *_money_figures(here, money), *many]


def _field(settings: Settings, upstream: str, stack: ExitStack) -> Field:
    here = Field(upstream=upstream, redis="", subjects=[OURS])
    if not settings.peers:
        return here
    try:
        program = redis_program(INSTALLED)
        folder = settings.folder / "redis"
        here.redis = stack.enter_context(redis_server(program, folder, DURABLE))
    except NotHereError as reason:
        why = f"it needs Redis: {reason}"
        here.missing = {each.name: why for each in PEERS if each.has_budget}
    for each in PEERS:
        try:
            each.install()
            if each.name not in here.missing:
                here.subjects.append(each)
        except NotHereError as reason:
            here.missing[each.name] = str(reason)
    return here


# Speed --------------------------------------------------------------------------------------------


def _rounds(here: Field, settings: Settings) -> Steady[Round]:
    with ExitStack() as stack:
        doors: dict[str, tuple[Door, bytes]] = {}
        for subject in list(here.subjects):
            tell(f"gateway: starting {subject.name}")
            ground = settings.folder / f"{subject.name.lower()}-speed"
            ground.mkdir()
            try:
                subject.write(ground, here.upstream, _AMPLE_USD, here.redis)
                door = stack.enter_context(subject.started(ground))
            except NotHereError as reason:
                here.subjects.remove(subject)
                here.missing[subject.name] = str(reason)
                continue
            doors[subject.name] = door, door.request(body_of())
        door, _ = doors[OURS.name]
        direct = Door(url=here.upstream)
        everybody = {
            DIRECT: (direct, direct.request(body_of())),
            PASSED: (door, door.request(_FREE_BODY, f"/v1/responses/{FREE}")),
            **doors,
        }
        return steady(lambda: _round(everybody, here, settings), AREA, settings)


def _round(everybody: Mapping[str, tuple[Door, bytes]], here: Field, settings: Settings) -> Round:
    speeds: dict[str, Speed] = {}
    for name, (door, request) in everybody.items():
        if name in here.missing:
            continue
        tell(f"gateway: {name}")
        upstream = "" if name in {DIRECT, PASSED} else here.upstream
        try:
            speeds[name] = _speed(door, request, upstream, settings)
        except (OSError, RuntimeError) as error:
            _leave_out(name, here, error)
    file = settings.folder / "commit.db"
    commits = folded(file, 1, settings.seconds / 4)
    for each in settings.folder.glob("commit.db*"):
        each.unlink()
    return Round(speeds=speeds, commit_ns=NANOS_PER_SECOND / commits)


def _leave_out(name: str, here: Field, error: Exception) -> None:
    """Measure a peer that fails no further; Earmark's own failures are raised."""
    if name not in {each.name for each in PEERS}:
        raise error
    tell(f"gateway: {name} failed: {error}")
    here.subjects = [each for each in here.subjects if each.name != name]
    here.missing[name] = f"it failed ({type(error).__name__})"


def _speed(door: Door, request: bytes, upstream: str, settings: Settings) -> Speed:
    ask(door.url, request, connections=1, each=_WARM)
    alone = ask(door.url, request, connections=1, seconds=settings.seconds)
    before = cpu_ns(door.pid) if door.pid else 0
    crowd = ask(door.url, request, connections=_CONNECTIONS, seconds=settings.seconds * 2)
    used = cpu_ns(door.pid) - before if door.pid else 0
    if not crowd.done:
        raise RuntimeError(f"{door.url}: {crowd.statuses} {crowd.last[:300]!r}")
    return Speed(
        p50_ns=alone.p50_ns,
        rate=crowd.rate,
        cpu_ns=used / crowd.done,
        failed=alone.count - alone.done + crowd.count - crowd.done,
        chunk_ns=_chunk_ns(door, Bill(upstream)) if upstream else 0.0,
    )


def _chunk_ns(door: Door, bill: Bill) -> float:
    """Return the processor time of a chunk: what longer streams cost more than shorter ones.

    Not a number where the gateway does not pass them.
    """
    request, used = door.request(body_of(stream=True)), list[int]()
    for chunks in _CHUNKS:
        bill.tell(chunks=chunks, pause_s=_PAUSE_S)
        before = cpu_ns(door.pid)
        if ask(door.url, request, connections=_STREAMS).done < _STREAMS:
            return math.nan
        used.append(cpu_ns(door.pid) - before)
    return (used[1] - used[0]) / (_STREAMS * (_CHUNKS[1] - _CHUNKS[0]))


def _speed_figures(here: Field, measured: Steady[Round]) -> list[Figure]:
    rounds = measured.values
    ours = [each.speeds[OURS.name] for each in rounds]
    added = [_added(each, OURS.name) for each in rounds]
    passed = [each.speeds[PASSED].rate for each in rounds]
    allowed = [each.commit_ns + _ADDED_NS for each in rounds]
    figures = [
        _figure(
            measured,
            "1 connection: p50 added / one durable commit + 1.5 ms",
            [a / b for a, b in zip(added, allowed, strict=True)],
            at_most(1),
            lambda: (
                f"{_micros(added)}; a commit {_micros(each.commit_ns for each in rounds)};"
                f" direct {_micros(each.speeds[DIRECT].p50_ns for each in rounds)}"
            ),
        ),
        _figure(
            measured,
            f"{_CONNECTIONS} connections, one process: requests per {per_s(_WANTED)}",
            [each.rate / _WANTED for each in ours],
            at_least(1),
            lambda: (
                f"{_rate(each.rate for each in ours)},"
                f" {_micros(each.cpu_ns for each in ours)} of CPU each; the client and the provider"
                f" alone {_rate(each.speeds[DIRECT].rate for each in rounds)}"
            ),
        ),
        _figure(
            measured,
            f"{_CONNECTIONS} connections: requests / the same program's without a budget",
            [a.rate / b for a, b in zip(ours, passed, strict=True)],
            at_least(0.6),
            lambda: (
                f"{_rate(each.rate for each in ours)} / {_rate(passed)}, which takes"
                f" {_micros(each.speeds[PASSED].cpu_ns for each in rounds)} of CPU"
            ),
        ),
        _best_peer(here, measured),
        _figure(
            measured,
            "a stream: microseconds of CPU for a chunk",
            [each.chunk_ns / 1000 for each in ours],
            at_most(60),
            lambda: f"{_STREAMS} streams at once, a chunk each {_PAUSE_S * 1000:.0f} ms",
        ),
    ]
    figures += [figure for each in PEERS for figure in _peer_figures(each, here, measured)]
    return [*figures, drift_figure(AREA, [measured])]


def _best_peer(here: Field, measured: Steady[Round]) -> Figure:
    names = [each.name for each in here.subjects if each.has_budget and each is not OURS]
    samples: list[float] = []
    for each in measured.values if names else ():
        best = max(each.speeds[name].rate for name in names)
        samples.append(each.speeds[OURS.name].rate / best)
    return _figure(
        measured,
        f"{_CONNECTIONS} connections: requests / the best peer's that holds a budget",
        samples,
        at_least(3),
        lambda: f"of {' and '.join(names)}" if names else "not measured: no such peer is here",
    )


def _peer_figures(peer: Subject, here: Field, measured: Steady[Round]) -> list[Figure]:
    what = f"{peer.name}: p50 added by Earmark / by it"
    if peer not in here.subjects:
        return [
            Figure(area=AREA, what=what, samples=(), detail=f"not measured: {_why(peer, here)}")
        ]
    rounds = measured.values
    theirs = [each.speeds[peer.name] for each in rounds]
    return [
        _figure(
            measured,
            what,
            [_added(each, OURS.name) / _added(each, peer.name) for each in rounds],
            at_most(1),
            lambda: (
                f"it adds {_micros(_added(each, peer.name) for each in rounds)} and passes"
                f" {_rate(each.rate for each in theirs)} on {_CONNECTIONS} connections,"
                f" {_micros(each.cpu_ns for each in theirs)} of CPU each,"
                f" {_chunks(theirs)}{_failed(theirs)}; {peer.used}"
            ),
        )
    ]


def _figure(
    measured: Steady[Round],
    what: str,
    samples: list[float],
    target: Target,
    said: Callable[[], str],
) -> Figure:
    return Figure(
        area=AREA,
        what=what,
        samples=tuple(samples),
        target=target,
        detail=measured.detail(said),
    )


def _micros(nanos: Iterable[float]) -> str:
    return micros(statistics.median(nanos))


def _chunks(speeds: Iterable[Speed]) -> str:
    found = [each.chunk_ns for each in speeds if not math.isnan(each.chunk_ns)]
    return f"{_micros(found)} a chunk" if found else "its streams fail"


def _failed(speeds: Iterable[Speed]) -> str:
    most = max(each.failed for each in speeds)
    return f", up to {most} failed" if most else ""


def _rate(rates: Iterable[float]) -> str:
    return per_s(statistics.median(rates))


def _why(peer: Subject, here: Field) -> str:
    return here.missing.get(peer.name, "other gateways were left out")


def _added(each: Round, name: str) -> float:
    return max(each.speeds[name].p50_ns - each.speeds[DIRECT].p50_ns, 1)


# Money --------------------------------------------------------------------------------------------


def _money(here: Field, settings: Settings) -> dict[str, Overspend]:
    found: dict[str, Overspend] = {}
    for subject in list(here.subjects):
        if subject.has_budget:
            tell(f"gateway: what {subject.name} lets a crowd spend, and forgets when it is killed")
            folder = settings.folder / "money"
            try:
                found[subject.name] = overspend(subject, folder, here.upstream, here.redis)
            except (OSError, RuntimeError, NotHereError) as error:
                _leave_out(subject.name, here, error)
    return found


def _money_figures(here: Field, money: Mapping[str, Overspend]) -> list[Figure]:
    figures: list[Figure] = []
    for subject in (OURS, *PEERS):
        found = money.get(subject.name)
        if found is None:
            why = "it holds no budget" if not subject.has_budget else _why(subject, here)
            what = f"{subject.name}: USD that {CROWD} calls spend of {LIMIT_USD}"
            figures.append(Figure(area=AREA, what=what, samples=(), detail=f"not measured: {why}"))
        else:
            figures += _money_of(subject, found)
    return figures


def _money_of(subject: Subject, found: Overspend) -> list[Figure]:
    ours = subject is OURS
    crowd = found.crowd
    failed = f", {crowd.failed} failed" if crowd.failed else ""
    spent = Figure(
        area=AREA,
        what=f"{subject.name}: USD that {CROWD} calls at once spend of {LIMIT_USD}",
        samples=(crowd.spent_usd,),
        target=at_most(LIMIT_USD) if ours else None,
        detail=f"{crowd.served} served, {crowd.refused} refused{failed}; {subject.used}",
    )
    kills = [
        Figure(
            area=AREA,
            what=f"{subject.name}: USD forgotten, {what}",
            samples=(float(killed.forgotten_usd),),
            target=at_most(0) if ours else None,
            detail=f"billed {killed.billed_usd}, in its books {killed.booked_usd:f}",
        )
        for what, killed in (
            ("kill -9 after 50 calls ended", found.finished),
            ("kill -9 during 40 calls", found.running),
        )
    ]
    return [spent, *kills]


# Many streams -------------------------------------------------------------------------------------


def _many_streams(here: Field, settings: Settings) -> list[Figure]:
    """Return what becomes of many slow streams at once through one process."""
    many = settings.gateway_streams
    tell(f"gateway: {many:,} streams at once")
    ground = settings.folder / "streams"
    ground.mkdir()
    OURS.write(ground, here.upstream, _AMPLE_USD, "")
    bill = Bill(here.upstream)
    bill.tell(chunks=_SLOW_CHUNKS, pause_s=min(_SLOW_S, settings.seconds / 10), calls=0)
    with OURS.started(ground) as door:
        request = door.request(body_of(stream=True))
        ask(door.url, request, connections=1, each=_WARM)
        before = memory(door.pid)
        answers = ask(door.url, request, connections=many)
        grown = max(memory(door.pid, "VmHWM") - before, 0)
        booked, billed = float(OURS.spent(door)), bill.calls
    return [
        Figure(
            area=AREA,
            what=f"{many:,} streams at once: the share that ends complete",
            samples=(answers.done / many,),
            target=at_least(1),
            detail=f"{_SLOW_CHUNKS} chunks each; all in {answers.took_ns / NANOS_PER_SECOND:.1f} s",
        ),
        Figure(
            area=AREA,
            what=f"{many:,} streams at once: off the provider's bill, USD",
            samples=(abs(booked - billed),),
            target=at_most(0),
            detail=f"billed {billed}, settled {booked:.0f}",
        ),
        Figure(
            area=AREA,
            what=f"{many:,} streams at once: memory of each, KiB",
            samples=(grown / many / 1024,),
            target=at_most(200),
            detail=f"{before / 2**20:.0f} MiB before, {grown / 2**20:.0f} more at most",
        ),
    ]
