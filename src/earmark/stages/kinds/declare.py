"""Who a stage is, from what its author writes down: types and effects in the author's shorthand."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import rfc8785

from earmark.composition.effects import CostEffect, Effect, EffectSet, parse_author_effect
from earmark.composition.shorthand import parse_author_type
from earmark.composition.types import ANY, NType
from earmark.errors import InvalidComposition, InvalidStage
from earmark.errors.inputs import quoted, shown
from earmark.money import AmountLike, Money
from earmark.stages.stage import StageSpec

#: A type: `"Text"`, `{"List": "Text"}`, `{"Record": [["a", "Text"]]}`, or the value itself.
TypeLike = NType | str | Mapping[str, Any]
#: An effect: `"Pure"`, `{"effect": "Llm", "model": "…"}`, or the value itself.
EffectLike = Effect | str | Mapping[str, Any]


def declare(
    name: str,
    kind: str,
    *,
    implementation: object,
    effects: Iterable[EffectLike],
    cost: AmountLike | None,
    input: TypeLike = ANY,  # noqa: A002 - the format's own word, as a keyword of its authors
    output: TypeLike = ANY,
    description: str = "",
) -> StageSpec:
    """Return the stage's identity; *implementation*, a JSON value, tells it from others.

    Raises:
        InvalidStage: A type or an effect is none, or it has no name.
        InvalidAmount: The cost is none.
    """
    if not name:
        raise InvalidStage(place="/name", detail="a stage has a name")
    priced = () if cost is None else (CostEffect(Money(cost)),)
    try:
        return StageSpec(
            name=name,
            kind=kind,
            input=_type(input, "/input"),
            output=_type(output, "/output"),
            effects=EffectSet((*map(_effect, _listed(effects)), *priced)),
            implementation_hash=hashlib.sha256(
                rfc8785.dumps(cast("Any", implementation))
            ).hexdigest(),
            description=description,
        )
    except InvalidComposition as error:
        raise InvalidStage(place=error.place, detail=error.detail) from None


def declared_cost(spec: StageSpec) -> Money:
    """Return what one attempt costs by declaration; of a stage that declares nothing, 0."""
    return spec.effects.cost or Money()


def _type(value: TypeLike, place: str) -> NType:
    if isinstance(value, str | Mapping):
        return parse_author_type(value, place)
    if not isinstance(value, NType):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidStage(place=place, detail=f"{shown(value)} is no type, such as 'Text'")
    return value


def _effect(value: EffectLike) -> Effect:
    if isinstance(value, str | Mapping):
        return parse_author_effect(value, "/effects")
    if not isinstance(value, Effect):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
        raise InvalidStage(place="/effects", detail=f"{shown(value)} is no effect, such as 'Pure'")
    return value


def _listed(effects: Iterable[EffectLike]) -> Iterable[EffectLike]:
    value: object = effects
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        detail = f"{quoted(effects)} is no list of effects, such as ['Pure']"
        raise InvalidStage(place="/effects", detail=detail)
    return effects
