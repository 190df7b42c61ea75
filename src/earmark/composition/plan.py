"""What a composition will cost, before it runs: a line for each occurrence of a stage, and in all.

Exact and linear. A sum over what runs, the dearest arm of a `Branch` at most and the cheapest at
least, a `Retry` all its attempts at most and one at least. A pure stage, whose equal inputs are
paid once, counts once at least.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from earmark.composition.ast import Composition
from earmark.composition.catalogue import Catalogue, Quote
from earmark.composition.check import Checked, Occurrence, check
from earmark.composition.effects import EffectName
from earmark.composition.nodes import (
    Branch,
    Const,
    Node,
    RemoteStage,
    Retry,
    Stage,
    children,
    fold,
)
from earmark.composition.types import NType, type_json
from earmark.money import Money

_NOTHING = Money()
_FREE = Quote(_NOTHING, _NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One occurrence of a stage, with what it adds to the total."""

    path: str
    """Where it stands: labels from the root, such as `/stages/0`; empty for the root."""
    stage: str
    """Its name, or its URL."""
    stage_id: str
    kind: str
    min: Money
    """The least it adds to a run that succeeds: one attempt; 0 where its arm may not be taken, or
    where an equal pure stage may have been paid before."""
    max: Money | None
    """The most it adds: every attempt; None where one has no bound before its input is known."""
    attempts: int
    """How often it may run at most, for the retries around it; 0 where it is never reached."""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON; amounts are decimal strings of USD."""
        amounts = {"min": str(self.min), "max": _amount_json(self.max)}
        identity = {"path": self.path, "stage": self.stage, "stage_id": self.stage_id}
        return {
            **identity,
            "kind": self.kind,
            **amounts,
            "attempts": self.attempts,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked composition with its cost bounds."""

    composition_id: str
    min: Money
    """The least a run that succeeds costs."""
    max: Money | None
    """The most a run costs; None where a stage has no bound before its input is known."""
    hold: Money
    """The largest hold that every run that succeeds makes: a budget needs room for it at once."""
    lines: tuple[PlanLine, ...]
    """In document order."""
    input: NType
    output: NType
    effects: tuple[EffectName, ...]
    warnings: tuple[str, ...]

    @property
    def unbounded(self) -> tuple[PlanLine, ...]:
        """The lines that say why `max` is None."""
        return tuple(line for line in self.lines if line.max is None)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON; amounts are decimal strings of USD, an unknown `max` is null."""
        return {
            "composition_id": self.composition_id,
            "min": str(self.min),
            "max": _amount_json(self.max),
            "hold": str(self.hold),
            "lines": [line.to_json() for line in self.lines],
            "input": type_json(self.input),
            "output": type_json(self.output),
            "effects": list(self.effects),
            "warnings": list(self.warnings),
        }


def plan(composition: Composition, catalogue: Catalogue, *, allow: Collection[str] = ()) -> Plan:
    """Return what the composition costs at least and at most, having checked it.

    Raises:
        CheckFailed: What `check` refuses: unknown stages, types that do not fit, no price.
        InvalidConfig: A name in *allow* that is no effect.
    """
    return plan_of(composition, check(composition, catalogue, allow=allow))


def plan_of(composition: Composition, checked: Checked) -> Plan:
    """Return what a composition costs, given what its check found."""
    lines: list[PlanLine] = []
    counted: set[str] = set()
    root = _Reached("", composition.root, attempts=1, certain=True)
    total = fold(root, partial(_open, checked, lines, counted))
    return Plan(
        composition_id=composition.id,
        min=total.min,
        max=total.max,
        hold=total.hold,
        lines=tuple(lines),
        input=checked.input,
        output=checked.output,
        effects=checked.effects,
        warnings=checked.warnings,
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """A node, how often it may run, and whether every run that succeeds gets to it."""

    path: str
    node: Node
    attempts: int
    certain: bool

    def parts(self) -> "list[_Reached]":
        repeats = self.node.max_attempts if isinstance(self.node, Retry) else 1
        kids = children(self.node)
        return [
            _Reached(
                self.path + label,
                child,
                0 if _is_never_taken(self.node, label) else self.attempts * repeats,
                self.certain and not _is_conditional(self.node, label),
            )
            for label, child in kids
        ]


def _open(
    checked: Checked, lines: list[PlanLine], counted: set[str], at: _Reached
) -> tuple[list[_Reached], Callable[[Sequence[Quote]], Quote]]:
    match at.node:
        case Stage() | RemoteStage():
            occurrence = checked.occurrences[at.path]
            quote = _occurrence_quote(occurrence, at, counted)
            lines.append(_line(at, checked, quote))
            return [], lambda _: quote
        case Const():
            return [], lambda _: _FREE
        case _:
            return at.parts(), partial(_combine, at.node)


def _occurrence_quote(occurrence: Occurrence, at: _Reached, counted: set[str]) -> Quote:
    """Return what the occurrence costs, at least nothing where another may have paid for it."""
    quote, signature = occurrence.quote or _FREE, occurrence.signature
    if not signature.effects.is_pure:
        return quote
    if at.certain and signature.id not in counted:
        counted.add(signature.id)
        return quote
    return replace(quote, min=_NOTHING)


def _line(at: _Reached, checked: Checked, quote: Quote) -> PlanLine:
    signature = checked.occurrences[at.path].signature
    reach = "" if at.certain else "only if its arm is taken" if at.attempts else "never reached"
    return PlanLine(
        path=at.path,
        stage=signature.name,
        stage_id=signature.id,
        kind=signature.kind,
        min=quote.min if at.certain else _NOTHING,
        max=quote.max if at.attempts == 1 else _times(quote.max, at.attempts),
        attempts=at.attempts,
        note="; ".join(note for note in (quote.note, reach) if note) if reach else quote.note,
    )


def _times(most: Money | None, attempts: int) -> Money | None:
    if not attempts:
        return _NOTHING
    return None if most is None else most * attempts


def _combine(node: Node, parts: Sequence[Quote]) -> Quote:
    match node:
        case Branch():
            return _chosen(node, parts)
        case Retry():
            most = parts[0].max
            return replace(parts[0], max=None if most is None else most * node.max_attempts)
        case _:
            return _sum(parts)


def _chosen(node: Branch, parts: Sequence[Quote]) -> Quote:
    predicate, if_true, if_false = parts
    chosen = _constant(node)
    if chosen is not None:
        return _sum([predicate, if_true if chosen else if_false])
    dearest = (
        None if if_true.max is None or if_false.max is None else max(if_true.max, if_false.max)
    )
    least, hold = min(if_true.min, if_false.min), min(if_true.hold, if_false.hold)
    return _sum([predicate, Quote(least, dearest, hold=hold)])


def _sum(parts: Sequence[Quote]) -> Quote:
    most = [part.max.in_nanos for part in parts if part.max is not None]
    total = Money.nanos(sum(most)) if len(most) == len(parts) else None
    least = Money.nanos(sum(part.min.in_nanos for part in parts))
    return Quote(least, total, hold=max((part.hold for part in parts), default=_NOTHING))


def _constant(node: Branch) -> bool | None:
    """Which arm a constant predicate takes; None where that is known only at run."""
    predicate = node.predicate
    if isinstance(predicate, Const) and isinstance(predicate.value, bool):
        return predicate.value
    return None


def _is_never_taken(node: Node, label: str) -> bool:
    if not isinstance(node, Branch):
        return False
    return _constant(node) is (label == "/if_false") and label != "/predicate"


def _is_conditional(node: Node, label: str) -> bool:
    if not isinstance(node, Branch) or label == "/predicate":
        return False
    return _constant(node) is None or _is_never_taken(node, label)


def _amount_json(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)
