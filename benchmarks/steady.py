"""Rounds during which the machine stayed as it was.

A fixed piece of work for the processor and a fixed one for the disk are timed before and after each
round. Where one of them takes much longer on one side than on the other, something else was going
on: the round is discarded, counted, and measured again, so many times and no more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean, median
from time import perf_counter_ns
from typing import Final, Generic, TypeVar

from benchmarks.figure import Figure, micros, per_s
from benchmarks.raw import Syncs, fdatasync
from benchmarks.settings import Settings, tell
from earmark.clock import NANOS_PER_SECOND

T = TypeVar("T")

_SYNC_SHARE: Final = 0.25
_CPU_SHARE: Final = 0.1
#: Rounds that are measured for one that is wanted, before it is given up.
_MOST_ATTEMPTS: Final = 3
#: One step of the fixed work: a tenth of a millisecond or two.
_STEP: Final = range(10_000)
#: A disk whose syncs are slower than this is busy with something else: its ratios say little.
_BUSY_P99_NS: Final = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How fast the machine is at one moment."""

    steps: float
    """Steps of the fixed work per second, by the wall clock."""
    syncs: Syncs

    def drift(self, other: "Probe") -> float:
        """Return how many times faster the machine is in one of the two; 1 where it is as fast."""
        pairs = (self.steps, other.steps), (self.syncs.rate, other.syncs.rate)
        return max(max(pair) / min(pair) for pair in pairs)


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """What was measured between two probes."""

    value: T
    before: Probe
    after: Probe

    @property
    def drift(self) -> float:
        """How much the machine changed."""
        return self.before.drift(self.after)

    @property
    def syncs(self) -> float:
        """Syncs of the disk per second."""
        return mean((self.before.syncs.rate, self.after.syncs.rate))


@dataclass(frozen=True, slots=True)
class Steady(Generic[T]):
    """The rounds of one measurement."""

    kept: tuple[Round[T], ...]
    """As many as were asked for, or none: too few have no median."""
    drifts: tuple[float, ...]
    """Of all rounds, also of those discarded."""
    discarded: int
    syncs: tuple[Syncs, ...]

    @property
    def values(self) -> tuple[T, ...]:
        """What was measured in the rounds that were kept."""
        return tuple(each.value for each in self.kept)

    def detail(self, said: Callable[[], str]) -> str:
        """Return what *said* returns, and how many rounds were discarded; or that all were."""
        count = f"{self.discarded} of {len(self.drifts)} rounds discarded"
        if not self.kept:
            return f"not measured: {count}, as the machine changed meanwhile"
        return f"{said()}; {count}" if self.discarded else said()


def probe(settings: Settings) -> Probe:
    """Return how fast the machine is now."""
    return Probe(
        steps=_steps(settings.seconds * _CPU_SHARE),
        syncs=fdatasync(settings.folder, settings.seconds * _SYNC_SHARE),
    )


def _steps(seconds: float) -> float:
    done = 0
    began = at = perf_counter_ns()
    while at - began < seconds * NANOS_PER_SECOND:
        sum(_STEP)
        done += 1
        at = perf_counter_ns()
    return done * NANOS_PER_SECOND / (at - began)


def steady(
    measure: Callable[[], T],
    what: str,
    settings: Settings,
    probe: Callable[[Settings], Probe] = probe,
) -> Steady[T]:
    """Measure rounds until as many as *settings* want were undisturbed; *what* is for progress."""
    kept: list[Round[T]] = []
    drifts: list[float] = []
    probes = [probe(settings)]
    most = settings.rounds * _MOST_ATTEMPTS
    # Until there are enough, or there cannot be any more.
    while 0 < settings.rounds - len(kept) <= most - len(drifts):
        tell(f"{what}: round {len(kept) + 1} of {settings.rounds}")
        value = measure()
        probes.append(probe(settings))
        each = Round(value, *probes[-2:])
        drifts.append(each.drift)
        if each.drift <= settings.drift:
            kept.append(each)
        else:
            tell(f"{what}: round discarded: the machine changed by {each.drift:.2f}")
    return Steady(
        kept=tuple(kept) if len(kept) == settings.rounds else (),
        drifts=tuple(drifts),
        discarded=len(drifts) - len(kept),
        syncs=tuple(each.syncs for each in probes),
    )


def drift_figure(area: str, measured: Iterable[Steady[T]], suffix: str = "") -> Figure:
    """Return how much the machine changed during the rounds of *measured*."""
    all_ = list(measured)
    syncs = [each for steady in all_ for each in steady.syncs]
    drifts = tuple(drift for steady in all_ for drift in steady.drifts)
    p99 = median(each.p99_ns for each in syncs)
    busy = " (the disk is busy: measure again)" if p99 > _BUSY_P99_NS else ""
    return Figure(
        area=area,
        what="the machine before a round / after it, the faster / the slower",
        samples=drifts,
        detail=f"{sum(each.discarded for each in all_)} of {len(drifts)} rounds discarded;"
        f" fdatasync {per_s(median(each.rate for each in syncs))},"
        f" p50 {micros(median(each.p50_ns for each in syncs))}, p99 {micros(p99)}{busy}{suffix}",
    )
