"""The stages at hand, and how a reference in a composition finds the one it means.

A reference is a whole id, a name, or the beginning of an id that no other has, of eight digits or
more; the first of these that there is. It never means one of several: what is ambiguous is refused
with the candidates named.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Generic, Protocol, TypeVar

from earmark.composition.catalogue import Quote, Signature
from earmark.composition.nodes import Pinning
from earmark.errors import InvalidStage, NotFound
from earmark.stages.stage import Active, Deprecated, Draft, Lifecycle, StageSpec, Tombstone

#: The beginning of an id has at least so many digits: names such as `add` and `bad` are none.
LEAST_DIGITS: Final = 8
#: How many successors of deprecated stages are followed.
MAX_HOPS: Final = 10
_SHOWN_CANDIDATES = 5
_SHOWN_DIGITS = 12
_ID_DIGITS = 64
_HEX = frozenset("0123456789abcdef")


class HasSpec(Protocol):
    """Whatever a library holds: a runnable stage, or a `StageSpec` through `Declared`."""

    @property
    def spec(self) -> StageSpec:
        """Its identity, types, effects and declared price."""
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A stage that is known, priced and checked, but cannot be run here."""

    spec: StageSpec


T = TypeVar("T", bound=HasSpec)
#: What one attempt at a stage with this config can cost; None leaves that to its declared cost.
Quoting = Callable[[T, Mapping[str, Any] | None], Quote | None]


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """The stage a reference means, and what its user should know of how it was found."""

    stage: T
    notes: tuple[str, ...] = ()


class StageLibrary(Generic[T]):
    """Stages by id, by the beginning of an id, and by name; a `Catalogue` for `check` and `plan`.

    At most one stage of a signature is active: putting another deprecates the one before it.
    Look-ups take logarithmic time. Not to be changed while a composition is checked or run.
    """

    def __init__(self, stages: Iterable[T] = (), *, quoting: Quoting[T] | None = None) -> None:
        self._quoting = quoting
        self._stages: dict[str, T] = {}
        self._lifecycles: dict[str, Lifecycle] = {}
        self._ids: list[str] = []
        self._signatures: dict[str, list[str]] = {}
        self._signature_ids: list[str] = []
        self._names: dict[str, list[str]] = {}
        # A composition of ten thousand nodes names few stages, many times each.
        self._resolved: dict[tuple[str, Pinning], Resolved[T]] = {}
        for stage in stages:
            self.put(stage)

    def __len__(self) -> int:
        return len(self._stages)

    def __iter__(self) -> Iterator[T]:
        return iter(self._stages.values())

    def put(self, stage: T) -> T:
        """Add the stage, or replace the one of the same id; an older active one is deprecated."""
        spec = stage.spec
        self._resolved.clear()
        if spec.stage_id not in self._stages:
            self._index(spec)
        self._stages[spec.stage_id] = stage
        self._lifecycles[spec.stage_id] = spec.lifecycle
        if isinstance(spec.lifecycle, Active):
            self._supersede(spec)
        return stage

    def lifecycle(self, stage_id: str) -> Lifecycle:
        """Return where in its life the stage of this id is."""
        return self._lifecycles[stage_id]

    def set_lifecycle(self, stage_id: str, lifecycle: Lifecycle) -> None:
        """Move a stage on in its life: a draft becomes active, an active one deprecated or buried.

        Raises:
            NotFound: No stage has this id.
            InvalidStage: The step is none of those.
        """
        if stage_id not in self._stages:
            raise NotFound(kind="stage", name=stage_id)
        self._resolved.clear()
        match self._lifecycles[stage_id], lifecycle:
            case (Draft(), Active()) | (Active(), Deprecated() | Tombstone()):
                self._lifecycles[stage_id] = lifecycle
            case before, _:
                step = f"{type(before).__name__} to {type(lifecycle).__name__}"
                raise InvalidStage(place="/lifecycle", detail=f"a stage does not go from {step}")
        if isinstance(lifecycle, Active):
            self._supersede(self._stages[stage_id].spec)

    def resolve(self, reference: str, *, pinning: Pinning = "signature") -> Resolved[T]:
        """Return the stage that *reference* means.

        Pinned to its signature, a reference means the active stage of that signature, or where
        there is none the successor of a deprecated one. Pinned to both, it means exactly the stage
        found, also once that is deprecated.

        Raises:
            NotFound: No such stage, several of them, or none that is for use; the hint says which.
        """
        known = self._resolved.get((reference, pinning))
        if known is None:
            found = self._find(reference)
            exact = pinning == "both"
            known = self._exactly(reference, found) if exact else self._current(reference, found)
            self._resolved[reference, pinning] = known
        return known

    def get(
        self,
        stage_id: str,
        *,
        pinning: Pinning = "signature",
        config: Mapping[str, Any] | None = None,
    ) -> Signature:
        """Return what users see of the stage that the reference means; raises `NotFound`."""
        resolved = self.resolve(stage_id, pinning=pinning)
        spec = resolved.stage.spec
        return Signature(
            id=spec.stage_id,
            name=spec.name or spec.stage_id[:_SHOWN_DIGITS],
            kind=spec.kind,
            input=spec.input,
            output=spec.output,
            effects=spec.effects,
            quote=self._quoting(resolved.stage, config) if self._quoting else None,
            notes=resolved.notes,
        )

    def _index(self, spec: StageSpec) -> None:
        insort(self._ids, spec.stage_id)
        if spec.signature_id not in self._signatures:
            insort(self._signature_ids, spec.signature_id)
        self._signatures.setdefault(spec.signature_id, []).append(spec.stage_id)
        for name in dict.fromkeys((spec.name, *spec.aliases)):
            if name:
                self._names.setdefault(name, []).append(spec.stage_id)

    def _supersede(self, spec: StageSpec) -> None:
        for other in self._signatures[spec.signature_id]:
            if other != spec.stage_id and isinstance(self._lifecycles[other], Active):
                self._lifecycles[other] = Deprecated(spec.stage_id)

    def _find(self, reference: str) -> str:
        if reference in self._stages:
            return reference
        if reference in self._signatures:
            return self._best(self._signatures[reference])
        candidates = self._by_name(reference) or self._by_prefix(reference)
        if not candidates:
            raise NotFound(kind="stage", name=reference, hint=self._suggestion(reference))
        if len(candidates) > 1:
            raise NotFound(kind="stage", name=reference, hint=self._several(candidates))
        return candidates.pop()

    def _by_name(self, reference: str) -> set[str]:
        """The stages a name means: of each signature the best, and active ones before others."""
        signatures = {self._stages[i].spec.signature_id for i in self._names.get(reference, ())}
        best = {self._best(self._signatures[signature]) for signature in signatures}
        active = {stage_id for stage_id in best if isinstance(self._lifecycles[stage_id], Active)}
        return active or best

    def _by_prefix(self, reference: str) -> set[str]:
        if not LEAST_DIGITS <= len(reference) < _ID_DIGITS or not _HEX.issuperset(reference):
            return set()
        signatures = _beginning(self._signature_ids, reference)
        best = {self._best(self._signatures[signature]) for signature in signatures}
        return best | set(_beginning(self._ids, reference))

    def _best(self, stage_ids: list[str]) -> str:
        """Of the stages of one signature: the active, else a deprecated one, else the newest."""
        rank = {Active: 0, Deprecated: 1, Draft: 2, Tombstone: 3}
        return min(reversed(stage_ids), key=lambda i: rank[type(self._lifecycles[i])])

    def _exactly(self, reference: str, stage_id: str) -> Resolved[T]:
        match self._lifecycles[stage_id]:
            case Active():
                return Resolved(self._stages[stage_id])
            case Deprecated(successor):
                note = f"stage '{reference}' is deprecated: its successor is {_short(successor)}"
                return Resolved(self._stages[stage_id], (note,))
            case other:
                raise _unusable(reference, other)

    def _current(self, reference: str, stage_id: str) -> Resolved[T]:
        seen = [stage_id]
        while True:
            signature = self._stages[stage_id].spec.signature_id
            stage_id = self._best(self._signatures[signature])
            lifecycle = self._lifecycles[stage_id]
            if isinstance(lifecycle, Active):
                return Resolved(self._stages[stage_id], _moved(reference, seen[0], stage_id))
            if not isinstance(lifecycle, Deprecated):
                raise _unusable(reference, lifecycle)
            stage_id = self._successor(reference, lifecycle.successor_id, seen)
            seen.append(stage_id)

    def _successor(self, reference: str, successor: str, seen: list[str]) -> str:
        chain = " → ".join(_short(stage_id) for stage_id in [*seen, successor])
        if successor in seen:
            hint = f"it is deprecated, and its successors go in a circle: {chain}"
        elif len(seen) > MAX_HOPS:
            hint = f"it is deprecated, and more than {MAX_HOPS} successors follow: {chain}"
        elif successor not in self._stages:
            hint = f"it is deprecated, and its successor is not here: {chain}"
        else:
            return successor
        raise NotFound(kind="stage", name=reference, hint=hint)

    def _suggestion(self, reference: str) -> str:
        matches = get_close_matches(reference[:_ID_DIGITS], list(self._names), n=3)
        if matches:
            return "is it " + " or ".join(f"'{name}'" for name in matches) + "?"
        if not self._stages:
            return "the library is empty"
        return (
            f"give an id, its first {LEAST_DIGITS} digits or more, or the name of one of"
            f" {len(self):,} stages"
        )

    def _several(self, candidates: set[str]) -> str:
        ordered = sorted(candidates)
        descriptions = [f"{_short(i)} ({self._stages[i].spec.name})" for i in ordered]
        ellipsis = "" if len(descriptions) <= _SHOWN_CANDIDATES else ", …"
        listed = ", ".join(descriptions[:_SHOWN_CANDIDATES])
        return f"it may mean any of {len(descriptions):,}: {listed}{ellipsis}; give more of the id"


def _beginning(ordered: list[str], prefix: str) -> list[str]:
    """The ids that begin with *prefix*, of a sorted list; `g` comes after every hex digit."""
    return ordered[bisect_left(ordered, prefix) : bisect_left(ordered, prefix + "g")]


def _moved(reference: str, first: str, last: str) -> tuple[str, ...]:
    if first == last:
        return ()
    return (f"stage '{reference}' ({_short(first)}) is deprecated: {_short(last)} runs instead",)


def _unusable(reference: str, lifecycle: Lifecycle) -> NotFound:
    buried = isinstance(lifecycle, Tombstone)
    hint = "it is buried: it may not run again" if buried else "it is a draft: activate it first"
    return NotFound(kind="stage", name=reference, hint=hint)


def _short(stage_id: str) -> str:
    return stage_id[:_SHOWN_DIGITS]
