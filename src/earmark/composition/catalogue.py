"""What a composition needs to know of the stages it names: their types, effects and price."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from earmark.composition.effects import EFFECT_NAMES, EffectName, EffectSet
from earmark.composition.nodes import Pinning
from earmark.composition.types import NType
from earmark.errors import InvalidConfig
from earmark.errors.inputs import quoted
from earmark.money import Money

#: Effects that may cost money nobody declared: without a price they refuse.
UNPRICED: Final[frozenset[EffectName]] = frozenset({"llm", "network", "unknown"})


@dataclass(frozen=True, slots=True)
class Quote:
    """What one attempt at a stage can cost, as far as is known before its input is."""

    min: Money
    """What every attempt that succeeds settles; 0 where it may settle less than it holds."""
    max: Money | None
    """None: nobody knows until the input is there; the hold will then be bounded all the same."""
    note: str = ""
    hold: Money = Money()  # noqa: RUF009 - immutable
    """What every attempt holds at least: where that does not fit, it cannot begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A stage as its users see it."""

    id: str
    name: str
    kind: str
    """How it is run: `python`, `process`, `model`, `remote`; `declared` where it cannot be."""
    input: NType
    output: NType
    effects: EffectSet
    quote: Quote | None = None
    """What its kind says it costs; None leaves that to the declared `CostEffect`."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the reference was resolved."""


class Catalogue(Protocol):
    """Where the stages of a composition are looked up."""

    def get(
        self,
        stage_id: str,
        *,
        pinning: Pinning = "signature",
        config: Mapping[str, Any] | None = None,
    ) -> Signature | None:
        """Return the stage that a reference with this pinning and config means; None for none.

        Raises:
            NotFound: As None, where there is more to say: near misses, or several candidates.
        """
        ...


def price(
    effects: EffectSet, quote: Quote | None, allow: Collection[EffectName] = ()
) -> Quote | None:
    """Return what one attempt costs, or None where that is unknown and not allowed to be.

    A quote comes first, then the declared costs: the most an attempt costs and what it holds, while
    what it settles may be less. Without either the stage is free, unless it has an
    effect that may cost money and is not in *allow*. A model declared to cost nothing has no price.
    """
    if quote is not None:
        return quote
    cost = effects.cost
    if cost or (cost is not None and "llm" not in effects.names):
        return Quote(Money(), cost, "declared", hold=cost)
    risky = sorted((effects.names & UNPRICED) - set(allow))
    if risky:
        return None
    open_effects = sorted(effects.names & UNPRICED)
    note = f"no price: {', '.join(open_effects)} allowed by name" if open_effects else ""
    return Quote(Money(), Money(), note)


def parse_allowed(names: Collection[str]) -> frozenset[EffectName]:
    """Return the effects a policy allows by name; no names allow nothing.

    Raises:
        InvalidConfig: A name that is no effect; a policy with a typo must not allow or refuse more.
    """
    known: dict[str, EffectName] = {name: name for name in EFFECT_NAMES}
    if isinstance(names, str) or not isinstance(names, Collection):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        detail = f"{quoted(names)} is no list of effects, such as ['llm']"
        raise InvalidConfig(place="allowed effects", detail=detail)
    for name in names:
        if not isinstance(name, str) or name not in known:  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
            detail = f"{quoted(name)} is no effect: it is one of {', '.join(EFFECT_NAMES)}"
            raise InvalidConfig(place="allowed effects", detail=detail)
    return frozenset(known[name] for name in names)
