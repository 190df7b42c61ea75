"""What a benchmark says: ratios, one a round, and whether their median meets its target."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "miss", ""]


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to be: at least, or at most, *bound*."""

    sense: Literal["at least", "at most"]
    bound: float

    def met(self, value: float) -> bool:
        """Return whether *value* is good enough; the bound itself is."""
        return value >= self.bound if self.sense == "at least" else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.sense == "at least" else "<="
        return f"{sign} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report."""

    area: str
    what: str
    """What is compared with what, in words: `1 caller: commits per fdatasync`."""
    samples: tuple[float, ...]
    """One ratio a round, each to a limit measured in the same round; none: not measured."""
    target: Target | None = None
    """None where the number is told but nothing is asked of it."""
    detail: str = ""
    """The absolute numbers behind it, or why it was not measured."""

    @property
    def median(self) -> float | None:
        """The number the target judges."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met; empty without a target or a measurement."""
        if self.median is None or self.target is None:
            return ""
        return "pass" if self.target.met(self.median) else "miss"

    def to_json(self) -> dict[str, object]:
        """Return the figure as JSON says it."""
        return {
            "area": self.area,
            "what": self.what,
            "median": self.median,
            "samples": list(self.samples),
            "target": None if self.target is None else str(self.target),
            "verdict": self.verdict or None,
            "detail": self.detail,
        }


def at_least(bound: float) -> Target:
    """Return the target of a ratio that should be high."""
    return Target("at least", bound)


def at_most(bound: float) -> Target:
    """Return the target of a ratio that should be low."""
    return Target("at most", bound)


def quantile(ordered: Sequence[int], share: float) -> int:
    """Return the value that *share* of the *ordered* values do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("a quantile needs at least one value")
    rank = -(-len(ordered) * round(share * 1_000_000) // 1_000_000)
    return ordered[max(rank, 1) - 1]


def spread(values: Iterable[float]) -> float:
    """Return how far the values lie apart, as a share of their mean."""
    each = list(values)
    mean = statistics.mean(each)
    return (max(each) - min(each)) / mean if mean else 0.0


def per_s(rate: float) -> str:
    """Return a rate as people read it: `98.3k/s`."""
    return f"{rate / 1000:.1f}k/s" if rate >= 1000 else f"{rate:.0f}/s"


def micros(nanos: float) -> str:
    """Return a duration of *nanos* in the unit that suits it."""
    if nanos < 1_000:
        return f"{nanos:.0f} ns"
    if nanos < 1_000_000:
        return f"{nanos / 1_000:.1f} us"
    return f"{nanos / 1_000_000:.1f} ms"
