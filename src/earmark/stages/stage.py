"""Who a stage is: its types, effects and implementation, the two ids they give, and its life.

The ids are those of the Noether composition format, version 0.8: SHA-256, in hex, of the RFC 8785
form of `{name, input, output, effects}`, which is the *signature_id*, and of the same with the
`implementation_hash`, which is the *stage_id*. A price is among the effects: changing one changes
both ids, so a stored stage whose ids do not agree with its content is refused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from earmark.composition.document import (
    Fields,
    check_value,
    invalid,
    is_array,
    is_object,
    load,
    shown,
)
from earmark.composition.effects import EffectSet, parse_author_effect, parse_effect_set
from earmark.composition.shorthand import parse_author_type
from earmark.composition.types import ANY, NType, parse_type, type_json
from earmark.errors import InvalidComposition, InvalidStage


@dataclass(frozen=True, slots=True)
class Draft:
    """Not yet for use."""


@dataclass(frozen=True, slots=True)
class Active:
    """For use."""


@dataclass(frozen=True, slots=True)
class Deprecated:
    """For use where it is pinned; everybody else gets its successor."""

    successor_id: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Never again for use."""


Lifecycle = Draft | Active | Deprecated | Tombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """What is known of a stage without running it; immutable, its ids computed from its content."""

    name: str
    input: NType = ANY
    output: NType = ANY
    effects: EffectSet = field(default_factory=EffectSet)
    """Declared by the author; `Unknown` where nothing was."""
    implementation_hash: str = ""
    """What tells one implementation from another, such as the SHA-256 of its source."""
    description: str = ""
    lifecycle: Lifecycle = Active()
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: str = "declared"
    """How it is run: `python`, `process`, `model`, `remote`; `declared` where it cannot be."""
    signature_id: str = field(init=False)
    """Of its name, types and effects; implementations of one signature replace one another."""
    stage_id: str = field(init=False)
    """Of its signature and implementation."""

    def __post_init__(self) -> None:
        check_value([self.name, self.implementation_hash], "")
        signature = self._signature_json()
        whole = {**signature, "implementation_hash": self.implementation_hash}
        object.__setattr__(self, "signature_id", _digest(signature))
        object.__setattr__(self, "stage_id", _digest(whole))

    def to_json(self) -> dict[str, Any]:
        """Return the stage in the format's full form; `parse_stage` gives it back."""
        signature = self._signature_json()
        del signature["name"]
        return {
            "id": self.stage_id,
            "signature_id": self.signature_id,
            "signature": {**signature, "implementation_hash": self.implementation_hash},
            "capabilities": [],
            "cost": {},
            "description": self.description,
            "examples": [],
            "lifecycle": lifecycle_json(self.lifecycle),
            "tags": list(self.tags),
            "aliases": list(self.aliases),
            "name": self.name,
        }

    def _signature_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "input": type_json(self.input),
            "output": type_json(self.output),
            "effects": self.effects.to_json(),
        }


def parse_stage(source: str | bytes | Mapping[str, Any]) -> StageSpec:
    """Return the stage that JSON describes, in the format's full form or in an author's short one.

    The full form has a `signature` and an `id`; the short one has `name`, `input`, `output`,
    `effects` and an `implementation` or its hash at the top. Keys nobody knows are ignored, effects
    nobody knows are refused.

    Raises:
        InvalidStage: With the place, also where a stored id is not the one of the content.
    """
    try:
        raw = load(source) if isinstance(source, str | bytes) else source
        form = Fields.of(raw, "", "a stage")
        return _full(form) if "signature" in form.members else _short(form)
    except InvalidComposition as error:
        raise InvalidStage(place=error.place, detail=error.detail) from None


def lifecycle_json(lifecycle: Lifecycle) -> str | dict[str, Any]:
    """Return the lifecycle in the format's JSON form."""
    if isinstance(lifecycle, Deprecated):
        return {"Deprecated": {"successor_id": lifecycle.successor_id}}
    return type(lifecycle).__name__


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def _full(form: Fields) -> StageSpec:
    signature = form.object("signature")
    spec = StageSpec(
        name=form.text("name", ""),
        input=parse_type(signature.need("input"), signature.at("input")),
        output=parse_type(signature.need("output"), signature.at("output")),
        effects=_effect_set(signature),
        implementation_hash=signature.text("implementation_hash"),
        **_about(form),
    )
    _same_id(form, "id", spec.stage_id)
    for name in {"signature_id", "canonical_id"} & form.members.keys():
        _same_id(form, name, spec.signature_id)
    return spec


def _effect_set(signature: Fields) -> EffectSet:
    if signature.members.get("effects") is None:
        return EffectSet()
    return parse_effect_set(signature.need("effects"), signature.at("effects"))


def _same_id(form: Fields, name: str, computed: str) -> None:
    if form.text(name) != computed:
        detail = f"its content has the {name} '{computed}': name, types, effects or price changed"
        raise invalid(form.at(name), detail)


def _short(form: Fields) -> StageSpec:
    if not form.text("name"):
        raise invalid(form.at("name"), "a stage has a name")
    return StageSpec(
        name=form.text("name"),
        input=parse_author_type(form.need("input"), form.at("input")),
        output=parse_author_type(form.need("output"), form.at("output")),
        effects=_author_effects(form),
        implementation_hash=_implementation_hash(form),
        **_about(form),
    )


def _author_effects(form: Fields) -> EffectSet:
    if form.members.get("effects") is None:
        return EffectSet()
    listed = form.array("effects")
    return (
        EffectSet(parse_author_effect(raw, place) for place, raw in listed)
        if listed
        else EffectSet()
    )


def _implementation_hash(form: Fields) -> str:
    if "implementation" not in form.members:
        return form.text("implementation_hash", "")
    code = form.members["implementation"]
    if not isinstance(code, str):
        code = form.object("implementation").text("code")
    check_value(code, form.at("implementation"))
    return hashlib.sha256(code.encode()).hexdigest()


def _about(form: Fields) -> dict[str, Any]:
    return {
        "description": form.text("description", ""),
        "lifecycle": _lifecycle(form),
        "aliases": _texts(form, "aliases"),
        "tags": _texts(form, "tags"),
    }


def _texts(form: Fields, name: str) -> tuple[str, ...]:
    listed = form.members.get(name, ())
    if not is_array(listed) or not all(isinstance(item, str) for item in listed):
        raise invalid(form.at(name), f"'{name}' is an array of strings")
    return tuple(listed)


def _lifecycle(form: Fields) -> Lifecycle:
    raw: object = form.members.get("lifecycle", "Active")
    simple = {"Draft": Draft(), "Active": Active(), "Tombstone": Tombstone()}
    if isinstance(raw, str) and raw in simple:
        return simple[raw]
    if is_object(raw) and "Deprecated" in raw:
        return Deprecated(form.object("lifecycle").object("Deprecated").text("successor_id"))
    known = 'Draft, Active, Tombstone or {"Deprecated": {"successor_id": …}}'
    raise invalid(form.at("lifecycle"), f"{shown(raw)} is no lifecycle: it is {known}")
