"""What a request holds, sorted by how it can be bounded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from earmark.pricing.units import MODALITIES, UNITS, Unit


@dataclass(slots=True)
class Contents:
    """What a request holds, sorted by how it can be bounded."""

    texts: list[str] = field(default_factory=list[str])
    """Plain texts of messages; a tokenizer counts each exactly."""
    json: str = ""
    """Everything else that becomes prompt text, as JSON."""
    json_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same by option, in the request's spelling."""
    tokens: int = 0
    """Tokens that the request holds as numbers."""
    kept_tokens: int = 0
    """The most tokens of what it names that the provider keeps, where they are known."""
    messages: int = 0
    has_template: bool = True
    """Whether the provider adds a chat template to the conversation."""
    schemas: set[str] = field(default_factory=set[str])
    """The options with tools or an output schema, which add a hidden system prompt."""
    uncounted: list[str] = field(default_factory=list[str])
    """What needs an explicit bound, with its path."""
    modalities: set[str] = field(default_factory=lambda: {"text"})
    outputs: frozenset[str] = frozenset(MODALITIES)
    names_outputs: bool = False
    """Whether it names the output modalities."""
    requested_modalities: set[str] = field(default_factory=set[str])
    """`input_audio`, `output_audio` …: the modalities it names, which must have a price."""
    fees: dict[str, int] = field(default_factory=dict[str, int])
    loops: bool = False
    """Whether the provider samples several times, each with its own input."""
    rounds: int | None = 1
    """The maximum number of samplings; `None` if unlimited."""
    compacts: bool = False
    """Whether each round may be preceded by one that summarises the conversation."""
    caches: frozenset[str] = frozenset()
    """Lifetimes of the requested cache writes."""
    least_output_tokens: int = 1
    """With fewer output tokens the provider refuses the request."""

    def excluded_kinds(self, provider: str) -> frozenset[str]:
        """Return the kinds of tokens and durations this request cannot be billed in."""
        return _excluded_kinds(provider, frozenset(self.modalities), self.outputs, self.caches)

    def required_kinds(self) -> frozenset[str]:
        """Return the kinds that this request names, which must have a price."""
        lifetimes = {"5m": "cache_write_tokens", "1h": "cache_write_1h_tokens"}
        caches = {lifetimes[ttl] for ttl in self.caches}
        return frozenset(
            caches | {f"{requested}_tokens" for requested in self.requested_modalities}
        )


@lru_cache(maxsize=1024)
def _excluded_kinds(
    provider: str, inputs: frozenset[str], outputs: frozenset[str], caches: frozenset[str]
) -> frozenset[str]:
    return frozenset(
        kind
        for kind, unit in UNITS.items()
        if unit.family in {"tokens", "durations"}
        and _is_excluded(unit, provider, inputs, outputs, caches)
    )


def _is_excluded(
    unit: Unit,
    provider: str,
    inputs: frozenset[str],
    outputs: frozenset[str],
    caches: frozenset[str],
) -> bool:
    # A kind without a modality is for all of them.
    modality = unit.dimension("modality") or "text"
    if unit.dimension("direction") == "output":
        return modality not in outputs
    if unit.dimension("cache_ttl") == "1h" and "1h" not in caches:
        return True
    if unit.dimension("token_type") == "cache_write" and provider == "anthropic" and not caches:
        # Anthropic writes to the cache only where `cache_control` says so; others do by
        # themselves. Source: platform.claude.com, prompt caching, 2026-11.
        return True
    return modality not in inputs
