"""What was counted: units a provider reports, by kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from earmark.errors import InvalidUsage
from earmark.errors.inputs import wrong_argument

#: The largest count of one kind in one call; more is a broken report, not a bill.
LARGEST_COUNT: Final = 10**12


@dataclass(frozen=True, slots=True)
class Usage:
    """Counted units by kind, in the names of `earmark.pricing.units`; zero counts are left out.

    A whole includes its parts: `input_tokens` counts cached and audio tokens too.

    Raises:
        InvalidUsage: A count is not a whole number from 0 to 10^12.
    """

    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    tier: str = ""
    """The service tier the provider says it billed; empty where it says none."""

    def __post_init__(self) -> None:
        if not isinstance(self.counts, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            raise wrong_argument("the usage", self.counts, '{"input_tokens": 163, …}')
        checked = {kind: n for kind, n in sorted(self.counts.items()) if _checked(kind, n)}
        object.__setattr__(self, "counts", MappingProxyType(checked))

    @classmethod
    def of(cls, **counts: int) -> "Usage":
        """Return the usage with these counts: `Usage.of(input_tokens=163, output_tokens=3025)`."""
        return cls(counts)

    @property
    def tokens(self) -> int:
        """Input and output tokens together, as a `tokens` limit counts them."""
        return self.get("input_tokens") + self.get("output_tokens")

    def get(self, kind: str) -> int:
        """Return the count of one kind; 0 where nothing was counted."""
        return self.counts.get(kind, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the counts by kind, and the `tier` where one is known."""
        return {**self.counts, "tier": self.tier} if self.tier else dict(self.counts)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Usage":
        """Read what `to_json` wrote."""
        counts = {kind: count for kind, count in value.items() if kind != "tier"}
        return cls(counts, tier=str(value.get("tier", "")))

    def __hash__(self) -> int:
        return hash((tuple(self.counts.items()), self.tier))

    def __reduce__(self) -> tuple[Any, ...]:
        return Usage, (dict(self.counts), self.tier)


#: The list price's tier, and the names providers have for it.
STANDARD: Final = "standard"
#: "Whatever the account is set to": the provider chooses, so the dearest counts.
AUTO: Final = "auto"
_TIERS: Final = {
    # OpenAI `default`, Anthropic `standard` and `standard_only`, Groq `on_demand`; Google Vertex
    # reports a `trafficType`. Source: the providers' API references, read 2026-11.
    "default": STANDARD,
    "standard_only": STANDARD,
    "on_demand": STANDARD,
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}


def tier_name(text: str | None) -> str:
    """Return a provider's word for a service tier in ours; `standard` where none is given."""
    name = (text or STANDARD).strip().lower()
    return _TIERS.get(name, name)


def _checked(kind: str, count: object) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise InvalidUsage(detail=f"{kind} is {_shown(count)}; a count is a whole number")
    if not 0 <= count <= LARGEST_COUNT:
        raise InvalidUsage(
            detail=f"{kind} is {_shown(count)}; a count is from 0 to {LARGEST_COUNT}"
        )
    return count


def _shown(count: object) -> str:
    # The digits of an int of any size are slow to write and useless to read.
    if isinstance(count, int) and abs(count) > LARGEST_COUNT:
        return f"about {'-' if count < 0 else ''}2^{count.bit_length()}"
    return repr(count)[:40]
