"""Catalogues for tests of checks and plans: real libraries of declared stages."""

from collections.abc import Mapping
from typing import Any

from earmark.composition.catalogue import Quote
from earmark.composition.effects import PURE, CostEffect, Effect, EffectSet
from earmark.composition.types import ANY, NType
from earmark.money import Money
from earmark.stages.library import Declared, StageLibrary
from earmark.stages.stage import StageSpec


def declared(
    name: str,
    input_: NType = ANY,
    output: NType = ANY,
    *effects: Effect,
    cost: str | None = None,
) -> Declared:
    """A stage; pure unless effects are given, free unless a cost is."""
    price = () if cost is None else (CostEffect(Money(cost)),)
    return Declared(
        StageSpec(
            name=name,
            input=input_,
            output=output,
            effects=EffectSet((*effects, *price) or (PURE,)),
            implementation_hash=name,
        )
    )


def library(*stages: Declared, quotes: Mapping[str, Quote] | None = None) -> StageLibrary[Declared]:
    """A library of these stages, some of them quoted by name."""
    quoted = quotes or {}

    def quoting(stage: Declared, config: Mapping[str, Any] | None) -> Quote | None:
        del config
        return quoted.get(stage.spec.name)

    return StageLibrary(stages, quoting=quoting)
